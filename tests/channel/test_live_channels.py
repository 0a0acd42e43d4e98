"""Live channels: the contract, and a decorator that does to messages what the arrays of the simulation say."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest
from effort import examples
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_channel import channels, sent, within

from lab.base import stream
from lab.channel import CHANNELS
from lab.channel.fates import DrawnFates, Fates, LiveFaults, SampledFates
from lab.channel.faulty import Faulty, MonotonicClock
from lab.channel.memory import MemoryChannel
from lab.channel.simulated import transmit
from lab.ports import Delivery, Message, Subscription
from lab.scenario import ChannelFaults, ChannelTable, Delay, Outage, Reorder
from lab.testing.channels import channel_contract
from lab.testing.taking import messages

HONEST = ChannelFaults()


class SetClock:
    """Stands where it is set; a wait sets it."""

    def __init__(self, at: float = 0.0) -> None:
        self.at = at

    def now(self) -> float:
        """Where it stands."""
        return self.at

    def wait(self, until: float) -> None:
        """Stand there."""
        self.at = max(self.at, until)


class Decorated(MemoryChannel):
    """Every subscription is decorated, with faults that do nothing."""

    def subscribe(self, group: str, member: str, generation: int = 0) -> Any:
        """A member behind the decorator."""
        return Faulty(super().subscribe(group, member, generation), SampledFates(HONEST, 1), SetClock(100.0))


test_memory = channel_contract(CHANNELS["memory"])


def test_a_faulty_channel_without_faults_is_a_channel() -> None:
    channel = Decorated(100)
    one: Subscription = channel.subscribe("group", "one")
    channel.publish(messages(range(1, 6)))
    found = one.take(3, 0.0)
    one.refuse(found[:1])
    one.acknowledge(found[1:])
    again = one.take(100, 0.0)
    assert [(item.message.position, item.attempt) for item in again] == [(1, 2), (4, 1), (5, 1)]
    one.acknowledge(again[:1])
    one.close()
    other = channel.subscribe("group", "other").take(100, 0.0)
    assert [(item.message.position, item.attempt) for item in other] == [(4, 2), (5, 2)]


def test_a_consumer_in_another_thread_is_woken() -> None:
    channel = MemoryChannel()
    subscription = channel.subscribe("group", "one")
    later = threading.Timer(0.05, lambda: channel.publish(messages([1])))
    later.start()
    began = time.monotonic()
    assert [item.message.position for item in subscription.take(10, 20.0)] == [1]
    assert time.monotonic() - began < 10
    later.join()


def test_a_faulty_consumer_waits_for_what_is_on_its_way() -> None:
    channel = MemoryChannel()
    options = ChannelFaults(delay=Delay(mean=0.05))
    faulty = Faulty(channel.subscribe("group", "one"), SampledFates(options, 1), MonotonicClock())
    channel.publish([Message(1, ("item", 1), time.monotonic(), None)])
    assert faulty.take(10, 0.0) == []
    assert len(faulty.take(10, 20.0)) == 1


# --- as the arrays say -----------------------------------------------------------------------------------------------


def lived(faulty: Faulty, channel: MemoryChannel, clock: SetClock, published: list[Message]) -> list[tuple[int, float]]:
    """Publish every message at its time, and take every copy as it arrives: position and time, in order."""
    found = []
    for message in [*published, None]:
        until = float("inf") if message is None else message.published_at
        while (next_at := faulty.next_at()) is not None and next_at < until:
            clock.at = max(clock.at, next_at)
            done = faulty.take(1_000, 0.0)
            found += [(item.message.position, clock.at) for item in done]
            faulty.acknowledge(done)
        if message is not None:
            clock.at = message.published_at
            channel.publish([message])
            faulty.pull()
    return found


# A message that an outage loses has others of its record behind it.
BEHIND_A_LOST_ONE = ChannelTable(
    reorder=Reorder(share=0.1, extra=Delay(mean=0.05)),
    ordered_by_key=True,
    outages=(Outage(at=0.203125, lasts=1.0, loses=True),),
)


@example(options=BEHIND_A_LOST_ONE, count=21, seed=0)
@settings(max_examples=examples(100))
@given(options=channels, count=st.integers(0, 80), seed=st.integers(0, 1_000))
def test_with_the_same_fates_the_decorator_delivers_what_the_arrays_say(
    options: ChannelTable, count: int, seed: int
) -> None:
    at, record = sent(count, 5)
    must = transmit(at, record, options, stream(seed, "channel"))
    fates = DrawnFates(options, Fates.draw(options, count, stream(seed, "channel")))
    channel, clock = MemoryChannel(), SetClock()
    faulty = Faulty(channel.subscribe("group", "one"), fates, clock, options.outages)
    published = [
        Message(number + 1, ("item", int(key)), float(when), None)
        for number, (when, key) in enumerate(zip(at, record, strict=True))
    ]
    found = lived(faulty, channel, clock, published)
    assert [position - 1 for position, _ in found] == must.message.tolist()
    assert [when for _, when in found] == must.arrives_at.tolist()
    assert faulty.counts["sent"] + faulty.counts["duplicated"] == len(found) + faulty.counts["lost"]
    assert faulty.waiting == 0
    # Whatever became of a message, nothing of it is open below.
    channel.subscribe("group", "one")
    assert channel.subscribe("group", "other").take(1_000, 0.0) == []


@given(
    options=channels.map(LiveFaults.of),
    outage=st.sampled_from(["none", "held", "lost"]),
    count=st.integers(0, 60),
    seed=st.integers(0, 99),
    capacity=st.integers(1, 80),
)
def test_every_copy_is_delivered_lost_or_counted_and_nothing_is_invented(
    options: LiveFaults, outage: Any, count: int, seed: int, capacity: int
) -> None:
    fates = SampledFates(options.model_copy(update={"outage": outage}), seed)
    channel, clock = MemoryChannel(), SetClock()
    faulty = Faulty(channel.subscribe("group", "one"), fates, clock, capacity=capacity)
    found: list[Delivery] = []
    for number in range(count):
        clock.at = number / 10
        channel.publish([Message(number + 1, ("item", number % 5), clock.at, None)])
        found += faulty.take(1_000, 0.0)
        assert faulty.waiting <= capacity
    if outage == "held":
        assert found == []
        fates.options = options
    clock.at = 1e9
    found += faulty.take(1_000, 0.0)
    counts = faulty.counts
    assert faulty.waiting == 0
    assert counts["sent"] == count
    assert counts["delivered"] == len(found)
    assert counts["sent"] + counts["duplicated"] == counts["delivered"] + counts["lost"] + counts["overflowed"]
    assert {item.message.position for item in found} <= set(range(1, count + 1))
    assert len({(item.message.position, item.copy) for item in found}) == len(found)
    if options.ordered_by_key and not options.duplicate:
        for record in range(5):
            mine = [item.message.position for item in found if item.message.record[1] == record]
            assert mine == sorted(mine)
    faulty.acknowledge(found)
    channel.subscribe("group", "one")
    assert channel.subscribe("group", "other").take(1_000, 0.0) == []


# --- fates -----------------------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 99), order=st.permutations(range(1, 30)), start=st.sampled_from([0, 1_010, 50_000]))
def test_a_fate_depends_on_seed_and_position_alone(seed: int, order: list[int], start: int) -> None:
    options = ChannelFaults(duplicate=0.3, lose=0.3, delay=Delay(kind="exponential", mean=1.0))
    one, other = SampledFates(options, seed), SampledFates(options, seed)
    in_order = {start + number: one.of(start + number) for number in range(1, 30)}
    assert {start + number: other.of(start + number) for number in order} == in_order


def test_fates_have_the_shares_of_their_options() -> None:
    count = 30_000
    options = ChannelFaults.model_validate(
        {"duplicate": 0.2, "lose": 0.1, "delay": {"kind": "exponential", "mean": 2.0},
         "reorder": {"share": 0.3, "extra": {"mean": 5.0}}}
    )  # fmt: skip
    sampled = SampledFates(options, 3)
    fates = [sampled.of(position) for position in range(1, count + 1)]
    copies = [fate for found in fates for fate in found]
    assert within(sum(len(found) == 2 for found in fates) / count, 0.2, count)
    assert within(sum(fate.lost for fate in copies) / len(copies), 0.1, len(copies))
    assert within(sum(fate.detour > 0 for fate in copies) / len(copies), 0.3, len(copies))
    assert np.mean([fate.delay for fate in copies]) == pytest.approx(2.0, rel=0.05)
    assert {fate.detour for fate in copies} == {0.0, 5.0}
    assert fates[:200] != [SampledFates(options, 4).of(position) for position in range(1, 201)]


def test_what_the_broker_repeats_while_it_is_on_its_way_is_ignored_and_counted() -> None:
    class Repeating:
        """Delivers its message again and again, as a broker does that waits too short a time."""

        def take(self, most: int, seconds: float) -> list[Delivery]:
            """Three times."""
            self.left = getattr(self, "left", 3) - 1
            return [Delivery(messages([1])[0], tag=1, attempt=3 - self.left)] if self.left >= 0 else []

        def acknowledge(self, done: Any) -> None:
            """Too late."""

        refuse = acknowledge

        def close(self) -> None:
            """Nothing to leave."""

    clock = SetClock()
    faulty = Faulty(Repeating(), SampledFates(ChannelFaults(delay=Delay(mean=9.0)), 1), clock)
    faulty.pull()
    clock.at = 100.0
    assert len(faulty.take(10, 0.0)) == 1
    assert faulty.repeated == 2

"""What a live channel promises: groups, order, bounded queues, and redelivery of what was not acknowledged.

A channel says in its `promises` what of it depends on the broker; the rest holds for all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from lab.base import Unavailable
from lab.ports import Channel, Delivery, Message, Subscription
from lab.testing.contracts import parametrized
from lab.testing.replacing import (
    a_member_of_a_lower_generation_replaces_none,
    a_member_that_was_replaced_while_it_waits_takes_nothing_more,
)
from lab.testing.taking import PATIENCE, ROOM, MakeChannel, messages, positions, taken

# Seconds after which nothing more is expected.
_QUIET = 0.3


def _nothing_more(*subscriptions: Subscription) -> bool:
    # What was dropped may say so.
    with suppress(Unavailable):
        return not any(each.take(ROOM, _QUIET) for each in subscriptions)
    return True


def _in_order(channel: Channel, deliveries: Iterable[Delivery]) -> bool:
    """Whether deliveries are in the order that the channel promises: of all, or within each record."""
    of: dict[object, list[int]] = {}
    for item in deliveries:
        of.setdefault(None if channel.promises.ordered else item.message.record, []).append(item.message.position)
    return all(each == sorted(each) for each in of.values())


def _attempts_fit(channel: Channel, deliveries: Iterable[Delivery], must: int) -> bool:
    counted = {"all": {must}, "repeated": {min(must, 2)}, "own": set(range(1, must + 1))}[channel.promises.attempts]
    return {item.attempt for item in deliveries} <= counted


def what_is_published_arrives_once_and_in_order(make: MakeChannel) -> None:
    channel = make(ROOM, "")
    subscription = channel.subscribe("group", "one")
    channel.publish(messages([1, 2]))
    channel.publish(messages([3, 4, 5]))
    found = taken(subscription, 3) + taken(subscription, 2)
    assert sorted((item.message for item in found), key=lambda one: one.position) == messages(range(1, 6))
    assert _in_order(channel, found)
    assert {item.attempt for item in found} == {1}
    assert len({item.tag for item in found}) == 5
    subscription.acknowledge(found)
    assert _nothing_more(subscription)


def a_group_gets_what_is_published_after_it_was_made(make: MakeChannel) -> None:
    channel = make(ROOM, "")
    channel.publish(messages([1]))
    channel.declare("group")
    channel.declare("group")
    channel.publish(messages([2]))
    subscription = channel.subscribe("group", "one")
    channel.publish(messages([3]))
    assert sorted(positions(taken(subscription, 2))) == [2, 3]
    assert _nothing_more(subscription)


def every_group_gets_every_message_and_one_member_of_each(make: MakeChannel) -> None:
    channel = make(ROOM, "")
    one, other = (channel.subscribe("shared", name) for name in ("one", "other"))
    alone = channel.subscribe("alone", "one")
    channel.publish(messages(range(1, 31)))
    found: list[Delivery] = []
    until = time.monotonic() + PATIENCE
    while len({*positions(found)}) < 30 and time.monotonic() < until:
        for member in (one, other):
            more = member.take(4, 0.05)
            assert len(more) <= 4
            member.acknowledge(more)
            found += more
    # While members join, a broker that counts no attempts deals out anew: what isn't acknowledged by then comes again.
    come = {*positions(found)} if channel.promises.attempts == "own" else positions(found)
    assert sorted(come) == list(range(1, 31))
    assert sorted(positions(taken(alone, 30))) == list(range(1, 31))
    assert _nothing_more(one, other, alone)


def what_a_member_that_left_did_not_acknowledge_is_delivered_again(make: MakeChannel) -> None:
    channel = make(ROOM, "")
    one = channel.subscribe("group", "one")
    channel.publish(messages(range(1, 7)))
    found = taken(one, 4)
    one.acknowledge(found[:1])
    one.close()
    one.close()
    assert _nothing_more(one)
    other = channel.subscribe("group", "other")
    again = taken(other, 5)
    left = positions(found[1:])
    rest = sorted(set(range(1, 7)) - set(positions(found)))
    assert sorted(positions(again)) == sorted(left + rest)
    if channel.promises.left_first:
        assert positions(again) == left + rest
    assert _attempts_fit(channel, [item for item in again if item.message.position in left], 2)
    other.acknowledge(again)
    assert _nothing_more(other)


def a_member_that_starts_again_gets_what_it_had_taken(make: MakeChannel) -> None:
    channel = make(ROOM, "")
    dead = channel.subscribe("group", "one")
    channel.publish(messages([1, 2, 3]))
    left = taken(dead, 2)
    if not channel.promises.replaces:
        # The broker sees that a member is gone by its connection, or after a while.
        dead.close()
    again = channel.subscribe("group", "one")
    dead.acknowledge(left)
    found = taken(again, 3)
    assert sorted(positions(found)) == [1, 2, 3]
    if channel.promises.left_first:
        assert positions(found) == [1, 2, 3]
    channel.publish(messages([4]))
    assert _nothing_more(dead)
    assert positions(taken(again, 1)) == [4]


def what_is_refused_is_delivered_again(make: MakeChannel) -> None:
    channel = make(ROOM, "")
    subscription = channel.subscribe("group", "one")
    channel.publish(messages(range(1, 6)))
    found = taken(subscription, 3)
    subscription.refuse(found[:2])
    again = taken(subscription, 4)
    assert sorted(positions(again)) == sorted({1, 2, 3, 4, 5} - {found[2].message.position})
    if channel.promises.left_first:
        assert positions(again) == [1, 2, 4, 5]
    refused = [item for item in again if item.message.position in positions(found[:2])]
    assert _attempts_fit(channel, refused, 2)


def acknowledging_twice_or_something_unknown_does_nothing(make: MakeChannel) -> None:
    channel = make(ROOM, "")
    subscription = channel.subscribe("group", "one")
    channel.publish(messages([1, 4]))
    (found,) = taken(subscription, 1)
    subscription.acknowledge([found, found])
    subscription.refuse([found])
    subscription.acknowledge(former := [found, *taken(subscription, 1)])
    assert former[1].message.position == 4
    subscription.close()
    # A tag that a former member had must be none of a later one's.
    later = channel.subscribe("group", "one")
    channel.publish(messages([7, 10]))
    new = taken(later, 2)
    later.acknowledge(former)
    later.close()
    assert sorted(positions(taken(channel.subscribe("group", "one"), 2))) == sorted(positions(new))


def a_full_queue_refuses_and_loses_nothing(make: MakeChannel) -> None:
    channel = make(3, "")
    if not channel.promises.bounded:
        return
    # Nobody takes anything: what a broker has sent to a member may be in its queue no more.
    channel.declare("group")
    channel.publish(messages([1, 2]))
    try:
        channel.publish(messages([3, 4]))
    except Unavailable:
        pass
    else:
        raise AssertionError("a fourth message found room in a queue of three")
    subscription = channel.subscribe("group", "one")
    found = taken(subscription, 2 if channel.promises.whole else 3)
    assert positions(found)[:2] == [1, 2]
    subscription.acknowledge(found)
    _published(channel, [3, 4])
    assert {*positions(taken(subscription, 2))} == {3, 4}
    assert _nothing_more(subscription)


def _published(channel: Channel, numbers: Iterable[int]) -> None:
    """Publish as a publisher does: again, until it is stored. Room may take a moment to be free."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            channel.publish(messages(numbers))
            return
        except Unavailable:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


def texts_of_all_scripts_and_a_megabyte_come_back_as_they_were(make: MakeChannel) -> None:
    channel = make(ROOM, "")
    subscription = channel.subscribe("grüppe 1", "mitglied ß")
    bodies: list[object] = ["Ünïcödé 漢字 🙂 \u0000 \n", [1, None, 0.1, True, {"a": -(2**63)}], "x" * 1_000_000]
    published = [Message(number, ("ítem", f"schlüssel {number}"), 0.5, body) for number, body in enumerate(bodies, 1)]
    channel.publish(published)
    assert sorted((item.message for item in taken(subscription, 3)), key=lambda one: one.position) == published


def what_waits_is_told(make: MakeChannel) -> None:
    channel = make(ROOM, "")
    subscription = channel.subscribe("group", "one")
    assert channel.backlog("group") == 0
    channel.declare("other")
    channel.publish(messages(range(1, 6)))
    assert channel.backlog("other") == 5
    subscription.acknowledge(taken(subscription, 5))
    until = time.monotonic() + PATIENCE
    while left := channel.backlog("group"):
        assert time.monotonic() < until, left
        time.sleep(0.02)


def a_channel_opened_again_by_its_name_goes_on(make: MakeChannel) -> None:
    channel = make(ROOM, "")
    if not channel.promises.durable:
        return
    subscription = channel.subscribe("group", "one")
    channel.publish(messages([1, 2]))
    subscription.acknowledge(taken(subscription, 1))
    subscription.close()
    channel.close()
    channel.close()
    again = make(ROOM, channel.name)
    again.publish(messages([3]))
    assert len({*positions(taken(again.subscribe("group", "one"), 2))}) == 2
    again.drop()


def after_a_drop_nothing_of_it_is_left_and_all_of_another(make: MakeChannel) -> None:
    channel, other = make(ROOM, ""), make(ROOM, "")
    former, kept = channel.subscribe("group", "one"), other.subscribe("group", "one")
    channel.publish(messages([1]))
    other.publish(messages([2]))
    channel.drop()
    channel.drop()
    assert _nothing_more(former)
    assert positions(taken(kept, 1)) == [2]
    again = make(ROOM, channel.name)
    assert _nothing_more(again.subscribe("group", "one"))


PROMISES: tuple[Callable[[MakeChannel], None], ...] = (
    what_is_published_arrives_once_and_in_order,
    a_group_gets_what_is_published_after_it_was_made,
    every_group_gets_every_message_and_one_member_of_each,
    what_a_member_that_left_did_not_acknowledge_is_delivered_again,
    a_member_that_starts_again_gets_what_it_had_taken,
    a_member_that_was_replaced_while_it_waits_takes_nothing_more,
    a_member_of_a_lower_generation_replaces_none,
    what_is_refused_is_delivered_again,
    acknowledging_twice_or_something_unknown_does_nothing,
    a_full_queue_refuses_and_loses_nothing,
    texts_of_all_scripts_and_a_megabyte_come_back_as_they_were,
    what_waits_is_told,
    a_channel_opened_again_by_its_name_goes_on,
    after_a_drop_nothing_of_it_is_left_and_all_of_another,
)


def channel_contract(make: MakeChannel) -> Callable[..., None]:
    """A pytest test of every promise, over channels that `make` makes or opens; all are dropped afterwards."""

    def run(promise: Callable[[MakeChannel], None], _: Path) -> None:
        made: list[Channel] = []

        def kept(capacity: int, name: str) -> Channel:
            made.append(make(capacity, name))
            return made[-1]

        try:
            promise(kept)
        finally:
            for channel in made:
                channel.drop()

    return parametrized(PROMISES, run, lambda promise: promise.__name__)

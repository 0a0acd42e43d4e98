"""A member whose process is busy, or whose broker holds nonsense: nothing is acknowledged before it is stored."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from test_live_on_brokers import TEXT
from test_live_run import planned

import lab.service.listening as listening
import lab.service.part as part
from lab.base import Damaged
from lab.channel.memory import MemoryChannel
from lab.channel.patient import PAUSE, Patient
from lab.ports import Delivery, Message
from lab.running.live import Heard, Waiting
from lab.scenario import ChannelTable
from lab.service.listening import BrokerListener, ChannelFiles
from lab.service.membership import member_of
from lab.service.temporary import temporary_folder
from lab.service.wire import run
from lab.testing.taking import messages

CAPACITY, MESSAGES = 50, 300


def published(positions: Sequence[int]) -> list[Message]:
    return [Message(one, ("item", one % 7), 0.0, ["item", [one, one % 7, 1], [False]]) for one in positions]


class Watched(MemoryChannel):
    """Remembers what is acknowledged before it is in `stored`."""

    def __init__(self) -> None:
        super().__init__()
        self.stored: set[int] = set()
        self.early: list[int] = []
        self.joined: list[int] = []

    def subscribe(self, group: str, member: str, generation: int = 0) -> Any:
        """A member whose acknowledgements are looked at."""
        channel, below = self, super().subscribe(group, member, generation)
        self.joined.append(generation)
        acknowledged = below.acknowledge

        def acknowledge(done: Sequence[Delivery]) -> None:
            channel.early += [one.message.position for one in done if one.message.position not in channel.stored]
            acknowledged(done)

        below.acknowledge = acknowledge  # type: ignore[method-assign]
        return below


def member(inbox: Waiting, folder: Path, part: str = "", generation: int = 0) -> BrokerListener:
    """The member of a projection that has this inbox, or of one assignment of its partition."""
    # All have room on their way, and few in the inbox.
    table = ChannelTable(broker="redis", capacity=MESSAGES)
    projector = SimpleNamespace(held=lambda _: [])
    stand_in: Any = SimpleNamespace(
        item=SimpleNamespace(name="board", layout=SimpleNamespace(entities={"item": None})),
        plan=SimpleNamespace(scenario=SimpleNamespace(channel=table, seed=1)),
        log=SimpleNamespace(now=time.monotonic, note=lambda *_: None), inbox=inbox,
        journal=SimpleNamespace(counts={"messages": 0}), runner=SimpleNamespace(wake=lambda: None),
        worker=SimpleNamespace(entities=("item",), projector=projector),
    )  # fmt: skip
    (folder / "channel.began").write_text(f"{time.monotonic()}")
    return member_of(stand_in, "", folder, part, generation)


def test_a_busy_process_takes_no_more_than_its_inbox_holds_and_acknowledges_what_it_has_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel, lost = Watched(), list[Any]()
    monkeypatch.setattr(listening, "CHANNELS", {"redis": lambda capacity, name: channel})
    channel.declare("board")
    channel.publish(published(range(1, MESSAGES + 1)))

    async def work() -> None:
        inbox = Waiting(CAPACITY, lost.append)
        listener = member(inbox, tmp_path)
        listener.start()
        until = time.monotonic() + 20
        while len(channel.stored) < MESSAGES and not lost and time.monotonic() < until:
            await asyncio.sleep(0.005)
            batch = inbox.first(len(inbox))
            # A batch for which the loop stands still.
            time.sleep(0.15)
            channel.stored |= {one.row[0] for one in batch}
            inbox.acknowledge(len(batch))
        await listener.stop()

    asyncio.run(work())
    assert not lost
    assert channel.stored == set(range(1, MESSAGES + 1))
    assert channel.early == []
    assert channel.backlog("board") == 0
    assert ChannelFiles(tmp_path).counted("board")["open"] == 0


def test_an_owner_whose_partition_was_given_on_can_not_take_its_messages_from_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one whose connection breaks after that, and that joins again because it has not heard yet."""
    channel = Watched()
    channel.stored = set(range(MESSAGES))
    monkeypatch.setattr(listening, "CHANNELS", {"redis": lambda capacity, name: channel})

    async def work() -> None:
        inboxes = [Waiting(CAPACITY, print) for _ in range(2)]
        former, owner = (member(inbox, tmp_path, f"board.0-{at}", at) for at, inbox in enumerate(inboxes, 1))
        owner.start()
        until = time.monotonic() + 20
        while not channel.joined and time.monotonic() < until:
            await asyncio.sleep(0.005)
        former.start()
        while len(channel.joined) < 2 and time.monotonic() < until:
            await asyncio.sleep(0.005)
        channel.publish(published([1, 2]))
        while len(inboxes[1]) < 2 and time.monotonic() < until:
            await asyncio.sleep(0.005)
        assert [len(inbox) for inbox in inboxes] == [0, 2]
        for one in (former, owner):
            await one.stop()

    asyncio.run(work())
    assert channel.joined == [2, 1]


def test_what_has_no_room_is_acknowledged_as_itself(tmp_path: Path) -> None:
    async def work() -> None:
        inbox = Waiting(2, lost.append)
        listener = member(inbox, tmp_path)
        inbox.arrive([Heard("item", [9], [])], 0.0)
        listener.arrived([Delivery(published([9])[0], 9)])
        listener._hear([Delivery(one, one.position) for one in published([1, 2, 3])])
        assert sorted(done(listener)) == [2, 3]
        inbox.acknowledge(2)
        assert done(listener) == [9, 1]

    def done(listener: BrokerListener) -> list[int]:
        return [listener._done.get_nowait().tag for _ in range(listener._done.qsize())]

    lost = list[Any]()
    asyncio.run(work())
    assert [one.tolist() for one in lost] == [[2, 3]]


class Broken(MemoryChannel):
    """Raises `error` whenever something is taken."""

    error: Exception | None = None

    def subscribe(self, group: str, member: str, generation: int = 0) -> Any:
        """A member that fails."""
        channel, below = self, super().subscribe(group, member, generation)
        take = below.take

        def fail(most: int, seconds: float) -> list[Delivery]:
            if channel.error is not None:
                raise channel.error
            return take(most, seconds)

        below.take = fail  # type: ignore[method-assign]
        return below


def test_a_member_goes_on_after_any_error_of_the_labs_own() -> None:
    channel, said = Broken(), list[str]()
    patient = Patient(lambda: channel.subscribe("group", "one"), said.append)
    channel.declare("group")
    channel.publish(messages([1]))
    channel.error = Damaged("the key holds another kind of value")
    assert patient.take(10, 0.0) == []
    channel.error = None
    time.sleep(PAUSE)
    assert [one.message.position for one in patient.take(10, 0.0)] == [1]
    assert said[0].startswith("the key holds another kind of value; it is tried again")


def test_a_defect_in_the_members_thread_ends_the_process_of_its_projection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = Broken()
    channel.error = RuntimeError("a defect")
    monkeypatch.setattr(listening, "CHANNELS", {"redis": lambda capacity, name: channel})
    made = planned(tmp_path, TEXT)

    async def never() -> None:
        await asyncio.sleep(20)

    monkeypatch.setattr(part, "_ended", never)
    # A socket's path must be short.
    with temporary_folder("lab-") as folder:
        (folder / "channel.began").write_text(f"{time.monotonic()}")
        named = str(tmp_path / "small-live.toml"), ("time.mode=live",), None, str(folder), str(folder)
        orders = part.Orders("gossip", *named, time.time(), channel="some")
        with pytest.raises(RuntimeError, match="a defect"):
            run(part._project(orders, made))

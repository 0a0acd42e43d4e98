"""A process that shares partitions: it ends in order, and what has ended the work on a partition is told."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from test_live_run import planned
from test_partitioned import TEXT, Beats

from lab.base import Fenced, Unavailable
from lab.channel import patient
from lab.ports import Assignment
from lab.service import member

FIRST, SECOND = Assignment(0, 1), Assignment(1, 1)


class Given(Beats):
    """A group that assigns what the test says. `left` counts those that have left."""

    def __init__(self) -> None:
        super().__init__()
        self.mine: list[Assignment] = []
        self.left: list[bool] = []

    def assigned(self, refused: object, working: object) -> list[Assignment]:
        super().assigned(refused, working)
        return [*self.mine]

    def leave(self) -> None:
        self.left.append(True)


class Owner:
    """An owner that works until it is stopped, or raises `error` first; `ends` is when its stop returns."""

    position, in_flight, inbox = 0, 0, ()

    def __init__(self) -> None:
        self.stopped, self.ends, self.stops = asyncio.Event(), asyncio.Event(), 0
        self.error: Exception | None = None
        self.ends.set()

    async def work(self) -> None:
        await self.stopped.wait()
        if self.error is not None:
            raise self.error

    async def stop(self, last: bool = False) -> None:
        self.stops += 1
        await self.ends.wait()
        self.stopped.set()


class Sharing:
    """A member with such owners, in a folder of its own."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.group, self.owners, self.folder = Given(), dict[Assignment, Owner](), folder
        self.made = planned(folder, TEXT)
        # Set unless the row of a partition is locked; stores that were closed without an owner.
        self.free, self.closed = {one: threading.Event() for one in (FIRST, SECOND)}, list[Assignment]()
        for one in self.free.values():
            one.set()
        # Those whose row the store finds locked; each try; and what was said.
        self.locked, self.tries, self.lines = set[Assignment](), list[Assignment](), list[str]()
        monkeypatch.setattr(member, "GROUPS", {"redis": lambda *_: self.group})
        monkeypatch.setattr(member, "BEAT", 0.02)
        monkeypatch.setattr(member, "claimed", self._claimed)
        monkeypatch.setattr(member, "PartitionOwner", self._owner)

    def _claimed(self, item: object, folder: object, one: Assignment) -> Any:
        self.free[one].wait(20)
        self.tries.append(one)
        if one in self.locked:
            raise Unavailable(f"partition {one.partition} is locked")
        store = SimpleNamespace(close=lambda: self.closed.append(one))
        return SimpleNamespace(projector=SimpleNamespace(store=store))

    def _owner(self, *rest: Any) -> Owner:
        self.owners[rest[4]] = Owner()
        return self.owners[rest[4]]

    def joined(self) -> member.PartitionMember:
        item = self.made.projections[0]
        words = self.made, item, self.folder, 0.0, "shared.1", "group", [], lambda: None, self.lines.append
        return member.PartitionMember(*words)

    def told(self) -> list[tuple[int, str]]:
        lines = (self.folder / "shared.1.assignments").read_text(encoding="utf-8").splitlines()
        return [(row[0], row[2]) for row in map(json.loads, lines)]


@pytest.fixture
def sharing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sharing:
    return Sharing(tmp_path, monkeypatch)


async def until(met: Callable[[], bool]) -> None:
    ends = time.monotonic() + 20
    while not met():
        assert time.monotonic() < ends
        await asyncio.sleep(0.005)


def test_a_member_that_is_stopped_while_it_gives_a_partition_away_ends_once(sharing: Sharing) -> None:
    async def work() -> None:
        shared = sharing.joined()
        working = asyncio.create_task(shared.work())
        sharing.group.mine = [FIRST, SECOND]
        await until(lambda: len(shared.owners) == 2)
        sharing.owners[FIRST].ends.clear()
        sharing.group.mine = [SECOND]
        await until(lambda: sharing.owners[FIRST].stops == 1)
        stopping = asyncio.create_task(shared.stop())
        await asyncio.sleep(0.05)
        assert not sharing.group.left
        sharing.owners[FIRST].ends.set()
        await stopping
        await working

    asyncio.run(work())
    assert {one: owner.stops for one, owner in sharing.owners.items()} == {FIRST: 1, SECOND: 1}
    assert sharing.told()[2:] == [(0, "given away"), (1, "stopped")]
    assert sharing.group.left == [True]


def test_a_member_that_is_stopped_before_its_work_has_begun_begins_none(sharing: Sharing) -> None:
    async def work() -> None:
        shared = sharing.joined()
        working = asyncio.create_task(shared.work())
        await shared.stop()
        await working

    asyncio.run(work())
    assert (sharing.group.heard, sharing.group.left) == (0, [True])


@pytest.mark.parametrize("by", ["given away", "stopped"])
def test_a_defect_is_told_although_its_partition_is_given_up_at_the_same_time(by: str, sharing: Sharing) -> None:
    async def work() -> None:
        shared = sharing.joined()
        working = asyncio.create_task(shared.work())
        sharing.group.mine = [FIRST, SECOND]
        await until(lambda: len(shared.owners) == 2)
        # It raises as soon as it is asked to end.
        sharing.owners[FIRST].error = ZeroDivisionError("a defect")
        if by == "given away":
            sharing.group.mine = [SECOND]
            with pytest.raises(ZeroDivisionError):
                await asyncio.wait_for(working, 10)
            await shared.stop()
        else:
            with pytest.raises(ZeroDivisionError):
                await shared.stop()
            await working

    asyncio.run(work())
    # The others are ended all the same.
    assert [owner.stops for owner in sharing.owners.values()] == [1, 1]
    assert sharing.group.left == [True]


def test_one_that_was_replaced_is_no_defect(sharing: Sharing) -> None:
    async def work() -> None:
        shared = sharing.joined()
        working = asyncio.create_task(shared.work())
        sharing.group.mine = [FIRST]
        await until(lambda: FIRST in shared.owners)
        sharing.owners[FIRST].error = Fenced("another has it", 2)
        await shared.stop()
        await working

    asyncio.run(work())
    assert sharing.told() == [(0, "began"), (0, "refused as stale")]


@pytest.mark.parametrize("by", ["begun", "given away", "stopped"])
def test_a_claim_that_waits_for_a_frozen_owner_holds_up_no_other_partition(by: str, sharing: Sharing) -> None:
    async def work() -> None:
        shared = sharing.joined()
        working = asyncio.create_task(shared.work())
        sharing.free[FIRST].clear()
        sharing.group.mine = [FIRST, SECOND]
        await until(lambda: SECOND in shared.owners)
        assert FIRST not in shared.owners
        if by == "given away":
            sharing.group.mine = [SECOND]
            await until(lambda: shared._mine == [SECOND])
        stopping = asyncio.create_task(shared.stop()) if by == "stopped" else None
        await asyncio.sleep(0)
        sharing.free[FIRST].set()
        if by == "begun":
            await until(lambda: FIRST in shared.owners)
        if by == "given away":
            await until(lambda: sharing.closed == [FIRST])
        await (stopping or shared.stop())
        await working

    asyncio.run(work())
    assert set(sharing.owners) == ({FIRST, SECOND} if by == "begun" else {SECOND})
    assert sharing.closed == ([] if by == "begun" else [FIRST])


def test_a_claim_that_fails_for_a_while_is_told_once_and_once_that_it_is_over(
    sharing: Sharing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the broker answers meanwhile."""
    monkeypatch.setattr(patient, "PAUSE", 0.01)
    monkeypatch.setattr(patient, "PAUSE_MAX", 0.01)

    async def work() -> None:
        shared = sharing.joined()
        working = asyncio.create_task(shared.work())
        sharing.locked = {FIRST, SECOND}
        sharing.group.mine = [FIRST, SECOND]
        await until(lambda: min(map(sharing.tries.count, (FIRST, SECOND))) > 4)
        sharing.locked = {SECOND}
        await until(lambda: FIRST in shared.owners)
        tried = sharing.tries.count(SECOND)
        await until(lambda: sharing.tries.count(SECOND) > tried + 2)
        sharing.locked = set()
        await until(lambda: SECOND in shared.owners)
        await shared.stop()
        await working

    asyncio.run(work())
    assert sorted(sharing.lines[:2]) == [
        f"partition {one} is locked; it is tried again until partition {one} is claimed" for one in (0, 1)
    ]
    assert sharing.lines[2:] == ["partition 0 is claimed", "partition 1 is claimed"]


def test_a_claim_that_has_failed_is_tried_again_after_a_pause(
    sharing: Sharing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patient, "PAUSE", 1_000.0)

    async def work() -> None:
        shared = sharing.joined()
        working = asyncio.create_task(shared.work())
        sharing.locked = {FIRST}
        sharing.group.mine = [FIRST]
        await until(lambda: bool(shared._claims))
        heard = sharing.group.heard
        await until(lambda: sharing.group.heard > heard + 10)
        assert sharing.tries == [FIRST]
        # Given away and back, it is another claim.
        sharing.group.mine = []
        await until(lambda: not shared._claims)
        sharing.locked = set()
        sharing.group.mine = [FIRST]
        await until(lambda: FIRST in shared.owners)
        await shared.stop()
        await working

    asyncio.run(work())
    assert sharing.tries == [FIRST, FIRST]

"""Owners of partitions whose source of truth went back: each empties its own, and the next one reads it anew."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from test_live_run import planned
from test_partition_members import FIRST, Sharing
from test_partitioned import TEXT, owned_by_two

from lab.base import Fenced
from lab.domain.employees import EMPLOYEES
from lab.domain.model import Command
from lab.live import members
from lab.live.sharing import shared_journal
from lab.measure import lag
from lab.place import FolderPlace
from lab.ports import Assignment
from lab.running.notes import BoundedJournal
from lab.service import partition
from lab.service.following import Feeding
from lab.service.messages import ReadStatus
from lab.service.partition import PartitionOwner, claimed
from lab.stores import dump
from lab.truth import Truth, open_beside, open_truth
from lab.truth.timeline import Diverged

# What is there before and after, and what takes the positions of what is gone: of the other partitions alone.
COMMON, GONE, INSTEAD = [*range(6)], [7, 9, 11, 13], [8, 10, 12, 14, 16]


def hire(key: int, at: float) -> Command:
    fields = {"name": f"Number {key}", "manager": None, "department": "Sales", "salary": 3_000}
    return Command("employee", "hire", key, fields, at=at)


class WentBack:
    """A source of truth, the one that it is after a crash, and owners of the partitions of a projection of it."""

    def __init__(self, engine: str, partitions: int, folder: Path) -> None:
        text = TEXT.replace("partitions = 4", f"partitions = {partitions}\nsubscribe = 'catch-up'")
        if engine == "sqlite":
            text = text.replace('engine = "postgres"', 'engine = "sqlite"').replace("horizon", "naive")
            text = text.replace("[writers]\ncount = 2\n", "")
        self.made, self.folder, self.partitions = planned(folder, text), folder, partitions
        self.item = self.made.projections[0]
        self.truths = [self._made(engine, "before", GONE, 100.0), self._made(engine, "after", INSTEAD, 200.0)]
        self.now, self.heads = 0, [len(COMMON) + len(GONE), len(COMMON) + len(INSTEAD)]
        self.whole = self.item.store(FolderPlace(folder).within(self.item.name).current)
        self.whole.open()

    def _made(self, engine: str, name: str, last: list[int], at: float) -> Truth:
        truth = open_truth(engine, "history", FolderPlace(self.folder / name), EMPLOYEES, "normal")
        for key in COMMON:
            truth.execute(hire(key, 1.0 + key))
        for key in last:
            truth.execute(hire(key, at + key))
        return truth

    def find(self) -> Truth | None:
        table, name = self.made.scenario.truth, ["before", "after"][self.now]
        return open_beside(table.engine, "history", FolderPlace(self.folder / name), EMPLOYEES, "normal")

    def owner(self, number: int, generation: int) -> PartitionOwner:
        assignment = Assignment(number, generation)
        own = claimed(self.item, self.folder, assignment)
        return PartitionOwner(self.made, self.item, self.folder, time.time(), assignment, self.find, "", own)

    def shown(self) -> list[int]:
        return sorted(dump(self.whole, "employee")["key"].to_list())

    def close(self) -> None:
        self.whole.drop()
        for truth in self.truths:
            truth.drop()


@pytest.fixture
def back(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[WentBack]:
    made = WentBack(*request.param, tmp_path)
    yield made
    made.close()


async def until(met: Callable[[], bool]) -> None:
    ends = time.monotonic() + 60
    while not met():
        assert time.monotonic() < ends
        await asyncio.sleep(0.01)


async def worked(owners: list[PartitionOwner], head: int) -> list[asyncio.Task[None]]:
    """Let them work until each has gone past what is there: a partition's reader does by its first empty page."""
    works = [asyncio.create_task(owner.work()) for owner in owners]

    def past() -> bool:
        return all(owner.worker.positions["employee"] >= head for owner in owners)

    await until(lambda: past() or any(work.done() for work in works))
    assert not any(work.done() for work in works)
    return works


async def ended(owners: list[PartitionOwner], works: list[asyncio.Task[None]]) -> None:
    for owner in owners:
        await owner.stop()
    await asyncio.gather(*works, return_exceptions=True)


async def gone_back(back: WentBack, taken_over: bool) -> list[BaseException | None]:
    """Have the source go back under owners, or between two; what has ended their work."""
    owners = [back.owner(number, 1) for number in range(back.partitions)]
    works = await worked(owners, back.heads[0])
    assert back.shown() == sorted(COMMON + GONE)
    if taken_over:
        await ended(owners, works)
        owners = [back.owner(number, 2) for number in range(back.partitions)]
        works = [asyncio.create_task(owner.work()) for owner in owners]
    back.now = 1
    for owner in owners:
        owner.source.close()
    await asyncio.wait(works, timeout=60)
    found = [work.exception() for work in works]
    await ended(owners, works)
    return found


@pytest.mark.server("postgres")
@pytest.mark.parametrize("taken_over", [False, True])
@pytest.mark.parametrize(
    "back", [(engine, count) for engine in ("postgres", "sqlite") for count in (2, 4)], indirect=True
)
def test_each_owner_empties_its_partition_and_the_next_ones_read_what_is_there_now(
    back: WentBack, taken_over: bool
) -> None:
    async def story() -> None:
        found = await gone_back(back, taken_over)
        for number, error in enumerate(found):
            assert isinstance(error, Diverged)
            # Of odd keys what was read is gone. Of even ones all of it is there, and others are at positions it passed.
            assert (", is gone" if number % 2 else "and that was passed without it") in str(error)
        assert back.shown() == []
        owners = [back.owner(number, 3) for number in range(back.partitions)]
        works = await worked(owners, back.heads[1])
        await ended(owners, works)

    asyncio.run(story())
    assert back.shown() == sorted(COMMON + INSTEAD)


@pytest.mark.server("postgres")
@pytest.mark.parametrize("back", [("sqlite", 2)], indirect=True)
def test_uncompared_it_keeps_what_never_was_and_lacks_what_is(back: WentBack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Feeding, "confirm", lambda self, source: None)

    async def story() -> None:
        owners = [back.owner(number, 1) for number in range(2)]
        works = await worked(owners, back.heads[0])
        back.now = 1
        for owner in owners:
            owner.source.close()
        await until(lambda: all(owner.position >= back.heads[1] for owner in owners))
        await ended(owners, works)

    asyncio.run(story())
    # Only the last one has a position that was not passed before.
    assert back.shown() == sorted(COMMON + GONE + INSTEAD[-1:])


@pytest.mark.server("postgres")
@pytest.mark.parametrize("back", [("sqlite", 2)], indirect=True)
def test_an_owner_that_was_replaced_empties_nothing(back: WentBack) -> None:
    async def story() -> None:
        stale = back.owner(1, 1)
        works = await worked([stale], back.heads[0])
        later = claimed(back.item, back.folder, Assignment(1, 2))
        back.now = 1
        stale.source.close()
        await asyncio.wait(works, timeout=60)
        assert isinstance(works[0].exception(), Fenced)
        await ended([stale], works)
        later.projector.store.close()

    asyncio.run(story())
    assert back.shown() == sorted(key for key in COMMON + GONE if key % 2)


def test_a_member_gives_a_partition_that_is_built_anew_back_under_a_later_generation(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        sharing = Sharing(tmp_path, patch)
        asyncio.run(built_anew(sharing))
    assert sharing.told() == [(0, "began"), (0, "built anew"), (0, "began"), (0, "stopped")]
    assert sharing.lines == ["it went back: partition 0 is built anew"]


async def built_anew(sharing: Sharing) -> None:
    refused, later = list[Assignment](), Assignment(0, 5)
    sharing.free[later] = sharing.free[FIRST]

    def assigned(others: list[Assignment], working: object) -> list[Assignment]:
        refused.extend(others)
        return [later if FIRST in refused else FIRST]

    sharing.group.assigned = assigned  # type: ignore[method-assign, assignment]
    shared = sharing.joined()
    working = asyncio.create_task(shared.work())
    await until(lambda: FIRST in shared.owners)
    sharing.owners[FIRST].position = 7  # type: ignore[misc]
    sharing.owners[FIRST].error = Diverged("it went back")
    sharing.owners[FIRST].stopped.set()
    await until(lambda: FIRST not in shared.owners and FIRST in refused)
    # Until another has it, it is known to have nothing.
    child = SimpleNamespace(ask=shared.handle)
    item = SimpleNamespace(layout=SimpleNamespace(partitions=1))
    if later not in shared.owners:
        assert (await shared.handle(ReadStatus())).body == b'{"partitions": {"0": [1, 0]}, "inbox": 0}'
    await until(lambda: later in shared.owners)
    assert not await members.shared_up_to(item, [child], 7, time.monotonic() + 0.2)  # type: ignore[arg-type, list-item]
    sharing.owners[later].position = 7  # type: ignore[misc]
    assert await members.shared_up_to(item, [child], 7, time.monotonic() + 20)  # type: ignore[arg-type, list-item]
    await shared.stop()
    await working


@pytest.mark.parametrize("written", [True, False])
def test_what_owners_of_an_emptied_partition_did_counts_by_what_was_there_then(
    written: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the process was killed before it could write down that it has emptied the partition."""
    made, changes, owners = owned_by_two(tmp_path, monkeypatch)
    former = owners.began(Assignment(0, 1), 0)
    other = owners.began(Assignment(1, 1), 0)
    for journal in (former, other):
        owners.at = 101.0
        owners.writes(journal, *([1, 2] if journal is former else []), to=2)
    owners.at = 103.0
    if written:
        former._converted = (owners.at, owners.at)
        former.reset(owners.at, ("employee",))
    owners.at = 104.0
    later = owners.began(Assignment(0, 2), 0)
    owners.at = 105.0
    owners.writes(later, 1, 2, to=2)
    for journal in (former, other, later):
        journal.close()
    found = shared_journal(made.projections[0], changes, tmp_path, 100.0)
    at = 3.0 if written else 4.0
    assert found.resets == [at]
    assert [note.epoch for note in found.notes if note.applied.positions.size] == [0, 1]
    assert found.checkpoints == [(1.0, "employee", 2), (at, "employee", 0), (5.0, "employee", 2)]
    assert lag.visible_at(changes, found, True).tolist() == [1.0, 1.0]
    assert lag.visible_at(changes, found, True, 1).tolist() == [5.0, 5.0]
    # Readers found nothing of its records from then on, and all of the others'.
    shown = lag.shown(changes, found)
    assert shown.select("at", "revision").rows() == [(1.0, 2), (at, 0), (5.0, 2)]
    found.emptied = {at: np.array([99])}
    assert lag.shown(changes, found).filter(pl.col("revision") == 0).height == 0


@pytest.mark.server("postgres")
@pytest.mark.parametrize("back", [("sqlite", 2)], indirect=True)
def test_rows_that_stand_far_behind_are_not_asked_for(back: WentBack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition, "ROWS", 2)

    async def story() -> None:
        owners = [back.owner(number, 1) for number in range(2)]
        await ended(owners, await worked(owners, back.heads[0]))

    asyncio.run(story())
    own = claimed(back.item, back.folder, Assignment(1, 2))
    assert own.behind["employee"].select("position", "key").rows() == [(9, 11), (10, 13)]
    own.projector.store.close()


def test_an_owner_that_was_killed_before_it_said_from_where_it_goes_on_has_emptied_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, changes, owners = owned_by_two(tmp_path, monkeypatch)
    owners.at = 100.0
    former = owners.began(Assignment(0, 1), 0)
    owners.at = 101.0
    owners.writes(former, 1, 2, to=2)
    owners.at = 103.0
    BoundedJournal(0.0, lambda: owners.at, owners.files.journal(Assignment(0, 2)), ("employee",)).close()
    owners.at = 104.0
    later = owners.began(Assignment(0, 3), 2)
    for journal in (former, later):
        journal.close()
    found = shared_journal(made.projections[0], changes, tmp_path, 100.0)
    assert found.resets == []
    assert lag.visible_at(changes, found, True).tolist() == [1.0, 1.0]

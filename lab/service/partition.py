"""One partition of a projection as its owner keeps it up to date: a lane of its own, on the store that all share.

It reads its slice of the source of truth behind its own checkpoint, takes the messages of its own channel, and writes
as the owner of one assignment. Once another is the owner, the store refuses what it writes, and its work ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, cast

import polars as pl

from lab.base import META, Fenced, LabError, Unavailable
from lab.feed.sliced import SlicedReader
from lab.feed.source import TruthReader
from lab.place import FolderPlace
from lab.ports import Assignment, FencingStore, KeySlice
from lab.projection.projector import Projector
from lab.running.follower import Follower
from lab.running.lane import Lane
from lab.running.live import LiveService, LiveSource, Waiting
from lab.running.notes import BoundedJournal
from lab.running.spans import SPANS_SUFFIX
from lab.running.wall import WallClock, WallRunner
from lab.running.worklog import WORK_SUFFIX, WorkLog
from lab.service.behind import ROWS
from lab.service.following import Feeding
from lab.service.listening import BrokerListener
from lab.service.membership import member_of
from lab.stores import Store
from lab.truth.timeline import Diverged
from lab.wiring import Plan, ProjectionPlan


@dataclass(frozen=True)
class GroupFiles:
    """The files of a partitioned projection in a live run's folder: one journal for each assignment."""

    folder: Path
    name: str

    def part(self, assignment: Assignment) -> str:
        """What an assignment's files are called."""
        return f"{self.name}.{assignment.partition}-{assignment.generation}"

    def journal(self, assignment: Assignment) -> Path:
        """What its owner did."""
        return self.folder / f"{self.part(assignment)}.journal"

    def begun(self, assignment: Assignment) -> Path:
        """Make the journal of a new owner. Raises Fenced where there is one: it is another's of the same generation."""
        path = self.journal(assignment)
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            said = f"{self.part(assignment)}: another owner has written a journal under this generation"
            raise Fenced(said, assignment.generation) from None
        return path

    def written(self, assignment: Assignment) -> list[Path]:
        """All that its owner writes down: the journal, and what the work took."""
        return [self.journal(assignment).with_suffix(suffix) for suffix in (".journal", WORK_SUFFIX, SPANS_SUFFIX)]

    def assignments(self) -> list[Assignment]:
        """Those that an owner has begun to work on, by partition and generation."""
        found = []
        for path in self.folder.glob(f"{self.name}.*-*.journal"):
            partition, _, generation = path.name.split(".")[1].partition("-")
            found.append(Assignment(int(partition), int(generation)))
        return sorted(found)

    def told(self, member: str) -> Path:
        """What a member wrote of its assignments, a line of JSON for each beginning and each end."""
        return self.folder / f"{member}.assignments"


class Claimed(NamedTuple):
    """A projector that writes as the owner of an assignment, and by entity its partition's newest records."""

    projector: Projector
    behind: Mapping[str, pl.DataFrame]


def claimed(item: ProjectionPlan, folder: Path, assignment: Assignment) -> Claimed:
    """Open the store as the owner of an assignment.

    Raises Fenced where a later assignment is known already, and Unavailable.
    """
    store = item.store(FolderPlace(folder).within(item.name).current)
    with contextlib.ExitStack() as opened:
        opened.callback(close, store)
        fencing = cast(FencingStore, store)
        fencing.claim(assignment)
        projector = Projector(store, item.table.guard, item.table.hold)
        behind = {name: _newest(fencing, name, item.layout.partitions) for name in item.layout.entities}
        opened.pop_all()
    return Claimed(projector, behind)


def _newest(store: FencingStore, entity: str, partitions: int) -> pl.DataFrame:
    """The newest records of a partition, and what of it is parked, in the order of their positions.

    Those that stand far behind are left out: what a crash takes is the last that was committed.
    """
    found = pl.concat([store.newest(entity, ROWS), store.parked(entity).select(META)]).sort("position")
    return found.filter(pl.col("position") > pl.col("position").max() - ROWS * partitions)


def close(store: Store) -> None:
    """Close a store, whose server may be away."""
    with contextlib.suppress(LabError):
        store.close()


def _remove(files: Sequence[Path]) -> None:
    for one in files:
        one.unlink(missing_ok=True)


class PartitionOwner:
    """Works on one assignment until it is stopped, or another is the owner."""

    def __init__(
        self, plan: Plan, item: ProjectionPlan, folder: Path, since: float, assignment: Assignment,
        find: Callable[[], TruthReader | None], channel: str, own: Claimed,
    ) -> None:  # fmt: skip
        """`find` opens the source of truth; `channel` is the name of the partition's channel, "" without messages.

        `own` is what has `claimed` the assignment. The store is closed, and no file is left, where this raises:
        Fenced where another owner of the assignment has begun already, and Unavailable.
        """
        self.plan, self.item, self.assignment = plan, item, assignment
        files, clock, entities = GroupFiles(folder, item.name), WallClock(), tuple(item.layout.entities)
        wanted = KeySlice(assignment.partition, item.layout.partitions)
        self.source = LiveSource(
            find, lambda truth: SlicedReader(item.subscription(truth), wanted), plan.domain, item.before
        )
        with contextlib.ExitStack() as opened:
            opened.callback(close, own.projector.store)
            path = files.begun(assignment)
            opened.callback(_remove, files.written(assignment))
            self.journal = opened.enter_context(contextlib.closing(BoundedJournal(since, clock.now, path, entities)))
            self.log = opened.enter_context(contextlib.closing(WorkLog(clock.now, path.with_suffix(WORK_SUFFIX))))
            self.inbox = Waiting(item.pace.capacity, self.journal.overflow)
            live = LiveService(self.source, entities, self.log, item.faults.retry_parked)
            self.feeding = Feeding(plan, item, folder)
            self.worker: Follower = self.feeding.follower(own.projector, live, self.inbox, self.journal)
            self.feeding.go_on(own.behind, lambda: self.worker.positions)
            opened.pop_all()
        self.worker.sliced = True
        self.worker.confirm = lambda: self.feeding.confirm(self.source)
        # From where it goes on: all of this was in before.
        for name in entities:
            self.journal.checkpoint(clock.now(), name, self.worker.positions[name])
        self.lane = Lane(item.pace, self.inbox, math.inf, self.worker, spans=self.log.spans)
        self.lane.due_at = clock.now()
        self.runner = WallRunner(self.lane, clock, self._after, self.log.starts)
        # Set once the partition is being deleted, since its source of truth went back.
        self._clearing: asyncio.Future[None] | None = None
        self.listener: BrokerListener | None = None
        if channel:
            self.listener = member_of(self, channel, folder, files.part(assignment), assignment.generation)
            self.listener.start()

    @property
    def position(self) -> int:
        """Everything of this partition up to here is in."""
        return self.worker.position if self._clearing is None else 0

    @property
    def in_flight(self) -> int:
        """How many changes were in the batch that was refused last."""
        attempt = self.worker.projector.attempt.in_flight
        return 0 if attempt is None else int(attempt.positions.size)

    async def work(self) -> None:
        """Work until `stop`. Raises Fenced once another is the owner, and what has ended its listener.

        Raises Diverged once the source of truth has gone back: then the partition is empty, for the next owner to read
        anew. While the store is away it isn't, and the next owner finds the same.
        """
        running = asyncio.ensure_future(self.runner.run())
        failed = [] if self.listener is None else [self.listener.failed]
        await asyncio.wait([running, *failed], return_when=asyncio.FIRST_COMPLETED)
        self.runner.stop()
        try:
            await running
        except Diverged:
            with contextlib.suppress(Unavailable):
                await self._clear()
            raise
        for one in failed:
            if one.done():
                # Without its messages it would go on in silence: another owner takes them again.
                one.result()

    async def _clear(self) -> None:
        """Delete the partition in a thread: the others' lanes go on. Raises Fenced."""
        self._clearing = asyncio.ensure_future(asyncio.to_thread(cast(FencingStore, self.worker.projector.store).clear))
        await self._clearing
        self.journal.reset(self.log.now(), self.worker.entities)

    def _after(self) -> None:
        self.feeding.watch(self.lane, self.runner)

    async def stop(self, last: bool = False) -> None:
        """Leave the partition as it is, for another owner; with `last`, there will be none."""
        self.runner.stop()
        if self.listener is not None:
            await self.listener.stop()
        if last:
            for name in self.worker.entities:
                self.journal.held(self.log.now(), self.worker.projector.held(name))
        self.feeding.unwatch()
        if self._clearing is not None:
            await asyncio.wait([self._clearing])
        close(self.worker.projector.store)
        for one in (self.worker, self.source, self.journal, self.log):
            one.close()

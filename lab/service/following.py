"""How the process of a projection is fed: which worker follows the source of truth, and what wakes it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import polars as pl

from lab.ending import say
from lab.feed.source import TruthReader
from lab.formatting import printable
from lab.projection.projector import Projector
from lab.running.blocked import BlockedNotes
from lab.running.follower import Follower
from lab.running.gating import LiveGate
from lab.running.lane import Lane
from lab.running.live import LiveService, LiveSource, Waiting
from lab.running.notes import BoundedJournal
from lab.running.wall import WallRunner
from lab.service.behind import RowsBehind
from lab.truth import truth_class
from lab.truth.outlets import LOG, NOTIFY, OUTBOX, STREAMS
from lab.wiring import Plan, ProjectionPlan
from lab.wiring.feeds import settles

if TYPE_CHECKING:
    from lab.truth import Truth
    from lab.truth.evidence import LiveEvidence
    from lab.truth.postgres import Postgres


class Feeding:
    """Makes a projection's worker by the kind of its feed, and wakes its lane when something arrives."""

    def __init__(self, plan: Plan, item: ProjectionPlan, folder: Path) -> None:
        """`folder` is the service's."""
        self._plan, self._item, self._folder = plan, item, folder / item.name
        self._truth = truth_class(plan.scenario.truth.engine, plan.scenario.truth.model)
        self._behind, self._compares = RowsBehind(), item.layout.partitions > 0 or self._truth.server
        # The positions that came by MariaDB's log.
        self._brought: set[int] = set()
        self._watched: int | None = None

    def follower(self, projector: Projector, live: LiveService, inbox: Waiting, journal: BoundedJournal) -> Follower:
        """The worker that follows the source of truth."""
        plan, item = self._plan, self._item
        blocked = BlockedNotes(
            live.work.now, journal.path, lambda said: say(printable(f"{item.name}: {said}"), err=True)
        )
        gate = self._gate(live, journal, blocked)
        rest = projector, live, inbox, journal, plan.scenario.catch_up.page, item.pace.batch, gate
        made = {NOTIFY: self._notified, OUTBOX: self._streamed, LOG: self._streamed}.get(item.feed, Follower)
        found = made(*rest)
        if item.table.subscribe != "channel":
            found.handing = self._behind.note
        return found

    def confirm(self, source: LiveSource) -> None:
        """Compare what was read last with the source, if it was connected to anew. Raises Diverged, and Unavailable."""
        if self._compares:
            self._behind.confirm(source)

    def go_on(self, behind: Mapping[str, pl.DataFrame], passed: Callable[[], Mapping[str, int]]) -> None:
        """Compare as the owner of a partition: the newest records of which are `behind`, by entity and in their order.

        `passed` says up to where its reader has gone. A strategy that gives positions up passes some that come later.
        """
        for entity, frame in behind.items():
            self._behind.note(entity, frame)
        in_turn = not self._truth.concurrent or self._plan.scenario.writers is None
        if in_turn or self._item.gaps in ("serialise", "horizon"):
            self._behind.passed = passed

    def _gate(self, live: LiveService, journal: BoundedJournal, blocked: BlockedNotes) -> LiveGate | None:
        """Its strategy for gaps on the wall clock; None for one that reads all that is there, or has no gaps."""
        table, item = self._plan.scenario.truth, self._item
        streams = item.feed in STREAMS
        name = settles(table.engine, table.model) if streams else item.gaps
        if name in ("naive", "serialise") or not truth_class(table.engine, table.model).concurrent:
            return None
        evidence, gave_up = live.source.evidence, journal.gave_up
        if streams and name == "hold":
            # What is given up here is not lost: it comes by the stream.
            evidence, gave_up = partial(self._streamed_evidence, live.source), _nothing
        return LiveGate(name, item.gap_limit, evidence, gave_up, blocked)

    def _streamed_evidence(self, source: LiveSource) -> LiveEvidence:
        from lab.feed.mariadb_streams import StreamedPositions

        return StreamedPositions(source.evidence(), self._brought)

    def _notified(self, *rest: object) -> Follower:
        # Imported here: drivers of servers are loaded where they are needed.
        from lab.feed.postgres_streams import Notices
        from lab.running.streaming import NotifiedFollower

        found = NotifiedFollower(*rest)  # type: ignore[arg-type]
        found.listens = lambda truth: Notices(cast("Postgres", truth).on.schema)
        return found

    def _streamed(self, *rest: object) -> Follower:
        from lab.feed.opening import open_stream
        from lab.feed.streams import ChangeStream
        from lab.running.streaming import StreamFollower

        def streams(truth: TruthReader) -> ChangeStream:
            item = self._item
            return open_stream(item.feed, cast("Truth", truth), item.name, self._folder, item.decoder, self._brought)

        found = StreamFollower(*rest)  # type: ignore[arg-type]
        found.streams, found.every = streams, self._item.pace.every
        return found

    def watch(self, lane: Lane, runner: WallRunner) -> None:
        """Have the lane poll at once when something arrives; called after each piece of work, which reads it."""
        loop = asyncio.get_running_loop()
        if self._watched is not None:
            # It may have been closed, and its number be another's.
            loop.remove_reader(self._watched)
        # A rebuild swaps the worker.
        assert isinstance(lane.worker, Follower)
        self._watched = lane.worker.socket
        if self._watched is not None:
            loop.add_reader(self._watched, self._arrived, lane, runner)

    def unwatch(self) -> None:
        """Wake the lane no more."""
        if self._watched is not None:
            asyncio.get_running_loop().remove_reader(self._watched)
            self._watched = None

    def _arrived(self, lane: Lane, runner: WallRunner) -> None:
        assert self._watched is not None
        asyncio.get_running_loop().remove_reader(self._watched)
        self._watched = None
        lane.due_at = min(lane.due_at, runner.clock.now())
        runner.wake()


def _nothing(at: float, position: int) -> None:
    """Note nothing."""

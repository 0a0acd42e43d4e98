"""A projection as a process of its own: it owns its store, keeps it up to date, and answers queries, one at a time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from lab.base import LabError
from lab.ending import say
from lab.feed.source import TruthReader
from lab.formatting import printable
from lab.queries.answers import Row
from lab.queries.model import Query
from lab.running.follower import Follower
from lab.running.lane import Lane
from lab.running.live import Heard, LiveService, LiveSource, Waiting
from lab.running.notes import BOUNDS, BoundedJournal
from lab.running.wall import WallClock, WallRunner
from lab.running.worklog import ANSWERED, WORK_SUFFIX, WorkLog
from lab.service.following import Feeding
from lab.service.listening import follow
from lab.service.membership import arrived
from lab.service.mending import Lineage, ProjectionHome, reason_of
from lab.service.messages import AskQuery, Message, ReadApplied, ReadStatus, StartRebuild
from lab.service.outage import OutageTeller
from lab.service.problems import encoded, problem
from lab.service.querying import Latest, rows_of, told
from lab.service.rebuilding import Rebuild
from lab.service.values import named
from lab.service.waiting import WaitingReaders
from lab.service.wire import SENT, Reply
from lab.truth.timeline import Diverged
from lab.wiring import Plan

Answer = TypeVar("Answer")


class Projection:
    """Answers the front. `work` is what keeps it up to date, and runs beside."""

    def __init__(
        self,
        plan: Plan,
        home: ProjectionHome,
        find: Callable[[], TruthReader | None],
        since: float,
        journal: Path | None = None,
        renew: str = "",
    ) -> None:
        """`find` opens the source of truth, or returns None while there is nothing to be read.

        With `renew`, a reason, what there is of it is set aside first.
        """
        self.plan, self.home, self.find = plan, home, find
        self.item = item = home.item
        clock, entities = WallClock(), tuple(item.layout.entities)
        self.source = LiveSource(find, item.subscription, plan.domain, item.before)
        self.journal = BoundedJournal(since, clock.now, journal, entities)
        self.inbox = Waiting(item.pace.capacity, self.journal.overflow)
        self.log = WorkLog(clock.now, None if journal is None else journal.with_suffix(WORK_SUFFIX))
        live = LiveService(self.source, entities, self.log, item.faults.retry_parked)
        # Why the files can't be gone on with, once that is known: then nothing is answered from them any more.
        self.unfit = ""
        self.lineage = Lineage(home)
        self.feeding = Feeding(plan, item, home.folder)
        follower = self.feeding.follower(home.open(renew), live, self.inbox, self.journal)
        follower.confirm, follower.reaching = self._confirm, self.lineage.reached.note
        # A service runs until it is stopped, and its first poll is due at once.
        self.lane = Lane(item.pace, self.inbox, math.inf, follower, spans=self.log.spans)
        if item.pace.polls:
            self.lane.due_at = clock.now()
        self.runner = WallRunner(self.lane, clock, self._after, self.log.starts)
        self.rebuild = Rebuild()
        self.counts = dict.fromkeys(("queries", "stale", "unreadable"), 0)
        self._queries: dict[str, Query] = {query.name: query for query in item.queries}
        self._stopping = False
        self._latest = Latest()
        self.readers = WaitingReaders(lambda: self.position, lambda: self.journal.counts["applied"])
        self._rebuilding: asyncio.Task[None] | None = None
        self._outage = OutageTeller(self.journal, clock.now, home.tell, lambda: self.worker.verified_at is not None)

    @property
    def worker(self) -> Follower:
        """Return the worker that keeps the projection up to date; it changes with each rebuild."""
        assert isinstance(self.lane.worker, Follower)
        return self.lane.worker

    @property
    def position(self) -> int:
        """Return the position up to which everything is in."""
        return self.worker.position

    @property
    def age_seconds(self) -> float | None:
        """Return the age of the newest state that is complete, in seconds; None while that is unknown."""
        verified_at = self.worker.verified_at
        return None if verified_at is None else max(0.0, self.runner.clock.now() - verified_at)

    async def handle(self, message: Message) -> Reply:
        """Answer a message of the front."""
        if self.unfit and isinstance(message, AskQuery | StartRebuild):
            return self._refusal()
        if isinstance(message, AskQuery):
            self.counts["queries"] += 1
        waits = isinstance(message, AskQuery | ReadStatus) and message.at_least is not None
        # Both waits share the reader's time.
        until = self.runner.clock.now() + (message.timeout if isinstance(message, AskQuery | ReadStatus) else 0.0)
        if isinstance(message, AskQuery | ReadStatus) and (refused := await self._behind(message)) is not None:
            return refused
        if isinstance(message, AskQuery) and message.revision is not None:
            return await self._shown(message, message.revision, until)
        return self._timed(lambda: self._answer(message), None if waits else SENT.get())

    def _timed(self, answer: Callable[[], Answer], sent: float | None) -> Answer:
        """Answer, and note what that took; `sent` is when it was asked for, None of what has waited for a change."""
        began = self.log.now()
        waited = 0.0 if sent is None else max(0.0, time.time() - sent)
        reply = answer()
        self.log.note(ANSWERED, 0, began, self.log.now() - began, began - waited)
        return reply

    def _answer(self, message: Message) -> Reply:
        match message:
            case AskQuery():
                return self._query(message)
            case ReadStatus():
                return Reply(200, encoded(self.status()), self.position)
            case ReadApplied(since, limit):
                rows, seen = self.journal.applied(since, limit)
                return Reply(200, encoded({"applied": rows, "since": seen}), self.position)
            case StartRebuild():
                return self._rebuild()
        raise AssertionError(message)

    def status(self) -> dict[str, Any]:
        """Return its progress, and its counts since it was started."""
        worker, journal, projector = self.worker, self.journal, self.worker.projector
        counts = {**journal.counts, **self.counts, "inbox": len(self.inbox)}
        counts["parked"] = sum(int(projector.parked(name).size) for name in worker.entities)
        counts["held"] = sum(int(projector.held(name).size) for name in worker.entities)
        lag = {"bounds": BOUNDS, "counts": journal.lags.tolist(), "sum": journal.lag_sum}
        return {
            "position": worker.position,
            "highest": worker.newest,
            "age_seconds": self.age_seconds,
            "rebuild": self.rebuild.told(),
            "counts": counts,
            "lag": lag,
        }

    # -- queries ------------------------------------------------------------------------------------------------------

    async def _behind(self, asked: AskQuery | ReadStatus) -> Reply | None:
        """Wait until the projection is as new as the reader wants it; the answer if that takes too long."""
        at_least = asked.at_least
        if at_least is None or await self.readers.reached(at_least, asked.timeout):
            return None
        return self._stale(f"everything up to position {self.position} is in, and not up to {at_least}", at_least)

    async def _shown(self, asked: AskQuery, revision: int, until: float) -> Reply:
        """Answer once the record is shown in a revision or a later one; looked for after each change, `until` then."""
        while (reply := self._timed(lambda: self._if_shown(asked, revision), None)) is None:
            if not await self.readers.changed(max(0.0, until - self.runner.clock.now())):
                return self._stale(f"the record is not shown in revision {revision} or a later one", asked.at_least)
        return reply

    def _if_shown(self, asked: AskQuery, revision: int) -> Reply | None:
        asof, state = (self.position, self.age_seconds), (self.worker, self.journal.counts["applied"])
        rows = self._latest.read(state, (asked.query, tuple(asked.parameters)), lambda: self._rows(asked))
        if isinstance(rows, Reply):
            return rows
        query = self._queries[asked.query]
        shown = any(row["revision"] >= revision for row in named(query, rows[: asked.limit]))
        return told(query, rows, asked.limit, *asof) if shown else None

    def _stale(self, said: str, at_least: int | None) -> Reply:
        self.counts["stale"] += 1
        return problem(504, said, position=self.position, at_least=at_least, age_seconds=self.age_seconds)

    def _query(self, asked: AskQuery) -> Reply:
        # Taken before the query: what it shows is at least as new.
        asof = self.position, self.age_seconds
        rows = self._rows(asked)
        return rows if isinstance(rows, Reply) else told(self._queries[asked.query], rows, asked.limit, *asof)

    def _rows(self, asked: AskQuery) -> list[Row] | Reply:
        store, query = self.worker.projector.store, self._queries[asked.query]
        return rows_of(store, query, asked.parameters, self.item.name, self._unfit)

    def suspect(self, error: BaseException) -> bool:
        """Return whether the files can't be gone on with after an error: then work ends, and nothing is answered."""
        if not self.unfit and isinstance(error, Diverged):
            self.give_up(str(error))
        elif not self.unfit and self.worker.projector.store.damaged(error):
            self.give_up(reason_of(error))
        return bool(self.unfit)

    def give_up(self, why: str) -> None:
        """End the work, and answer nothing any more: the process sets the files aside and ends."""
        self.unfit = why
        self.runner.stop()

    def check_source(self) -> None:
        """Open the source of truth anew, and give up if it isn't the one that the projection was read from."""
        self.source.close()
        try:
            if self.source.found() and self._confirm() and self.home.rebuildable:
                # What it has committed is read from it; of what a former one sent, it may have lost something.
                self.inbox.acknowledge(len(self.inbox))
        except Diverged as error:
            self.give_up(str(error))
        except LabError as error:
            # The next poll meets it too.
            say(printable(f"{self.item.name}: {error}"), err=True)

    def _confirm(self) -> bool:
        """Compare the source of truth with what the projection was read from; whether it was opened anew."""
        assert self.source.truth is not None
        self.feeding.confirm(self.source)
        return self.lineage.confirm(self.source.truth, self.worker.newest)

    def _unfit(self, error: BaseException) -> Reply | None:
        return self._refusal() if self.suspect(error) else None

    def _refusal(self) -> Reply:
        return problem(503, f"the projection is built anew: {self.unfit}", position=0)

    def _after(self) -> None:
        """What follows a piece of work: readers who wait are answered, and the first checkpoint is remembered."""
        if any(self.worker.settled.values()):
            self.lineage.begin()
        self.feeding.watch(self.lane, self.runner)
        self.readers.wake()
        self._outage.look()

    # -- at work ------------------------------------------------------------------------------------------------------

    def hear(self, message: bytes) -> None:
        """Put what the channel has brought into the inbox."""
        if self.item.by_messages:
            began = self.log.now()
            arrived(self, [Heard(*one) for one in json.loads(message) if one[0] in self.item.layout.entities], began)

    async def listen(self, executor: Path) -> None:
        """Hear the executor's messages: it may be another one than before, on other files."""
        await follow(executor, self.item.name, self.check_source, self._heard)

    def _heard(self, body: bytes) -> None:
        """Hear a message; one that can't be read is counted and told, and the next one is heard all the same."""
        try:
            self.hear(body)
        except (ValueError, TypeError, LookupError) as error:
            self.counts["unreadable"] += 1
            say(printable(f"{self.item.name}: a message can't be read: {error}"), err=True)

    async def work(self) -> None:
        """Poll when it is due, take messages when a batch is, until `stop`; requests are answered between the two."""
        await self.runner.run()

    def _rebuild(self) -> Reply:
        if self.item.table.subscribe == "channel":
            return problem(409, "messages that have gone by don't come again: it can't be rebuilt from them")
        if self.rebuild.running:
            return problem(409, "it is being rebuilt already", rebuild=self.rebuild.told())
        if not self.source.found():
            return problem(503, "there is no source of truth yet")
        self.rebuild = Rebuild()
        work = self.rebuild.run(self.plan, self.home, self.find, self.lane, self.runner)
        self._rebuilding = asyncio.create_task(work)
        return Reply(202, encoded({"projection": self.item.name, "rebuild": {"state": "building"}}))

    async def stop(self) -> None:
        """Cancel running work, and close everything."""
        self._stopping = True
        self.runner.stop()
        self.rebuild.stop()
        if self._rebuilding is not None:
            await self._rebuilding
        for name in self.worker.entities:
            self.journal.held(self.log.now(), self.worker.projector.held(name))
        with contextlib.suppress(*([Exception] if self.unfit else [])):
            self.worker.projector.store.close()
        for one in (self.worker, self.source, self.lineage.reached, self.journal, self.log):
            one.close()

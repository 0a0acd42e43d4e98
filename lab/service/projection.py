"""A projection as a process of its own: it owns its store, keeps it up to date, and answers queries, one at a time."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

from lab.base import NotAnswered, Unavailable
from lab.queries.model import Query
from lab.service.keeper import BOUNDS, Keeper
from lab.service.messages import AskQuery, Message, ReadApplied, ReadStatus, StartRebuild, Subscribe, encoded_message
from lab.service.problems import encoded, problem
from lab.service.rebuilding import Place, Rebuild
from lab.service.values import named
from lab.service.wire import MESSAGE, REQUEST, Reply, packed, read
from lab.wiring import Plan, ProjectionPlan

# A store that refuses is asked again after so many seconds.
RETRY = 0.05


class Projection:
    """Answers the front. `work` is what keeps it up to date, and runs beside."""

    def __init__(
        self, plan: Plan, item: ProjectionPlan, folder: Path, since: float, journal: Path | None = None
    ) -> None:
        self.item = item
        self.place = Place(folder, item.name)
        self.place.sweep()
        self.keeper = Keeper(plan, item, folder, self.place.path(), since, journal)
        self.rebuild = Rebuild()
        self.counts = dict.fromkeys(("queries", "stale"), 0)
        self._queries: dict[str, Query] = {query.name: query for query in item.queries}
        self._kick = asyncio.Event()
        self._stopping = False
        self._readers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self._rebuilding: asyncio.Task[None] | None = None

    async def handle(self, message: Message) -> Reply:
        """Answer a message of the front."""
        match message:
            case AskQuery():
                return await self._asked(message)
            case ReadStatus():
                return Reply(200, encoded(self.status()), self.keeper.position)
            case ReadApplied(since, limit):
                rows, seen = self.keeper.applied(since, limit)
                return Reply(200, encoded({"applied": rows, "since": seen}), self.keeper.position)
            case StartRebuild():
                return self._rebuild()
        raise AssertionError(message)

    def status(self) -> dict[str, Any]:
        """How far it is, and what it has done since it was started."""
        keeper = self.keeper
        counts = {**keeper.counts, **self.counts, "inbox": len(keeper.inbox)}
        counts["parked"] = sum(int(keeper.projector.parked(name).size) for name in keeper.entities)
        counts["held"] = sum(int(keeper.projector.held(name).size) for name in keeper.entities)
        lag = {"bounds": BOUNDS, "counts": keeper.lags.tolist(), "sum": keeper.lag_sum}
        return {
            "position": keeper.position,
            "highest": keeper.highest,
            "age_seconds": keeper.age_seconds,
            "rebuild": self.rebuild.told(),
            "counts": counts,
            "lag": lag,
        }

    # -- queries ------------------------------------------------------------------------------------------------------

    async def _asked(self, asked: AskQuery) -> Reply:
        keeper, at_least = self.keeper, asked.at_least
        self.counts["queries"] += 1
        if at_least is not None and keeper.position < at_least and not await self._waited(at_least, asked.timeout):
            self.counts["stale"] += 1
            said = f"everything up to position {keeper.position} is in, and not up to {at_least}"
            return problem(504, said, position=keeper.position, at_least=at_least, age_seconds=keeper.age_seconds)
        query, limit = self._queries[asked.query], asked.limit
        # Taken before the query: what it shows is at least as new.
        position, age = keeper.position, keeper.age_seconds
        try:
            rows = keeper.projector.store.query(query, tuple(asked.parameters))
        except NotAnswered as error:
            return problem(422, str(error))
        except Unavailable as error:
            return problem(503, str(error))
        except Exception as error:
            said = f"{self.item.name}: {query.name} failed: {type(error).__name__}: {error}"
            print(said, file=sys.stderr, flush=True)
            return problem(500, "the query failed")
        found = {"rows": named(query, rows[:limit]), "more": len(rows) > limit}
        return Reply(200, encoded({**found, "position": position, "age_seconds": age}), position)

    async def _waited(self, at_least: int, timeout: float) -> bool:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._readers, (at_least, next(self._order), future))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(future, timeout)
        return self.keeper.position >= at_least

    def _wake(self) -> None:
        while self._readers and (self._readers[0][2].done() or self._readers[0][0] <= self.keeper.position):
            future = heapq.heappop(self._readers)[2]
            if not future.done():
                future.set_result(None)

    # -- at work ------------------------------------------------------------------------------------------------------

    def hear(self, message: bytes) -> None:
        """What the channel has brought."""
        if self.item.by_messages:
            self.keeper.hear(json.loads(message))
            self._kick.set()

    async def listen(self, executor: Path) -> None:
        """Hear the executor's messages, for as long as there is one; what is missed meanwhile is caught up with."""
        while not self._stopping:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                reader, writer = await asyncio.open_unix_connection(str(executor))
                writer.write(packed(0, REQUEST, encoded_message(Subscribe())))
                try:
                    while True:
                        _, status, _, body = await read(reader)
                        if status == MESSAGE:
                            self.hear(body)
                finally:
                    writer.close()
            await asyncio.sleep(0.05)

    async def work(self) -> None:
        """Poll when it is due, take messages when a batch is; a poll goes first. Ends between two of them."""
        pace, keeper = self.item.pace, self.keeper
        poll_at = time.monotonic() if pace.polls else math.inf
        while not self._stopping:
            now, batch_at = time.monotonic(), keeper.batch_at()
            try:
                if poll_at <= now:
                    more = keeper.poll()
                    # On the beat; what was missed of it is not made up for. While there is more, at once.
                    missed = max(0.0, math.ceil((time.monotonic() - poll_at) / pace.every) - 1)
                    poll_at = now if more else self._next(poll_at + (missed + 1) * pace.every)
                    self._wake()
                elif batch_at is not None and batch_at <= now:
                    keeper.take()
                else:
                    await self._rest(min(poll_at, math.inf if batch_at is None else batch_at) - now)
            except Unavailable:
                await asyncio.sleep(RETRY)
            # Whoever has asked meanwhile comes first.
            await asyncio.sleep(0)

    def _next(self, beat: float) -> float:
        # Until there is a source of truth, it is looked for more often than it will be polled.
        return beat if self.keeper.truth is not None else time.monotonic() + min(0.05, self.item.pace.every)

    async def _rest(self, seconds: float) -> None:
        self._kick.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._kick.wait(), None if seconds == math.inf else seconds)

    def _rebuild(self) -> Reply:
        if self.item.table.subscribe == "channel":
            return problem(409, "messages that have gone by don't come again: it can't be rebuilt from them")
        if self.rebuild.running:
            return problem(409, "it is being rebuilt already", rebuild=self.rebuild.told())
        if not self.keeper.found():
            return problem(503, "there is no source of truth yet")
        self.rebuild = Rebuild()
        self._rebuilding = asyncio.create_task(self.rebuild.run(self.keeper, self.place))
        return Reply(202, encoded({"projection": self.item.name, "rebuild": {"state": "building"}}))

    async def stop(self) -> None:
        """End what is going on, and give everything up."""
        self._stopping = True
        self._kick.set()
        self.rebuild.stop()
        if self._rebuilding is not None:
            await self._rebuilding
        self.keeper.close()

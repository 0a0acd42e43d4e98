"""`GET /live`: what happens, a few times a second, as server-sent events.

Sampling runs only while a client is connected, and one sample serves all of them, so that the cost doesn't grow with
their number. A client that can't follow misses events, and beyond a number of clients further ones are refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from lab.base import TRUTH
from lab.domain.model import published
from lab.queries.model import Query
from lab.service.backend import Backend
from lab.service.messages import AskQuery, ChangeFaults
from lab.service.probing import Book, judge
from lab.service.problems import Refused, encoded
from lab.service.wire import Gone

# Seconds between two samples, and the maximum number of clients.
EVERY, VIEWERS_MAX = 0.25, 20
# The maximum number of unread events of a client; then the oldest is dropped.
PILE_MAX = 4
# The number of probes of each projection, and of pages of changes, for each sample.
PROBES, PAGES, PAGE = 4, 5, 1_000
# How far before the newest position the known changes begin, so that there is something to probe.
# The factor by which the search goes further back if there is nothing.
BEFORE, FURTHER = 200, 4
# Seconds after which a probe is given up, so it can't delay the sample.
PATIENCE = 1.0


@dataclass
class Tally:
    """Counts of one projection's probes by verdict; `last` describes the last one that was stale or wrong."""

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("right", "stale", "wrong", "unsure"), 0))
    last: dict[str, Any] | None = None


class _Watched(StreamingResponse):
    """A stream of events; `gone` is called when it ends, also before its first event."""

    def __init__(self, events: AsyncIterator[bytes], headers: dict[str, str], gone: Callable[[], None]) -> None:
        super().__init__(events, 200, headers, "text/event-stream")
        self._gone = gone

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events; to a HEAD request the head alone."""
        try:
            if scope["method"] == "HEAD":
                await Response(b"", 200, dict(self.headers))(scope, receive, send)
            else:
                await super().__call__(scope, receive, send)
        finally:
            self._gone()


async def _stream(queue: asyncio.Queue[bytes | None], events: int) -> AsyncIterator[bytes]:
    while events and (event := await queue.get()) is not None:
        yield event
        events -= 1


class LiveStream:
    """The stream of one service. `load` reports the small load generator."""

    def __init__(self, backend: Backend, load: Callable[[], dict[str, Any]]) -> None:
        self.backend, self.load = backend, load
        self.tallies = {name: Tally() for name in backend.projections}
        self._asked: dict[str, Query] = {}
        for name, item in backend.projections.items():
            if found := [query for query in item.queries if query.kind == "get"]:
                self._asked[name] = found[0]
        entities = published(backend.plan.domain)
        self._books = {query.entity.name: Book(entities[query.entity.name]) for query in self._asked.values()}
        self._viewers: set[asyncio.Queue[bytes | None]] = set()
        self._task: asyncio.Task[None] | None = None
        self._lags: dict[str, tuple[int, float]] = {}
        self._random = random.Random(backend.plan.scenario.seed)

    # -- viewers ------------------------------------------------------------------------------------------------------

    def watch(self, events: int, headers: dict[str, str]) -> StreamingResponse:
        """A stream of so many events at most. Raises Refused beyond VIEWERS_MAX clients."""
        if len(self._viewers) >= VIEWERS_MAX:
            raise Refused(503, f"{VIEWERS_MAX} look on already")
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(PILE_MAX)
        self._viewers.add(queue)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())
        return _Watched(_stream(queue, events), headers, lambda: self._viewers.discard(queue))

    def _send(self, event: bytes | None) -> None:
        for queue in self._viewers:
            while queue.full():
                queue.get_nowait()
            queue.put_nowait(event)

    async def close(self) -> None:
        """End every stream."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._send(None)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while self._viewers:
            began = loop.time()
            self._send(b"data: " + encoded(await self.look()) + b"\n\n")
            await asyncio.sleep(max(0.05, EVERY - (loop.time() - began)))

    # -- what they see ------------------------------------------------------------------------------------------------

    async def look(self) -> dict[str, Any]:
        """One event: the source of truth, the projections, what the probes found, faults and load."""
        (truth, rows), faults, _ = await asyncio.gather(self.backend.look(), self._faults(), self._probe())
        for row in rows:
            row |= self._lag(row.pop("lag"), row["name"])
            tally = self.tallies[row["name"]]
            query = self._asked.get(row["name"])
            row["probes"] = {"query": None if query is None else query.name, **tally.counts, "last": tally.last}
            row.pop("queries")
        found = {"at": time.time(), "scenario": self.backend.plan.scenario.name, "truth": truth, "projections": rows}
        return found | {"faults": faults, "load": self.load()}

    def _lag(self, lag: dict[str, Any] | None, name: str) -> dict[str, Any]:
        """The mean lag of the changes that became visible since the last look; null when there were none."""
        if lag is None:
            return {"shown": 0, "lag_seconds": None}
        count, total = sum(lag["counts"]), lag["sum"]
        former = self._lags.get(name, (count, total))
        if count < former[0]:
            # The process was restarted, and its counts began at 0.
            former = (0, 0.0)
        self._lags[name] = (count, total)
        shown = count - former[0]
        return {"shown": shown, "lag_seconds": (total - former[1]) / shown if shown else None}

    async def _faults(self) -> dict[str, Any] | None:
        try:
            answer = await asyncio.wait_for(self.backend.parts[TRUTH].peer.ask(ChangeFaults()), PATIENCE)
        except (Gone, TimeoutError):
            return None
        return json.loads(answer.body) if answer.status == 200 else None

    # -- probes -------------------------------------------------------------------------------------------------------

    async def _probe(self) -> None:
        """Ask every projection that answers `get` for some records that have changed lately."""
        try:
            for book in self._books.values():
                await self._read(book)
        except Refused:
            return
        await asyncio.gather(*(self._ask(name, query) for name, query in self._asked.items()))

    async def _read(self, book: Book) -> None:
        if not book.late:
            await self._begin(book)
        for _ in range(PAGES):
            frame = await self.backend.changes.page(book.entity.name, book.position, PAGE, 0.0)
            book.learn(frame)
            if frame.height < PAGE:
                return

    async def _begin(self, book: Book) -> None:
        """Not at the beginning of a long history, but where there is something: other entities may be busier."""
        head = self.backend.head
        book.position = max(book.position, head - BEFORE, 0)
        while book.position:
            if (await self.backend.changes.page(book.entity.name, book.position, 1, 0.0)).height:
                return
            book.position = max(0, head - FURTHER * (head - book.position))

    async def _ask(self, name: str, query: Query) -> None:
        book = self._books[query.entity.name]
        late = list(book.late)
        for key in self._random.sample(late, min(PROBES, len(late))):
            before = book.known(key)
            question = AskQuery(query.name, [key], 2)
            try:
                answer = await asyncio.wait_for(self.backend.parts[name].peer.ask(question), PATIENCE)
                if answer.status != 200:
                    continue
                # Changes that were committed in the meantime may be in the answer already.
                await self._read(book)
            except (Gone, TimeoutError, Refused):
                return
            after, found = book.known(key), json.loads(answer.body)
            if not before or not after:
                continue
            now = time.time()
            judged = judge(before, after, found["position"], found["rows"], now)
            tally = self.tallies[name]
            tally.counts[judged.verdict] += 1
            if judged.verdict in ("stale", "wrong"):
                tally.last = {"verdict": judged.verdict, "key": key, "detail": judged.detail, "at": now}
                tally.last |= {"revisions": judged.revisions, "seconds": judged.seconds}

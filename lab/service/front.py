"""The HTTP face: requests are checked here, answered by the processes behind, and handed on as they come."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from lab.base import TRUTH, nearest
from lab.domain.model import published
from lab.service import words
from lab.service.asking import (
    body_of,
    command_of,
    failed,
    http_problem,
    no_doubles,
    only,
    reply,
    seconds_of,
    whole_number,
)
from lab.service.changes import ARROW, Changes, arrow, as_json
from lab.service.gate import PAGE, Access, Gate
from lab.service.live import EVENTS_MAX, Live
from lab.service.loading import PARTS_MAX, Load, wanted
from lab.service.metrics import exposition
from lab.service.openapi import openapi
from lab.service.page import headers, page
from lab.service.problems import Refused, document, encoded
from lab.service.wire import Answer, Gone, Peer
from lab.wiring import Plan, ProjectionPlan

# Seconds that the front waits for a process behind it, beside what a reader asked to wait.
PATIENCE = 30.0
# What is asked for a list or for metrics must not wait for one that is busy.
SHORT = 1.0
REQUEST_MAX = 200

Told = Callable[[], dict[str, Any]]


def _nothing() -> dict[str, Any]:
    return {"state": "running", "restarts": 0, "last_exit": None, "pid": None}


@dataclass
class Part:
    """A process behind the front: how to ask it, and what its supervisor tells of it."""

    peer: Peer
    told: Told = _nothing


@dataclass
class Face:
    """The service as HTTP shows it. `parts` are the projections by name."""

    plan: Plan
    executor: Part
    parts: Mapping[str, Part]
    changes: Changes
    access: Access
    # The newest position that is known here.
    head: int = 0
    answered: dict[tuple[str, int], int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.items: dict[str, ProjectionPlan] = {item.name: item for item in self.plan.projections}
        self.document = encoded(openapi(self.plan, self.access.token is not None))
        self.load = Load(self.plan, self._execute, lambda: self.head)
        self.live = Live(self)
        self.page, self.page_headers = page(), headers()

    def app(self) -> Gate:
        """The application."""
        # The router tries them one after the other: first what is asked most.
        routes = [
            self._route("/applied/{name}", self.applied, "GET"),
            self._route("/projections/{name}/{query}", self.query, "GET"),
            self._route("/commands/{entity}", self.command, "POST"),
            self._route(PAGE, self.show, "GET"),
            self._route("/live", self.watch, "GET"),
            self._route("/changes", self.follow, "GET"),
            self._route("/projections", self.every, "GET"),
            self._route("/projections/{name}", self.projection, "GET"),
            self._route("/projections/{name}/rebuild", self.rebuild, "POST"),
            self._route("/workload", self.workload, "GET"),
            Route("/faults", self._counted("/faults", self.faults), methods=["GET", "PUT"]),
            Route("/load", self._counted("/load", self.loaded), methods=["GET", "PUT"]),
            self._route("/metrics", self.metrics, "GET"),
            self._route("/health", self.health, "GET"),
            self._route("/openapi.json", self.openapi, "GET"),
        ]
        handlers: Any = {HTTPException: http_problem, 500: failed}
        return Gate(Starlette(routes=routes, exception_handlers=handlers), self.access)

    def _route(self, path: str, endpoint: Callable[[Request], Awaitable[Response]], method: str) -> Route:
        return Route(path, self._counted(path, endpoint), methods=[method])

    def _counted(
        self, path: str, endpoint: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def counted(request: Request) -> Response:
            began = time.perf_counter()
            try:
                response = await endpoint(request)
            except Refused as error:
                response = reply(Answer(error.status, document(error.status, error.detail, **error.more)))
                if error.status == 413:
                    response.headers["connection"] = "close"
            except Gone:
                said = "the process behind this went away before it had answered, and is being started again"
                response = reply(Answer(503, document(503, said)))
                response.headers["retry-after"] = "1"
            key = (path, response.status_code)
            self.answered[key] = self.answered.get(key, 0) + 1
            self.seconds[path] = self.seconds.get(path, 0.0) + time.perf_counter() - began
            return response

        return counted

    # -- the source of truth ------------------------------------------------------------------------------------------

    async def command(self, request: Request) -> Response:
        """Decide a command; the outcome is in the answer, whatever it is."""
        entity = self._named(request.path_params["entity"], self.plan.domain.entities, "entity")
        only(request, ())
        once = request.headers.get("idempotency-key")
        if once is not None and (not 1 <= len(once) <= REQUEST_MAX or not once.isprintable()):
            raise Refused(400, f"an Idempotency-Key is printable, and has {REQUEST_MAX} characters at the most")
        order = command_of(await body_of(request), entity.key, entity.columns)
        answer = await self._execute({"do": "execute", "entity": entity.name, "request": once, **order})
        return reply(answer)

    async def _execute(self, order: dict[str, Any]) -> Answer:
        answer = await self._ask(self.executor, order)
        if answer.position > self.head:
            self.head = answer.position
            self.changes.news()
        return answer

    async def follow(self, request: Request) -> Response:
        """The changes after a position: a page of them, waited for if need be."""
        only(request, ("entity", "since", "limit", "wait"))
        given = dict(request.query_params)
        entity = self._named(given.get("entity", ""), published(self.plan.domain), "entity")
        since = whole_number(given, "since", 0, words.INT_MAX, 0)
        limit = whole_number(given, "limit", 1, words.ROWS_MAX, words.ROWS)
        wait = seconds_of(given, "wait", 0.0)
        accept = request.headers.get("accept", "*/*").lower()
        wants_arrow = ARROW in accept
        if not wants_arrow and not any(kind in accept for kind in ("json", "*/*", "application/*")):
            raise Refused(406, f"a page is application/json or {ARROW}")
        frame = await self.changes.page(entity.name, since, limit, wait)
        if not wants_arrow:
            return reply(Answer(200, as_json(entity.name, frame, since, limit)))
        position = int(frame["position"][-1]) if frame.height else since
        headers = {"lab-position": str(position), "lab-more": str(frame.height == limit).lower()}
        return Response(arrow(frame), 200, headers, ARROW)

    # -- projections --------------------------------------------------------------------------------------------------

    async def every(self, request: Request) -> Response:
        """Every projection, and how far it is."""
        only(request, ())
        truth, found = await self.look()
        return reply(Answer(200, encoded({"truth": truth, "projections": found})))

    async def projection(self, request: Request) -> Response:
        """One of them."""
        item = self._named(request.path_params["name"], self.items, "projection")
        only(request, ())
        return reply(Answer(200, encoded(await self._look(item))))

    async def query(self, request: Request) -> Response:
        """A query's rows, with the position that they stand for."""
        item = self._named(request.path_params["name"], self.items, "projection")
        queries = {query.name: query for query in item.queries}
        query = self._named(request.path_params["query"], queries, f"query of `{item.name}`")
        pairs = request.query_params.multi_items()
        given = dict(pairs)
        values = words.values(query, pairs)
        no_doubles(pairs, words.COMMON)
        limit = whole_number(given, "limit", 1, words.ROWS_MAX, words.ROWS)
        timeout = seconds_of(given, "timeout", words.WAIT)
        at_least = whole_number(given, "at_least", 0, words.INT_MAX, 0) if "at_least" in given else None
        if at_least is not None and at_least > self.head and at_least > await self.newest():
            raise Refused(400, f"there is no position {at_least} yet: the newest is {self.head}", position=self.head)
        question = {"do": "query", "query": query.name, "parameters": values, "limit": limit}
        question |= {"at_least": at_least, "timeout": timeout}
        return reply(await self._ask(self.parts[item.name], question, timeout))

    async def rebuild(self, request: Request) -> Response:
        """Build it anew beside, and swap it in."""
        item = self._named(request.path_params["name"], self.items, "projection")
        only(request, ())
        response = reply(await self._ask(self.parts[item.name], {"do": "rebuild"}))
        if response.status_code == 202:
            response.headers["location"] = f"/projections/{item.name}"
        return response

    async def applied(self, request: Request) -> Response:
        """The changes that became visible since the last time: position, when committed, when visible."""
        item = self._named(request.path_params["name"], self.items, "projection")
        only(request, ("since", "limit"))
        given = dict(request.query_params)
        since = whole_number(given, "since", 0, words.INT_MAX, 0)
        limit = whole_number(given, "limit", 1, words.ROWS_MAX, words.ROWS)
        return reply(await self._ask(self.parts[item.name], {"do": "applied", "since": since, "limit": limit}))

    async def workload(self, request: Request) -> Response:
        """Commands of the scenario's workload, for whoever makes load."""
        only(request, ("part", "of", "since", "limit"))
        given = dict(request.query_params)
        of = whole_number(given, "of", 1, PARTS_MAX, 1)
        part = whole_number(given, "part", 0, of - 1, 0)
        since = whole_number(given, "since", 0, words.INT_MAX, 0)
        limit = whole_number(given, "limit", 1, words.ROWS_MAX, words.ROWS)
        return reply(Answer(200, encoded(await self.load.workload(part, of, since, limit))))

    async def newest(self) -> int:
        """The newest position, as the executor knows it: of a commit whose answer was lost, the front doesn't."""
        answer = await self._ask(self.executor, {"do": "status"})
        self.head = max(self.head, answer.position)
        return self.head

    async def look(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The source of truth and all projections as they are now; of one that doesn't answer, what is known."""
        truth, *found = await asyncio.gather(self._truth(), *(self._look(item) for item in self.items.values()))
        for row in found:
            row["behind"] = None if row["position"] is None else max(0, self.head - row["position"])
        return truth, found

    async def _truth(self) -> dict[str, Any]:
        found = await self._status(self.executor)
        if found is not None:
            self.head = max(self.head, found["position"])
        return {**self.executor.told(), "position": self.head, **(found or {})}

    async def _look(self, item: ProjectionPlan) -> dict[str, Any]:
        part = self.parts[item.name]
        table, layout = item.table, item.layout
        found: dict[str, Any] = {"name": item.name, "store": table.store, "guard": table.guard, **part.told()}
        found |= {"subscribe": table.subscribe, "keeps": layout.keeps, "entities": [*layout.entities]}
        found["queries"] = {query.name: [one.name for one in words.parameters(query)] for query in item.queries}
        nothing = dict.fromkeys(("position", "highest", "age_seconds", "rebuild", "counts", "lag"))
        return found | (await self._status(part) or nothing)

    # -- the rest -----------------------------------------------------------------------------------------------------

    async def faults(self, request: Request) -> Response:
        """What the channel does to messages; a PUT replaces it."""
        only(request, ())
        wanted = None
        if request.method == "PUT":
            wanted = await body_of(request)
        return reply(await self._ask(self.executor, {"do": "faults", "set": wanted}))

    async def loaded(self, request: Request) -> Response:
        """The small load generator; a PUT sets its rate."""
        only(request, ())
        if request.method == "PUT":
            self.load.set(wanted(await body_of(request)))
        return reply(Answer(200, encoded(self.load.told())))

    async def show(self, request: Request) -> Response:
        """The live page."""
        return Response(self.page, 200, self.page_headers, "text/html; charset=utf-8")

    async def watch(self, request: Request) -> Response:
        """What the live page shows, as it happens."""
        only(request, ("events",))
        given = dict(request.query_params)
        events = whole_number(given, "events", 1, EVENTS_MAX, EVENTS_MAX)
        said = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(self.live.watch(events), 200, said, "text/event-stream")

    async def metrics(self, request: Request) -> Response:
        """For Prometheus."""
        only(request, ())
        truth, found = await self.look()
        text = exposition(truth, found, self.answered, self.seconds)
        return Response(text, 200, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def health(self, request: Request) -> Response:
        """Whether every process is there."""
        only(request, ())
        states = {name: one.told()["state"] for name, one in {TRUTH: self.executor, **self.parts}.items()}
        well = all(state == "running" for state in states.values())
        return reply(Answer(200, encoded({"status": "ok" if well else "degraded", "processes": states})))

    async def openapi(self, request: Request) -> Response:
        """What can be asked here."""
        only(request, ())
        return reply(Answer(200, self.document))

    async def close(self) -> None:
        """End the streams, and the load."""
        await self.load.close()
        await self.live.close()

    async def _ask(self, part: Part, request: dict[str, Any], more: float = 0.0) -> Answer:
        try:
            return await asyncio.wait_for(part.peer.ask(request), PATIENCE + more)
        except TimeoutError:
            raise Refused(503, f"no answer within {PATIENCE + more:g} s; whether it was done is not known") from None

    async def _status(self, part: Part) -> dict[str, Any] | None:
        try:
            answer = await asyncio.wait_for(part.peer.ask({"do": "status"}), SHORT)
        except (Gone, TimeoutError):
            return None
        found: dict[str, Any] = json.loads(answer.body)
        return found

    @staticmethod
    def _named(name: str, known: Mapping[str, Any], what: str) -> Any:
        if name not in known:
            raise Refused(404, f"no {what} is called `{name[:50]}` ({nearest(name[:50], known)})")
        return known[name]

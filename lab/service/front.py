"""The HTTP face: requests are checked here, answered by the processes behind, and handed on as they come."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
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
from lab.service.backend import Backend
from lab.service.changes import ARROW, arrow, as_json
from lab.service.gate import PAGE, Access, AccessGate
from lab.service.live import EVENTS_MAX, LiveStream
from lab.service.loading import PARTS_MAX, Load, wanted
from lab.service.messages import AskQuery, ChangeFaults, ExecuteCommand, ReadApplied, StartRebuild
from lab.service.metrics import exposition
from lab.service.openapi import openapi
from lab.service.page import headers, page
from lab.service.problems import Refused, document, encoded
from lab.service.wire import Gone, Reply

REQUEST_MAX = 200


class Front:
    """The service as HTTP shows it."""

    def __init__(self, backend: Backend, access: Access) -> None:
        self.backend, self.access, self.plan = backend, access, backend.plan
        self.answered: dict[tuple[str, int], int] = {}
        self.seconds: dict[str, float] = {}
        self.document = encoded(openapi(self.plan, access.token is not None))
        self.load = Load(self.plan, backend.execute, lambda: backend.head)
        self.live = LiveStream(backend, self.load.told)
        self.page, self.page_headers = page(), headers()

    def app(self) -> AccessGate:
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
        return AccessGate(Starlette(routes=routes, exception_handlers=handlers), self.access)

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
                response = reply(Reply(error.status, document(error.status, error.detail, **error.more)))
                if error.status == 413:
                    response.headers["connection"] = "close"
            except Gone:
                said = "the process behind this went away before it had answered, and is being started again"
                response = reply(Reply(503, document(503, said)))
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
        return reply(await self.backend.execute(ExecuteCommand(entity.name, **order, request=once)))

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
        frame = await self.backend.changes.page(entity.name, since, limit, wait)
        if not wants_arrow:
            return reply(Reply(200, as_json(entity.name, frame, since, limit)))
        position = int(frame["position"][-1]) if frame.height else since
        headers = {"lab-position": str(position), "lab-more": str(frame.height == limit).lower()}
        return Response(arrow(frame), 200, headers, ARROW)

    # -- projections --------------------------------------------------------------------------------------------------

    async def every(self, request: Request) -> Response:
        """Every projection, and how far it is."""
        only(request, ())
        truth, found = await self.backend.look()
        return reply(Reply(200, encoded({"truth": truth, "projections": found})))

    async def projection(self, request: Request) -> Response:
        """One of them."""
        item = self._named(request.path_params["name"], self.backend.projections, "projection")
        only(request, ())
        return reply(Reply(200, encoded(await self.backend.look_at(item))))

    async def query(self, request: Request) -> Response:
        """A query's rows, with the position that they stand for."""
        item = self._named(request.path_params["name"], self.backend.projections, "projection")
        queries = {query.name: query for query in item.queries}
        query = self._named(request.path_params["query"], queries, f"query of `{item.name}`")
        pairs = request.query_params.multi_items()
        given = dict(pairs)
        values = words.values(query, pairs)
        no_doubles(pairs, words.COMMON)
        limit = whole_number(given, "limit", 1, words.ROWS_MAX, words.ROWS)
        timeout = seconds_of(given, "timeout", words.WAIT)
        at_least = whole_number(given, "at_least", 0, words.INT_MAX, 0) if "at_least" in given else None
        backend = self.backend
        if at_least is not None and at_least > backend.head and at_least > await backend.newest():
            head = backend.head
            raise Refused(400, f"there is no position {at_least} yet: the newest is {head}", position=head)
        question = AskQuery(query.name, values, limit, at_least, timeout)
        return reply(await backend.ask(item.name, question, timeout))

    async def rebuild(self, request: Request) -> Response:
        """Build it anew beside, and swap it in."""
        item = self._named(request.path_params["name"], self.backend.projections, "projection")
        only(request, ())
        response = reply(await self.backend.ask(item.name, StartRebuild()))
        if response.status_code == 202:
            response.headers["location"] = f"/projections/{item.name}"
        return response

    async def applied(self, request: Request) -> Response:
        """The changes that became visible since the last time: position, when committed, when visible."""
        item = self._named(request.path_params["name"], self.backend.projections, "projection")
        only(request, ("since", "limit"))
        given = dict(request.query_params)
        since = whole_number(given, "since", 0, words.INT_MAX, 0)
        limit = whole_number(given, "limit", 1, words.ROWS_MAX, words.ROWS)
        return reply(await self.backend.ask(item.name, ReadApplied(since, limit)))

    async def workload(self, request: Request) -> Response:
        """Commands of the scenario's workload, for whoever makes load."""
        only(request, ("part", "of", "since", "limit"))
        given = dict(request.query_params)
        of = whole_number(given, "of", 1, PARTS_MAX, 1)
        part = whole_number(given, "part", 0, of - 1, 0)
        since = whole_number(given, "since", 0, words.INT_MAX, 0)
        limit = whole_number(given, "limit", 1, words.ROWS_MAX, words.ROWS)
        return reply(Reply(200, encoded(await self.load.workload(part, of, since, limit))))

    # -- the rest -----------------------------------------------------------------------------------------------------

    async def faults(self, request: Request) -> Response:
        """What the channel does to messages; a PUT replaces it."""
        only(request, ())
        wanted = None
        if request.method == "PUT":
            wanted = await body_of(request)
        return reply(await self.backend.ask(TRUTH, ChangeFaults(wanted)))

    async def loaded(self, request: Request) -> Response:
        """The small load generator; a PUT sets its rate."""
        only(request, ())
        if request.method == "PUT":
            self.load.set(wanted(await body_of(request)))
        return reply(Reply(200, encoded(self.load.told())))

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
        truth, found = await self.backend.look()
        text = exposition(truth, found, self.answered, self.seconds)
        return Response(text, 200, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def health(self, request: Request) -> Response:
        """Whether every process is there."""
        only(request, ())
        states = self.backend.states()
        well = all(state == "running" for state in states.values())
        return reply(Reply(200, encoded({"status": "ok" if well else "degraded", "processes": states})))

    async def openapi(self, request: Request) -> Response:
        """What can be asked here."""
        only(request, ())
        return reply(Reply(200, self.document))

    async def close(self) -> None:
        """End the streams, and the load."""
        await self.load.close()
        await self.live.close()

    @staticmethod
    def _named(name: str, known: Mapping[str, Any], what: str) -> Any:
        if name not in known:
            raise Refused(404, f"no {what} is called `{name[:50]}` ({nearest(name[:50], known)})")
        return known[name]

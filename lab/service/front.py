"""The service over HTTP: check a request, pass it to the part that answers it, and return the reply unchanged."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lab.base import TRUTH, nearest
from lab.decimals import visible
from lab.domain.model import published
from lab.service.backend import Backend
from lab.service.changes import ARROW, arrow, as_json
from lab.service.gate import PAGE, Access, AccessGate, body_of
from lab.service.live import LiveStream
from lab.service.loading import Load
from lab.service.messages import (
    CLIENT,
    AskQuery,
    ChangeFaults,
    ExecuteCommand,
    ReadApplied,
    ReadStatus,
    StartRebuild,
)
from lab.service.metrics import exposition
from lab.service.openapi import openapi
from lab.service.page import headers, page
from lab.service.problems import Refused, document, encoded, failed, http_problem, response_of
from lab.service.requests import (
    KEY_MAX,
    AppliedParameters,
    ChangesParameters,
    LiveParameters,
    Parameters,
    RecordParameters,
    WaitParameters,
    WorkloadParameters,
    checked_command,
    checked_rate,
    command_body,
    own_values,
    parsed,
    query_parameters,
)
from lab.service.wire import Gone, Reply

# Requests that wait for a change at one moment: half of the connections are left to those that don't.
WAITING_MAX = 500


class Front:
    """The HTTP endpoints of the service."""

    def __init__(self, backend: Backend, access: Access) -> None:
        self.backend, self.access, self.plan = backend, access, backend.plan
        self.answered: dict[tuple[str, int], int] = {}
        self.seconds: dict[str, float] = {}
        self.waiting = 0
        self.commands = {name: command_body(entity) for name, entity in self.plan.domain.entities.items()}
        self.queries = {
            item.name: {query.name: (query, query_parameters(query)) for query in item.queries}
            for item in self.plan.projections
        }
        models = {(name, query): model for name, own in self.queries.items() for query, (_, model) in own.items()}
        self.document = encoded(openapi(self.plan, access.token is not None, self.commands, models))
        self.load = Load(self.plan, backend.execute, lambda: backend.head)
        self.live = LiveStream(backend, self.load.told)
        self.page, self.page_headers = page(), headers()

    def app(self) -> AccessGate:
        """The ASGI application."""
        # The router tries them in order, so the most frequent come first.
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
                response = response_of(Reply(error.status, document(error.status, error.detail, **error.more)))
                if error.status == 413:
                    response.headers["connection"] = "close"
            except Gone:
                said = "the process behind this went away before it had answered, and is being started again"
                response = response_of(Reply(503, document(503, said)))
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
        parsed(Parameters, request)
        once = request.headers.get("idempotency-key")
        if once is not None and (not 1 <= len(once) <= KEY_MAX or not once.isprintable()):
            raise Refused(400, f"an Idempotency-Key is printable, and has {KEY_MAX} characters at the most")
        order = checked_command(self.commands[entity.name], await body_of(request))
        known = None if once is None else CLIENT + once
        return response_of(await self.backend.execute(ExecuteCommand(entity.name, **order, request=known)))

    async def follow(self, request: Request) -> Response:
        """The changes after a position: a page of them, waited for if need be."""
        asked = parsed(ChangesParameters, request)
        entity = self._named(asked.entity, published(self.plan.domain), "entity")
        accept = request.headers.get("accept", "*/*").lower()
        wants_arrow = ARROW in accept
        if not wants_arrow and not any(kind in accept for kind in ("json", "*/*", "application/*")):
            raise Refused(406, f"a page is application/json or {ARROW}")
        since, limit = asked.since, asked.limit
        with self._waiting(asked.wait > 0):
            frame = await self.backend.changes.page(entity.name, since, limit, asked.wait)
        frame = visible(frame, entity.scales, wants_arrow)
        if not wants_arrow:
            return response_of(Reply(200, as_json(entity.name, frame, since, limit)))
        position = int(frame["position"][-1]) if frame.height else since
        headers = {"lab-position": str(position), "lab-more": str(frame.height == limit).lower()}
        return Response(arrow(frame), 200, headers, ARROW)

    # -- projections --------------------------------------------------------------------------------------------------

    async def every(self, request: Request) -> Response:
        """List every projection with its progress."""
        parsed(Parameters, request)
        truth, found = await self.backend.look()
        return response_of(Reply(200, encoded({"truth": truth, "projections": found})))

    async def projection(self, request: Request) -> Response:
        """Return one projection's settings and progress, once it is as new as the reader wants it."""
        item = self._named(request.path_params["name"], self.backend.projections, "projection")
        asked, status = parsed(WaitParameters, request), None
        if asked.at_least is not None:
            await self._possible(asked.at_least)
            with self._waiting(True):
                reply = await self.backend.ask(item.name, ReadStatus(asked.at_least, asked.timeout), asked.timeout)
            if reply.status != 200:
                return response_of(reply)
            status = json.loads(reply.body)
        return response_of(Reply(200, encoded(await self.backend.look_at(item, status))))

    async def query(self, request: Request) -> Response:
        """A query's rows, with the position that they stand for."""
        name = request.path_params["name"]
        queries = self._named(name, self.queries, "projection")
        query, model = self._named(request.path_params["query"], queries, f"query of `{name}`")
        asked = parsed(model, request)
        if asked.at_least is not None:
            await self._possible(asked.at_least)
        revision = asked.revision_at_least if isinstance(asked, RecordParameters) else None
        question = AskQuery(query.name, own_values(query, asked), asked.limit, asked.at_least, asked.timeout, revision)
        longest = asked.timeout * (asked.at_least is not None or revision is not None)
        with self._waiting(longest > 0):
            return response_of(await self.backend.ask(name, question, longest))

    async def _possible(self, at_least: int) -> None:
        """Raise Refused for a position that there is not yet."""
        if at_least > self.backend.head and at_least > (newest := await self.backend.newest()):
            raise Refused(400, f"there is no position {at_least} yet: the newest is {newest}", position=newest)

    async def rebuild(self, request: Request) -> Response:
        """Build it anew beside, and swap it in."""
        item = self._named(request.path_params["name"], self.backend.projections, "projection")
        parsed(Parameters, request)
        response = response_of(await self.backend.ask(item.name, StartRebuild()))
        if response.status_code == 202:
            response.headers["location"] = f"/projections/{item.name}"
        return response

    async def applied(self, request: Request) -> Response:
        """The changes that became visible since the last time: position, when committed, when visible."""
        item = self._named(request.path_params["name"], self.backend.projections, "projection")
        asked = parsed(AppliedParameters, request)
        return response_of(await self.backend.ask(item.name, ReadApplied(asked.since, asked.limit)))

    async def workload(self, request: Request) -> Response:
        """Commands of the scenario's workload, for a load generator."""
        asked = parsed(WorkloadParameters, request)
        if asked.part >= asked.of:
            raise Refused(400, f"`part` is 0 to {asked.of - 1}")
        page = await self.load.workload(asked.part, asked.of, asked.since, asked.limit)
        return response_of(Reply(200, encoded(page)))

    # -- the rest -----------------------------------------------------------------------------------------------------

    async def faults(self, request: Request) -> Response:
        """What the channel does to messages; a PUT replaces it."""
        parsed(Parameters, request)
        wanted = None
        if request.method == "PUT":
            wanted = await body_of(request)
        return response_of(await self.backend.ask(TRUTH, ChangeFaults(wanted)))

    async def loaded(self, request: Request) -> Response:
        """The small load generator; a PUT sets its rate."""
        parsed(Parameters, request)
        if request.method == "PUT":
            self.load.set(checked_rate(await body_of(request)))
        return response_of(Reply(200, encoded(self.load.told())))

    async def show(self, request: Request) -> Response:
        """The live page (HTML)."""
        return Response(self.page, 200, self.page_headers, "text/html; charset=utf-8")

    async def watch(self, request: Request) -> Response:
        """What the live page shows, as it happens."""
        events = parsed(LiveParameters, request).events
        said = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return self.live.watch(events, said)

    async def metrics(self, request: Request) -> Response:
        """Metrics in the text format of Prometheus."""
        parsed(Parameters, request)
        truth, found = await self.backend.look()
        text = exposition(truth, found, self.answered, self.seconds)
        return Response(text, 200, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def health(self, request: Request) -> Response:
        """The state of every process."""
        parsed(Parameters, request)
        states = self.backend.states()
        well = all(state == "running" for state in states.values())
        found: dict[str, Any] = {"status": "ok" if well else "degraded"}
        found |= {"processes": states, "pids": self.backend.pids()}
        aside = {name: self.backend.set_aside(name) for name in self.backend.projections}
        found |= {"reasons": self.backend.reasons(), "set_aside": {name: said for name, said in aside.items() if said}}
        return response_of(Reply(200, encoded(found)))

    async def openapi(self, request: Request) -> Response:
        """The OpenAPI document."""
        parsed(Parameters, request)
        return response_of(Reply(200, self.document))

    async def close(self) -> None:
        """End the streams, and the load."""
        await self.load.close()
        await self.live.close()

    @contextmanager
    def _waiting(self, waits: bool) -> Iterator[None]:
        """Count a request that may wait for long. Raises Refused where so many wait that others would be kept out."""
        if waits and self.waiting >= WAITING_MAX:
            raise Refused(503, f"{WAITING_MAX} requests wait already; ask without waiting, or again later")
        self.waiting += waits
        try:
            yield
        finally:
            self.waiting -= waits

    @staticmethod
    def _named(name: str, known: Mapping[str, Any], what: str) -> Any:
        if name not in known:
            raise Refused(404, f"no {what} is called `{name[:50]}` ({nearest(name[:50], known)})")
        return known[name]

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
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from lab.base import TRUTH, nearest
from lab.domain.model import published
from lab.service import words
from lab.service.changes import ARROW, Changes, arrow, as_json
from lab.service.gate import BODY_MAX, Access, Gate
from lab.service.metrics import exposition
from lab.service.openapi import openapi
from lab.service.problems import PROBLEM, Refused, document, encoded
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

    def app(self) -> Gate:
        """The application."""
        routes = [
            self._route("/commands/{entity}", self.command, "POST"),
            self._route("/changes", self.follow, "GET"),
            self._route("/projections", self.every, "GET"),
            self._route("/projections/{name}", self.projection, "GET"),
            self._route("/projections/{name}/rebuild", self.rebuild, "POST"),
            self._route("/projections/{name}/{query}", self.query, "GET"),
            Route("/faults", self._counted("/faults", self.faults), methods=["GET", "PUT"]),
            self._route("/metrics", self.metrics, "GET"),
            self._route("/health", self.health, "GET"),
            self._route("/openapi.json", self.openapi, "GET"),
        ]
        handlers: Any = {HTTPException: _http_problem, 500: _failed}
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
                response = _response(Answer(error.status, document(error.status, error.detail, **error.more)))
                if error.status == 413:
                    response.headers["connection"] = "close"
            except Gone:
                said = "the process behind this went away before it had answered, and is being started again"
                response = _response(Answer(503, document(503, said)))
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
        _only(request, ())
        once = request.headers.get("idempotency-key")
        if once is not None and (not 1 <= len(once) <= REQUEST_MAX or not once.isprintable()):
            raise Refused(400, f"an Idempotency-Key is printable, and has {REQUEST_MAX} characters at the most")
        order = command_of(await _json(request), entity.key, entity.columns)
        answer = await self._ask(self.executor, {"do": "execute", "entity": entity.name, "request": once, **order})
        if answer.position > self.head:
            self.head = answer.position
            self.changes.news()
        return _response(answer)

    async def follow(self, request: Request) -> Response:
        """The changes after a position: a page of them, waited for if need be."""
        _only(request, ("entity", "since", "limit", "wait"))
        given = dict(request.query_params)
        entity = self._named(given.get("entity", ""), published(self.plan.domain), "entity")
        since = _number(given, "since", 0, words.INT_MAX, 0)
        limit = _number(given, "limit", 1, words.ROWS_MAX, words.ROWS)
        wait = _seconds(given, "wait", 0.0)
        accept = request.headers.get("accept", "*/*").lower()
        wants_arrow = ARROW in accept
        if not wants_arrow and not any(kind in accept for kind in ("json", "*/*", "application/*")):
            raise Refused(406, f"a page is application/json or {ARROW}")
        frame = await self.changes.page(entity.name, since, limit, wait)
        if not wants_arrow:
            return _response(Answer(200, as_json(entity.name, frame, since, limit)))
        position = int(frame["position"][-1]) if frame.height else since
        headers = {"lab-position": str(position), "lab-more": str(frame.height == limit).lower()}
        return Response(arrow(frame), 200, headers, ARROW)

    # -- projections --------------------------------------------------------------------------------------------------

    async def every(self, request: Request) -> Response:
        """Every projection, and how far it is."""
        _only(request, ())
        truth, found = await self.look()
        return _response(Answer(200, encoded({"truth": truth, "projections": found})))

    async def projection(self, request: Request) -> Response:
        """One of them."""
        item = self._named(request.path_params["name"], self.items, "projection")
        _only(request, ())
        return _response(Answer(200, encoded(await self._look(item))))

    async def query(self, request: Request) -> Response:
        """A query's rows, with the position that they stand for."""
        item = self._named(request.path_params["name"], self.items, "projection")
        queries = {query.name: query for query in item.queries}
        query = self._named(request.path_params["query"], queries, f"query of `{item.name}`")
        pairs = request.query_params.multi_items()
        given = dict(pairs)
        values = words.values(query, pairs)
        _once(pairs, words.COMMON)
        limit = _number(given, "limit", 1, words.ROWS_MAX, words.ROWS)
        timeout = _seconds(given, "timeout", words.WAIT)
        at_least = _number(given, "at_least", 0, words.INT_MAX, 0) if "at_least" in given else None
        if at_least is not None and at_least > self.head and at_least > await self.newest():
            raise Refused(400, f"there is no position {at_least} yet: the newest is {self.head}", position=self.head)
        question = {"do": "query", "query": query.name, "parameters": values, "limit": limit}
        question |= {"at_least": at_least, "timeout": timeout}
        return _response(await self._ask(self.parts[item.name], question, timeout))

    async def rebuild(self, request: Request) -> Response:
        """Build it anew beside, and swap it in."""
        item = self._named(request.path_params["name"], self.items, "projection")
        _only(request, ())
        response = _response(await self._ask(self.parts[item.name], {"do": "rebuild"}))
        if response.status_code == 202:
            response.headers["location"] = f"/projections/{item.name}"
        return response

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
        _only(request, ())
        wanted = None
        if request.method == "PUT":
            wanted = await _json(request)
        return _response(await self._ask(self.executor, {"do": "faults", "set": wanted}))

    async def metrics(self, request: Request) -> Response:
        """For Prometheus."""
        _only(request, ())
        truth, found = await self.look()
        text = exposition(truth, found, self.answered, self.seconds)
        return Response(text, 200, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def health(self, request: Request) -> Response:
        """Whether every process is there."""
        _only(request, ())
        states = {name: one.told()["state"] for name, one in {TRUTH: self.executor, **self.parts}.items()}
        well = all(state == "running" for state in states.values())
        return _response(Answer(200, encoded({"status": "ok" if well else "degraded", "processes": states})))

    async def openapi(self, request: Request) -> Response:
        """What can be asked here."""
        _only(request, ())
        return _response(Answer(200, self.document))

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


def command_of(body: Any, key: str, columns: Mapping[str, str]) -> dict[str, Any]:
    """A command out of a request's body, every value of its kind; all that is wrong is told at once."""
    if not isinstance(body, dict):
        raise Refused(400, 'a command is an object: {"command": ..., "key": ..., "fields": {...}}')
    wrong = [f"no member `{str(name)[:50]}`" for name in body if name not in ("command", "key", "fields", "expected")]
    fields = body.get("fields", {})
    if not isinstance(fields, dict):
        raise Refused(400, "`fields` is an object")
    wanted: list[tuple[str, Any, str, bool]] = [
        ("command", body.get("command"), "str", True),
        ("key", body.get("key"), key, True),
    ]
    if body.get("expected") is not None:
        wanted.append(("expected", body["expected"], "int", False))
    for name, given in fields.items():
        if name not in columns:
            wrong.append(f"no field `{name[:50]}` ({nearest(name[:50], columns)})")
        elif given is not None:
            wanted.append((name, given, columns[name], False))
    for name, given, kind, is_key in wanted:
        try:
            words.checked(given, kind, is_key)
        except ValueError as error:
            wrong.append(f"`{name}` {error}")
    if wrong:
        raise Refused(400, "; ".join(wrong))
    return {"command": body["command"], "key": body["key"], "fields": fields, "expected": body.get("expected")}


async def _json(request: Request) -> Any:
    """The body, read no further than it may be long."""
    body = bytearray()
    try:
        async for piece in request.stream():
            body += piece
            if len(body) > BODY_MAX:
                raise Refused(413, f"a body has {BODY_MAX} bytes at the most")
    except ClientDisconnect:
        raise Refused(400, "the body ended early") from None

    def no_number(word: str) -> None:
        raise ValueError(f"{word} is no number")

    try:
        return json.loads(bytes(body), parse_constant=no_number)
    except (ValueError, RecursionError):
        raise Refused(400, "the body is not JSON") from None


def _only(request: Request, known: tuple[str, ...]) -> None:
    """Parameters that there are none of, and those that are there twice, are refused."""
    pairs = request.query_params.multi_items()
    if wrong := words.unknown([name for name, _ in pairs], known):
        raise Refused(400, "; ".join(wrong))
    _once(pairs, known)


def _once(pairs: list[tuple[str, str]], known: tuple[str, ...]) -> None:
    names = [name for name, _ in pairs]
    if twice := [name for name in known if names.count(name) > 1]:
        raise Refused(400, f"`{twice[0]}` is there {names.count(twice[0])} times")


def _number(given: Mapping[str, str], name: str, least: int, most: int, default: int) -> int:
    try:
        found: int = words.value(given.get(name, str(default)), "int")
    except ValueError as error:
        raise Refused(400, f"`{name}` {error}") from None
    if not least <= found <= most:
        raise Refused(400, f"`{name}` is {least} to {most}")
    return found


def _seconds(given: Mapping[str, str], name: str, default: float) -> float:
    try:
        found: float = words.value(given.get(name, str(default)), "float")
    except ValueError as error:
        raise Refused(400, f"`{name}` {error}") from None
    if not 0 <= found <= words.WAIT_MAX:
        raise Refused(400, f"`{name}` is 0 to {words.WAIT_MAX:g} seconds")
    return found


def _response(answer: Answer) -> Response:
    kind = "application/json" if answer.status < 400 else PROBLEM
    return Response(answer.body, answer.status, media_type=kind)


async def _http_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    detail = {404: "there is nothing here; see /openapi.json", 405: "not with this method"}.get(error.status_code)
    body = document(error.status_code, detail or str(error.detail))
    return Response(body, error.status_code, headers, PROBLEM)


async def _failed(_: Request, __: Exception) -> Response:
    return Response(document(500, "the request failed"), 500, media_type=PROBLEM)

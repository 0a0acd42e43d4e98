"""What a request says: its body and its parameters, checked; and answers as HTTP has them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from lab.base import nearest
from lab.service import words
from lab.service.gate import BODY_MAX
from lab.service.problems import PROBLEM, Refused, document
from lab.service.wire import Reply


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


async def body_of(request: Request) -> Any:
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


def only(request: Request, known: tuple[str, ...]) -> None:
    """Parameters that there are none of, and those that are there twice, are refused."""
    pairs = request.query_params.multi_items()
    if wrong := words.unknown([name for name, _ in pairs], known):
        raise Refused(400, "; ".join(wrong))
    no_doubles(pairs, known)


def no_doubles(pairs: list[tuple[str, str]], known: tuple[str, ...]) -> None:
    """A parameter that must be there once is refused when it is there twice."""
    names = [name for name, _ in pairs]
    if twice := [name for name in known if names.count(name) > 1]:
        raise Refused(400, f"`{twice[0]}` is there {names.count(twice[0])} times")


def whole_number(given: Mapping[str, str], name: str, least: int, most: int, default: int) -> int:
    """A parameter that is a whole number within bounds. Raises Refused."""
    try:
        found: int = words.value(given.get(name, str(default)), "int")
    except ValueError as error:
        raise Refused(400, f"`{name}` {error}") from None
    if not least <= found <= most:
        raise Refused(400, f"`{name}` is {least} to {most}")
    return found


def seconds_of(given: Mapping[str, str], name: str, default: float) -> float:
    """A parameter that is a time to wait. Raises Refused."""
    try:
        found: float = words.value(given.get(name, str(default)), "float")
    except ValueError as error:
        raise Refused(400, f"`{name}` {error}") from None
    if not 0 <= found <= words.WAIT_MAX:
        raise Refused(400, f"`{name}` is 0 to {words.WAIT_MAX:g} seconds")
    return found


def reply(answer: Reply) -> Response:
    """What a process has answered, as HTTP."""
    kind = "application/json" if answer.status < 400 else PROBLEM
    return Response(answer.body, answer.status, media_type=kind)


async def http_problem(_: Request, error: Exception) -> Response:
    """No such address, or not with this method."""
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    detail = {404: "there is nothing here; see /openapi.json", 405: "not with this method"}.get(error.status_code)
    body = document(error.status_code, detail or str(error.detail))
    return Response(body, error.status_code, headers, PROBLEM)


async def failed(_: Request, __: Exception) -> Response:
    """Our own mistake; what it was is no business of who asked."""
    return Response(document(500, "the request failed"), 500, media_type=PROBLEM)

"""Errors as problem documents (RFC 9457), and JSON that any reader can read."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from lab.service.wire import Reply

PROBLEM = "application/problem+json"

TITLES = {
    400: "bad request",
    401: "token required",
    403: "foreign origin",
    404: "not found",
    405: "method not allowed",
    406: "not acceptable",
    408: "too slow",
    409: "conflict",
    413: "body too large",
    414: "target too long",
    415: "not JSON",
    421: "foreign host",
    422: "rejected",
    431: "head too large",
    500: "failed",
    501: "not implemented",
    503: "unavailable",
    504: "stale",
    505: "another version",
}
# The title of a problem that is none of those: an id of a request that was another command's.
REUSED = "idempotency key reused"


class Refused(Exception):
    """A request that is answered with a problem document. `more` are further members of it."""

    def __init__(self, status: int, detail: str, **more: Any) -> None:
        super().__init__(detail)
        self.status, self.detail, self.more = status, detail, more


def document(status: int, detail: str, title: str | None = None, **more: Any) -> bytes:
    """A problem document: type, title (by default the status's), status, detail, and what else there is to say."""
    title = title or TITLES.get(status, "error")
    kind = f"urn:lab:problem:{title.replace(' ', '-')}"
    return encoded({"type": kind, "title": title, "status": status, "detail": detail, **more})


def problem(status: int, detail: str, title: str | None = None, **more: Any) -> Reply:
    """The same as an answer."""
    return Reply(status, document(status, detail, title, **more))


def response_of(reply: Reply) -> Response:
    """The reply of a part over HTTP."""
    kind = "application/json" if reply.status < 400 else PROBLEM
    return Response(reply.body, reply.status, media_type=kind)


async def http_problem(_: Request, error: Exception) -> Response:
    """The answer where there is no such path, or not with this method."""
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    detail = {404: "there is nothing here; see /openapi.json", 405: "not with this method"}.get(error.status_code)
    body = document(error.status_code, detail or str(error.detail))
    return Response(body, error.status_code, headers, PROBLEM)


async def failed(_: Request, __: Exception) -> Response:
    """The answer to a failure of the service; the cause goes to its log, and not to the client."""
    return Response(document(500, "the request failed"), 500, media_type=PROBLEM)


def encoded(value: Any) -> bytes:
    """As JSON. What JSON has no word for is null (no number, infinite), or text (a date)."""
    try:
        return json.dumps(value, allow_nan=False, default=_plain).encode()
    except ValueError:
        return json.dumps(_finite(value), allow_nan=False, default=_plain).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value) if value.is_finite() else None
    return str(value)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

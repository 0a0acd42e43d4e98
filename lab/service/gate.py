"""Access control: a middleware looks at each request's head, and answers those that it refuses.

A page from elsewhere, open in a browser on this machine, can reach 127.0.0.1. It can't choose its Host (a name that it
rebinds stays its own), nor hide its Origin, nor send JSON without asking first: all three are looked at.
"""

from __future__ import annotations

import contextlib
import hmac
import ipaddress
import json
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from lab.base import BadInput, Problem
from lab.service.problems import PROBLEM, Refused, document

# A command is small; a larger body is refused before it has been read.
BODY_MAX = 64 * 2**10
# The live page itself needs no token, since it holds no data; its requests do.
PAGE = "/"
LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Access:
    """Which hosts a request may name, and the token that it must bring."""

    hosts: frozenset[str]
    any_address: bool
    token: str | None

    @classmethod
    def of(cls, host: str, token: str | None) -> Access:
        """The rules for an address: on loopback only its own names, beyond that a token is needed. Raises BadInput."""
        if token is not None and not (token.isascii() and token.isprintable() and token.strip() == token != ""):
            raise BadInput([Problem("--token", "not a token", "plain printable characters, without a space around")])
        if _loopback(host):
            return cls(frozenset({*LOOPBACK, host.lower()}), False, token)
        if token is None:
            what = f"`{host}` can be reached from other machines, and whoever reaches it may command"
            raise BadInput(
                [Problem("--host", what, "give a --token that every request must bring, or serve 127.0.0.1")]
            )
        names = {*LOOPBACK, host.lower(), socket.gethostname().lower(), socket.getfqdn().lower()}
        # A number can't be rebound as a name can.
        return cls(frozenset(names), True, token)

    def knows(self, host: str) -> bool:
        """True if a Host header, with or without a port, names this service."""
        with contextlib.suppress(ValueError):
            name = urlsplit(f"//{host}").hostname or ""
            if name in self.hosts:
                return True
            with contextlib.suppress(ValueError):
                return self.any_address and bool(ipaddress.ip_address(name))
        return False

    def admits(self, authorization: str) -> bool:
        """True if an Authorization header has the token, or none is needed."""
        if self.token is None:
            return True
        scheme, _, given = authorization.partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(given.encode(), self.token.encode())


def _loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


class AccessGate:
    """ASGI middleware: checks the head of a request before its body is read."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app, self.access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it with a problem document."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refused = self._refused(scope["method"], scope["path"], scope["headers"])
        if refused is None:
            await self.app(scope, receive, send)
            return
        status, detail = refused
        body = document(status, detail)
        headers = [(b"content-type", PROBLEM.encode()), (b"content-length", str(len(body)).encode())]
        # The body, if there is one, is not read.
        headers.append((b"connection", b"close"))
        if status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    def _refused(self, method: str, path: str, headers: Iterable[tuple[bytes, bytes]]) -> tuple[int, str] | None:
        said: dict[str, list[str]] = {}
        for name, value in headers:
            said.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        hosts = said.get("host", [])
        if len(hosts) != 1:
            return 400, f"a request names one Host, and this one names {len(hosts)}"
        if not self.access.knows(hosts[0]):
            return 421, "this host is not served here"
        open_to_all = path == PAGE and method in ("GET", "HEAD")
        if not open_to_all and not self.access.admits(said.get("authorization", [""])[0]):
            return 401, "every request must bring the token: Authorization: Bearer TOKEN"
        for origin in said.get("origin", []):
            if not self.access.knows(origin.partition("://")[2]):
                return 403, "a page from elsewhere may not ask here"
        length = said.get("content-length", ["0"])[0]
        if not length.isdigit() or len(length) > 18 or int(length) > BODY_MAX:
            return 413, f"a body has {BODY_MAX} bytes at the most"
        kind = said.get("content-type", [""])[0].partition(";")[0].strip().lower()
        sends = length != "0" or "transfer-encoding" in said
        if method in ("POST", "PUT") and sends and kind != "application/json":
            return 415, "a body is JSON: Content-Type: application/json"
        return None


async def body_of(request: Request) -> Any:
    """The body as JSON, read no further than it may be long. Raises Refused."""
    body = bytearray()
    try:
        async for piece in request.stream():
            body += piece
            if len(body) > BODY_MAX:
                raise Refused(413, f"a body has {BODY_MAX} bytes at the most")
    except ClientDisconnect:
        raise Refused(400, "the body ended early") from None
    try:
        return json.loads(bytes(body), parse_constant=_no_number, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        raise Refused(400, "the body is not JSON") from None


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no number")


def _unique(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    """An object whose names are there once: of two values, clients and servers disagree which one counts."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Refused(400, "a member of the body is there twice")
    return found

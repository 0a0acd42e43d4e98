"""Uvicorn's HTTP protocol with the bounds that it lacks, and with problem documents where it answers plain text.

Bounds: the size of a head; the seconds in which a head and a body must have come and an answer must have been read; the
number of connections, where a new one takes the place of one that waits for its client; and what lies in memory for
clients that don't read. `Patrol` looks after all connections of a server once a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from importlib import import_module
from typing import Any, cast

import httptools
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from lab.service.problems import PROBLEM, document

HEAD_MAX = 32 * 2**10
# Seconds from the connection, or the last answer, to the end of a request's head; from there to the end of its body; in
# which an answer must have been read. A head and a body have some kilobytes, an answer has some megabytes at the most.
HEAD_SECONDS, BODY_SECONDS, READ_SECONDS = 10.0, 15.0, 60.0
# The same when the server stops.
LAST_SECONDS = 2.0
# Open connections; beyond that, a new one takes the place of another.
CONNECTIONS_MAX = 1_000
# Bytes of answers that clients have not read yet, in all; beyond that, the connections that hold most are cut.
UNREAD_MAX = 64 * 2**20
# Seconds that running requests may still take when the server stops.
GRACE = 10
# Seconds between two looks at all connections.
LOOK = 1.0


class Bounded(HttpToolsProtocol):
    """One connection. It waits for its client while a head, a body or the reading of an answer is to come."""

    _head_bytes = 0
    _in_head = True
    _begun = False
    # Whether the body of the newest request is still to come; whether nothing more is read.
    _in_body = False
    _refused = False
    # Since when it has waited for a head or a body, and since when something has lain unread; None: it hasn't.
    waits_since: float | None = None
    unread_since: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait; make room if there are too many connections, and refuse what comes if there is none."""
        super().connection_made(cast(asyncio.Transport, transport))
        self.waits_since = time.monotonic()
        if len(self.connections) > CONNECTIONS_MAX and not self._made_room():
            self.app = _full

    @property
    def is_idle(self) -> bool:
        """True while it is its client's turn, and no earlier request is being answered."""
        return self.waits_since is not None and not self.flow.read_paused and not self.transport.is_closing()

    def _made_room(self) -> bool:
        """End the connection that has waited longest for its client; false if all are being answered."""
        waiting = [one for one in _bounded(self.connections) if one is not self and one.is_idle]
        if not waiting:
            return False
        min(waiting, key=lambda one: one.waits_since or 0.0).give_up("another connection needed the place")
        return True

    # -- what the parser tells -----------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Start counting the bytes of a head."""
        self._in_head, self._head_bytes, self._begun = True, 0, True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Stop counting, and begin to wait for the body; refuse what can't be passed on."""
        self._in_head = False
        if self.transport.is_closing() or self._refused:
            return
        version, method = self.parser.get_http_version(), self.parser.get_method()
        if version not in ("1.0", "1.1"):
            self.refuse(505, f"HTTP/{version} is not spoken here: HTTP/1.1 is")
            return
        if method == b"CONNECT":
            self.refuse(501, "this is no proxy")
            return
        try:
            target = httptools.parse_url(self.url)
        except httptools.HttpParserError:
            self.refuse(400, "the target is no path")
            return
        if target.host:
            # The host of an absolute target counts, and not the header's.
            port = b"" if target.port is None else b":%d" % target.port
            self.headers[:] = [(name, value) for name, value in self.headers if name != b"host"]
            self.headers.append((b"host", target.host + port))
        if len(self.url) > HEAD_MAX:
            self.refuse(414, f"a request's target has {HEAD_MAX} bytes at the most")
        elif sum(len(name) + len(value) for name, value in self.headers) > HEAD_MAX:
            self.refuse(431, f"a request's head has {HEAD_MAX} bytes at the most")
        else:
            super().on_headers_complete()
            self._in_body, self.waits_since = True, time.monotonic()

    def on_body(self, body: bytes) -> None:
        """Keep a piece of a body, unless the request was refused."""
        if self._in_body:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Wait no more: it is the service's turn."""
        if not self._in_body:
            return
        self._in_body = False
        self.waits_since = time.monotonic() if self.cycle.response_complete else None
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request, or for the body of one that has come already."""
        super().on_response_complete()
        self.waits_since = time.monotonic() if self._in_body or self.cycle.response_complete else None

    def data_received(self, data: bytes) -> None:
        """Parse data; refuse the request and close the connection if its head is too long."""
        if self.transport.is_closing() or self._refused:
            return
        self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > HEAD_MAX:
            status, what = (431, "head") if self.headers else (414, "target")
            self.refuse(status, f"a request's {what} has {HEAD_MAX} bytes at the most")

    def send_400_response(self, msg: str) -> None:
        """Refuse what the parser can't read."""
        error = sys.exc_info()[1]
        method = isinstance(error, httptools.HttpParserInvalidMethodError)
        said = str(error) if error is not None and not isinstance(error, httptools.HttpParserCallbackError) else ""
        if said == "Invalid HTTP version":
            self.refuse(505, "only HTTP/1.1 is spoken here")
        else:
            self.refuse(501 if method else 400, f"no request that can be read: {said or 'not HTTP/1.1'}")

    def _unsupported_upgrade_warning(self) -> None:
        """Answer the request as if no other protocol had been asked for, and close: what follows isn't HTTP/1.1."""
        if self.cycle is not None:
            self.cycle.keep_alive = False

    # -- its end -------------------------------------------------------------------------------------------------------

    def refuse(self, status: int, detail: str) -> None:
        """Answer the newest request with a problem document, and close the connection.

        While an earlier one is being answered that answer is the last: another would be taken for it.
        """
        if self.transport.is_closing() or self._refused:
            return
        self._refused = True
        busy = self.cycle is not None and not self.cycle.response_complete
        if busy and not self._in_body:
            self.cycle.keep_alive = False
            return
        if not self.pipeline and not (busy and self.cycle.response_started):
            body = document(status, detail)
            head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: {PROBLEM}\r\n"
            self.transport.write(f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body)
        if busy:
            # What reads its body hears that there is no more.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()

    def give_up(self, why: str, status: int = 408) -> None:
        """End the wait for a client: a connection on which no request has begun is closed without an answer."""
        if self._in_body:
            self.refuse(status, f"the body has not come: {why}")
        elif self._in_head and self._begun:
            self.refuse(status, f"the head has not come: {why}")
        else:
            self.transport.close()

    def shutdown(self) -> None:
        """The server stops: what has not been sent wholly by now will not be answered."""
        if self.waits_since is not None:
            # No fault of the client: it was in time.
            self.give_up("the service stops", 503)
        else:
            super().shutdown()


async def _full(scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse a request, since all connections are being answered."""
    body = document(503, f"{CONNECTIONS_MAX} connections are being answered already")
    headers = [(b"content-type", PROBLEM.encode()), (b"content-length", b"%d" % len(body))]
    headers += [(b"connection", b"close"), (b"retry-after", b"1")]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def enough_files() -> None:
    """Let this process have as many open files as its connections and its parts need, as far as the system lets it."""
    with contextlib.suppress(ModuleNotFoundError, OSError, ValueError):
        resource = import_module("resource")
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = 2 * CONNECTIONS_MAX + 1_000
        if soft != resource.RLIM_INFINITY and soft < wanted:
            most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the caller, so that a handled one is not raised again."""
        yield


def server_of(app: ASGIApp) -> uvicorn.Server:
    """Return a server for the application, with these bounds; it still needs a `Patrol`."""
    return _Server(
        uvicorn.Config(
            app,
            http=Bounded,
            ws="none",
            lifespan="off",
            log_level="error",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=GRACE,
        )
    )


class Patrol:
    """Ends the connections of a server that keep it waiting. With `stopping` it is less patient."""

    def __init__(self, connections: Iterable[Any]) -> None:
        self.connections, self.stopping = connections, False

    async def walk(self) -> None:
        """Look at all connections, again and again, until cancelled."""
        while True:
            await asyncio.sleep(LOOK)
            self.look(time.monotonic())

    def look(self, now: float) -> None:
        """Give up each connection that has waited too long, and cut those that hold too many unread bytes."""
        unread: list[tuple[int, Bounded]] = []
        for one in _bounded(self.connections):
            limit = BODY_SECONDS if one._in_body else HEAD_SECONDS
            # While an earlier request of the same connection is answered, nothing more of it is read.
            if one.is_idle and now - (one.waits_since or now) > limit:
                one.give_up(f"after {limit:g} s")
            size = one.transport.get_write_buffer_size()
            one.unread_since = None if not size else one.unread_since or now
            if one.unread_since is not None:
                if now - one.unread_since > (LAST_SECONDS if self.stopping else READ_SECONDS):
                    one.transport.abort()
                else:
                    unread.append((size, one))
        total = sum(size for size, _ in unread)
        for size, one in sorted(unread, key=lambda item: -item[0]):
            if total <= UNREAD_MAX:
                break
            one.transport.abort()
            total -= size


def _bounded(connections: Iterable[Any]) -> list[Bounded]:
    return [one for one in connections if isinstance(one, Bounded)]

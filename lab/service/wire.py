"""The protocol between the processes: frames over a Unix socket, many concurrent requests on one connection.

A frame has a head of four numbers: the length of what follows, the request that it belongs to, a status (0 for a
request, 1 for a change that the channel delivers, else that of HTTP), and a position in the source of truth; of a
request instead the nanoseconds since 1970 at which it was sent. What
follows is JSON (see `lab.service.messages`); a reply's is passed on to the client of the front as it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import select
import struct
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from lab.service.messages import Message, Subscribe, decoded_message, encoded_message

HEAD = struct.Struct(">IIHq")
REQUEST, MESSAGE = 0, 1
# A longer frame is invalid. The longest valid ones are answers of many rows.
FRAME_MAX = 256 * 2**20


@dataclass(frozen=True)
class Reply:
    """A part's answer: an HTTP status, a JSON body, and the position of the answer."""

    status: int
    body: bytes
    position: int = 0


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine on uvloop where it is installed (it isn't on Windows), else on asyncio's loop."""
    make: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    with contextlib.suppress(ModuleNotFoundError):
        make = import_module("uvloop").new_event_loop
    with asyncio.Runner(loop_factory=make) as runner:
        runner.run(main)


# Set in the environment of a program whose standard input is a pipe from its parent: it ends with that pipe.
ENDS_WITH_STDIN = "LAB_ENDS_WITH_STDIN"


async def watch_stdin(ended: Callable[[], object]) -> asyncio.BaseTransport:
    """Call `ended` when standard input ends: with the parent that holds its other end, whatever kills that."""

    class End(asyncio.Protocol):
        def connection_lost(self, _: Exception | None) -> None:
            ended()

    transport, _ = await asyncio.get_running_loop().connect_read_pipe(End, sys.stdin)
    return transport


def abandoned() -> bool:
    """Return whether standard input has ended already, since the parent that holds its other end is gone."""
    return bool(select.select([sys.stdin], [], [], 0)[0])


class Gone(Exception):
    """The process is not running, or ended before it replied: the request may or may not have been executed."""


class Peer(Protocol):
    """A part that answers messages."""

    async def ask(self, message: Message) -> Reply:
        """The reply. Raises Gone when the part ends before it replies."""


# When the request that a task is answering was sent, in seconds since 1970; None if that is not known.
SENT: ContextVar[float | None] = ContextVar("SENT", default=None)
Handle = Callable[[Message], Awaitable[Reply]]


def packed(number: int, status: int, body: bytes, position: int = 0) -> bytes:
    """Pack a frame: head and body."""
    return HEAD.pack(len(body), number, status, position) + body


async def read(reader: asyncio.StreamReader) -> tuple[int, int, int, bytes]:
    """The next frame: its number, status, position and body. Raises IncompleteReadError at the end."""
    length, number, status, position = HEAD.unpack(await reader.readexactly(HEAD.size))
    if length > FRAME_MAX:
        raise ConnectionError("a frame that is too long")
    return number, status, position, await reader.readexactly(length)


class WireLine:
    """One connection to a process, shared by many requests at once."""

    def __init__(self) -> None:
        self._waiting: dict[int, asyncio.Future[Reply]] = {}
        self._numbers = itertools.cycle(range(1, 2**32))
        self._writer: asyncio.StreamWriter | None = None
        self._listening: asyncio.Task[None] | None = None

    async def connect(self, path: Path) -> None:
        """Connect to a socket. Raises OSError while no process listens there."""
        reader, self._writer = await asyncio.open_unix_connection(str(path))
        self._listening = asyncio.create_task(self._listen(reader))

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                number, status, position, body = await read(reader)
                future = self._waiting.pop(number, None)
                if future is not None and not future.done():
                    future.set_result(Reply(status, body, position))
        except (asyncio.IncompleteReadError, OSError):
            self.close()

    def close(self) -> None:
        """Close the connection; requests that still wait for a reply raise Gone."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(Gone())
        self._waiting.clear()

    async def ask(self, message: Message) -> Reply:
        """Send a message and wait for the reply. Raises Gone when the connection ends before."""
        if self._writer is None:
            raise Gone
        number = next(self._numbers)
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        self._writer.write(packed(number, REQUEST, encoded_message(message), time.time_ns()))
        try:
            return await future
        finally:
            self._waiting.pop(number, None)


async def listen(
    path: Path, handle: Handle, subscribed: Callable[[asyncio.StreamWriter, str], None] | None = None
) -> asyncio.Server:
    """Answer messages at this path. A connection that sends Subscribe goes to `subscribed`, with the name in it."""
    tasks: set[asyncio.Task[None]] = set()

    async def respond(number: int, sent: int, message: Message, writer: asyncio.StreamWriter) -> None:
        SENT.set(sent / 1e9)
        reply = await handle(message)
        if not writer.is_closing():
            writer.write(packed(number, reply.status, reply.body, reply.position))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Cancelled when the process ends. Who sends what is no message is hung up on.
        ends = (asyncio.IncompleteReadError, OSError, asyncio.CancelledError, ValueError, TypeError, LookupError)
        with contextlib.suppress(*ends):
            while True:
                number, _, sent, body = await read(reader)
                message = decoded_message(body)
                if isinstance(message, Subscribe) and subscribed is not None:
                    subscribed(writer, message.name)
                    continue
                task = asyncio.create_task(respond(number, sent, message, writer))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
        writer.close()

    path.unlink(missing_ok=True)
    return await asyncio.start_unix_server(serve, str(path))

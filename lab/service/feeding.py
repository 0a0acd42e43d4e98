"""The change feed over a socket: the executor serves it, and readers in other processes read it like a file.

A file of some engines has one process at a time, and that is the executor's. A page is read in a thread and on a
connection of its own, so that it delays no command. While it is read the reader hears that the work goes on, so its
patience is with silence and not with work.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl

from lab.base import TRUTH, Unavailable
from lab.domain.model import Domain
from lab.feed.source import TruthReader
from lab.place import FolderPlace
from lab.truth import Opening, Truth, truth_class
from lab.wiring import Plan

# An answer's head: what it is, and the length of what follows.
HEAD = struct.Struct(">BQ")
AT_WORK, FRAME, NUMBER, OPENINGS, FAILED = range(5)
# A question is a line of JSON; a longer one is none.
QUESTION_MAX = 64 * 2**10
# Seconds between two signs of life while a page is read; and of silence after which a reader gives up for now.
BEAT, SILENCE = 0.5, 5.0
# The methods of a source of changes that can be asked for.
METHODS = ("changes_since", "earlier", "head", "timeline")


class ChangeServer:
    """Serves the source of truth that this process has open; reads one page at a time for all clients."""

    def __init__(self, truth: Truth) -> None:
        self._reader = truth.beside()
        self._thread = ThreadPoolExecutor(1, "feed")
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()

    async def listen(self, path: Path) -> None:
        """Answer at this path until `close`."""
        path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._connected, str(path), limit=QUESTION_MAX)

    async def close(self) -> None:
        """Hang up, and close the reader once the page that is being read is read."""
        if self._server is not None:
            self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        await asyncio.get_running_loop().run_in_executor(self._thread, self._reader.close)
        self._thread.shutdown()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            # A reader that is gone, and a line that is too long, end the connection.
            with contextlib.suppress(OSError, ValueError, asyncio.CancelledError):
                while question := await reader.readline():
                    await self._answer(question, writer)
        finally:
            self._serving.discard(task)
            writer.close()

    async def _answer(self, question: bytes, writer: asyncio.StreamWriter) -> None:
        work = asyncio.get_running_loop().run_in_executor(self._thread, self._read, question)
        while not (await asyncio.wait([work], timeout=BEAT))[0]:
            writer.write(HEAD.pack(AT_WORK, 0))
        kind, body = work.result()
        writer.write(HEAD.pack(kind, len(body)) + body)
        await writer.drain()

    def _read(self, question: bytes) -> tuple[int, bytes]:
        try:
            method, arguments = json.loads(question)
            if method not in METHODS:
                raise ValueError(f"no method is called {method}")
            found = getattr(self._reader, method)(*arguments)
        except Exception as error:
            return FAILED, f"{type(error).__name__}: {error}".encode()
        if isinstance(found, int):
            return NUMBER, str(found).encode()
        if isinstance(found, list):
            return OPENINGS, json.dumps(found).encode()
        buffer = BytesIO()
        found.write_ipc_stream(buffer)
        return FRAME, buffer.getvalue()


# Said of the process of this service that has the source of truth open, while there is none.
NO_ANSWER = "the source of truth does not answer"


class RemoteChanges:
    """The change feed of the process that serves it at `path`; connected when it is asked, again after a break."""

    def __init__(self, path: Path, model: str, publishes_every_revision: bool, domain: Domain) -> None:
        self.path, self.model, self.domain = path, model, domain
        self.publishes_every_revision = publishes_every_revision
        self._line: socket.socket | None = None

    def changes_since(
        self, entity: str, position: int, limit: int, before: Sequence[str] = (), columns: Sequence[str] | None = None
    ) -> pl.DataFrame:
        """Return the next changes after `position`. Raises Unavailable."""
        return self._frame("changes_since", entity, position, limit, list(before), _listed(columns))

    def earlier(self, entity: str, position: int, limit: int, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Return the events that precede those of a page. Raises Unavailable."""
        return self._frame("earlier", entity, position, limit, _listed(columns))

    def head(self, entity: str) -> int:
        """Return the position of the newest change. Raises Unavailable."""
        return int(self._asked(NUMBER, "head", entity))

    def timeline(self) -> list[Opening]:
        """Return the openings for writing. Raises Unavailable."""
        return [Opening(*one) for one in json.loads(self._asked(OPENINGS, "timeline"))]

    def connect(self) -> socket.socket:
        """The connection, made if there is none. Raises OSError while no process listens."""
        if self._line is None:
            line = socket.socket(socket.AF_UNIX)
            line.settimeout(SILENCE)
            try:
                line.connect(str(self.path))
            except BaseException:
                line.close()
                raise
            self._line = line
        return self._line

    def close(self) -> None:
        """Close the connection."""
        if self._line is not None:
            self._line.close()
            self._line = None

    def _frame(self, method: str, *arguments: Any) -> pl.DataFrame:
        return pl.read_ipc_stream(self._asked(FRAME, method, *arguments))

    def _asked(self, wanted: int, method: str, *arguments: Any) -> bytes:
        question = json.dumps([method, arguments]).encode() + b"\n"
        # A kept connection may lead to a server that has restarted; only a failed request shows it, so try once more.
        tries = 1 if self._line is None else 2
        for left in reversed(range(tries)):
            try:
                kind, body = self._conversed(question)
                break
            except OSError as error:
                if not left or isinstance(error, TimeoutError):
                    raise Unavailable(f"{NO_ANSWER}: {error}") from None
        if kind != wanted:
            raise Unavailable(f"the source of truth could not be read: {body.decode()}")
        return body

    def _conversed(self, question: bytes) -> tuple[int, bytes]:
        """Send a question and read the answer. What is left of a conversation that broke off is never read."""
        try:
            line = self.connect()
            line.sendall(question)
            kind = AT_WORK
            while kind == AT_WORK:
                kind, length = HEAD.unpack(_exactly(line, HEAD.size))
            return kind, _exactly(line, length)
        except BaseException:
            self.close()
            raise


def _listed(columns: Sequence[str] | None) -> list[str] | None:
    return None if columns is None else list(columns)


def _exactly(line: socket.socket, length: int) -> bytes:
    """Read so many bytes. Raises OSError when the connection ends before, or is silent for too long."""
    found, view = bytearray(length), 0
    with memoryview(found) as room:
        while view < length:
            read = line.recv_into(room[view:])
            if not read:
                raise ConnectionError("the connection ended")
            view += read
    return bytes(found)


def feed_socket(sockets: Path) -> Path:
    """Return the path of the feed's socket in a service's folder of sockets: no projection's name has a dot."""
    return sockets / f"{TRUTH}.feed.sock"


def finder(plan: Plan, folder: Path, path: Path, gaps: str = "naive") -> Callable[[], TruthReader | None]:
    """How readers find the source of truth of a service: its files where these can be shared, else the feed at `path`.

    The function returns None while there is nothing to be read yet.
    """
    table = plan.scenario.truth
    made = truth_class(table.engine, table.model)
    if made.shared:
        return lambda: plan.truth_beside(FolderPlace(folder).within(TRUTH), gaps)

    def connected() -> TruthReader | None:
        remote = RemoteChanges(path, made.model, made.publishes_every_revision, plan.domain)
        try:
            remote.connect()
        except OSError:
            return None
        return remote

    return connected

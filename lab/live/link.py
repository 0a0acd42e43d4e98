"""A link that can fail: a TCP proxy before a server, which refuses connections or falls silent when it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Literal

from lab.scenario import Outage

State = Literal["open", "cut", "hole"]
_BYTES = 2**16
# Seconds until a port that is taken is tried again.
_AGAIN = 0.1


class Link:
    """Listens at a port of 127.0.0.1, and passes on what comes to a server at another address, and back.

    `cut`: connections are refused, and those that are there end. `hole`: connections are accepted and kept, and nothing
    gets through until the link is open again.
    """

    def __init__(self, host: str, port: int) -> None:
        self._address = host, port
        self._server: asyncio.Server | None = None
        self._through = asyncio.Event()
        self._through.set()
        self._lines: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}
        self._failing: asyncio.Task[None] | None = None
        self.port = 0

    async def open(self) -> None:
        """Listen; at the same port as before, if there was one."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def become(self, state: State) -> None:
        """Change what the link does."""
        if state == "hole":
            self._through.clear()
        else:
            self._through.set()
        if state == "cut":
            await self._cut()
        elif self._server is None:
            await self.open()

    def fail(self, outages: Sequence[Outage], at: float) -> None:
        """Fail as these outages say, whose times count from `at` on the loop's clock."""
        self._failing = asyncio.get_running_loop().create_task(self._fail(outages, at))

    async def close(self) -> None:
        """Hang up."""
        if self._failing is not None:
            self._failing.cancel()
        await self._cut()

    async def _fail(self, outages: Sequence[Outage], at: float) -> None:
        now = asyncio.get_running_loop().time
        for outage in sorted(outages, key=lambda one: one.at):
            assert outage.link is not None
            await asyncio.sleep(at + outage.at - now())
            await self.become(outage.link)
            await asyncio.sleep(at + outage.at + outage.lasts - now())
            await self._mend()

    async def _mend(self) -> None:
        while True:
            try:
                await self.become("open")
                return
            except OSError:
                # Another process has the port: clients know no other one.
                await asyncio.sleep(_AGAIN)

    async def _cut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for task, writers in list(self._lines.items()):
            task.cancel()
            for writer in writers:
                writer.transport.abort()
        await asyncio.gather(*self._lines, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._lines[task] = [writer]
        try:
            with suppress(OSError, asyncio.CancelledError):
                await self._through.wait()
                there, back = await asyncio.open_connection(*self._address)
                self._lines[task].append(back)
                await asyncio.gather(self._pass_on(reader, back), self._pass_on(there, writer))
        finally:
            for one in self._lines.pop(task):
                one.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while found := await reader.read(_BYTES):
            await self._through.wait()
            writer.write(found)
            await writer.drain()
        writer.close()

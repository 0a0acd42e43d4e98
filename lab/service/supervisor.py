"""The processes behind the front: started, watched, and started again when they die."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lab
from lab.base import LabError
from lab.service.part import Orders
from lab.service.wire import Answer, Gone, Line, Request

# A process that dies as soon as it lives is not started again at once: seconds, doubled from death to death.
PAUSE, PAUSE_MAX = 0.05, 5.0
LIVED = 2.0
# How long one may take to end politely.
POLITE = 30.0


@dataclass
class Child:
    """One process at a time. It can be asked, as a peer, whenever there is one. `state`: starting, running, stopped."""

    orders: Orders
    line: Line = field(default_factory=Line)
    state: str = "starting"
    restarts: int = 0
    last_exit: int | None = None
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    _process: asyncio.subprocess.Process | None = None
    _keeping: asyncio.Task[None] | None = None
    _stopping: bool = False

    @property
    def name(self) -> str:
        """Which part it is."""
        return self.orders.part

    @property
    def pid(self) -> int | None:
        """The process that is there now."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def ask(self, request: Request) -> Answer:
        """Raises Gone while it is not there."""
        return await self.line.ask(request)

    def told(self) -> dict[str, Any]:
        """What the supervisor knows of it."""
        return {"state": self.state, "restarts": self.restarts, "last_exit": self.last_exit, "pid": self.pid}

    async def start(self) -> None:
        """Until it can be asked. Raises LabError when it ends before; its reason is on standard error."""
        self._keeping = asyncio.create_task(self._keep())
        ready = asyncio.create_task(self.ready.wait())
        await asyncio.wait([self._keeping, ready], return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if not self.ready.is_set():
            raise LabError(f"`{self.name}` could not start: it ended with {self.last_exit}")

    async def _keep(self) -> None:
        pause = PAUSE
        while True:
            began = time.monotonic()
            await self._live()
            if self._stopping or not self.ready.is_set():
                # One that has never been ready would not be the next time either.
                self.state = "stopped"
                return
            self.state, self.restarts = "starting", self.restarts + 1
            pause = PAUSE if time.monotonic() - began > LIVED else min(PAUSE_MAX, 2 * pause)
            await asyncio.sleep(pause)

    async def _live(self) -> None:
        """From its start to its end."""
        # The same lab as ours, wherever it is; a Ctrl-C in the terminal is for us alone.
        home = str(Path(lab.__file__).parent.parent)
        path = os.pathsep.join([home, *filter(None, [os.environ.get("PYTHONPATH")])])
        socket = self.orders.socket(self.name)
        socket.unlink(missing_ok=True)
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "lab.service.part", self.orders.json(),
            stdin=asyncio.subprocess.PIPE, stdout=sys.stderr.fileno(), start_new_session=True,
            env=os.environ | {"PYTHONPATH": path},
        )  # fmt: skip
        if self._stopping and self._process.stdin is not None:
            self._process.stdin.close()
        line, ended = Line(), asyncio.create_task(self._process.wait())
        while not ended.done():
            try:
                await line.connect(socket)
                self.line, self.state = line, "running"
                self.ready.set()
                break
            except OSError:
                await asyncio.wait([ended], timeout=0.02)
        self.last_exit = await ended
        line.close()

    async def stop(self) -> None:
        """Politely: it finishes what it was asked, and is killed only if it doesn't come to an end."""
        self._stopping = True
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
        if self._keeping is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self._keeping), POLITE)
            if not self._keeping.done():
                assert self._process is not None
                self._process.kill()
                await self._keeping


__all__ = ["Child", "Gone"]

"""Child processes: the service's parts, started again when they die; and programs that load and torture start."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from lab.base import TRUTH, BadInput, LabError
from lab.ending import say, stopping
from lab.formatting import printable
from lab.service.messages import Message
from lab.service.part import RENEWED, Orders
from lab.service.wire import ENDS_WITH_STDIN, Reply, WireLine

# Seconds before a part that died is started again: doubled from death to death, unless it had lived for a while. One
# that was killed comes back sooner than one that ended with an error, which will most likely meet it again.
PAUSE, PAUSE_MAX, FAILED_PAUSE_MAX = 0.05, 1.0, 10.0
LIVED = 2.0
# Signals by which a process ends that reads a damaged file through a map of memory, or in an engine's own code. After
# so many deaths in a row by one of them, a projection is built anew.
FATAL = frozenset({signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE})
DEATHS = 3
# Seconds in which a process must end after it was asked to; then it is killed.
POLITE = 30.0


class ProgramFailed(LabError):
    """A child process ended before its time: a part of the service, or a program that load or torture needs."""

    exit_status = 4


def inherited(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a child: it imports this very package, and lacks what is meant for the caller alone."""
    home = str(Path(__file__).parents[2])
    path = os.pathsep.join([home, *filter(None, [os.environ.get("PYTHONPATH")])])
    kept = {name: value for name, value in os.environ.items() if name not in ("LAB_TOKEN", ENDS_WITH_STDIN)}
    return kept | {"PYTHONPATH": path} | dict(more or {})


def standard_error() -> int:
    """The descriptor of standard error; the process's own where a notebook or a test has another one in its place."""
    try:
        return sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):
        return 2


@dataclass
class Program:
    """A Python program in a session of its own, for callers without an event loop; it ends with the `with` block.

    Its standard input is a pipe from here, and ends with this process, also if that is killed: the program watches it.

    `arguments` follow the interpreter; standard error (and with `quiet` standard output) goes to the file `log`.
    """

    arguments: Sequence[str]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None
    quiet: bool = False
    _process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it, or another one after the last has ended."""
        former = self._process
        try:
            # A signal in between would leave the process behind.
            with stopping.held(), self.log.open("a", encoding="utf-8") as log:
                self._process = subprocess.Popen(
                    [sys.executable, *self.arguments], stdout=log if self.quiet else subprocess.PIPE, stderr=log,
                    stdin=subprocess.PIPE, text=True, start_new_session=True, cwd=self.folder,
                    env=inherited({**self.environment, ENDS_WITH_STDIN: "1"}),
                )  # fmt: skip
        except KeyboardInterrupt:
            if self._process is not former:
                self.kill()
            raise

    @property
    def process(self) -> subprocess.Popen[str]:
        """Return the process that was started last."""
        assert self._process is not None
        return self._process

    def document(self) -> dict[str, Any]:
        """The JSON document that it prints when it is ready. Raises ProgramFailed when it ends without one."""
        assert self.process.stdout is not None
        text = ""
        for line in self.process.stdout:
            text += line
            if line.startswith("}"):
                break
        with contextlib.suppress(ValueError):
            found: dict[str, Any] = json.loads(text)
            if "error" not in found:
                return found
        self._reap()
        raise ProgramFailed(f"it ended with {self.process.returncode}: {self.last_words()}")

    def last_words(self) -> str:
        """Return the last line of its log."""
        lines = [line for line in self.log.read_text(encoding="utf-8").splitlines() if line.strip()]
        return lines[-1] if lines else "it said nothing"

    def kill(self) -> None:
        """SIGKILL for it and every process of its session that hasn't left it; returns when it is gone."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self._reap()

    def stop(self) -> None:
        """SIGTERM, then SIGKILL after 2 x `POLITE` seconds."""
        self.process.terminate()
        try:
            self.process.wait(2 * POLITE)
        except subprocess.TimeoutExpired:
            self.kill()
        self._reap()

    def _reap(self) -> None:
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()


@dataclass
class Child:
    """One part of the service, one process at a time. `state`: starting, running, stopped.

    `reason` says why it ended last, or that it isn't started again; "" as long as nothing has gone wrong.
    """

    orders: Orders
    line: WireLine = field(default_factory=WireLine)
    state: str = "starting"
    restarts: int = 0
    last_exit: int | None = None
    reason: str = ""
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    # Set once it is ready or has ended for the first time.
    tried: asyncio.Event = field(default_factory=asyncio.Event)
    _process: asyncio.subprocess.Process | None = None
    _keeping: asyncio.Task[None] | None = None
    _stopping: bool = False
    # Whether the process that was started last has come to listen; and what is called when one does.
    listened: bool = False
    listens: Callable[[], object] = lambda: None

    @property
    def name(self) -> str:
        """Return the part's name: `truth`, or that of a projection."""
        return self.orders.part

    @property
    def pid(self) -> int | None:
        """Return the current process; None between two."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def ask(self, message: Message) -> Reply:
        """Send a message to the current process. Raises Gone while none listens."""
        return await self.line.ask(message)

    def told(self) -> dict[str, Any]:
        """State, restarts, last exit status, reason and process id, for `/projections`."""
        found = {"state": self.state, "restarts": self.restarts, "last_exit": self.last_exit, "pid": self.pid}
        return found | {"reason": self.reason or None}

    async def start(self) -> None:
        """Start it and wait until it listens. Raises LabError when it ends before and nothing can come of another try.

        A projection is tried again unless its input is wrong: the others needn't wait for it.
        """
        self._keeping = asyncio.create_task(self._keep())
        tried = asyncio.create_task(self.tried.wait())
        await asyncio.wait([self._keeping, tried], return_when=asyncio.FIRST_COMPLETED)
        if not tried.done():
            # It was not tried at all, and what prevented that is raised.
            tried.cancel()
            await self._keeping
        if not self.ready.is_set() and self.state == "stopped":
            what = f"`{self.name}` could not start: {self.reason}"
            raise LabError(what) if self.last_exit == BadInput.exit_status else ProgramFailed(what)

    async def _keep(self) -> None:
        pause, deaths = PAUSE, 0
        while True:
            began, self.listened = time.monotonic(), False
            await self._live(replace(self.orders, renew=self.reason if deaths >= DEATHS else ""))
            assert self.last_exit is not None
            if self._stopping:
                self.state = "stopped"
                break
            self.reason = self._said()
            hopeless = self.name == TRUTH and not self.ready.is_set()
            if hopeless or (not self.listened and self.last_exit == BadInput.exit_status):
                # What is wrong with its input will be wrong again.
                self.state = "stopped"
                if self.ready.is_set():
                    self._tell("it is not started again")
                break
            deaths = deaths % DEATHS + 1 if -self.last_exit in FATAL else 0
            self.state, self.restarts = "starting", self.restarts + 1
            most = PAUSE_MAX if self.last_exit <= 0 else FAILED_PAUSE_MAX
            pause = PAUSE if time.monotonic() - began > LIVED else min(most, 2 * pause)
            self.tried.set()
            self._tell("it is started again")
            await asyncio.sleep(pause)
        self.tried.set()

    def _tell(self, what: str) -> None:
        """Say why it ended and what follows, in one line; not of a kill, nor of files set aside, which it has told."""
        if self.last_exit is not None and self.last_exit > 0 and self.last_exit != RENEWED:
            # A log that can't be written ends nothing.
            with contextlib.suppress(OSError):
                say(printable(f"{self.name}: {self.reason}; {what}"), err=True)

    def _said(self) -> str:
        """What the process that has just ended left as its reason, or how it ended."""
        said = self.orders.said
        with contextlib.suppress(OSError):
            found = said.read_text(encoding="utf-8")
            said.unlink()
            return found
        assert self.last_exit is not None
        if self.last_exit < 0:
            with contextlib.suppress(ValueError):
                return f"it was ended by {signal.Signals(-self.last_exit).name}"
        return f"it ended with {self.last_exit}"

    async def _live(self, orders: Orders) -> None:
        """Start a process, connect to it, and return when it has ended."""
        socket = orders.socket(self.name)
        socket.unlink(missing_ok=True)
        orders.said.unlink(missing_ok=True)
        # A session of its own: a Ctrl-C in the terminal reaches the front alone.
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "lab.service.part", orders.json(),
            stdin=asyncio.subprocess.PIPE, stdout=standard_error(), start_new_session=True, env=inherited(),
        )  # fmt: skip
        if self._stopping and self._process.stdin is not None:
            self._process.stdin.close()
        line, ended = WireLine(), asyncio.create_task(self._process.wait())
        while not ended.done():
            try:
                await line.connect(socket)
                self.line, self.state, self.listened = line, "running", True
                self.ready.set()
                self.tried.set()
                self.listens()
                break
            except OSError:
                await asyncio.wait([ended], timeout=0.02)
        self.last_exit = await ended
        line.close()

    async def stop(self) -> None:
        """Close its standard input, so that it finishes and ends; kill it if it hasn't after `POLITE` seconds."""
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

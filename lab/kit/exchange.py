"""Requests to a consumer's process and their answers, many under way at a time; and the processes that are in stock."""

from __future__ import annotations

import contextlib
import shlex
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab.base import BadInput, Problem
from lab.formatting import printable
from lab.kit.process import HAND, ChildEnded, ChildProcess, ChildSilent, words
from lab.kit.wire import decode, encode

# Seconds for which answers that nobody waits for any more may take, before the process is killed instead.
DRAIN = 5.0
_SHOWN_MAX = 80
STDOUT = "standard output is for answers alone: write logs to standard error"

Answer = dict[str, Any]


class Exchange:
    """Numbers the requests to one process, and finds the answer to each. `watch` is shown every line, both ways."""

    def __init__(self, process: ChildProcess, watch: Callable[[str, bytes], None] | None = None) -> None:
        self.process, self._watch = process, watch
        self._last = 0
        self._waiting: deque[tuple[int, str]] = deque()
        self._data = b""

    def add(self, do: str, **fields: Any) -> None:
        """Add a request to those that `flush` sends."""
        self._last += 1
        line = encode({"id": self._last, "do": do} | fields)
        if self._watch is not None:
            self._watch("lab", line)
        self._waiting.append((self._last, do))
        self._data += line

    def flush(self) -> None:
        """Send what was added, in one write."""
        data, self._data = self._data, b""
        self.process.send(data)

    def answer(self, patience: float) -> Answer:
        """Return the answer to the oldest request that has none yet.

        Raises ChildEnded, ChildSilent, and BadInput for what is no answer to it.
        """
        number, do = self._waiting[0]
        line = b""
        while not line.strip():
            line = self.process.line(patience)
        self._waiting.popleft()
        if self._watch is not None:
            self._watch("consumer", line + b"\n")
        where = f"the answer to `{do}`"
        try:
            found = decode(line)
        except ValueError as error:
            raise BadInput([Problem(where, f"{error}: {_shown(line)}", STDOUT)]) from None
        if found.get("id") != number:
            what = f"`id` is {printable(repr(found.get('id')))} and not {number}: {_shown(line)}"
            raise BadInput([Problem(where, what, "answer each request once, in order, with its own `id`")])
        if isinstance(found.get("error"), str) or found.get("ok") is True:
            return found
        what = f'it has neither `"ok": true` nor `"error"`: {_shown(line)}'
        raise BadInput([Problem(where, what, 'what was done is answered by "ok": true')])

    @property
    def waiting(self) -> int:
        """Return how many requests have no answer yet."""
        return len(self._waiting)

    def drain(self) -> bool:
        """Discard the answers that are still to come. Return whether the process is good for more requests."""
        end = time.monotonic() + DRAIN
        with contextlib.suppress(ChildEnded, ChildSilent, BadInput):
            while self._waiting and time.monotonic() < end:
                self.answer(DRAIN)
        return not self._waiting and self.process.alive()


def _shown(line: bytes) -> str:
    text = printable(line.decode("utf-8", "backslashreplace").strip())
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}..."


class Stock:
    """Starts the processes of a command, and has one in reserve once the first has crashed.

    A process that waits costs nothing but its memory, and a restart then takes no longer than an answer.
    """

    def __init__(self, command: str, patience: float, watch: Callable[[str, bytes], None] | None = None) -> None:
        self.command, self.words = command, words(command)
        self.name = f"--exec {shlex.quote(command)}"
        self.patience, self._watch = patience, watch
        self.root = Path(tempfile.mkdtemp(prefix="lab-check-"))
        self._environment = {"TMPDIR": str(self.root)}
        self._reserve: ChildProcess | None = None
        self._lent: list[ChildProcess] = []
        self._folders = 0
        self.started = 0
        # Seconds from the start of the first process to its first answer.
        self.start_seconds = 0.0

    def __enter__(self) -> Stock:
        return self

    def __exit__(self, *_: object) -> None:
        for process in [*self._lent, *([self._reserve] if self._reserve else [])]:
            process.kill()
        shutil.rmtree(self.root, ignore_errors=True)

    def take(self, reserve: bool = False) -> Exchange:
        """Return an exchange with a process that was asked nothing yet; with `reserve`, start the next one as well."""
        process, self._reserve = self._reserve, None
        if process is not None and not process.alive():
            process.kill()
            process = None
        process = process or self._start()
        self._lent.append(process)
        if reserve:
            self._reserve = self._start()
        return Exchange(process, self._watch)

    def _start(self) -> ChildProcess:
        self.started += 1
        return ChildProcess(self.words, self._environment)

    def kill(self, exchange: Exchange) -> None:
        """Kill a process that was taken."""
        exchange.process.kill()
        self._lent.remove(exchange.process)

    def folder(self) -> Path:
        """Make the folder of another history."""
        self._folders += 1
        folder = self.root / str(self._folders)
        folder.mkdir()
        return folder

    def broken(self, what: str, said: list[str]) -> BadInput:
        """Return the error of a process that doesn't come so far as to be tried."""
        told = f"; it says: {said[-1]}" if said else ""
        return BadInput([Problem(self.name, f"{what}{told}", HAND)])

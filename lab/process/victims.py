"""Processes that are there to be killed: started, listened to, and started again."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass
class Victim:
    """One process at a time of a kind. `command` makes its arguments anew at each start; `hear` gets what it tells.

    `recovered` are the seconds from each kill to the first row that the next process told, on the wall clock.
    """

    name: str
    command: Callable[[], Sequence[str]]
    hear: Callable[[dict[str, Any]], None]
    kills: int = 0
    # Of them: before the process had told anything, that is while it was starting or recovering.
    early: int = 0
    starts: int = 0
    recovered: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    _process: subprocess.Popen[str] | None = None
    _listener: threading.Thread | None = None
    _told: int = 0
    _started_at: float = 0.0
    _told_at: float | None = None
    _killed_at: float | None = None

    def start(self) -> None:
        """Start it; what it tells is heard by a thread of its own."""
        self._told, self._told_at = 0, None
        self._started_at = time.monotonic()
        self.starts += 1
        self._process = subprocess.Popen(
            [sys.executable, "-m", "lab", *self.command()],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._listener = threading.Thread(target=self._listen, args=(self._process,), daemon=True)
        self._listener.start()

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if not line.endswith("\n"):
                # The kill came in the middle of it: nobody was told.
                break
            try:
                row = json.loads(line)
            except ValueError:
                # Part of a complaint, which it makes on standard error too.
                continue
            if self._killed_at is not None:
                self.recovered.append(time.monotonic() - self._killed_at)
                self._killed_at = None
            self._told += 1
            self._told_at = self._told_at or time.monotonic()
            self.hear(row)

    @property
    def running(self) -> bool:
        """Whether it is alive."""
        return self._process is not None and self._process.poll() is None

    @property
    def ended(self) -> bool:
        """Whether it was started, and has come to its end by itself."""
        return self._process is not None and self._process.poll() is not None

    def lived(self) -> tuple[float, float | None]:
        """Seconds since it was started, and since it first told something; None if it has not yet."""
        now = time.monotonic()
        return now - self._started_at, None if self._told_at is None else now - self._told_at

    def kill(self) -> None:
        """SIGKILL: there is no way to prepare for it."""
        assert self._process is not None
        if self.running:
            self.early += self._told == 0
            self._process.send_signal(signal.SIGKILL)
            killed_at = time.monotonic()
            self.kills += 1
            # What it had told before is heard to the end first. The one before may have died without a word: then the
            # silence began with its predecessor's death.
            self._end()
            self._killed_at = self._killed_at or killed_at
        else:
            self._end()

    def reap(self) -> None:
        """Whatever is left of it is ended: nobody will come back for it."""
        if self._process is not None:
            if self.running:
                self._process.kill()
            self._end()

    def stop(self, timeout: float = 60.0) -> None:
        """SIGTERM, and wait until it has come to its end."""
        assert self._process is not None
        if self.running:
            self._process.terminate()
        self.wait(timeout)

    def wait(self, timeout: float) -> None:
        """Until it ends by itself."""
        assert self._process is not None
        self._process.wait(timeout)
        self._end()

    def _end(self) -> None:
        process, listener = self._process, self._listener
        assert process is not None
        assert listener is not None
        if process.stdout is None or process.stdout.closed:
            return
        process.wait()
        listener.join()
        assert process.stderr is not None
        complaint = process.stderr.read()
        # Killed, or told to stop: at work, or while it was still starting.
        if process.returncode not in (0, 130, -signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT):
            self.errors.append(f"{self.name} ended with {process.returncode}: {complaint.strip()[-500:]}")
        process.stdout.close()
        process.stderr.close()

    def times(self) -> tuple[float | None, float | None]:
        """The p50 and the longest of the recoveries."""
        if not self.recovered:
            return None, None
        return float(np.median(self.recovered)), max(self.recovered)

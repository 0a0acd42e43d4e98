"""Records of fixed size in a file that a process appends to, and that others read, also when it was killed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

# So many records, and so many seconds of them, are in memory until they are written: what a kill can take.
BUFFERED, BUFFERED_SECONDS = 1_024, 0.1


def appended(path: Path, kind: np.dtype[Any]) -> BinaryIO:
    """Open a file of records for appending. What a killed process wrote of one is cut off: the next ones are whole."""
    file = path.open("ab")
    file.truncate(file.tell() // kind.itemsize * kind.itemsize)
    return file


def read_records(path: Path, kind: np.dtype[Any]) -> np.ndarray:
    """Read all whole records of a file; none if there is no such file."""
    size = path.stat().st_size // kind.itemsize if path.exists() else 0
    return np.fromfile(path, kind, size) if size else np.empty(0, kind)


class TimedRecords:
    """Records that are noted one by one and written some at a time.

    The fields named by `times` are noted on the runner's clock, which `now` tells, and written in seconds since 1970.
    """

    def __init__(self, path: Path, kind: np.dtype[Any], times: Sequence[str], now: Callable[[], float]) -> None:
        self._now = now
        self._file, self._kind, self._times = appended(path, kind), kind, tuple(times)
        self._found: list[tuple[Any, ...]] = []
        self._written = time.monotonic()

    def note(self, record: tuple[Any, ...]) -> None:
        """Add a record, its times on the runner's clock."""
        self._found.append(record)
        if len(self._found) >= BUFFERED or time.monotonic() - self._written >= BUFFERED_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what is in memory."""
        found, shift = np.array(self._found, self._kind), time.time() - self._now()
        for name in self._times:
            found[name] += shift
        self._file.write(found.tobytes())
        self._file.flush()
        self._found.clear()
        self._written = time.monotonic()

    def close(self) -> None:
        """Write what is in memory and close the file."""
        self.flush()
        self._file.close()

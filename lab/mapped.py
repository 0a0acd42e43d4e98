"""Files that are mapped into memory: their pages are given back when many of them are there.

A pass over an array on disk brings its pages into memory, and the kernel leaves them there as long as nothing else
wants the room. `breathe` gives them back between the parts of a pass. Where so much is mapped that one operation on a
whole array may bring in more than the rest of the process takes, a thread does so meanwhile.
"""

from __future__ import annotations

import mmap
import os
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import numpy as np

# Bytes of files that may be in memory before they are given back.
RESIDENT_BYTES = 192 << 20
# So many bytes that are mapped at the same time are watched by a thread, which looks so often, in seconds: a run that
# has less is left alone, and nothing that it times is disturbed.
WATCHED_BYTES, WATCHED_EVERY = 2 << 30, 0.1
_ALIGNED = 64
_STATM = Path("/proc/self/statm")
_PAGE_BYTES = mmap.PAGESIZE


class NoRoom(Exception):
    """The system doesn't map so large a file."""


class MappedFile(mmap.mmap):
    """A mapped file whose pages can be given back. `room` is what it takes on disk, in bytes."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.room = 0
        with _LOCK:
            _MAPS.add(self)

    def grown(self, room: int) -> None:
        """Note how much of the file takes room by now."""
        self.room = room
        _watch()


_LOCK = threading.Lock()
_MAPS: weakref.WeakSet[MappedFile] = weakref.WeakSet()


def _maps() -> list[MappedFile]:
    with _LOCK:
        return list(_MAPS)


def release() -> None:
    """Give back the memory of everything that is on disk; what is looked at again is loaded again."""
    for mapped in _maps():
        if hasattr(mapped, "madvise"):
            mapped.madvise(mmap.MADV_DONTNEED)


def breathe() -> None:
    """Release if much of what is on disk is in memory; does nothing where the kernel doesn't tell (not Linux)."""
    if _MAPS and _STATM.exists():
        shared = int(_STATM.read_text().split()[2]) * _PAGE_BYTES
        if shared > RESIDENT_BYTES:
            release()


class SharedFile:
    """A file that arrays are written to one after the other, and mapped as a whole from the start."""

    def __init__(self, file: int, size: int) -> None:
        self._file = os.dup(file)
        weakref.finalize(self, os.close, self._file)
        try:
            os.ftruncate(self._file, size)
            self.mapped = MappedFile(self._file, size, access=mmap.ACCESS_READ)
        except (OSError, OverflowError, ValueError):
            raise NoRoom from None
        self.left, self._size = size, size

    @staticmethod
    def needed(values: np.ndarray) -> int:
        """Return the length of a file that has room for an array, wherever the one before it ends."""
        return values.nbytes + _ALIGNED

    def put(self, values: np.ndarray) -> np.ndarray:
        """Write an array, and return it as it is in the file."""
        data = np.ascontiguousarray(values)
        at = -(-(self._size - self.left) // _ALIGNED) * _ALIGNED
        left = data.reshape(-1).view(np.uint8).data
        place = at
        while left:
            done = os.pwrite(self._file, left[: 1 << 30], place)
            left, place = left[done:], place + done
        self.left = self._size - place
        self.mapped.grown(place)
        return np.frombuffer(self.mapped, data.dtype, data.size, at)


_watcher: threading.Thread | None = None


def _much() -> bool:
    return sum(mapped.room for mapped in _maps()) > WATCHED_BYTES


def _watch() -> None:
    """Start the thread if much is mapped and there is none; it ends when less is."""
    global _watcher
    if not _STATM.exists() or not _much():
        return
    if _watcher is None or not _watcher.is_alive():
        _watcher = threading.Thread(target=_watching, name="gives pages back", daemon=True)
        _watcher.start()


def _watching() -> None:
    while _much():
        breathe()
        time.sleep(WATCHED_EVERY)

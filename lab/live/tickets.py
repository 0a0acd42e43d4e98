"""Tickets: the commands of a live run in their order, each given to one of several processes."""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
from pathlib import Path

_NUMBER = struct.Struct("<q")


class Tickets:
    """A counter in a file that processes share: each call of `next` in any of them gets another number, from 0."""

    def __init__(self, path: Path) -> None:
        """Open the file at `path`; a new one begins at 0."""
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        if os.fstat(self._file).st_size != _NUMBER.size:
            # Written: what a map has without room on its disk ends the process.
            os.pwrite(self._file, _NUMBER.pack(0), 0)
        self._map = mmap.mmap(self._file, _NUMBER.size)

    def next(self) -> int:
        """Return the next number, that no other process gets."""
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            (number,) = _NUMBER.unpack(self._map[:])
            self._map[:] = _NUMBER.pack(number + 1)
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)
        return int(number)

    @property
    def given(self) -> int:
        """How many numbers were given out."""
        return int(_NUMBER.unpack(self._map[:])[0])

    def close(self) -> None:
        """Close the file."""
        self._map.close()
        os.close(self._file)

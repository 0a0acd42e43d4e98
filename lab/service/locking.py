"""One process at a time for each part of a folder of files."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.base import BadInput, Problem
from lab.place import NO_LINK

# Seconds to wait for the lock of a part that has just been killed: it gives it up a moment later.
KILLED_SECONDS = 10.0
# Seconds to wait for the lock of a predecessor. It may still be closing its files, and a part that gives up isn't
# restarted.
CLOSING_SECONDS = 60.0


@contextmanager
def owned(folder: Path, name: str, patience: float = 0.0) -> Iterator[None]:
    """Hold the lock of a part while the block runs; it goes with the process, however that ends.

    `patience`: seconds to wait for a predecessor that is just ending. Raises BadInput when another process holds the
    lock, and OSError when it can't be opened: a symbolic link in its place is not followed, and no folder is made.
    """
    until = time.monotonic() + patience
    while (lock := _locked(folder / f".{name}.lock")) is None:
        if time.monotonic() >= until:
            what = f"another process is at work on `{name}` in this folder"
            raise BadInput([Problem(str(folder), what, "stop it first, or name another --folder")])
        time.sleep(0.05)
    try:
        yield
    finally:
        os.close(lock)


def _locked(file: Path) -> int | None:
    """Open and lock a file; None while another process holds the lock, or has just removed the file with it."""
    lock = os.open(file, os.O_RDWR | os.O_CREAT | NO_LINK, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # A lock that its holder removed excludes no one: the next process makes a file of this name and locks that.
        if os.path.samestat(os.fstat(lock), file.lstat()):
            return lock
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(lock)
        raise
    os.close(lock)
    return None

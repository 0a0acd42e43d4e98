"""One process at a time for each part of a folder of files."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.base import BadInput, Problem


@contextmanager
def owned(folder: Path, name: str, patience: float = 0.0) -> Iterator[None]:
    """Hold the lock of a part while the block runs; it goes with the process, however that ends.

    `patience`: seconds to wait for a predecessor that is just ending. Raises BadInput when another process holds the
    lock, and OSError when it can't be opened: a symbolic link in its place is not followed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / f".{name}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        until = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= until:
                    what = f"another process is at work on `{name}` in this folder"
                    raise BadInput([Problem(str(folder), what, "stop it first, or name another --folder")]) from None
                time.sleep(0.05)
        yield
    finally:
        os.close(lock)

"""Temporary folders of a service, which the next service removes if this one was killed."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# The lock file by which a folder is known: held by the service that made it, for as long as that lives.
LOCK = ".lab-service.lock"


@contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """Make a temporary folder and remove it when the block ends; before that, remove those of killed services.

    `prefix` begins with `lab-`; short, since the paths of sockets have a limit of about a hundred characters.
    """
    sweep()
    with tempfile.TemporaryDirectory(prefix=prefix) as made:
        folder = Path(made)
        # Locked before it has the name that a sweep looks for, so that no sweep finds it free.
        unnamed = folder / f"{LOCK}.new"
        lock = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            unnamed.rename(folder / LOCK)
            yield folder
        finally:
            os.close(lock)


def sweep() -> None:
    """Remove the temporary folders of services that have died; what they didn't make, and links, stay."""
    for folder in Path(tempfile.gettempdir()).glob("lab-*"):
        # Not a folder, another user's, without a lock file, or locked: not one to be removed.
        with suppress(OSError):
            if _left_over(folder):
                shutil.rmtree(folder)


def _left_over(folder: Path) -> bool:
    """Return whether this user's folder has a lock file that is free. Raises OSError where there is none, or it isn't.

    A link is never followed, neither in the place of the folder nor in that of the file.
    """
    here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if os.fstat(here).st_uid != os.geteuid():
            return False
        lock = os.open(LOCK, os.O_RDWR | os.O_NOFOLLOW, dir_fd=here)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        finally:
            os.close(lock)
    finally:
        os.close(here)

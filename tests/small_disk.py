"""A disk that is soon full: a file system in memory, of the tests' own."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    """A folder that has so much room, and that every user can enter; else the test is skipped."""
    folder = Path(tempfile.mkdtemp(prefix="lab-small-", dir="/var/tmp"))
    try:
        words = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=755", "tmpfs", str(folder)]
        if shutil.which("mount") is None or subprocess.run(words, capture_output=True, check=False).returncode:
            pytest.skip("a small disk is a file system in memory, which only root can mount")
        try:
            yield folder
        finally:
            # What still has a file open there keeps it until it closes it.
            subprocess.run(["umount", "--lazy", str(folder)], check=True, capture_output=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def filled(folder: Path) -> Path:
    """Fill a disk to the last byte by a file in a folder of it; it is empty again once that file is gone."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        while True:
            try:
                file.write(bytes(65_536))
            except OSError:
                return ballast

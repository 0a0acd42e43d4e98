"""What is asked of the system about processes, ports and users, for instances of the lab's own."""

from __future__ import annotations

import ctypes
import fcntl
import os
import pwd
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# From linux/prctl.h.
_PR_SET_PDEATHSIG = 1


def ends_with_parent(by: signal.Signals) -> Callable[[], None] | None:
    """What a child executes before its program, so that it gets this signal when the thread that started it ends.

    None on systems other than Linux, which have nothing like it.
    """
    if not sys.platform.startswith("linux"):
        return None
    # Loaded here: between fork and exec there is little that may be done.
    library = ctypes.CDLL(None, use_errno=True)
    return lambda: library.prctl(_PR_SET_PDEATHSIG, int(by), 0, 0, 0) and None


def free_port() -> int:
    """Return a port of 127.0.0.1 at which nothing listens now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def is_free(port: int) -> bool:
    """Return whether nothing listens at a port of 127.0.0.1."""
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def gets_free(port: int, seconds: float = 2.0) -> bool:
    """Return whether a port is free within some seconds: a process that has just ended can have it a moment more."""
    until = time.monotonic() + seconds
    while not (free := is_free(port)) and time.monotonic() < until:
        time.sleep(0.01)
    return free


@contextmanager
def alone_in(folder: Path, seconds: float) -> Iterator[None]:
    """Have a folder to oneself among those that ask for it so. Raises TimeoutError if it isn't given up in time."""
    lock, until = os.open(folder, os.O_RDONLY), time.monotonic() + seconds
    try:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise TimeoutError from None
            time.sleep(0.02)
        yield
    finally:
        os.close(lock)


def completed(words: Sequence[str], seconds: float, **more: Any) -> int:
    """Run a program, and return its exit status; one that takes longer is ended with all that it has started.

    Raises subprocess.TimeoutExpired.
    """
    child = subprocess.Popen(words, stdin=subprocess.DEVNULL, start_new_session=True, **more)
    try:
        return child.wait(seconds)
    except BaseException:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        raise


def enters(folder: Path, user: pwd.struct_passwd) -> bool:
    """Return whether a user can get at what is in a folder."""
    found = folder.stat()
    bit = 0o100 if found.st_uid == user.pw_uid else 0o010 if found.st_gid == user.pw_gid else 0o001
    return bool(found.st_mode & bit)


def started(number: int) -> str:
    """When a process was started, by the system's own count; "" for one that has ended."""
    try:
        fields = Path(f"/proc/{number}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return ""
    else:
        # A zombie has ended.
        return "" if fields[0] in "ZX" else fields[19]
    try:
        os.kill(number, 0)
    except OSError:
        return ""
    return "unknown"

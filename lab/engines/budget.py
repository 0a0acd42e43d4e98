"""Ask a statement of a user's own within bounds: of time, of rows, and of what an engine may raise.

Such a statement can recurse without end, join everything with everything, or fail on the data that it finds. That is no
fault of a store: it is told as the statement's own, and what goes on beside it goes on.
"""

from __future__ import annotations

import atexit
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import duckdb

from lab.base import Damaged, NoAnswer, Unavailable
from lab.formatting import first_line

# A query of a read model takes milliseconds; ten seconds means that the statement is wrong or too large.
ANSWER_SECONDS = 10.0
# An answer is a list of rows in memory.
ANSWER_ROWS = 1_000_000
# How often the clock is looked at.
_LOOK_SECONDS = 0.1


class Interruptible(Protocol):
    """What the drivers of both engines have."""

    def execute(self, statement: str, arguments: Any = ..., /) -> Any:
        """Execute one statement; the result has `fetchmany(n)`."""

    def interrupt(self) -> None:
        """Stop what another thread executes on this connection."""


class _Watch(threading.Thread):
    """Interrupts connections whose time is up. One thread for the process: starting one takes longer than a query."""

    def __init__(self) -> None:
        super().__init__(name="answers within bounds", daemon=True)
        self.process = os.getpid()
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._running: dict[int, tuple[float, Interruptible]] = {}

    def run(self) -> None:
        while not self._ended.wait(_LOOK_SECONDS):
            with self._lock:
                now = time.monotonic()
                for until, connection in self._running.values():
                    if now > until:
                        connection.interrupt()

    def end(self) -> None:
        """End the thread before the interpreter ends, and with it what it refers to."""
        self._ended.set()
        if self.process == os.getpid():
            self.join()

    @contextmanager
    def within(self, connection: Interruptible, seconds: float) -> Iterator[None]:
        """Interrupt the connection if the block takes longer."""
        with self._lock:
            self._running[id(connection)] = time.monotonic() + seconds, connection
        try:
            yield
        finally:
            # Under the lock: an interruption that comes late would hit the next statement.
            with self._lock:
                del self._running[id(connection)]


_watch: _Watch | None = None


def answer(
    connection: Interruptible,
    statement: str,
    arguments: Sequence[Any],
    seconds: float | None = None,
) -> list[tuple[Any, ...]]:
    """Return the rows of a statement. Raises NoAnswer for too many, for too long, and for what the engine raises.

    The time is `ANSWER_SECONDS`, or as given.
    """
    global _watch
    seconds, rows = ANSWER_SECONDS if seconds is None else seconds, ANSWER_ROWS
    if _watch is None or _watch.process != os.getpid():
        _watch = _Watch()
        _watch.start()
        atexit.register(_watch.end)
    try:
        with _watch.within(connection, seconds):
            found: list[tuple[Any, ...]] = connection.execute(statement, list(arguments)).fetchmany(rows + 1)
    except (duckdb.Error, sqlite3.Error, OverflowError) as error:
        if _interrupted(error):
            raise NoAnswer(f"no answer within {seconds:g} s") from None
        raise NoAnswer(f"the engine refuses it: {first_line(error)}") from None
    if len(found) > rows:
        raise NoAnswer(f"an answer of more than {rows:,} rows")
    return found


def _interrupted(error: Exception) -> bool:
    """Return whether an engine says that it was interrupted: by its type or code, since a text can name anything."""
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT
    return isinstance(error, duckdb.InterruptException)


def within(
    ask: Callable[[], list[Any]],
    errors: tuple[type[Exception], ...],
    timed_out: Callable[[Exception], bool],
    lost: Callable[[Exception], object],
) -> list[Any]:
    """The rows that a server answers, which bounds the time itself. Raises NoAnswer for whatever it doesn't answer.

    `errors` are the driver's, `timed_out` tells those of the limit, and `lost` translates one: Unavailable and Damaged
    are raised as such, since they are no fault of the statement.
    """
    try:
        found = ask()
    except errors as error:
        if timed_out(error):
            raise NoAnswer(f"no answer within {ANSWER_SECONDS:g} s") from None
        if isinstance(told := lost(error), Unavailable | Damaged):
            raise told from None
        raise NoAnswer(f"the engine refuses it: {first_line(error)}") from None
    if len(found) > ANSWER_ROWS:
        raise NoAnswer(f"an answer of more than {ANSWER_ROWS:,} rows")
    return found

"""A plain function on a connection as a projector: a fresh database file for each, closed and opened by a restart.

A crash in the middle closes the connection between two statements, without a commit: what the function had committed
on the way stays, and nothing else.
"""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from collections.abc import Callable
from functools import update_wrapper
from pathlib import Path
from typing import Any

from lab.base import MissingDriver
from lab.kit.driver import Died
from lab.kit.history import Change, Row
from lab.kit.styles import Settled

Handle = Callable[[Any, list[Change]], Any]


class Counting:
    """A connection that passes everything on, and dies instead of the first statement or commit beyond `reach`."""

    def __init__(self, connection: Any, reach: int | None) -> None:
        self._lab_connection, self._lab_reach, self._lab_count = connection, reach, 0

    def _lab_statement(self) -> None:
        if self._lab_reach is not None and self._lab_count >= self._lab_reach:
            raise Died
        self._lab_count += 1

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._lab_connection, name)
        if name == "cursor":
            return lambda *args, **kwargs: _Cursor(found(*args, **kwargs), self)
        if name in ("execute", "executemany", "executescript", "sql", "query", "begin", "commit"):

            def counted(*args: Any, **kwargs: Any) -> Any:
                self._lab_statement()
                return found(*args, **kwargs)

            return counted
        return found

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_lab_"):
            object.__setattr__(self, name, value)
        else:
            setattr(self._lab_connection, name, value)

    def __enter__(self) -> Counting:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is None:
            self.commit()
        elif kind is not Died:
            self.rollback()


class _Cursor:
    """A cursor whose statements count too."""

    def __init__(self, cursor: Any, connection: Counting) -> None:
        self._lab_cursor, self._lab_counting = cursor, connection

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._lab_cursor, name)
        if name not in ("execute", "executemany", "executescript"):
            return found

        def counted(*args: Any, **kwargs: Any) -> Any:
            self._lab_counting._lab_statement()
            found(*args, **kwargs)
            return self

        return counted

    def __iter__(self) -> Any:
        return iter(self._lab_cursor)


class SqlProjector:
    """`apply`, `rows` and `reopen` around a function, on a database file of its own in a temporary folder."""

    def __init__(self, handler: Handler, beside: SqlProjector | None = None) -> None:
        self._handler = handler
        self.lab_columns, self.lab_key = handler.columns, handler.key
        self._folder: tempfile.TemporaryDirectory[str] = (
            tempfile.TemporaryDirectory(prefix="lab-check-") if beside is None else beside._folder
        )
        self._owns = beside is None
        self._reach: int | None = None
        self._settled = Settled()
        self._connection: Any
        self._open()
        if beside is not None:
            return
        try:
            for statement in handler.setup.split(";"):
                if statement.strip():
                    self._connection.execute(statement)
            self._commit()
        except Exception:
            self.close()
            raise

    def _open(self) -> None:
        self._connection = self._handler.connect(Path(self._folder.name) / "projection.db")

    def _commit(self) -> None:
        """What is left uncommitted is committed, as a program's unit of work would; DuckDB says so when nothing is."""
        with contextlib.suppress(*self._handler.nothing_to_commit):
            self._connection.commit()

    def apply(self, changes: list[Change]) -> None:
        """Hand the changes to the function."""
        reach, self._reach = self._reach, None
        self._settled(self._handler.handle(Counting(self._connection, reach), changes))
        if reach is not None:
            raise Died
        self._commit()

    def interrupt(self, reach: int) -> None:
        """The next `apply` dies after so many statements and commits."""
        self._reach = reach

    def rows(self) -> list[Row]:
        """What the query finds, with the names of its columns."""
        cursor = self._connection.execute(self._handler.rows)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def reopen(self) -> None:
        """Close without a commit, and open again."""
        self._connection.close()
        self._open()

    def twin(self) -> SqlProjector:
        """Make a second owner of the same file, with a connection of its own."""
        return SqlProjector(self._handler, self)

    def close(self) -> None:
        """Give up the file, and its folder with the first owner."""
        self._connection.close()
        self._settled.close()
        if self._owns:
            self._folder.cleanup()


class Handler:
    """A decorated function. Called, it is what it was; for a check it knows how to make projectors."""

    def __init__(
        self,
        handle: Handle,
        setup: str,
        rows: str,
        connect: Callable[[Path], Any],
        nothing_to_commit: tuple[type[Exception], ...] = (),
        columns: dict[str, str] | None = None,
        key: str = "int",
    ) -> None:
        self.handle, self.setup, self.rows, self.connect = handle, setup, rows, connect
        self.nothing_to_commit, self.columns, self.key = nothing_to_commit, columns, key
        update_wrapper(self, handle)

    def __call__(self, connection: Any, changes: list[Change]) -> Any:
        """Call the decorated function itself."""
        return self.handle(connection, changes)

    def lab_projector(self) -> SqlProjector:
        """Make a projector with an empty database."""
        return SqlProjector(self)


def _sqlite(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path)
    # Processes crash here, machines don't: nothing needs to reach the disk.
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA journal_mode = MEMORY")
    return connection


def on_sqlite(
    setup: str, rows: str, columns: dict[str, str] | None = None, key: str = "int"
) -> Callable[[Handle], Handler]:
    """Check a function `handle(connection, changes)` on a `sqlite3` connection.

    `setup` makes the tables, statements apart by semicolons. `rows` selects the live records, with a column `key`.
    `columns` are the state's own, each int, float, str or bool, and `key` is int or str. What the function leaves
    uncommitted is committed when it returns.
    """
    return lambda handle: Handler(handle, setup, rows, _sqlite, (), columns, key)


def on_duckdb(
    setup: str, rows: str, columns: dict[str, str] | None = None, key: str = "int"
) -> Callable[[Handle], Handler]:
    """Check a function `handle(connection, changes)` on a `duckdb` connection; the rest is as with `on_sqlite`.

    DuckDB commits each statement, unless the function begins a transaction.
    """
    try:
        import duckdb
    except ModuleNotFoundError:
        raise MissingDriver("on_duckdb needs DuckDB; get it with: pip install duckdb") from None

    def connect(path: Path) -> Any:
        return duckdb.connect(str(path), config={"threads": 1})

    return lambda handle: Handler(handle, setup, rows, connect, (duckdb.TransactionException,), columns, key)

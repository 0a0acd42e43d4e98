"""Open DuckDB in one way everywhere: nothing is downloaded, no other file is touched, settings are read back.

Only one process can write a file. Within it all connections share one database: it is opened once, and cursors of the
writing connection read it.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa

from lab.base import NotAnswered
from lab.formatting import first_line

TYPES = {
    pl.Int64(): "BIGINT",
    pl.Float64(): "DOUBLE",
    pl.String(): "VARCHAR",
    pl.Boolean(): "BOOLEAN",
    pl.Binary(): "BLOB",
}

# Enough for several million rows, and small enough for several open files.
MEMORY_LIMIT = "256MB"
CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "memory_limit": MEMORY_LIMIT,
    # No statement reads or writes any file but the database itself.
    "enable_external_access": "false",
}
# The unit in which the engine shares the work on a table out among threads, in rows: below, one thread is as quick as
# several, and the others only cost time at each statement.
ROW_GROUP = 122_880
# PIVOT is the one query that the engine counts among `MULTI`.
READING = (duckdb.StatementType.SELECT, duckdb.StatementType.MULTI)


def connect(path: Path, threads: int | None = None) -> duckdb.DuckDBPyConnection:
    """Connect to the file, for writing; with so many threads, or with one for each core."""
    config = dict(CONFIG) if threads is None else CONFIG | {"threads": str(threads)}
    return duckdb.connect(str(path), config=config)


def connect_memory(folder: Path | None) -> duckdb.DuckDBPyConnection:
    """Connect without a database, to query the files in one folder and no others; None for no file at all."""
    if folder is None:
        return duckdb.connect(":memory:", config=dict(CONFIG))
    connection = duckdb.connect(":memory:", config=CONFIG | {"enable_external_access": "true"})
    listed = str(folder.absolute()).replace("'", "''")
    connection.execute(f"SET allowed_directories = ['{listed}']; SET enable_external_access = false")
    return connection


def only_reads(connection: duckdb.DuckDBPyConnection, statement: str) -> bool:
    """Return whether the text is a single query. It can still write, by a DELETE in its WITH: see `begin_reading`."""
    kinds = [one.type for one in connection.extract_statements(statement)]
    return len(kinds) == 1 and kinds[0] in READING


def begin_reading(connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """Open a second connection to the database, in a transaction in which the engine refuses every write."""
    reader = connection.cursor()
    reader.execute("BEGIN TRANSACTION READ ONLY")
    return reader


class Selects:
    """A second connection to an open database, for queries that the lab itself has written.

    Each statement is parsed once, and kept parsed: the driver compiles none for later. Each execution is a transaction
    of its own, so it sees the last commit and keeps no old version alive.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection.cursor()
        self._parsed: dict[str, duckdb.Statement] = {}

    def only_selects(self, statement: str) -> bool:
        """Return whether it is a single query; one that isn't must be run where the engine refuses writes."""
        if statement in self._parsed:
            return True
        parsed = self._connection.extract_statements(statement)
        if len(parsed) != 1 or parsed[0].type not in READING:
            return False
        self._parsed[statement] = parsed[0]
        return True

    def prepared(self, statement: str) -> Callable[[tuple[Any, ...]], list[tuple[Any, ...]]]:
        """Return what runs a query with its arguments, until this connection is closed."""
        assert self.only_selects(statement), statement
        execute, parsed = self._connection.execute, self._parsed[statement]
        return lambda arguments: execute(parsed, arguments).fetchall()

    def close(self) -> None:
        """Close the connection; the database stays open as long as another one is."""
        self._connection.close()


def sort_limit(values: int) -> int:
    """Return the memory, in MB, in which a table of so many values is sorted.

    The engine writes sorted runs of about a quarter of its limit, and then has three blocks of 256 KiB of each run in
    memory at once: d MB in runs of m / 4 fit half of m from m = sqrt(6 d) on. Ten million rows of nine columns failed
    below that. Here it is twice as much, for values of 16 bytes.
    """
    return math.ceil(math.sqrt(24 * values * 16 / 1e6))


@contextlib.contextmanager
def sorting(connection: duckdb.DuckDBPyConnection, values: int) -> Iterator[None]:
    """Let a table of so many values be sorted within the block, in more memory than there is else, if it needs more."""
    limit = sort_limit(values)
    if limit <= int(MEMORY_LIMIT.removesuffix("MB")):
        yield
        return
    connection.execute(f"SET memory_limit = '{limit}MB'")
    try:
        yield
    finally:
        # Who has left off in the midst of it may have closed the store since.
        with contextlib.suppress(duckdb.ConnectionException):
            rest(connection)


@contextlib.contextmanager
def answering(name: str) -> Iterator[None]:
    """Run a query of this name. Raises NotAnswered where a value is out of the range of its type."""
    try:
        yield
    except (duckdb.OutOfRangeException, duckdb.ConversionException) as error:
        raise NotAnswered(f"{name}: {first_line(error)}") from None


def rest(connection: duckdb.DuckDBPyConnection) -> None:
    """Give back the memory of the blocks that the database has read; what is in use stays."""
    for limit in ("1MB", MEMORY_LIMIT):
        # A limit that can't be met is refused by an error, after everything has been given back that can be.
        with contextlib.suppress(duckdb.OutOfMemoryException):
            connection.execute(f"SET memory_limit = '{limit}'")


def settings(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """Return the settings that affect durability and speed, as the engine reports them."""
    names = ("threads", "memory_limit", "autoinstall_known_extensions", "checkpoint_threshold")
    row = connection.execute("SELECT " + ", ".join(f"current_setting('{name}')" for name in names)).fetchall()[0]
    return {"library": duckdb.__version__, **dict(zip(names, map(str, row), strict=True))}


def frame(
    connection: duckdb.DuckDBPyConnection, sql: str, schema: dict[str, pl.DataType], arguments: Sequence[Any] = ()
) -> pl.DataFrame:
    """Return a query's result as a frame of the given columns and types, in the engine's order."""
    return as_frame(connection.sql(sql, params=list(arguments)).to_arrow_table(), schema)


def as_frame(table: pa.Table | pa.RecordBatch, schema: dict[str, pl.DataType]) -> pl.DataFrame:
    """Convert Arrow data to a frame of the given columns and types."""
    found = pl.from_arrow(table)
    assert isinstance(found, pl.DataFrame)
    return found.cast(schema)  # type: ignore[arg-type]


def size_bytes(path: Path) -> int:
    """Return the size of the file and its write-ahead log in bytes."""
    files = (path, path.with_name(path.name + ".wal"))
    return sum(file.stat().st_size for file in files if file.exists())

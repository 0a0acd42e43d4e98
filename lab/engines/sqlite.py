"""Open SQLite in one way for the source of truth and for stores: settings are set, then read back.

Two SQLite libraries use one file here: the standard library's, which writes, and ADBC's own, which reads large results
straight into Arrow. Within one process POSIX locks don't separate two libraries: the second would believe that it is
the first to open the file, reset the shared index of the write-ahead log and recover the log at every opening. So a
large read first copies the log into the file (a checkpoint) and then reads the file as `immutable`, without lock, log
or index; and before a large load the standard library's connections are closed.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import adbc_driver_sqlite.dbapi as adbc
import polars as pl

TYPES = {
    pl.Int64(): "INTEGER",
    pl.Float64(): "REAL",
    pl.String(): "TEXT",
    pl.Boolean(): "INTEGER",
    pl.Binary(): "BLOB",
}

# A commit of class `full` survives a power cut; one of class `normal` survives a crash of the process only.
SYNCHRONOUS = {"full": "FULL", "normal": "NORMAL"}

# How many statements a connection keeps compiled: as many as a store keeps queries prepared, which run them by their
# text.
STATEMENTS = 512


def connect(path: Path, durability: str) -> sqlite3.Connection:
    """Open a writing connection in WAL mode; the caller begins and ends transactions."""
    connection = sqlite3.connect(
        path, isolation_level=None, timeout=30.0, cached_statements=STATEMENTS, check_same_thread=False
    )
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {SYNCHRONOUS[durability]}")
    connection.execute("PRAGMA cache_size = -65536")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA wal_autocheckpoint = 4000")
    return connection


def connect_read_only(path: Path) -> sqlite3.Connection:
    """Open a connection on which the engine refuses every write."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro",
        uri=True,
        isolation_level=None,
        cached_statements=STATEMENTS,
        check_same_thread=False,
    )
    connection.execute("PRAGMA query_only = ON")
    connection.execute("PRAGMA cache_size = -65536")
    return connection


def connect_beside(path: Path) -> sqlite3.Connection:
    """Open a connection that reads while another process writes, and recovers its log if that process was killed.

    It is not opened as read-only, since the first connection after a crash must recover the log. Statements that would
    write are still refused.
    """
    connection = sqlite3.connect(path, isolation_level=None, timeout=30.0, check_same_thread=False)
    connection.execute("PRAGMA query_only = ON")
    return connection


def rest(*connections: sqlite3.Connection | None) -> None:
    """Give back the memory of these connections' caches, which may be 64 MiB each."""
    for connection in connections:
        if connection is not None:
            connection.execute("PRAGMA shrink_memory")


@contextlib.contextmanager
def sorting(connection: sqlite3.Connection) -> Iterator[None]:
    """Sort in files, not in memory, within the block: an index over many millions of rows. Not in a transaction."""
    connection.execute("PRAGMA temp_store = FILE")
    try:
        yield
    finally:
        connection.execute("PRAGMA temp_store = MEMORY")


def folded(connection: sqlite3.Connection) -> bool:
    """Copy the log into the file; return False if another reader, which holds an older state, is in the way."""
    return not connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]


def settings(connection: sqlite3.Connection) -> dict[str, Any]:
    """Return the settings that affect durability and speed, as the engine reports them."""
    names = ("journal_mode", "synchronous", "cache_size", "page_size", "wal_autocheckpoint")
    found = {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names}
    found["synchronous"] = {0: "off", 1: "normal", 2: "full", 3: "extra"}[found["synchronous"]]
    return {"library": sqlite3.sqlite_version, **found}


def as_frame(rows: Sequence[tuple[Any, ...]], schema: dict[str, pl.DataType]) -> pl.DataFrame:
    """Convert rows of the engine to a frame of the given columns and types."""
    raw = {name: pl.Int64() if dtype == pl.Boolean() else dtype for name, dtype in schema.items()}
    return pl.DataFrame(rows, schema=raw, orient="row").cast(schema)  # type: ignore[arg-type]


# A smaller result is read row by row: copying the log into the file would cost more than Arrow saves.
ROWS_FOR_ARROW = 2_000


def frame(
    connection: sqlite3.Connection,
    sql: str,
    arguments: Sequence[Any],
    schema: dict[str, pl.DataType],
    rows: int,
) -> pl.DataFrame:
    """Return a query's result as a frame of the given columns and types, in order; `rows` is an upper bound.

    The connection must be between transactions, and the only one that writes. If the log can't be copied into the file
    because another reader holds an older state, the rows are read one by one.
    """
    if rows < ROWS_FOR_ARROW or not folded(connection):
        return as_frame(connection.execute(sql, tuple(arguments)).fetchall(), schema)
    path = Path(connection.execute("PRAGMA database_list").fetchone()[2])
    # ADBC infers types from a batch. The batch is as large as the result, so a column that is null at first and real
    # later can't fail; a column without any value gets its type from `schema`.
    with adbc.connect(f"{path.as_uri()}?immutable=1") as reader, reader.cursor() as cursor:
        cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": str(max(1, rows))})
        cursor.execute(sql, tuple(arguments))
        table = pl.from_arrow(cursor.fetch_arrow_table())
    assert isinstance(table, pl.DataFrame)
    table.columns = list(schema)
    return table.cast(schema)  # type: ignore[arg-type]


# A smaller load is inserted row by row: closing and opening the file would cost more than Arrow saves.
ROWS_FOR_INGEST = 5_000


def ingest(path: Path, durability: str, table: str, rows: pl.DataFrame) -> None:
    """Insert rows straight from Arrow, in one transaction.

    Three times as fast as Python rows. No other connection of this process to the file may be open.
    """
    whole = rows.with_columns(pl.col(pl.Boolean).cast(pl.Int64))
    with adbc.connect(path.absolute().as_uri(), autocommit=True) as writer, writer.cursor() as cursor:
        for setting in (f"synchronous = {SYNCHRONOUS[durability]}", "cache_size = -65536", "busy_timeout = 30000"):
            cursor.execute(f"PRAGMA {setting}")
            cursor.fetchall()
        cursor.execute("BEGIN IMMEDIATE")
        try:
            cursor.adbc_ingest(table, whole.to_arrow(), mode="append")
        except BaseException:
            cursor.execute("ROLLBACK")
            raise
        cursor.execute("COMMIT")


def size_bytes(path: Path) -> int:
    """Return the size of the file and its write-ahead log in bytes."""
    files = (path, path.with_name(path.name + "-wal"))
    return sum(file.stat().st_size for file in files if file.exists())

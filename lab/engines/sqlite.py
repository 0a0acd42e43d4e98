"""SQLite, opened the same way by the source of truth and by the stores: settings are set, then read back.

Two SQLite libraries meet on one file here: the standard library's, which writes, and ADBC's own, which reads large
results straight into Arrow. Within one process POSIX locks don't keep two libraries apart: the second would take
itself for the first to come, reset the shared index of the write-ahead log and recover the log anew at every
opening. So a large read first folds the log into the file, and then reads the file as one that nobody
changes (`immutable`), without a lock, a log or an index; and before a large load the standard library's connections
are closed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
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


def connect(path: Path, durability: str) -> sqlite3.Connection:
    """A writing connection in WAL mode; transactions are begun and ended by hand."""
    connection = sqlite3.connect(
        path, isolation_level=None, timeout=30.0, cached_statements=512, check_same_thread=False
    )
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {SYNCHRONOUS[durability]}")
    connection.execute("PRAGMA cache_size = -65536")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA wal_autocheckpoint = 4000")
    return connection


def connect_read_only(path: Path) -> sqlite3.Connection:
    """A connection on which every write is refused by the engine."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
    )
    connection.execute("PRAGMA query_only = ON")
    connection.execute("PRAGMA cache_size = -65536")
    return connection


def connect_beside(path: Path) -> sqlite3.Connection:
    """A connection that reads while another process writes, and that takes over its log when that process was killed.

    Not opened as read-only: whoever opens first after a crash must recover the log. Every statement that would
    write is refused all the same.
    """
    connection = sqlite3.connect(path, isolation_level=None, timeout=30.0, check_same_thread=False)
    connection.execute("PRAGMA query_only = ON")
    return connection


def settings(connection: sqlite3.Connection) -> dict[str, Any]:
    """The settings that matter, as the engine itself reports them."""
    names = ("journal_mode", "synchronous", "cache_size", "page_size", "wal_autocheckpoint")
    found = {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names}
    found["synchronous"] = {0: "off", 1: "normal", 2: "full", 3: "extra"}[found["synchronous"]]
    return {"library": sqlite3.sqlite_version, **found}


def as_frame(rows: Sequence[tuple[Any, ...]], schema: dict[str, pl.DataType]) -> pl.DataFrame:
    """Rows of the engine as a frame of the given columns and types."""
    raw = {name: pl.Int64() if dtype == pl.Boolean() else dtype for name, dtype in schema.items()}
    return pl.DataFrame(rows, schema=raw, orient="row").cast(schema)  # type: ignore[arg-type]


# A result smaller than this is read row by row: folding the log would cost more than Arrow saves.
ROWS_FOR_ARROW = 2_000


def frame(
    connection: sqlite3.Connection,
    sql: str,
    arguments: Sequence[Any],
    schema: dict[str, pl.DataType],
    rows: int,
) -> pl.DataFrame:
    """The result as a frame of the given columns and types, in order; at most `rows` rows are expected.

    The connection must be between transactions, and the only one that writes. When its log can't be folded
    (somebody reads an older state), the rows are read one by one.
    """
    if rows < ROWS_FOR_ARROW or connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
        return as_frame(connection.execute(sql, tuple(arguments)).fetchall(), schema)
    path = Path(connection.execute("PRAGMA database_list").fetchone()[2])
    # ADBC infers types from a batch. The batch is made as large as the result, so that a column that is null at
    # first and real later can't fail; what has no value at all gets its type from `schema`.
    with adbc.connect(f"{path.as_uri()}?immutable=1") as reader, reader.cursor() as cursor:
        cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": str(max(1, rows))})
        cursor.execute(sql, tuple(arguments))
        table = pl.from_arrow(cursor.fetch_arrow_table())
    assert isinstance(table, pl.DataFrame)
    table.columns = list(schema)
    return table.cast(schema)  # type: ignore[arg-type]


# A load smaller than this is inserted row by row: closing and opening the file would cost more than Arrow saves.
ROWS_FOR_INGEST = 5_000


def ingest(path: Path, durability: str, table: str, rows: pl.DataFrame) -> None:
    """Insert rows straight from Arrow, in one transaction.

    Three times as fast as rows of Python. The caller's process has no other connection to the file open.
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
    """The file and its write-ahead log, in bytes."""
    files = (path, path.with_name(path.name + "-wal"))
    return sum(file.stat().st_size for file in files if file.exists())

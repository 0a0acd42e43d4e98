"""DuckDB, opened the same way everywhere: nothing is downloaded, settings are set and read back.

A file has one writing process, and within a process one configuration at a time: reading and writing take turns.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa

TYPES = {
    pl.Int64(): "BIGINT",
    pl.Float64(): "DOUBLE",
    pl.String(): "VARCHAR",
    pl.Boolean(): "BOOLEAN",
    pl.Binary(): "BLOB",
}

# Enough for a million rows several times over, and small enough for several files to be open at once.
MEMORY_LIMIT = "256MB"
CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "memory_limit": MEMORY_LIMIT,
}


def connect(path: Path, read_only: bool = False) -> duckdb.DuckDBPyConnection:
    """A connection to the file, for writing or for reading only."""
    return duckdb.connect(str(path), read_only=read_only, config=dict(CONFIG))


def connect_memory() -> duckdb.DuckDBPyConnection:
    """A connection to nothing: to ask files that are not the engine's own."""
    return duckdb.connect(":memory:", config=dict(CONFIG))


def settings(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """The settings that matter, as the engine itself reports them."""
    names = ("threads", "memory_limit", "autoinstall_known_extensions", "checkpoint_threshold")
    row = connection.execute("SELECT " + ", ".join(f"current_setting('{name}')" for name in names)).fetchall()[0]
    return {"library": duckdb.__version__, **dict(zip(names, map(str, row), strict=True))}


def frame(
    connection: duckdb.DuckDBPyConnection, sql: str, schema: dict[str, pl.DataType], arguments: Sequence[Any] = ()
) -> pl.DataFrame:
    """The result as a frame of the given columns and types, in the engine's order."""
    return as_frame(connection.sql(sql, params=list(arguments)).to_arrow_table(), schema)


def as_frame(table: pa.Table | pa.RecordBatch, schema: dict[str, pl.DataType]) -> pl.DataFrame:
    """Arrow data as a frame of the given columns and types."""
    found = pl.from_arrow(table)
    assert isinstance(found, pl.DataFrame)
    return found.cast(schema)  # type: ignore[arg-type]


def size_bytes(path: Path) -> int:
    """The file and its write-ahead log, in bytes."""
    files = (path, path.with_name(path.name + ".wal"))
    return sum(file.stat().st_size for file in files if file.exists())

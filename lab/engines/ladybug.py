"""Ladybug, an embedded graph engine: opened with bounded memory, its results as rows or as frames."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ladybug
import polars as pl

# By itself the engine would take most of the machine's memory, and address space for terabytes.
BUFFER_BYTES, FILE_BYTES_MAX, THREADS = 2**30, 2**36, 2
TYPES: Mapping[pl.DataType, str] = {
    pl.Int64(): "INT64",
    pl.Float64(): "DOUBLE",
    pl.String(): "STRING",
    pl.Boolean(): "BOOL",
    pl.Binary(): "BLOB",
}


def connect(path: Path, read_only: bool) -> tuple[ladybug.Database, ladybug.Connection]:
    """Open the file, for writing or for reading only; a file has one open database at a time."""
    database = ladybug.Database(
        path,
        buffer_pool_size=BUFFER_BYTES,
        max_db_size=FILE_BYTES_MAX,
        max_num_threads=THREADS,
        read_only=read_only,
        # A kill can cut the log's last entry off. It was never acknowledged: the log is read up to there.
        throw_on_wal_replay_failure=False,
    )
    return database, ladybug.Connection(database)


def rows(connection: ladybug.Connection, statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Run one statement and return its rows."""
    found = connection.execute(statement, dict(parameters))
    assert not isinstance(found, list)
    result = [tuple(row) for row in found.get_all()]
    found.close()
    return result


def frame(connection: ladybug.Connection, statement: str, parameters: Mapping[str, Any]) -> pl.DataFrame:
    """Run one statement and return its result, read through Arrow."""
    found = connection.execute(statement, dict(parameters))
    assert not isinstance(found, list)
    result = pl.from_arrow(found.get_as_arrow())
    found.close()
    assert isinstance(result, pl.DataFrame)
    return result


def settings(connection: ladybug.Connection) -> dict[str, Any]:
    """The settings that matter, as the engine itself reports them."""
    names = ("threads", "checkpoint_threshold", "auto_checkpoint")
    found = {name: str(rows(connection, f"CALL current_setting('{name}') RETURN *", {})[0][0]) for name in names}
    return {"library": ladybug.__version__, **found, "buffer_bytes": BUFFER_BYTES}

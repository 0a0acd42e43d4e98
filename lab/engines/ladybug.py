"""Ladybug, an embedded graph engine: opened with bounded memory, its results as rows or as frames.

Two things fill the engine's buffer, besides pages that it can read again. Versions of rows that transactions have
overwritten stay until a checkpoint. And a connection keeps each statement that it has compiled, one for each text and
each combination of types of its parameters: a statement over an Arrow table is kept with the table, and never found
again, since the next table is another one. `once` therefore runs a statement without keeping it.
"""

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


def connect(path: Path) -> tuple[ladybug.Database, ladybug.Connection]:
    """Open the file for writing; it has one open database at a time, and that any number of connections."""
    database = ladybug.Database(
        path,
        buffer_pool_size=BUFFER_BYTES,
        max_db_size=FILE_BYTES_MAX,
        max_num_threads=THREADS,
        # A kill can cut the log's last entry off. It was never acknowledged: the log is read up to there.
        throw_on_wal_replay_failure=False,
    )
    return database, ladybug.Connection(database)


def once(connection: ladybug.Connection, statement: str, parameters: Mapping[str, Any]) -> None:
    """Run one statement that returns nothing, and don't keep it compiled: for Arrow tables, and for whole rows."""
    # A statement that is handed over as text is kept; this one is given up as soon as it has run.
    compiled = ladybug.PreparedStatement(connection, statement, dict(parameters))
    try:
        found = connection.execute(compiled, dict(parameters))
        assert not isinstance(found, list)
        found.close()
    finally:
        compiled.close()


def used_bytes(connection: ladybug.Connection) -> int:
    """Return how much of its buffer the engine uses, in bytes."""
    return int(rows(connection, "CALL bm_info() RETURN mem_usage", {})[0][0])


def rows(connection: ladybug.Connection, statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Run one statement, which is kept compiled, and return its rows."""
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

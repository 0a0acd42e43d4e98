"""How many rows to take at once, where what runs out is memory: rows can be of any size."""

from __future__ import annotations

import polars as pl


def rows_within(frame: pl.DataFrame, rows: int, size: int) -> int:
    """Return how many of a frame's rows take `size` bytes, by their average: one at least, `rows` at the most."""
    return max(1, min(rows, size * frame.height // max(1, int(frame.estimated_size()))))


def fitting(rows: pl.DataFrame, schema: dict[str, pl.DataType]) -> pl.DataFrame:
    """Return the rows with these columns and types: as they are, where that is what they have.

    To choose and cast columns costs as much as to write a small batch.
    """
    return rows if dict(rows.schema) == schema else rows.select(list(schema)).cast(dict(schema))  # type: ignore[arg-type]

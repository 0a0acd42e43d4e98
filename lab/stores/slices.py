"""How many rows to take at once, where what runs out is memory: rows can be of any size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from lab.base import Key
from lab.queries.answers import Row

# Up to so many rows are made Python objects at once, and worked on as such: an expression of Polars takes as long as
# that for a few hundred rows, however few there are.
FEW = 256
# Keys of one look-up: SQLite takes up to 32,766 parameters, and a longer list is no quicker.
KEYS_AT_ONCE = 4_096


def rows_within(frame: pl.DataFrame, rows: int, size: int) -> int:
    """Return how many of a frame's rows take `size` bytes, by their average: one at least, `rows` at the most."""
    return max(1, min(rows, size * frame.height // max(1, int(frame.estimated_size()))))


def fitting(rows: pl.DataFrame, schema: dict[str, pl.DataType]) -> pl.DataFrame:
    """Return the rows with these columns and types: as they are, where that is what they have.

    To choose and cast columns costs as much as to write a small batch.
    """
    return rows if dict(rows.schema) == schema else rows.select(list(schema)).cast(dict(schema))  # type: ignore[arg-type]


def tuples(rows: pl.DataFrame, names: Sequence[str]) -> list[Row]:
    """Return the rows as tuples of these columns."""
    # To choose columns costs a tenth of a millisecond: as much as a small batch takes by itself.
    return (rows if rows.columns == list(names) else rows.select(names)).rows()


def in_lists(keys: Sequence[Key]) -> Iterator[tuple[Sequence[Key], str]]:
    """Some thousands of keys at a time, with the list that a statement has for them.

    Lists are as long as a power of two: few statements, which the connection keeps prepared.
    """
    for start in range(0, len(keys), KEYS_AT_ONCE):
        some = keys[start : start + KEYS_AT_ONCE]
        length = 1 << (len(some) - 1).bit_length()
        yield (*some, *[some[-1]] * (length - len(some))), f"({', '.join('?' * length)})"

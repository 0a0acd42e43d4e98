"""Count different values in parts, so that no table of all of them is held at once."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

# So many values are counted at a time: a table of them takes some 50 MB.
PART = 2_000_000


def distinct(values: pl.Series) -> int:
    """Return how many different values there are, a null being one."""
    if len(values) <= PART:
        return values.n_unique()
    return sum(values.filter(lot).n_unique() for lot in _dealt(values.hash()))


def has_repeats(frame: pl.DataFrame) -> bool:
    """Return whether two rows are equal in all columns."""
    hashes = frame.hash_rows()
    for lot in _dealt(hashes):
        mine = hashes.filter(lot)
        if mine.n_unique() < len(mine):
            # Different rows may have one hash.
            alike = frame.filter(lot).filter(mine.is_duplicated())
            if alike.n_unique() < alike.height:
                return True
    return False


def _dealt(hashes: pl.Series) -> Iterator[pl.Series]:
    """Yield masks that deal the rows out by their hashes, about `PART` at a time: equal ones lie in the same part."""
    parts = max(1, -(-len(hashes) // PART))
    lots = hashes % parts
    for lot in range(parts):
        yield lots == lot

"""Running extremes of many groups over a long series that is looked at block by block.

A window function over the whole series would hold every group's rows in memory; here one value is carried for each
group from block to block. The values are those of the window function, to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import polars as pl

from lab.spill import breathe

# Entries of a series that are looked at together.
BLOCK = 200_000
# Rows whose keys are looked at together.
TOGETHER = 1_000_000


def running(
    groups: np.ndarray, values: np.ndarray, carried: np.ndarray, extreme: Literal["least", "most"]
) -> np.ndarray:
    """Return for each entry of a block the least or most value of its group so far, its own included.

    `carried` has the extreme of each group before the block, by the group's number, and is moved on by it.
    """
    window = pl.col("values").cum_min() if extreme == "least" else pl.col("values").cum_max()
    own = pl.DataFrame({"groups": groups, "values": values}).select(window.over("groups"))["values"].to_numpy()
    found: np.ndarray = (np.minimum if extreme == "least" else np.maximum)(own, carried[groups])
    # Of several entries of a group the last is kept, which is the extreme of them all.
    carried[groups] = found
    return found


def latest(groups: np.ndarray, values: np.ndarray, carried: np.ndarray) -> np.ndarray:
    """Return for each entry of a block the last value of its group so far that is not -1; -1 where there is none.

    `carried` has that value of each group before the block, by the group's number, and is moved on by it.
    """
    frame = pl.DataFrame({"groups": groups, "values": values})
    known = pl.when(pl.col("values") >= 0).then("values").forward_fill().over("groups").fill_null(-1)
    found = frame.select(known)["values"].to_numpy()
    found = np.where(found >= 0, found, carried[groups])
    carried[groups] = found
    return found


def blocks(size: int, backwards: bool = False) -> Iterator[slice]:
    """Yield the blocks of a series as slices, from its beginning or from its end."""
    firsts = range(0, size, BLOCK)
    for first in reversed(firsts) if backwards else firsts:
        breathe()
        yield slice(first, min(first + BLOCK, size))


def in_order(times: np.ndarray) -> bool:
    """Return whether times never fall."""
    return bool(np.all(times[1:] >= times[:-1]))


def rows_by_key(keys: pl.Series) -> Iterator[np.ndarray]:
    """Yield rows, about `TOGETHER` at a time and ascending: all rows of a key come together.

    What is worked out for each key needs memory for so many rows then, however many there are.
    """
    parts = -(-keys.len() // TOGETHER)
    if parts <= 1:
        yield np.arange(keys.len())
        return
    part = np.empty(keys.len(), np.uint16)
    for block in blocks(keys.len()):
        part[block] = (keys[block].hash() % parts).to_numpy()
    for number in range(parts):
        breathe()
        yield np.flatnonzero(part == number)

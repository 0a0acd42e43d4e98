"""Running extremes of many groups, and orders, of a long series that is looked at block by block.

A window function over the whole series would hold every group's rows in memory; here one value is carried for each
group from block to block. The values are those of the window function, to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
import polars as pl

from lab.mapped import breathe
from lab.spill import Spill

# Entries of a series that are looked at together.
BLOCK = 200_000
# Rows whose keys are looked at together.
TOGETHER = 1_000_000
# A long series is divided by one value in so many, of which as many more are looked at.
CUTS = 1_000


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
    return all(np.all(times[one.start + 1 : one.stop + 1] >= times[one.start : one.stop][: times.size - 1 - one.start])
               for one in blocks(times.size))  # fmt: skip


def by_blocks(spill: Spill, size: int, dtype: type, of: Callable[[slice], np.ndarray]) -> np.ndarray:
    """Return an array of so many entries, worked out block by block; on disk if it is large."""
    if size <= BLOCK:
        return np.asarray(of(slice(0, size)), dtype)
    found = spill.empty(size, dtype)
    for block in blocks(size):
        found[block] = of(block)
    return found


def copied(values: np.ndarray, spill: Spill) -> np.ndarray:
    """Return a copy of an array, to be written to; on disk if it is large."""
    found = spill.empty(values.size, values.dtype)
    for block in blocks(values.size):
        found[block] = values[block]
    return found


def sorted_rows(values: np.ndarray, spill: Spill) -> np.ndarray:
    """Return the rows in the order of their values, those of equal values as they stand: NumPy's stable argsort.

    A long series is divided by values first, so that few are sorted at a time.
    """
    if values.size <= TOGETHER:
        return np.argsort(values, kind="stable")
    cuts = np.unique(values[:: max(1, TOGETHER // CUTS)])[::CUTS]
    part = by_blocks(spill, values.size, np.uint16, lambda block: np.searchsorted(cuts, values[block], side="right"))
    found, place = spill.empty(values.size, np.int64), 0
    for number in range(cuts.size + 1):
        breathe()
        rows = np.flatnonzero(part == number)
        found[place : place + rows.size] = rows[np.argsort(values[rows], kind="stable")]
        place += rows.size
    return found


def by_key_and_revision(frame: pl.DataFrame, keys: pl.Series, spill: Spill) -> np.ndarray:
    """Return the rows of a frame by key, and by revision within a key. `keys` are its keys, each once, sorted."""
    parts = max(1, -(-frame.height // TOGETHER))
    cuts = keys[:: max(1, -(-keys.len() // parts))]
    columns = frame.select("key", "revision")
    found, place = spill.empty(frame.height, np.int64), 0
    for some in parted(columns, cuts.len() + 1, lambda key: cuts.search_sorted(key, side="right"), spill):
        found[place : place + some.height] = some.sort("key", "revision")["row"].to_numpy()
        place += some.height
    return found


def by_keys(columns: pl.DataFrame, spill: Spill) -> Iterator[pl.DataFrame]:
    """Yield the rows of a frame, about `TOGETHER` at a time and in their order: all rows of a `key` come together.

    What is worked out for each key needs memory for so many rows then, however many there are. `row` is their number.
    """
    parts = max(1, -(-columns.height // TOGETHER))
    return parted(columns, parts, lambda key: key.hash() % parts, spill)


def parted(
    columns: pl.DataFrame, parts: int, part_of: Callable[[pl.Series], pl.Series], spill: Spill
) -> Iterator[pl.DataFrame]:
    """Yield the rows of each part in their order, with their numbers in `row`; `part_of` says which part keys are in.

    The frame is read once: its blocks are written again, each divided into the parts.
    """
    if parts == 1:
        yield columns.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("row"))
        return
    ends: list[np.ndarray] = []

    def divided() -> Iterator[pl.DataFrame]:
        for block in blocks(columns.height):
            part = part_of(columns["key"][block]).to_numpy()
            ends.append(block.start + np.append(0, np.cumsum(np.bincount(part, minlength=parts))))
            rows = pl.Series("row", np.arange(block.start, block.stop))
            yield columns[block].with_columns(rows)[np.argsort(part, kind="stable")]

    written = spill.frame(divided(), {**columns.schema, "row": pl.Int64()})
    for number in range(parts):
        breathe()
        some = [written[int(end[number]) : int(end[number + 1])] for end in ends]
        yield pl.concat(some, rechunk=True) if some else written

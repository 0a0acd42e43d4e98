"""Compute running aggregates: changes become increments of groups.

An increment is the record's contribution now minus its contribution before. What it was before comes with the
change (a before-image), which is quick and counts a duplicate twice; or from the projection's own memory of each
record's last contribution, which the guard `revision` keeps, and which no duplicate can fool.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from lab.base import BEFORE, INT_MAX, INT_MIN, CannotTake, Totals

# A running sum has 64 bits in every store, and a change that would take it beyond them is parked.
WIDE = "a sum of its group would need more than 64 bits"


def increments(frame: pl.DataFrame, totals: Totals) -> pl.DataFrame:
    """Return what the changes add to each group: group columns, `records`, sums. Needs before-images in the frame.

    Raises CannotTake for an increment that needs more than 64 bits.
    """
    now = _signed(frame.filter(~pl.col("deleted")), totals, "", 1)
    before = _signed(frame.filter(pl.col(f"{BEFORE}live")), totals, BEFORE, -1)
    added = _summed(pl.concat([now, before]), totals)
    return added.filter(pl.any_horizontal(pl.col(name) != 0 for name in totals.measures)).sort(
        totals.group_by, nulls_last=True
    )


def _signed(frame: pl.DataFrame, totals: Totals, prefix: str, sign: int) -> pl.DataFrame:
    """What each row adds to its group. Whole numbers are wide: the smallest has no counterpart of 64 bits."""
    groups = [pl.col(f"{prefix}{name}").alias(name) for name in totals.group_by]
    sums = []
    for name in totals.sum:
        value = pl.col(f"{prefix}{name}").fill_null(0)
        whole = frame.schema[f"{prefix}{name}"].is_integer()
        sums.append(((value.cast(pl.Int128) if whole else value) * sign).alias(f"sum_{name}"))
    return frame.select(*groups, pl.lit(sign, pl.Int64).alias("records"), *sums)


def _summed(signed: pl.DataFrame, totals: Totals) -> pl.DataFrame:
    """Add up by group. Raises CannotTake for a sum that needs more than 64 bits."""
    added = signed.group_by(totals.group_by).agg(pl.col(name).sum() for name in totals.measures)
    wide = [name for name in totals.measures if added.schema[name] == pl.Int128]
    fits = pl.all_horizontal(True, *(pl.col(name).is_between(INT_MIN, INT_MAX) for name in wide))
    if not added.select(fits.all()).item():
        raise CannotTake(WIDE)
    return added.with_columns(pl.col(wide).cast(pl.Int64))


def aggregate(last: pl.DataFrame, totals: Totals) -> pl.DataFrame:
    """Compute the whole aggregate from the last revision of each record, for a rebuild.

    Raises CannotTake for a sum that needs more than 64 bits.
    """
    return _summed(_signed(last.filter(~pl.col("deleted")), totals, "", 1), totals)


def contributions(last: pl.DataFrame, totals: Totals) -> pl.DataFrame:
    """Return the memory of the guard `revision`: each record's contribution with its revision."""
    columns = [pl.col(name) for name in dict.fromkeys(totals.columns)]
    return last.select(pl.col("key").alias("id"), "revision", (~pl.col("deleted")).alias("live"), *columns)


def last_rows(frame: pl.DataFrame, identity: tuple[str, ...]) -> pl.DataFrame:
    """Return the last row of each identity, sorted by it, which is the quickest order for a B-tree."""
    if frame.height <= 1:
        return frame
    if len(identity) == 1 and frame.schema[identity[0]] == pl.Int64:
        # One stable sort of the numbers does both, in a third of the time.
        values = frame[identity[0]].to_numpy()
        order = np.argsort(values, kind="stable")
        values = values[order]
        last: np.ndarray = order[np.append(values[1:] != values[:-1], np.True_)]
        return frame[last]
    return frame.unique(identity, keep="last", maintain_order=True).sort(identity)

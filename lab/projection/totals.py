"""Running aggregates: changes into increments of groups.

An increment is the record's contribution now minus its contribution before. What it was before comes with the
change (a before-image), which is quick and counts a duplicate twice; or from the projection's own memory of each
record's last contribution, which the guard `revision` keeps, and which no duplicate can fool.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from lab.base import BEFORE, Key, Totals

Contribution = tuple[Any, ...]


def increments(frame: pl.DataFrame, totals: Totals) -> pl.DataFrame:
    """What the changes add to each group: group columns, `records`, sums. Needs the before-images in the frame."""
    now = frame.filter(~pl.col("deleted")).select(_signed(totals, "", 1))
    before = frame.filter(pl.col(f"{BEFORE}live")).select(_signed(totals, BEFORE, -1))
    added = pl.concat([now, before]).group_by(totals.group_by).agg(pl.col(name).sum() for name in totals.measures)
    return added.filter(pl.any_horizontal(pl.col(name) != 0 for name in totals.measures)).sort(
        totals.group_by, nulls_last=True
    )


def _signed(totals: Totals, prefix: str, sign: int) -> list[pl.Expr]:
    groups = [pl.col(f"{prefix}{name}").alias(name) for name in totals.group_by]
    sums = [(pl.col(f"{prefix}{name}").fill_null(0) * sign).alias(f"sum_{name}") for name in totals.sum]
    return [*groups, pl.lit(sign, pl.Int64).alias("records"), *sums]


def aggregate(last: pl.DataFrame, totals: Totals) -> pl.DataFrame:
    """The whole aggregate from the last revision of each record: how a rebuild gets there at once."""
    live = last.filter(~pl.col("deleted")).select(_signed(totals, "", 1))
    return live.group_by(totals.group_by).agg(pl.col(name).sum() for name in totals.measures)


def contributions(last: pl.DataFrame, totals: Totals) -> pl.DataFrame:
    """The memory of the guard `revision`: each record's contribution, with its revision."""
    columns = [pl.col(name) for name in dict.fromkeys(totals.columns)]
    return last.select(pl.col("key").alias("id"), "revision", (~pl.col("deleted")).alias("live"), *columns)


class Contributions:
    """Each record's last contribution, at hand: what the before-image is when none came with the change."""

    def __init__(self, totals: Totals, memory: pl.DataFrame) -> None:
        self.totals = totals
        self._columns = list(dict.fromkeys(totals.columns))
        self._last: dict[Key, Contribution] = {row[0]: row[2:] for row in memory.iter_rows()}

    def recall(self, last: pl.DataFrame) -> pl.DataFrame:
        """The changes, one of each record, with before-images from memory; and what they are now is remembered."""
        nothing: Contribution = (False, *(None for _ in self._columns))
        now = contributions(last, self.totals)
        former = [self._last.get(key, nothing) for key in now["id"]]
        self._last.update((row[0], row[2:]) for row in now.iter_rows())
        names = [f"{BEFORE}live", *(f"{BEFORE}{name}" for name in self._columns)]
        types = [pl.Boolean(), *(last.schema[name] for name in self._columns)]
        before = pl.DataFrame(former, schema=dict(zip(names, types, strict=True)), orient="row")
        return last.drop([name for name in names if name in last.columns]).hstack(before)

"""Compute reference answers: frames of changes with indexes, and the comparison of rows.

The memory store and the oracle both answer over these frames, with no engine in between; SQL engines answer through
their own planner, and the two are compared row by row.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from functools import cached_property
from typing import Any

import polars as pl

from lab.base import Entity
from lab.queries.text import plain
from lab.spill import sifted

Row = tuple[Any, ...]


def sought(keys: Sequence[Any]) -> list[Any]:
    """Return each key that a query asks for once, in order: what is neither a number nor a text is no record's."""
    return sorted({key for key in keys if isinstance(key, (int, str))})


class ReferenceTable:
    """One entity's change frame (the last revision of each key, or all revisions), with what makes look-ups quick.

    `live`: the records that are not deleted, sorted by key, where they are known.
    """

    def __init__(self, entity: Entity, frame: pl.DataFrame, live: pl.DataFrame | None = None) -> None:
        self.entity = entity
        self.frame = frame
        self._live = live

    @cached_property
    def live(self) -> pl.DataFrame:
        """The records that are not deleted, sorted by key."""
        if self._live is not None:
            return self._live
        newest = pl.col("revision") == pl.col("revision").max().over("key")
        return self.frame.filter(newest).filter(~pl.col("deleted")).sort("key")

    def rows(self, keys: Sequence[Any]) -> list[Row]:
        """The live records of these keys as a reader sees them, by key."""
        return self.live.filter(pl.col("key").is_in(list(keys))).select(self.entity.row).rows()

    @cached_property
    def children(self) -> dict[Any, list[Any]]:
        """The keys of the live records below each parent."""
        below: dict[Any, list[Any]] = defaultdict(list)
        for key, parent in self.live.select("key", str(self.entity.parent)).iter_rows():
            below[parent].append(key)
        return below

    @cached_property
    def parents(self) -> dict[Any, Any]:
        """What is above each live record."""
        return dict(self.live.select("key", str(self.entity.parent)).iter_rows())

    @cached_property
    def words(self) -> dict[str, set[Any]]:
        """The keys of the live records in whose texts each word is."""
        found: dict[str, set[Any]] = defaultdict(set)
        for key, text in self.live.select("key", text=plain(self.entity.texts)).iter_rows():
            for word in text.split():
                found[word].add(key)
        return found

    def revisions(self, key: Any) -> pl.DataFrame:
        """All revisions of a record, oldest first."""
        return sifted(self.frame, pl.col("key") == pl.lit(key)).sort("revision")


def same(expected: Sequence[Row], found: Sequence[Row]) -> bool:
    """Whether two answers are the same: row by row, floats within 1e-9 (engines add in their own order)."""
    return len(expected) == len(found) and all(
        len(one) == len(other) and all(map(_equal, one, other)) for one, other in zip(expected, found, strict=True)
    )


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, float | Decimal) or isinstance(other, float | Decimal):
        if not isinstance(one, int | float | Decimal) or not isinstance(other, int | float | Decimal):
            return False
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9) or (math.isnan(one) and math.isnan(other))
    return bool(one == other)

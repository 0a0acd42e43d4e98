"""Compute what the feed shows at a moment from arrays, in place of the source of truth in modelled runs.

A test compares it with what the source of truth's own feed returns at that moment.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from lab.feed.published import Published
from lab.spill import Spill
from lab.statistics.grouped import in_order


class FeedArrays:
    """One entity's changes, by position. `every_revision` is false for a feed that shows only the last."""

    def __init__(
        self,
        frame: pl.DataFrame,
        every_revision: bool,
        committed_at: np.ndarray | None = None,
        spill: Spill | None = None,
        positions: np.ndarray | None = None,
    ) -> None:
        """`frame` has key, position and committed_at of every change, sorted by position.

        `committed_at` has the actual commit times if they differ from the frame's, `positions` the frame's if they are
        at hand. Arrays are kept in `spill`.
        """
        kept = (spill or Spill()).array
        self.every_revision = every_revision
        self.positions = kept(frame["position"].to_numpy()) if positions is None else positions
        self.committed_at = kept(frame["committed_at"].to_numpy()) if committed_at is None else committed_at
        # The earliest commit from each row on: what lies beyond the last that is not later than t, t can't show.
        self.in_order = in_order(self.committed_at)
        at = self.committed_at
        self._earliest = at if self.in_order else kept(np.minimum.accumulate(at[::-1])[::-1])
        self._overwritten_at = None if every_revision else self._overwritten(frame)

    @classmethod
    def of(cls, published: Published, entity: str, every_revision: bool) -> FeedArrays:
        """Return the feed of an entity of a run, with the arrays that are there."""
        times, positions = published.times(entity), published.positions(entity)
        return cls(published.frames[entity], every_revision, times, published.spill, positions)

    def _overwritten(self, frame: pl.DataFrame) -> np.ndarray:
        times = frame.select("key").with_columns(at=pl.Series(self.committed_at))
        # Never is no number: no time has come to it.
        return times.select(pl.col("at").shift(-1).over("key").fill_null(np.nan))["at"].to_numpy()

    def page(self, position: int, limit: int, at: float) -> np.ndarray:
        """The rows of the history that `changes_since(position, limit)` returns at `at` seconds."""
        first = int(np.searchsorted(self.positions, position, side="right"))
        last = int(np.searchsorted(self._earliest, at, side="right"))
        if last <= first:
            return np.empty(0, np.int64)
        if self._overwritten_at is None and self.in_order:
            return np.arange(first, min(last, first + limit))
        shown = self.committed_at[first:last] <= at
        if self._overwritten_at is not None:
            shown &= ~(self._overwritten_at[first:last] <= at)
        return first + np.flatnonzero(shown)[:limit]

"""What the feed shows at a moment, computed from the history's arrays: stands for the source of truth in modelled runs.

A test holds it equal to what the source of truth's own feed returns when it has been advanced to that moment.
"""

from __future__ import annotations

import numpy as np
import polars as pl


class FeedArrays:
    """One entity's changes, in commit order. `every_revision` is false for a feed that shows only the last."""

    def __init__(self, frame: pl.DataFrame, every_revision: bool) -> None:
        """`frame` has key, position and committed_at of every change, sorted by position."""
        self.every_revision = every_revision
        self.positions = frame["position"].to_numpy()
        self.committed_at = frame["committed_at"].to_numpy()
        if every_revision:
            self._overwritten_at = None
        else:
            following = frame.select(pl.col("position").shift(-1).over("key").fill_null(np.iinfo(np.int64).max))
            self._overwritten_at = following["position"].to_numpy()

    def committed_by(self, at: float) -> int:
        """How many changes are committed at `at` seconds."""
        return int(np.searchsorted(self.committed_at, at, side="right"))

    def page(self, position: int, limit: int, at: float) -> np.ndarray:
        """The rows of the history that `changes_since(position, limit)` returns at `at` seconds."""
        first = int(np.searchsorted(self.positions, position, side="right"))
        last = self.committed_by(at)
        if self._overwritten_at is None:
            return np.arange(first, min(last, first + limit))
        if last <= first:
            return np.empty(0, np.int64)
        kept = np.flatnonzero(self._overwritten_at[first:last] > self.positions[last - 1])
        return first + kept[:limit]

"""Consistency lag: from commit at the source of truth to visible in a projection; all on the simulated clock.

A change is visible when its projection shows that revision or a later one. A change that never becomes visible is
censored: it is counted in every share and quantile, as one that takes forever, and never dropped.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from lab.feed.published import Published
from lab.projection.workers import Journal

POINTS = 240
QUANTILES = {"p50_seconds": 0.5, "p90_seconds": 0.9, "p99_seconds": 0.99, "max_seconds": 1.0}


def visible_at(published: Published, journal: Journal, subsumes: bool) -> np.ndarray:
    """For each change of the run, by index, when it was first visible, in seconds; infinity if never.

    `subsumes` says whether a later revision shows all that an earlier one did, as in a projection of records;
    where each change counts for itself, only its own write makes it visible.
    """
    first = np.full(published.committed_at.size, np.inf)
    if journal.written:
        # Written backwards, so that the first write of a change is the one that stays.
        written = np.concatenate(journal.written)[::-1] - 1
        first[written] = np.concatenate(journal.visible_at)[::-1]
    if not subsumes:
        return first
    frame = pl.DataFrame({"record": published.record, "first": first})
    return frame.select(pl.col("first").cum_min(reverse=True).over("record"))["first"].to_numpy()


def lags(projection: str, published: Published, visible: np.ndarray, chosen: np.ndarray) -> pl.DataFrame:
    """The table `lag` for one projection; `chosen` are the indices of the changes that it subscribes to."""
    lag = visible[chosen] - published.committed_at[chosen]
    seconds = pl.Series(lag).replace(float("inf"), None) if lag.size else pl.Series([], dtype=pl.Float64)
    return pl.DataFrame(
        {
            "projection": pl.repeat(projection, lag.size, eager=True),
            "position": chosen + 1,
            "lag_seconds": seconds,
        }
    )


def summary(projection: str, lag: pl.DataFrame) -> dict[str, object]:
    """One row of `lag_summary`. A quantile that falls on a change that never became visible is null."""
    seconds = np.sort(lag["lag_seconds"].fill_null(np.inf).to_numpy())
    found: dict[str, object] = {
        "projection": projection,
        "changes": lag.height,
        "visible": int(np.isfinite(seconds).sum()),
        "never_visible": int(np.isinf(seconds).sum()),
    }
    for name, share in QUANTILES.items():
        value = float(seconds[max(0, int(np.ceil(share * seconds.size)) - 1)]) if seconds.size else np.inf
        found[name] = value if np.isfinite(value) else None
    return found


def visibility(projection: str, lag: pl.DataFrame) -> pl.DataFrame:
    """t-visibility: the share of changes visible within each of a row of times after their commit.

    After Bailis et al., "Probabilistically Bounded Staleness" (VLDB 2012), there for reads of replicas.
    """
    seconds = np.sort(lag["lag_seconds"].fill_null(np.inf).to_numpy())
    finite = seconds[np.isfinite(seconds) & (seconds > 0)]
    low, high = (finite[0], finite[-1]) if finite.size else (0.001, 1.0)
    low = max(low, high * 1e-6)
    after = np.geomspace(low, high * 1.05, POINTS)
    share = np.searchsorted(seconds, after, side="right") / max(1, seconds.size)
    return pl.DataFrame(
        {
            "projection": pl.repeat(projection, POINTS, eager=True),
            "after_seconds": after,
            "probability": share,
        }
    )


def staleness(
    projection: str, published: Published, visible: np.ndarray, chosen: np.ndarray, end: float
) -> pl.DataFrame:
    """How far behind the projection is over time: changes committed and not visible, and the age of the oldest."""
    committed, shown = published.committed_at[chosen], visible[chosen]
    at = np.linspace(0.0, end, POINTS + 1)
    behind = np.searchsorted(committed, at, side="right") - np.searchsorted(np.sort(shown), at, side="right")
    # The oldest change that is not visible at t is the first whose running maximum of visibility lies after t.
    reached = np.maximum.accumulate(shown)
    oldest = np.searchsorted(reached, at, side="right")
    since = np.append(committed, np.inf)[oldest]
    age = np.where(since <= at, at - np.minimum(since, at), 0.0)
    return pl.DataFrame(
        {
            "projection": pl.repeat(projection, at.size, eager=True),
            "at_seconds": at,
            "versions_behind": np.maximum(behind, 0),
            "seconds_behind": age,
        }
    )

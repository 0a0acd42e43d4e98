"""Compute the consistency lag: from commit at the source of truth to visible in a projection.

A change is visible when its projection shows that revision or a later one. A change that never becomes visible is
censored: it counts in every share and quantile as infinitely late, and is never dropped.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from lab.feed.published import Published
from lab.mapped import breathe
from lab.projection.applied import NONE
from lab.running.journal import Journal
from lab.spill import chosen_of
from lab.statistics import grouped
from lab.statistics.grouped import in_order
from lab.statistics.intervals import intervals
from lab.statistics.quantiles import BOUNDED, SHARES, told, unbiased
from lab.statistics.steady import NOT_STABLE, growth, warm_up

POINTS = 240
# A note of so many changes is worth asking how much of what is on disk is in memory.
_MANY = 10_000
# The quantiles that are averaged over repetitions without the bias of an order statistic.
UNBIASED = ("p90", "p99")


def _never(block: slice) -> np.ndarray:
    return np.full(block.stop - block.start, np.inf)


def visible_at(published: Published, journal: Journal, subsumes: bool, epoch: int = 0) -> np.ndarray:
    """Return for each change of the run, by index, when it was first visible, in seconds; infinity if never.

    `subsumes` says whether a later revision shows all that an earlier one did, as in a projection of records;
    where each change counts for itself, only its own write makes it visible. `epoch` is the first that is looked at.
    """
    size = published.committed_at.size
    first = grouped.by_blocks(journal.spill, size, np.float64, _never)
    # In reverse order, so that the first write of a change is kept.
    for note in reversed(journal.notes):
        if note.epoch >= epoch:
            first[note.applied.positions[::-1] - 1] = note.written_at[::-1]
            if note.applied.positions.size >= _MANY:
                breathe()
    if subsumes:
        # Records are numbered by the positions of their first changes.
        carried = grouped.by_blocks(journal.spill, size + 1, np.float64, _never)
        for block in grouped.blocks(size, backwards=True):
            found = grouped.running(published.record[block][::-1], first[block][::-1], carried, "least")
            first[block] = found[::-1]
    return first


def shown(
    published: Published, journal: Journal, replaces: bool = True, records: np.ndarray | None = None
) -> pl.DataFrame:
    """Return what readers see of each record from which time on: record, at, revision (0: none), index (-1: none).

    What a batch leaves behind is what they see: the last write of a record in it. A projection that is thrown away in
    place shows nothing from then on, until it is written again. Sorted by time. Of `records` alone, if they are given.
    """
    wanted = None
    if records is not None:
        wanted = np.zeros(published.record.size + 1, bool)
        wanted[records] = True
    found = [(np.empty(0, np.int64), np.empty(0))]
    for note in journal.notes:
        index, at = note.applied.positions - 1, note.written_at
        mine = slice(None) if wanted is None else wanted[published.record[index]]
        found.append((index[mine], at[mine]))
    index, at = (np.concatenate(each) for each in zip(*found, strict=True))
    writes = pl.DataFrame(
        {"record": published.record[index], "at": at, "revision": published.revision[index], "index": index}
    )
    newest = pl.col("revision", "index").last() if replaces else pl.col("revision", "index").max()
    last = writes.group_by("record", "at", maintain_order=True).agg(newest)
    for reset in journal.resets:
        gone = last.filter(pl.col("at") < reset).select("record").unique(maintain_order=True)
        if (part := journal.emptied.get(reset)) is not None:
            gone = gone.filter(pl.col("record").is_in(part.tolist()))
        nothing = gone.with_columns(at=pl.lit(reset), revision=pl.lit(0, pl.Int64), index=pl.lit(-1, pl.Int64))
        last = pl.concat([last, nothing])
    last = last.sort("at", maintain_order=True)
    if replaces:
        return last
    life = pl.lit(0) + sum(((pl.col("at") >= reset).cast(pl.Int64) for reset in journal.resets), pl.lit(0))
    return last.with_columns(pl.col("revision").cum_max().over("record", life))


class Passing:
    """When the checkpoint of one entity first reached positions, by a projection's journal."""

    def __init__(self, journal: Journal, entity: str) -> None:
        noted = [(position, at) for at, name, position in journal.checkpoints if name == entity]
        reached, at = (np.array(values) for values in zip(*noted, strict=True)) if noted else (NONE, np.empty(0))
        self._reached, self._at = np.maximum.accumulate(reached), np.append(at, np.inf)

    def at(self, indices: np.ndarray) -> np.ndarray:
        """When the checkpoint first reached each of these changes, in seconds; infinity if never."""
        found: np.ndarray = self._at[np.searchsorted(self._reached, indices + 1, side="left")]
        return found


def lags(projection: str, published: Published, visible: np.ndarray, chosen: np.ndarray) -> pl.DataFrame:
    """Return the table `lag` of one projection; `chosen` has the indices of the changes that it subscribes to."""
    lag = visible[chosen] - published.committed_at[chosen]
    seconds = pl.Series(lag).replace(float("inf"), None) if lag.size else pl.Series([], dtype=pl.Float64)
    return pl.DataFrame(
        {
            "projection": pl.repeat(projection, lag.size, eager=True),
            "position": chosen + 1,
            "lag_seconds": seconds,
        }
    )


def summary(
    projection: str, lag: pl.DataFrame, committed: np.ndarray | None = None, calm: np.ndarray | None = None
) -> dict[str, object]:
    """Return a row of `lag_summary` from the rows of `lag`, which are in commit order; see `figures`."""
    return figures(projection, lag["lag_seconds"].fill_null(np.inf).to_numpy(), committed, calm)


def figures(
    projection: str, seconds: np.ndarray, committed: np.ndarray | None = None, calm: np.ndarray | None = None
) -> dict[str, object]:
    """Return a row of `lag_summary` from the lag of each change, in commit order; infinity if it was never visible.

    A quantile is null if it falls on a change that never became visible, if there are too few changes to tell it, or
    if the lag grows without end; so is the largest lag. For the latter, `committed` has the times of commit, and `calm`
    marks the changes that no fault has disturbed; without them it is not looked for.
    """
    found: dict[str, object] = {
        "projection": projection,
        "changes": int(seconds.size),
        "visible": int(np.isfinite(seconds).sum()),
        "never_visible": int(np.isinf(seconds).sum()),
    }
    found |= {f"{name}_seconds": told(seconds, share) for name, share in SHARES.items()}
    found["max_seconds"] = told(seconds, 1.0)
    found |= {f"{name}_unbiased_seconds": unbiased(seconds, SHARES[name]) for name in UNBIASED}
    for name, each in zip(BOUNDED, intervals(seconds, list(BOUNDED.values())), strict=True):
        found |= {f"{name}_low_seconds": each.low, f"{name}_high_seconds": each.high}
        found |= {f"{name}_interval_reason": each.reason or None}
    steady = _steady(seconds, committed, calm)
    if steady["stable"] is False:
        # The largest lag, too, would tell how long the run was.
        untold = (*SHARES, *(f"{each}_unbiased" for each in UNBIASED), "max")
        found |= dict.fromkeys(f"{name}_seconds" for name in untold)
        for name in BOUNDED:
            found |= {f"{name}_low_seconds": None, f"{name}_high_seconds": None}
            found |= {f"{name}_interval_reason": NOT_STABLE}
    return found | steady


def endless(seconds: np.ndarray, committed: np.ndarray, calm: np.ndarray) -> bool:
    """Return whether lags grow without end; `committed` are times of commit, `calm` marks what no fault disturbed."""
    return growth(*_calm(seconds, committed, calm)).endless is True


def _calm(seconds: np.ndarray, committed: np.ndarray, calm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the times and the lags of the visible changes that no fault disturbed, in order of time."""
    mine = calm & np.isfinite(seconds)
    if mine.all() and in_order(committed):
        return committed, seconds
    chosen = np.flatnonzero(mine)
    if not in_order(committed):
        chosen = chosen[np.argsort(committed[chosen], kind="stable")]
    return committed[chosen], seconds[chosen]


def _steady(seconds: np.ndarray, committed: np.ndarray | None, calm: np.ndarray | None) -> dict[str, object]:
    """Return the columns of `lag_summary` that say whether there is a steady state."""
    columns = ("stable", "stable_reason", "slope", "slope_low", "slope_high", "warm_up_seconds")
    if committed is None or calm is None:
        return dict.fromkeys(columns) | {"stable_reason": "not looked for"}
    at, values = _calm(seconds, committed, calm)
    grown = growth(at, values)
    stable = None if grown.endless is None else not grown.endless
    reason = grown.reason or None
    if grown.endless:
        reason = f"{NOT_STABLE}: the lag grows by {grown.slope:.3g} s in each second"
    cut = warm_up(values)
    began = None if cut is None or not at.size else float(at[cut] - at[0])
    told = (stable, reason, grown.slope, grown.low, grown.high, began)
    return dict(zip(columns, told, strict=True))


def visibility(projection: str, lag: pl.DataFrame) -> pl.DataFrame:
    """Return the t-visibility from the rows of `lag`; see `t_visibility`."""
    return t_visibility(projection, lag["lag_seconds"].fill_null(np.inf).to_numpy())


def t_visibility(projection: str, seconds: np.ndarray) -> pl.DataFrame:
    """Return the t-visibility: the share of changes visible within each of several times after their commit.

    `seconds` is the lag of each change, infinity if it was never visible.

    After Bailis et al., "Probabilistically Bounded Staleness" (VLDB 2012), there for reads of replicas.
    """
    seconds = np.sort(seconds)
    first, last = np.searchsorted(seconds, 0.0, side="right"), np.searchsorted(seconds, np.inf, side="left")
    finite = seconds[first:last]
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
    projection: str,
    published: Published,
    visible: np.ndarray,
    chosen: np.ndarray,
    end: float,
    again: tuple[float, np.ndarray] | None = None,
) -> pl.DataFrame:
    """Return how far behind the projection is over time: changes committed and not visible, the age of the oldest.

    `again` is for a projection that is thrown away in place: when, and when each change was visible after that.
    """
    at = np.linspace(0.0, end, POINTS + 1)
    committed = chosen_of(published.committed_at, chosen)
    behind, age = _behind(committed, chosen_of(visible, chosen), at)
    if again is not None:
        since, visible_again = again
        later = _behind(committed, chosen_of(visible_again, chosen), at)
        behind, age = (np.where(at >= since, new, old) for new, old in zip(later, (behind, age), strict=True))
    return pl.DataFrame(
        {
            "projection": pl.repeat(projection, at.size, eager=True),
            "at_seconds": at,
            "versions_behind": np.maximum(behind, 0),
            "seconds_behind": age,
        }
    )


def _behind(committed: np.ndarray, shown: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if not in_order(committed):
        order = np.argsort(committed, kind="stable")
        committed, shown = committed[order], shown[order]
    behind = np.searchsorted(committed, at, side="right") - np.searchsorted(np.sort(shown), at, side="right")
    # The oldest change that is not visible at t is the first whose running maximum of visibility lies after t.
    reached = np.maximum.accumulate(shown)
    oldest = np.searchsorted(reached, at, side="right")
    since = np.full(at.size, np.inf)
    since[oldest < committed.size] = committed[oldest[oldest < committed.size]]
    return behind, np.where(since <= at, at - np.minimum(since, at), 0.0)

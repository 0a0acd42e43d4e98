"""The lab's one definition of a quantile: an order statistic, the inverse of the empirical distribution function.

The quantile of a share q of n samples is the smallest sample that at least q of them don't exceed: the one of rank
ceil(q n) (Hyndman and Fan, "Sample Quantiles in Statistical Packages", 1996, definition 1). It is chosen for three
reasons. It is a value that was measured. It works with infinite values, so changes that never became visible count as
infinitely late, where interpolation between a number and infinity has no meaning. And the intervals of
`lab.statistics.intervals` end at order statistics too, so a quantile never lies outside its own interval.

A quantile in the tail needs samples beyond it. With fewer than 1 / (1 - q) samples it is the largest sample, whatever
the distribution is: a p99 of 50 samples lies below the true one in 60 % of cases (0.99^50). `told` gives None then.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import polars as pl

# The quantiles that tables have, by the names of their columns.
SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
# Those of them that have an interval, and that two runs are compared by.
BOUNDED = {name: SHARES[name] for name in ("p50", "p99")}

# Products such as 0.07 * 100 come out a little above the whole number that they are.
_DIGITS = 9


def rank(count: int, share: float) -> int:
    """Return the rank, from 1, of the `share` quantile among `count` sorted samples; `share` from 0 to 1."""
    return min(max(math.ceil(round(share * count, _DIGITS)), 1), count)


def quantile(samples: npt.ArrayLike, share: float) -> float:
    """Return the smallest sample that a share of all doesn't exceed, in the samples' unit. May be infinite.

    Raises ValueError if there are no samples.
    """
    values = np.asarray(samples, dtype=np.float64)
    if not values.size:
        raise ValueError("no samples have no quantile")
    at = rank(values.size, share) - 1
    return float(np.partition(values, at)[at])


def median(samples: npt.ArrayLike) -> float:
    """Return the 0.5 quantile: of an even number of samples, the lower of the two in the middle."""
    return quantile(samples, 0.5)


def quantile_of(column: pl.Expr, share: float) -> pl.Expr:
    """Return the expression of `quantile` over a column without its nulls; null if there is none left."""
    values = column.drop_nulls().sort()
    at = ((values.len() * share).round(_DIGITS).ceil().cast(pl.Int64) - 1).clip(0)
    return values.get(at, null_on_oob=True)


def told_of(column: pl.Expr, share: float) -> pl.Expr:
    """Return the expression of `told` over a column without its nulls."""
    return pl.when(column.drop_nulls().len() >= samples_needed(share)).then(quantile_of(column, share))


def samples_needed(share: float) -> int:
    """Return how many samples a quantile needs to be told: one of them must lie beyond it. 100 for a p99, 10 for a p90.

    The median and quantiles below need one; so does the largest sample (share 1), which claims nothing beyond itself.
    """
    return 1 if share <= 0.5 or share >= 1.0 else math.ceil(round(1 / (1 - share), _DIGITS))


def unbiased(samples: npt.ArrayLike, share: float) -> float | None:
    """Return the quantile as it is averaged over repetitions: interpolated, too large as often as too small.

    An order statistic is too small more often than too large (a p99 of 100 samples is the 98.4 % quantile on average),
    and an average over repetitions makes that the more visible the more of them there are. This one is right in the
    median whatever the distribution (Hyndman and Fan, 1996, definition 8), and is no value that was measured. None as
    for `told`.
    """
    values = np.sort(np.asarray(samples, dtype=np.float64))
    if values.size < samples_needed(share):
        return None
    place = (values.size + 1 / 3) * share + 1 / 3
    below = min(max(math.floor(place), 1), values.size)
    one, other = values[below - 1], values[min(below, values.size - 1)]
    part = min(max(place - below, 0.0), 1.0)
    found = float(one) if part == 0 or one == other else float(one + part * (other - one))
    return found if math.isfinite(found) else None


def reached(samples: npt.ArrayLike, share: float) -> float | None:
    """Return `quantile`; None if it is infinite, or if there is no sample at all."""
    values = np.asarray(samples, dtype=np.float64)
    value = quantile(values, share) if values.size else math.inf
    return value if math.isfinite(value) else None


def told(samples: npt.ArrayLike, share: float) -> float | None:
    """Return `reached`; None as well if there are fewer samples than `samples_needed`."""
    values = np.asarray(samples, dtype=np.float64)
    return reached(values, share) if values.size >= samples_needed(share) else None

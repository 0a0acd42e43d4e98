"""Quantiles of the lag with confidence intervals, by the moving block bootstrap (Künsch 1989).

Changes of one batch become visible together, so neighbours are not independent. Resampling whole blocks of
neighbouring changes keeps that dependence; resampling single changes would give intervals that are too narrow.
A change that never became visible has an infinite lag.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from lab.base import stream
from lab.statistics.quantiles import quantile

ROWS_MAX = 20_000
RESAMPLES = 400
SEED = 1
ENDS = (0.025, 0.975)

Lags = npt.NDArray[np.float64]


def thinned(lags: Lags) -> Lags:
    """Take at most `ROWS_MAX` evenly spaced changes, which bounds the cost of resampling."""
    if len(lags) <= ROWS_MAX:
        return lags
    return lags[np.linspace(0, len(lags) - 1, ROWS_MAX).astype(np.int64)]


def block_rows(random: np.random.Generator, rows: int) -> npt.NDArray[np.int64]:
    """Draw the `rows` row numbers of one resample, in blocks of sqrt(rows) neighbours from random starts."""
    length = max(1, round(rows ** (1 / 2)))
    starts = random.integers(0, rows - length + 1, size=math.ceil(rows / length))
    taken: npt.NDArray[np.int64] = (starts[:, None] + np.arange(length)).ravel()[:rows]
    return taken


def interval(lags: Lags, share: float, name: str) -> tuple[float | None, float | None]:
    """Return a quantile's 95 % interval in the unit of `lags`, given in commit order. An infinite end is None."""
    if not len(lags):
        return None, None
    lags = thinned(lags)
    random = stream(SEED, "interval", name)
    found = np.sort([quantile(lags[block_rows(random, len(lags))], share) for _ in range(RESAMPLES)])
    # Ends that were drawn, not points between two: between a number and infinity lies nothing.
    low, high = (float(found[round(end * (RESAMPLES - 1))]) for end in ENDS)
    return (low if math.isfinite(low) else None), (high if math.isfinite(high) else None)

"""The interval of a ratio, and the exponent of growth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lab.statistics.quantiles import median, quantile

RESAMPLES = 2_000


def ratio_interval(above: Sequence[float], below: Sequence[float], seed: int) -> tuple[float, float]:
    """The 95 % interval of the ratio of two medians, by the percentile bootstrap (B. Efron, 1979).

    Whole rounds are drawn again: what drifts from round to round drifts for both, and must not count twice.
    """
    top, bottom = np.asarray(above, float), np.asarray(below, float)
    assert top.size == bottom.size
    rounds = np.random.default_rng(seed).integers(0, top.size, (RESAMPLES, top.size))
    ratios = [median(top[drawn]) / median(bottom[drawn]) for drawn in rounds]
    return quantile(ratios, 0.025), quantile(ratios, 0.975)


def exponent(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    """The slope of the least-squares line through the logarithms: 1 is linear growth, 2 quadratic."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])

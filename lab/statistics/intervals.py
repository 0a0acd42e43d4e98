"""Confidence intervals of measured quantiles between two order statistics, without assuming a distribution.

Of n independent samples, the number that lie at or below the true quantile q is binomial (n, q's share). So the l-th
smallest sample lies above q with the chance P(B < l), and the u-th below it with P(B >= u). The interval runs from the
last l to the first u for which each chance is at most half of what is left over (David and Nagaraja, "Order
Statistics", 3rd edition, section 7.1). It holds at least the share of times that it claims. Of a p99, few samples give
no upper end at all: 95 % needs 368 of them. Then the end is None, which is to be read as "unknown".
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

CONFIDENCE = 0.95


def quantile_interval(
    samples: npt.ArrayLike, share: float, confidence: float = CONFIDENCE
) -> tuple[float | None, float | None]:
    """Return the interval of the `share` quantile in the samples' unit; an end is None if no sample can be it.

    `share` lies between 0 and 1, both excluded. Samples are taken to be independent.
    """
    ordered = np.sort(np.asarray(samples, dtype=np.float64))
    if not ordered.size:
        return None, None
    at_most = _cumulative(ordered.size, share)
    spare = (1 - confidence) / 2
    # at_most[k] is P(B <= k): the l-th smallest, at index l - 1, is too large with the chance at_most[l - 1].
    low = int(np.searchsorted(at_most, spare, side="right")) - 1
    high = int(np.argmax(1 - at_most <= spare))
    return (
        float(ordered[low]) if low >= 0 else None,
        float(ordered[high]) if high < ordered.size else None,
    )


def _cumulative(count: int, share: float) -> npt.NDArray[np.float64]:
    """Return P(B <= k) for k from 0 to `count`, B binomial; in logarithms, so many samples don't underflow."""
    k = np.arange(1, count + 1)
    steps = np.log((count - k + 1) / k) + math.log(share) - math.log1p(-share)
    logs = count * math.log1p(-share) + np.concatenate([[0.0], np.cumsum(steps)])
    found: npt.NDArray[np.float64] = np.minimum(np.cumsum(np.exp(logs)), 1.0)
    return found

"""Confidence intervals of quantiles between two order statistics, without assuming a distribution.

Of n independent samples, the number that lie at or below the true quantile q is binomial (n, q's share). So the l-th
smallest sample lies above q with the chance P(B < l), and the u-th below it with P(B >= u). The interval runs from the
last l to the first u for which each chance is at most half of what is left over (David and Nagaraja, "Order
Statistics", 3rd edition, section 7.1). It holds at least the share of times that it claims.

The largest of n samples lies below the quantile with the chance q^n. So an upper end needs q^n <= 0.025: 368 samples
for a p99, 36 for a p90, 6 for a p50. (299 would be enough for a bound on that side alone, at 0.05.) Without it the end
is None, which is to be read as "unknown".

Samples that depend on each other count as the smaller number of independent ones that they are worth
(`lab.statistics.dependence`): the ranks are those of that number, stretched over all samples. Where the number can't be
told, or gives no two ends, there is no interval, and `reason` says why.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lab.spill import briefly, here
from lab.statistics.dependence import Floats, Worth, common, ranks, too_few, worth
from lab.statistics.grouped import by_blocks
from lab.statistics.quantiles import quantile, rank, samples_needed

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """The ends of an interval, None where unknown; `reason` says why an end is unknown, and is empty otherwise."""

    low: float | None = None
    high: float | None = None
    reason: str = ""


def intervals(samples: npt.ArrayLike, shares: Sequence[float], confidence: float = CONFIDENCE) -> list[Interval]:
    """Return the interval of each quantile, in the unit of `samples`, which are in time order and may be dependent."""
    values = np.asarray(samples, dtype=np.float64)
    ordered = briefly(np.sort(values))
    # In single precision, lags that differ by the rounding of the clock alone are equal. Else rounding, which grows in
    # steps with the time, would look like dependence.
    single = by_blocks(here(), values.size, np.float32, lambda block: values[block])
    placed = briefly(ranks(single))
    return [_interval(single, ordered, placed, share, confidence) for share in shares]


def _interval(
    single: npt.NDArray[np.float32], ordered: Floats, placed: Floats, share: float, confidence: float
) -> Interval:
    count = ordered.size
    if count < samples_needed(share):
        return Interval(reason=few(count, samples_needed(share)))
    found = worth(placed, single > np.float32(ordered[rank(count, share) - 1]))
    if found.reason:
        return Interval(reason=found.reason)
    low, high = _ends(ordered, share, found, confidence)
    if found.dependent and (low is None or high is None):
        return Interval(reason=too_few(count, found.count, bounded(share, confidence)))
    if high is None:
        return Interval(low, None, f"{few(count, bounded(share, confidence))} for an upper end")
    reason = few(count, bounded(1 - share, confidence)) + " for a lower end" if low is None else ""
    if math.isinf(high):
        return Interval(None if low is None or math.isinf(low) else low, None, "the upper end is infinite")
    return Interval(low, high, reason)


def _ends(ordered: Floats, share: float, found: Worth, confidence: float) -> tuple[float | None, float | None]:
    """Return the order statistics at the ends; None where none is low or high enough."""
    count, independent = ordered.size, max(int(found.count), 1)
    low, high = places(independent, share, confidence)
    stretch = count / independent
    return (
        float(ordered[max(math.floor((low + 1) * stretch), 1) - 1]) if low >= 0 else None,
        float(ordered[min(math.ceil((high + 1) * stretch), count) - 1]) if high < independent else None,
    )


def bounded(share: float, confidence: float = CONFIDENCE) -> int:
    """Return how many independent samples a quantile needs for an upper end: the smallest n with share^n <= 2.5 %."""
    return math.ceil(math.log((1 - confidence) / 2) / math.log(share))


def few(count: int, needed: int) -> str:
    """Return the reason why samples are too few."""
    return f"{count:,} samples; {needed:,} are needed"


def difference(a: npt.ArrayLike, b: npt.ArrayLike, share: float, paired: bool) -> tuple[float, Interval]:
    """Return by how much the quantile of b exceeds that of a, with its 95 % interval, from the intervals of both.

    Each side's distance to its quantile is squared and added (MOVER: G. Y. Zou and A. Donner, "Construction of
    confidence limits about effect measures", 2008), less what `paired` series have in common. The interval is empty,
    with a reason, where one of the two has none; the difference is infinite or NaN where a quantile is infinite.
    """
    series = [np.asarray(each, dtype=np.float64) for each in (a, b)]
    at_a, at_b = (quantile(each, share) for each in series)
    between = at_b - at_a if math.isfinite(at_a) or math.isfinite(at_b) else math.nan
    of_a, of_b = (intervals(each, [share])[0] for each in series)
    if reason := of_a.reason or of_b.reason:
        return between, Interval(reason=reason)
    shared = common(series[0] > at_a, series[1] > at_b) if paired else 0.0
    below = _apart(at_b - _known(of_b.low), _known(of_a.high) - at_a, shared)
    above = _apart(_known(of_b.high) - at_b, at_a - _known(of_a.low), shared)
    return between, Interval(between - below, between + above)


def _known(end: float | None) -> float:
    assert end is not None, "an interval without a reason has both ends"
    return end


def _apart(one: float, other: float, shared: float) -> float:
    return math.sqrt(max(one * one + other * other - 2 * shared * one * other, 0.0))


def places(count: int, share: float, confidence: float = CONFIDENCE) -> tuple[int, int]:
    """Return the places of the ends among `count` sorted independent samples, from 0; -1 and `count` for none."""
    at_most = _cumulative(count, share)
    spare = (1 - confidence) / 2
    # at_most[k] is P(B <= k): the l-th smallest, at index l - 1, is too large with the chance at_most[l - 1].
    return int(np.searchsorted(at_most, spare, side="right")) - 1, int(np.argmax(1 - at_most <= spare))


def _cumulative(count: int, share: float) -> npt.NDArray[np.float64]:
    """Return P(B <= k) for k from 0 to `count`, B binomial; in logarithms, so many samples don't underflow."""
    k = np.arange(1, count + 1)
    steps = np.log((count - k + 1) / k) + math.log(share) - math.log1p(-share)
    logs = count * math.log1p(-share) + np.concatenate([[0.0], np.cumsum(steps)])
    found: npt.NDArray[np.float64] = np.minimum(np.cumsum(np.exp(logs)), 1.0)
    return found

"""Figures of several repetitions of a run: their interval, the ratio of two runs, and what could have been seen.

Each repetition gives one estimate of a figure. What varies within a repetition (its samples) and what varies between
them (memory layout, caches, other processes, the seed) both move that estimate, so the spread of the estimates holds
both levels: the interval of their mean needs nothing else (T. Kalibera and R. Jones, "Rigorous benchmarking in
reasonable time", ISMM 2013, section 9: of the variances of all levels, that of the highest one is what counts).

The interval is Student's t over the **logarithms** of the estimates: times are positive, skewed, and change by factors.
A bootstrap over the repetitions was tried beside it, and is not used: of five repetitions its percentiles contain the
true value in 82 to 84 % of cases instead of 95 % (`python -m benchmarks.validity --only replicated`), since five values
can't show how far their mean may lie off. Two repetitions are enough for an interval, which is then very wide.

Values that are 0 or less have no logarithm: then the interval is that of the values themselves. Where a repetition's
value is infinite (changes that never became visible), there is no mean, and the interval is that of the median, between
order statistics: it takes six repetitions at the least.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lab.statistics.intervals import CONFIDENCE, Interval, places
from lab.statistics.student import shift, spread_median, t_quantile, two_sided

# The chance with which a difference is found that is called "the smallest that could have been seen".
POWER = 0.8
# Estimates that differ by the rounding of sums alone are equal.
EQUAL = 1e-12
_LOG_MAX = math.log(sys.float_info.max)


@dataclass(frozen=True)
class Ratio:
    """By which factor a figure changed: `value`, and its 95 % interval; None where it can't be told, for `reason`.

    `error` is the standard error of its logarithm with `freedom` degrees of freedom, `p` the probability of a factor
    at least as far from 1 if nothing had changed. Without repetitions there is a value alone.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    error: float = math.nan
    freedom: float = math.nan
    reason: str = ""


def middle(values: Sequence[float | None]) -> float | None:
    """Return the median of the repetitions' values: the mean of the two in the middle of an even number.

    None if one of them is None, or if there are none.
    """
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None
    ordered = sorted(known)
    one, other = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return one if one == other else (one + other) / 2


def interval(
    values: Sequence[float | None], confidence: float = CONFIDENCE, logarithmic: bool | None = None
) -> Interval:
    """Return the interval of a figure over repetitions, each with one value; empty with a reason where there is none.

    By logarithms if all values are above 0, or as `logarithmic` says. Where all repetitions have the same value, that
    is both of its ends. Of infinite values it is `of_median`, without an end that is infinite.
    """
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return Interval(reason=f"not told in {len(values) - len(known)} of {len(values)} repetitions")
    if len(known) < 2:
        return Interval(reason="one repetition")
    if (never := sum(map(math.isinf, known))) > 0:
        low, high = (end if end is not None and math.isfinite(end) else None for end in of_median(known, confidence))
        reason = f"infinite in {never} of {len(known)} repetitions" if None in (low, high) else ""
        return Interval(low, high, reason)
    found = np.array(known)
    logarithmic = min(known) > 0 if logarithmic is None else logarithmic
    taken = np.log(found) if logarithmic else found
    if np.ptp(taken) <= EQUAL * max(1.0, float(np.abs(taken).max())):
        return Interval(min(known), max(known))
    wide = t_quantile(len(known) - 1, (1 + confidence) / 2) * float(taken.std(ddof=1)) / math.sqrt(len(known))
    low, high = float(taken.mean()) - wide, float(taken.mean()) + wide
    return _with_middle(*((_raised(low), _raised(high)) if logarithmic else (low, high)), known)


def of_median(values: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float | None, float | None]:
    """Return the ends of the median's interval, which are two of the values, and may be infinite as they are.

    Each end has the median beyond it with half of the chance that `confidence` leaves (`lab.statistics.intervals`).
    None for fewer values than that takes: six, at 95 %.
    """
    ordered = sorted(values)
    low, high = places(len(ordered), 0.5, confidence)
    return ordered[low] if low >= 0 else None, ordered[high] if high < len(ordered) else None


def _raised(logarithm: float) -> float:
    """The number of a logarithm; infinite beyond the largest that there is."""
    return math.exp(logarithm) if logarithm < _LOG_MAX else math.inf


def _with_middle(low: float, high: float, values: Sequence[float]) -> Interval:
    """The interval, widened by what is shown as the figure: the median may lie outside of an interval of the mean."""
    shown = middle(values)
    assert shown is not None
    return Interval(min(low, shown), max(high, shown))


def ratio(a: Sequence[float | None], b: Sequence[float | None], paired: bool, confidence: float = CONFIDENCE) -> Ratio:
    """Return by which factor b exceeds a, each with one value a repetition.

    `paired`: repetition n of both had the same seed, so their ratios are taken one by one. Else each run has a variance
    of its own (Welch).
    """
    values = [middle(a), middle(b)]
    if None in values:
        return Ratio(reason="not told in every repetition")
    if not all(0 < value < math.inf for value in (*a, *b) if value is not None):
        return _without_logarithms(a, b)
    if min(len(a), len(b)) < 2:
        assert values[0] is not None
        assert values[1] is not None
        return Ratio(values[1] / values[0], reason="one repetition")
    logs = [np.log(np.array(each, dtype=np.float64)) for each in (a, b)]
    apart = float(logs[1].mean() - logs[0].mean())
    error, freedom = _error(logs[0], logs[1], paired and len(a) == len(b))
    return of_logarithms(apart, error, freedom, confidence)


def of_logarithms(apart: float, error: float, freedom: float, confidence: float = CONFIDENCE) -> Ratio:
    """Return the ratio whose logarithm was found to be `apart`, with this standard error."""
    if error <= EQUAL:
        return Ratio(_raised(apart), _raised(apart), _raised(apart), float(abs(apart) <= EQUAL), 0.0, freedom)
    wide = t_quantile(freedom, (1 + confidence) / 2) * error
    p = two_sided(freedom, apart / error)
    return Ratio(_raised(apart), math.exp(apart - wide), _raised(apart + wide), p, error, freedom)


def _without_logarithms(a: Sequence[float | None], b: Sequence[float | None]) -> Ratio:
    """Values that are 0 or infinite: the same in all repetitions of both, or no ratio."""
    if len({*a, *b}) == 1 and min(len(a), len(b)) > 1:
        return Ratio(1.0, 1.0, 1.0, 1.0, 0.0, float(len(a) - 1))
    return Ratio(reason="a value of 0, or an infinite one, has no ratio")


def _error(a: np.ndarray, b: np.ndarray, paired: bool) -> tuple[float, float]:
    """The standard error of the difference of the means, and its degrees of freedom."""
    if paired:
        return float((b - a).std(ddof=1)) / math.sqrt(a.size), a.size - 1.0
    parts = [float(each.var(ddof=1)) / each.size for each in (a, b)]
    whole = sum(parts)
    if whole <= EQUAL**2:
        return math.sqrt(whole), a.size + b.size - 2.0
    # Welch and Satterthwaite.
    below = sum(part * part / (each.size - 1) for part, each in zip(parts, (a, b), strict=True))
    return math.sqrt(whole), whole * whole / below


def detectable(found: Ratio, alpha: float, beyond: float = 1.0) -> float | None:
    """Return the smallest factor (above 1) that would have been called a difference in 4 of 5 such comparisons.

    `alpha` is the probability at which a difference is called one, corrected for the number of comparisons; `beyond`
    the factor that the whole 95 % interval has to exceed all the same. None if the spread is not known.
    """
    if not math.isfinite(found.error):
        return None
    least = math.log(max(beyond, 1.0))
    # The spread is an estimate, and with few repetitions too small more often than too large.
    error = found.error / spread_median(found.freedom)
    if error == 0:
        return math.exp(least)
    by_chance = t_quantile(found.freedom, 1 - alpha / 2)
    beside_control = t_quantile(found.freedom, (1 + CONFIDENCE) / 2)
    return _raised(error * shift(found.freedom, POWER, [(0.0, by_chance), (least / error, beside_control)]))

"""How many independent samples a series in time order is worth, where neighbours depend on each other.

Changes of one batch become visible together, a long queue stays long for a while, and a busy machine slows several
queries in a row. Then n samples say as much about a quantile as fewer independent ones. The number is n by the factor
at which dependence increases the variance of the share of samples below the quantile (P. Heidelberger and P. A. W.
Lewis, "Quantile estimation in dependent sequences", 1984). It is estimated twice, and the smaller estimate is used:

- from the autocorrelation of the indicator "lies above the quantile", summed up to a window of five times the sum
  (A. Sokal, "Monte Carlo methods in statistical mechanics", 1997, section 3);
- from the means of 32 successive batches of that indicator, corrected for their number by Student's t.

A run that is short beside its own memory hides how long that memory is, and the calm runs, which are the ones that look
long enough, miss the truth most. So no number is given where the ranks of the samples are worth fewer than 200
independent ones, or where a batch is still like the next one. (Measured with a queue of load 0.95: had 50 been enough,
72 of 100 runs would have had an interval of the p50, and 14 of those would have missed it.)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from lab.mapped import breathe
from lab.spill import briefly, here
from lab.statistics.grouped import blocks

Floats = npt.NDArray[np.float64]
Marks = npt.NDArray[np.bool_]

BATCHES = 32
WORTH_MIN = 200
# The median and its neighbours, whose indicator has as long a memory as the ranks, which show it more surely.
_CENTRAL = (0.25, 0.75)
# The chance that one test takes independent samples for dependent ones.
ALARM = 0.01
_CRITICAL = NormalDist().inv_cdf(1 - ALARM)
_WINDOW = 5.0
# Of a longer series only the first distances are looked at, and further ones if its memory is longer: up to this part
# of the series. One whose memory is longer still is worth less than `WORTH_MIN`, by the width of the window.
_LONG = 1 << 22
_FURTHEST = round(WORTH_MIN / _WINDOW)
# Student's t with 31 degrees of freedom, at 97.5 %, beside the normal quantile: the variance is an estimate itself.
_SHRINK = (NormalDist().inv_cdf(0.975) / 2.0395) ** 2
# Batches of nearly one period of a poll drift in phase. They are alike, but vary far less than the memory lets expect.
_BEAT = 4.0


@dataclass(frozen=True)
class Worth:
    """How many independent samples a series is worth for one quantile; with a `reason`, the number can't be told."""

    count: float
    dependent: bool = False
    reason: str = ""


def ranks(samples: npt.ArrayLike) -> Floats:
    """Return the rank of each sample, from 0. Equal samples, and so all infinite ones, share their mean rank."""
    values = np.asarray(samples, dtype=np.float64)
    if not values.size:
        return values
    values = briefly(values)
    ordered, found = briefly(np.sort(values)), here().empty(values.size, np.float64)
    for block in blocks(values.size):
        # Sorted, they are found in one pass.
        order = np.argsort(values[block])
        sought = values[block][order]
        first, last = (np.searchsorted(ordered, sought, side=side) for side in ("left", "right"))
        found[block][order] = (first + last - 1) / 2
    return found


def likeness(values: Floats) -> float:
    """Return by how many standard deviations neighbours are more alike than chance makes them; 0 of fewer than four.

    It is von Neumann's ratio; of ranks, the test of R. Bartels, "The rank version of von Neumann's ratio test for
    randomness" (1982).
    """
    if values.size < 4 or (squares := _squares(values)) == 0:
        return 0.0
    ratio = _summed(values, lambda part: float(np.square(np.diff(part)).sum()), 1) / squares
    return (2 - ratio) / math.sqrt(4 * (values.size - 2) / (values.size**2 - 1))


def batch_means(values: Floats | Marks) -> Floats:
    """Return the means of `BATCHES` successive batches of equal length; a remainder at the beginning is left out."""
    length = values.size // BATCHES
    found: Floats = values[values.size - length * BATCHES :].reshape(BATCHES, length).mean(axis=1)
    return found


def dependent(ordered: Floats) -> bool:
    """Return whether a series, given by its ranks, is dependent: from sample to sample, or from batch to batch."""
    if likeness(ordered) > _CRITICAL:
        return True
    return ordered.size >= 10 * BATCHES and likeness(batch_means(ordered)) > _CRITICAL


def autocorrelation_time(values: Floats | Marks) -> float:
    """Return the integrated autocorrelation time in samples, at least 1: by it the variance of the mean is larger.

    Of a long series whose memory is longer than `_FURTHEST` tells, it is the time up to there.
    """
    if _squares(values) == 0:
        return 1.0
    most = lags = values.size
    if values.size > _LONG:
        lags = _LONG // 16
        most = max(lags, -(-values.size // _FURTHEST) + 1)
    while True:
        covariance = _covariance(values, lags)
        times = 2 * np.cumsum(covariance / covariance[0]) - 1
        enough = np.arange(times.size) >= _WINDOW * times
        if enough.any() or lags == most:
            break
        lags = min(4 * lags, most)
    window = int(np.argmax(enough)) if enough.any() else times.size - 1
    return max(float(times[window]), 1.0)


def _covariance(values: Floats | Marks, lags: int) -> Floats:
    """Return the sums of products of each value and the one so many places on, for so many first distances from 0.

    Values count from their mean. A long series of which not all distances are wanted is transformed in parts, each with
    what follows it.
    """
    part = values.size if lags == values.size else 3 * lags
    size = 1 << (part + lags - 1).bit_length()
    found, mean = np.zeros(lags), values.mean()
    for first in range(0, values.size, part):
        breathe()
        spectrum = np.fft.rfft(values[first : first + part] - mean, size)
        after = spectrum
        if part < values.size:
            after = np.fft.rfft(values[first : first + part + lags] - mean, size)
        found += np.fft.irfft(spectrum.conj() * after, size)[:lags]
    return found


def worth(ordered: Floats, above: Marks) -> Worth:
    """Return how many independent samples a series is worth; `above` marks those above the quantile."""
    count = ordered.size
    if not dependent(ordered):
        return Worth(float(count))
    recurs = autocorrelation_time(above)
    known = count / max(autocorrelation_time(ordered), recurs)
    if known < WORTH_MIN or count < 2 * BATCHES:
        return Worth(known, True, too_few(count, known, WORTH_MIN))
    means = batch_means(above)
    spread = float(means.var(ddof=1)) * (count // BATCHES)
    share = float(above.mean())
    batched = share * (1 - share) / spread * count * _SHRINK if spread > 0 else math.inf
    alike = max(likeness(means), likeness(batch_means(ordered))) > _CRITICAL
    if alike and batched < _BEAT * known:
        return Worth(known, True, f"the run is too short: each {BATCHES}nd of it is still like the next")
    central = _CENTRAL[0] <= share <= _CENTRAL[1]
    return Worth(min(count, known if central else count / recurs, batched), True)


def too_few(count: int, found: float, needed: int) -> str:
    """Return the reason why dependent samples give no interval."""
    return f"{count:,} dependent samples are worth {found:,.0f} independent ones; {needed} are needed"


def common(a: Marks, b: Marks) -> float:
    """Return how closely two paired indicators move together: the correlation of their batch means, from 0 to 1.

    It is the lower end of its one-sided 95 % interval by R. A. Fisher's transformation, so chance adds nothing to it; 0
    where the series are too short for batches.
    """
    if a.size < 10 * BATCHES or np.array_equal(a, b):
        return float(np.array_equal(a, b))
    means = [batch_means(each.astype(np.float64)) for each in (a, b)]
    if min(map(_squares, means)) == 0:
        return 0.0
    # Exactly 1 and -1 have no transform; below 0 nothing is in common.
    found = min(max(float(np.corrcoef(means[0], means[1])[0, 1]), 0.0), 1 - 1e-12)
    return max(math.tanh(math.atanh(found) - NormalDist().inv_cdf(0.95) / math.sqrt(BATCHES - 3)), 0.0)


def _squares(values: Floats | Marks) -> float:
    """Return the sum of squares around the mean; 0 if rounding alone makes the values differ."""
    mean = values.mean()
    squares = _summed(values, lambda part: _square(part - mean))
    return squares if squares > 1e-18 * _summed(values, lambda part: _square(part.astype(np.float64))) else 0.0


def _square(values: Floats) -> float:
    return float(values @ values)


def _summed(values: Floats | Marks, of: Callable[[Any], float], more: int = 0) -> float:
    """Return the sum of what `of` says of all values; of a long series, of each part with so many values after it."""
    if values.size <= _LONG:
        return of(values)
    return sum(of(values[block.start : block.stop + more]) for block in blocks(values.size))

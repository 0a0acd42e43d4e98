"""Look for the steady state of a series of lags: does it grow without end, and where does its warm-up end?

**Growth.** A queue that is offered more than it can serve has a lag that grows in proportion to time. One that is
offered a little less wanders for long, and its lag looks like growth over any stretch that is shorter than its
relaxation time. The worst of them is the queue exactly at its limit: a random walk that is reflected at 0 (J. F. C.
Kingman, "On queues in heavy traffic", 1962). So the slope of a straight line through the means of `BATCHES` successive
batches is divided by what is left around the line, which makes it free of units, and compared with the slopes that such
a walk shows: `BOUND` is what 2.5 % of simulated ones exceed, and by it the interval of the slope is drawn. It allows
for any dependence that a stable queue can have, and is wide in return.

**Warm-up.** MSER-5 (K. P. White, "An effective truncation heuristic for bias reduction in simulation output", 1997)
takes the means of successive fives, and leaves out as many of the first as make the standard error of the mean of the
rest smallest; none is told if that would leave less than half. The lab tells how long it took, and leaves nothing out:
of simulated M/D/1 queues that begin empty, the p99 without the warm-up was further from the steady state, and lower
(`benchmarks/validity/steady.py` measures it, and how often growth is found, and falsely).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

NOT_STABLE = "not stable at this rate"
BATCHES = 32
# So many samples are needed to tell whether they grow.
SAMPLES_MIN = 10 * BATCHES
# Of 1,000 walks at the limit, 975 grow over their whole length by less than so many times the standard deviation around
# the line. A test simulates it anew.
BOUND = 12.0
# Growth that is small beside the lag itself is none that has no end: a store that gets slower as it fills.
_SMALL = 0.5


@dataclass(frozen=True)
class Growth:
    """The slope of a series, in its unit for a second, with its interval; `endless` says whether it has no end.

    `endless` is None, with a `reason`, if the series is too short to tell.
    """

    slope: float | None = None
    low: float | None = None
    high: float | None = None
    endless: bool | None = None
    reason: str = ""


def growth(at: npt.ArrayLike, values: npt.ArrayLike) -> Growth:
    """Return how a series grows; `at` are its times in seconds, in order. Infinite values are left out."""
    times, series = np.asarray(at, dtype=np.float64), np.asarray(values, dtype=np.float64)
    finite = np.isfinite(series)
    if not finite.all():
        times, series = times[finite], series[finite]
    if series.size < SAMPLES_MIN:
        return Growth(reason=f"{series.size:,} changes; {SAMPLES_MIN} are needed to tell whether the lag grows")
    x, y = _means(times), _means(series)
    spread = float(x[-1] - x[0])
    if spread <= 0:
        return Growth(reason="all changes were committed at the same time")
    slope, around = _line(x, y)
    # A line to which rounding alone is left has no interval to speak of.
    margin = BOUND * around / spread
    low, high = slope - margin, slope + margin
    level = float(y.mean())
    endless = low > 0 and low * spread > _SMALL * level
    return Growth(slope, low, high, endless)


def _means(values: Floats) -> Floats:
    """Return the means of `BATCHES` successive batches of equal length; a remainder at the beginning is left out."""
    length = values.size // BATCHES
    found: Floats = values[values.size - length * BATCHES :].reshape(BATCHES, length).mean(axis=1)
    return found


def _line(x: Floats, y: Floats) -> tuple[float, float]:
    """Return the slope of the straight line of least squares, and the standard deviation around it."""
    centred = x - x.mean()
    slope = float(centred @ y / (centred @ centred))
    left = y - y.mean() - slope * centred
    return slope, float(np.sqrt(left @ left / (x.size - 2)))


def steepness(at: npt.ArrayLike, values: npt.ArrayLike) -> float:
    """Return the growth over a series by the standard deviation around its line: what `BOUND` bounds."""
    x, y = _means(np.asarray(at, dtype=np.float64)), _means(np.asarray(values, dtype=np.float64))
    slope, around = _line(x, y)
    return slope * float(x[-1] - x[0]) / around


def warm_up(values: npt.ArrayLike) -> int | None:
    """Return how many of the first values belong to the warm-up, by MSER-5; None if no steady state is found."""
    series = np.asarray(values, dtype=np.float64)
    fives = series[: series.size // 5 * 5].reshape(-1, 5).mean(axis=1)
    if fives.size < 10 or not np.isfinite(fives).all():
        return None
    # From each place on: the sum of squares around the mean, by the square of the number.
    number = np.arange(fives.size, 0, -1)
    total = np.cumsum(fives[::-1])[::-1]
    squares = np.cumsum(np.square(fives - fives.mean())[::-1])[::-1]
    shifted = total - number * fives.mean()
    errors = (squares - np.square(shifted) / number) / np.square(number)
    # The last few give errors of nothing.
    place = int(np.argmin(errors[: fives.size - 5]))
    return None if place > fives.size // 2 else 5 * place

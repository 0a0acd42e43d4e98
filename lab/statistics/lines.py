"""How a figure grows that has a fixed part and one in proportion to size: a + b * size, with what it foretells.

Errors are relative: a figure ten times as large is off by ten times as much. So the line is that of least squares,
weighted by what it says itself, repeated until that settles (R. J. Carroll and D. Ruppert, "Transformation and
weighting in regression", 1988, section 2.2). The interval is Student's t for one more measurement, over logarithms: so
it never reaches below 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lab.statistics.intervals import CONFIDENCE, Interval
from lab.statistics.powers import confirm_near
from lab.statistics.student import t_quantile

_ROUNDS, _SETTLED = 20, 1e-6


@dataclass(frozen=True)
class StraightLine:
    """A line `fixed + each * size`; `error` is the relative error of one measurement, `spread` its parts' covariance.

    `misfit` is the root of the mean squared logarithm of measured by said: it compares the line with other laws.
    """

    fixed: float
    each: float
    error: float
    spread: tuple[tuple[float, float], tuple[float, float]]
    misfit: float
    count: int
    largest: float

    def at(self, size: float, confidence: float = CONFIDENCE) -> tuple[float, Interval]:
        """Return what one more measurement at a size is expected to show, with the interval of such a measurement.

        Raises ValueError beyond `FURTHEST` times the largest size that was measured.
        """
        confirm_near(size, self.largest)
        value = self.fixed + self.each * size
        if self.count < 3:
            return value, Interval(reason="two measurements leave nothing to tell the spread by")
        where = np.array([1.0, size])
        if value <= 0:
            return value, Interval(reason="the line falls below 0 there")
        error = self.error * math.sqrt(1 + float(where @ np.asarray(self.spread) @ where) / (value * value))
        wide = t_quantile(self.count - 2, (1 + confidence) / 2) * error
        return value, Interval(value * math.exp(-wide), value * math.exp(wide))


def line(sizes: Sequence[float], values: Sequence[float]) -> StraightLine | None:
    """Return the line through values above 0, each measured at its size; None if it falls below 0 at one of them.

    Raises ValueError for fewer than two different sizes, and for values that are not above 0.
    """
    if len(set(sizes)) < 2 or len(sizes) != len(values) or min(*sizes, *values) <= 0:
        raise ValueError("growth needs two different sizes above 0, and a value above 0 at each")
    x, y = np.asarray(sizes, np.float64), np.asarray(values, np.float64)
    columns, said = np.column_stack([np.ones(x.size), x]), y
    for _ in range(_ROUNDS):
        weighted, former = columns / said[:, None], said
        found = np.linalg.lstsq(weighted, y / said)[0]
        said = columns @ found
        if said.min() <= 0:
            return None
        if np.allclose(said, former, rtol=_SETTLED):
            break
    weighted = columns / said[:, None]
    left = y / said - 1
    error = math.sqrt(float(left @ left) / (x.size - 2)) if x.size > 2 else math.nan
    (a, b), (c, d) = np.linalg.inv(weighted.T @ weighted).tolist()
    misfit = math.sqrt(float(np.mean(np.log(y / said) ** 2)))
    return StraightLine(float(found[0]), float(found[1]), error, ((a, b), (c, d)), misfit, x.size, float(x.max()))

"""How a figure grows with size: the exponent of a power law, with its interval, and what it foretells.

A figure that is a * size^b is a straight line over the logarithms of the sizes, whose slope is b: 1 is linear growth, 2
quadratic. The line is that of least squares, and its intervals are Student's t (N. R. Draper and H. Smith, "Applied
regression analysis", 1998, section 3.1). They hold as far as it is a power law over all sizes that were measured;
nothing in the samples speaks of sizes far beyond them, so `Power.at` refuses those.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lab.statistics.intervals import CONFIDENCE, Interval
from lab.statistics.student import t_quantile

# Beyond so many times the largest size that was measured, nothing is foretold.
FURTHEST = 10.0


def confirm_near(size: float, largest: float) -> None:
    """Raise ValueError for a size beyond `FURTHEST` times the largest one that was measured."""
    if size > FURTHEST * largest:
        raise ValueError(f"{size:,.0f} is beyond {FURTHEST:g} times the largest size measured, {largest:,.0f}")


@dataclass(frozen=True)
class Power:
    """A power law: `exponent` with its `interval`, and the line over logarithms from which a size is foretold."""

    exponent: float
    interval: Interval
    level: float
    centre: float
    spread: float
    error: float
    count: int
    largest: float

    def at(self, size: float, confidence: float = CONFIDENCE) -> tuple[float, Interval]:
        """Return what one more measurement at a size is expected to show, with the interval of such a measurement.

        Raises ValueError beyond `FURTHEST` times the largest size that was measured.
        """
        confirm_near(size, self.largest)
        away = math.log(size) - self.centre
        value = self.level + self.exponent * away
        if self.count < 3:
            return math.exp(value), Interval(reason="two measurements leave nothing to tell the spread by")
        error = self.error * math.sqrt(1 + 1 / self.count + away * away / self.spread)
        wide = t_quantile(self.count - 2, (1 + confidence) / 2) * error
        return math.exp(value), Interval(math.exp(value - wide), math.exp(value + wide))

    def reaches(self, value: float) -> float | None:
        """Return the size at which the figure is expected to reach a value; None if that is not within `FURTHEST`."""
        if self.exponent <= 0 or value <= 0:
            return None
        logarithm = self.centre + (math.log(value) - self.level) / self.exponent
        return math.exp(logarithm) if logarithm <= math.log(FURTHEST * self.largest) else None


def power(sizes: Sequence[float], values: Sequence[float], confidence: float = CONFIDENCE) -> Power:
    """Return the power law through values above 0, each measured at its size.

    Raises ValueError for fewer than two different sizes, and for what has no logarithm.
    """
    if len(set(sizes)) < 2 or len(sizes) != len(values) or min(*sizes, *values) <= 0:
        raise ValueError("growth needs two different sizes above 0, and a value above 0 at each")
    x, y = np.log(np.asarray(sizes, np.float64)), np.log(np.asarray(values, np.float64))
    centred = x - x.mean()
    spread = float(centred @ centred)
    slope = float(centred @ y) / spread
    left = y - y.mean() - slope * centred
    freedom = x.size - 2
    if freedom < 1:
        error, interval = math.nan, Interval(reason="two measurements leave nothing to tell the spread by")
    else:
        error = math.sqrt(float(left @ left) / freedom)
        wide = t_quantile(freedom, (1 + confidence) / 2) * error / math.sqrt(spread)
        interval = Interval(slope - wide, slope + wide)
    return Power(slope, interval, float(y.mean()), float(x.mean()), spread, error, x.size, float(max(sizes)))

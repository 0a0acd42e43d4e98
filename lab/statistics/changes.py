"""Where the level of a series changes: a machine that became slower while a sweep was measured, a commit that costs.

A. N. Pettitt, "A non-parametric approach to the change-point problem" (1979): the place at which the ranks before and
after differ most, which is the statistic of Wilcoxon, Mann and Whitney at its largest over all places. Nothing is
assumed about the distribution, so a single wild value is no change. Both sides of a change are searched again (binary
segmentation), at a level that is divided by the number of searches so far, in the manner of Bonferroni.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from lab.statistics.dependence import ranks
from lab.statistics.intervals import CONFIDENCE
from lab.statistics.quantiles import median

# With fewer values, even the clearest change is no surer than chance.
VALUES_MIN = 12


@dataclass(frozen=True)
class LevelChange:
    """A change of level: the index of the first value after it, the medians on both sides, and how probable by chance.

    The medians are those between the neighbouring changes.
    """

    at: int
    before: float
    after: float
    p: float


def change_points(values: npt.ArrayLike, alpha: float = 1 - CONFIDENCE) -> list[LevelChange]:
    """Return where the level of independent values changes, in order; a series without a change has none, surely.

    `alpha` is the chance that a change is found in a series that has none.
    """
    series = np.asarray(values, dtype=np.float64)
    found: dict[int, float] = {}
    waiting, searches = [(0, series.size)], 0
    while waiting:
        first, last = waiting.pop(0)
        if last - first < VALUES_MIN:
            continue
        searches += 1
        place, p = _largest(series[first:last])
        # The n-th search has 1 / (n (n + 1)) of the level: their sum is at most the whole.
        if p <= (alpha if searches == 1 else alpha / (searches * (searches + 1))):
            found[first + place] = p
            waiting += [(first, first + place), (first + place, last)]
    ends = [0, *sorted(found), series.size]
    levels = [median(series[one:other]) for one, other in pairwise(ends)]
    return [LevelChange(at, levels[number], levels[number + 1], found[at]) for number, at in enumerate(sorted(found))]


def _largest(series: npt.NDArray[np.float64]) -> tuple[int, float]:
    """The first index after the most probable change, and the probability of one so large by chance."""
    count = series.size
    placed = ranks(series) + 1
    after = np.arange(1, count)
    statistic = np.abs(2 * np.cumsum(placed)[:-1] - after * (count + 1))
    place = int(np.argmax(statistic))
    largest = float(statistic[place])
    return place + 1, min(2 * math.exp(-6 * largest * largest / (count**3 + count**2)), 1.0)

"""A ratio beside a control: analysis of covariance, over the logarithms of what repetitions measured.

Between repetitions a machine is faster or slower as a whole, and what it does to a figure it does to a control too (a
thing that nobody changed, measured in the same minutes). So a part of a figure's spread is known, and can be taken out
of it: the figure's logarithm is a line over the control's, and its slope is estimated within the runs, where nothing
was changed (R. A. Fisher, "Statistical methods for research workers", 1932, chapter 9; in simulation, control variates:
S. S. Lavenberg and P. D. Welch, 1981). A control that tells nothing of a figure costs a degree of freedom, and no more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lab.statistics.intervals import CONFIDENCE
from lab.statistics.replicated import EQUAL, Ratio, of_logarithms, ratio

# With fewer degrees of freedom, a line through the repetitions is as good as made up.
FREEDOM_LEAST = 3
Runs = tuple[Sequence[float | None], Sequence[float | None]]


def adjusted(
    figure: Runs, control: Runs, paired: bool, slope: float | None = None, confidence: float = CONFIDENCE
) -> Ratio:
    """Return by which factor a figure is larger in the second run, if the control were the same in both.

    `figure` and `control` have one value a repetition, for the first run and for the second. `slope`: by how many per
    cent the figure moves with each per cent of the control; estimated if it isn't given. It is `ratio`, without the
    control, where values are missing, 0 or infinite, where the control doesn't move within the runs, and with fewer
    than `FREEDOM_LEAST` degrees of freedom.
    """
    sizes = [len(each) for each in figure]
    if [len(each) for each in control] != sizes or not all(map(_positive, (*figure, *control))):
        return ratio(*figure, paired, confidence)
    ys, xs = (tuple(np.log(np.array(each, dtype=np.float64)) for each in runs) for runs in (figure, control))
    paired = paired and sizes[0] == sizes[1]
    if slope is not None:
        rest = [np.exp(y - slope * x).tolist() for y, x in zip(ys, xs, strict=True)]
        return ratio(rest[0], rest[1], paired, confidence)
    if paired:
        # One run of differences: its mean is the effect.
        ys, xs, counted = (ys[1] - ys[0],), (xs[1] - xs[0],), 1 / sizes[0]
        apart, moved = float(ys[0].mean()), float(xs[0].mean())
    else:
        counted = sum(1 / size for size in sizes)
        apart, moved = (float(each[1].mean() - each[0].mean()) for each in (ys, xs))
    return _along(ys, xs, apart, moved, counted, confidence) or ratio(*figure, paired, confidence)


def _along(
    ys: Sequence[np.ndarray], xs: Sequence[np.ndarray], apart: float, moved: float, counted: float, confidence: float
) -> Ratio | None:
    """The ratio along the line that fits within the groups; None where there is no such line.

    `apart` and `moved` are the differences of the means of figure and control, `counted` the variance of the first of
    them, in those of one value.
    """
    y, x = (np.concatenate([each - each.mean() for each in groups]) for groups in (ys, xs))
    freedom = y.size - len(ys) - 1
    spread = float(x @ x)
    if freedom < FREEDOM_LEAST or spread <= EQUAL**2:
        return None
    slope = float(x @ y) / spread
    rest = y - slope * x
    variance = float(rest @ rest) / freedom
    error = math.sqrt(variance * (counted + moved * moved / spread))
    return of_logarithms(apart - slope * moved, error, freedom, confidence)


def _positive(values: Sequence[float | None]) -> bool:
    return len(values) > 1 and all(value is not None and 0 < value < math.inf for value in values)

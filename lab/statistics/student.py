"""Student's t: its quantiles and its probabilities, without a library of statistics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist

import numpy as np

_STEPS = 1_000
# Nodes over the distribution of an estimated spread: four digits of a shift.
_NODES = 200
# The normal distribution function, to be interpolated: six digits.
_NORMAL = np.linspace(-6, 6, 2_401)
_BELOW = np.array([NormalDist().cdf(value) for value in _NORMAL])


@lru_cache(maxsize=4_096)
def t_quantile(freedom: float, share: float) -> float:
    """Return the quantile of the t-distribution with `freedom` degrees of freedom, 1 at least; `share` from 0.5 to 1.

    The distribution function by Simpson's rule (`t_below`), inverted by bisection. Eight digits.
    """
    low, high = 0.0, math.pi / 2
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if _below(freedom, middle) < share else (low, middle)
    return math.sqrt(freedom) * math.tan(low)


def t_below(freedom: float, value: float) -> float:
    """Return the probability that t with `freedom` degrees of freedom is at most `value`."""
    if math.isinf(value):
        return float(value > 0)
    below = min(_below(freedom, math.atan(abs(value) / math.sqrt(freedom))), 1.0)
    return below if value >= 0 else 1 - below


def two_sided(freedom: float, value: float) -> float:
    """Return the probability that t lies at least as far from 0 as `value` does: the p-value of a two-sided test."""
    return 2 * t_below(freedom, -abs(value))


def spread_median(freedom: float) -> float:
    """Return the median of the estimated standard deviation by the true one (E. B. Wilson and M. M. Hilferty, 1931)."""
    return math.sqrt((1 - 2 / (9 * freedom)) ** 3)


def shift(freedom: float, power: float, bounds: Sequence[tuple[float, float]]) -> float:
    """Return how far from 0 a mean has to lie, in its standard errors, to exceed all bounds with the chance `power`.

    A bound (level, times) is level + times * s; s is the estimate of the standard error, in units of the true one.
    With the one bound (0, c), this is the noncentral t-distribution: the mean is normal, s independent of it and
    distributed as chi over the root of `freedom`; here by quadrature over s and bisection.
    """
    apart = 6 / math.sqrt(2 * freedom)
    ends = max(1 - apart, 0.0), 1 + apart
    spread = ends[0] + (ends[1] - ends[0]) * (np.arange(_NODES) + 0.5) / _NODES
    logs = (freedom - 1) * np.log(spread) - freedom * spread * spread / 2
    weights = np.exp(logs - logs.max())
    weights /= weights.sum()
    least = np.max([level + times * spread for level, times in bounds], axis=0)
    low, high = 0.0, float(least.max()) + 10
    for _ in range(30):
        middle = (low + high) / 2
        found = float(weights @ np.interp(middle - least, _NORMAL, _BELOW))
        low, high = (middle, high) if found < power else (low, middle)
    return low


def _below(freedom: float, angle: float) -> float:
    """Return P(t <= sqrt(freedom) tan(angle)): the density is proportional to cos(angle) ** (freedom - 1)."""
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(math.pi)
    nodes = np.maximum(np.cos(np.linspace(0.0, angle, _STEPS + 1)), 0.0) ** (freedom - 1)
    inner = 4 * nodes[1:-1:2].sum() + 2 * nodes[2:-1:2].sum()
    return 0.5 + scale * angle / _STEPS / 3 * float(nodes[0] + nodes[-1] + inner)

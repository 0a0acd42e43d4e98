"""Student's t: its quantiles and its probabilities, without a library of statistics."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

_STEPS = 1_000


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


def _below(freedom: float, angle: float) -> float:
    """Return P(t <= sqrt(freedom) tan(angle)): the density is proportional to cos(angle) ** (freedom - 1)."""
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(math.pi)
    nodes = np.maximum(np.cos(np.linspace(0.0, angle, _STEPS + 1)), 0.0) ** (freedom - 1)
    inner = 4 * nodes[1:-1:2].sum() + 2 * nodes[2:-1:2].sum()
    return 0.5 + scale * angle / _STEPS / 3 * float(nodes[0] + nodes[-1] + inner)

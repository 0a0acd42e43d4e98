"""Quantiles of Student's t, without a library of statistics."""

from __future__ import annotations

import math
from functools import cache

import numpy as np

STEPS = 4_000


@cache
def t_quantile(freedom: int, share: float) -> float:
    """The quantile of the t-distribution with `freedom` degrees of freedom; `share` between 0.5 and 1.

    With t = sqrt(freedom) tan(a) the density is proportional to cos(a) ** (freedom - 1): its integral by Simpson's
    rule, inverted by bisection. Eight digits.
    """
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(math.pi)

    def below(angle: float) -> float:
        nodes = np.cos(np.linspace(0.0, angle, STEPS + 1)) ** (freedom - 1)
        return 0.5 + scale * angle / STEPS / 3 * float(
            nodes[0] + nodes[-1] + 4 * nodes[1:-1:2].sum() + 2 * nodes[2:-1:2].sum()
        )

    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) < share else (low, middle)
    return math.sqrt(freedom) * math.tan(low)

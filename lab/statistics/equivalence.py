"""Two figures that are the same for all purposes: two one-sided tests (D. J. Schuirmann, 1987).

That no difference was shown doesn't say that there is none: a comparison of two noisy runs shows nothing either. Two
figures are equivalent if their ratio lies surely above 1 / `within` and surely below `within`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from lab.statistics.intervals import CONFIDENCE
from lab.statistics.replicated import EQUAL, Ratio
from lab.statistics.student import t_below, t_quantile


@dataclass(frozen=True)
class Equivalence:
    """Whether two figures are the same up to a factor; `p` is the chance to find this if they differ by the factor.

    `low` and `high` are the ends of the 90 % interval of the ratio, which lies between the factors where p is at most
    0.05. All None where the ratio has no spread that is known.
    """

    equivalent: bool | None = None
    p: float | None = None
    low: float | None = None
    high: float | None = None


def equivalence(found: Ratio, within: float) -> Equivalence:
    """Return whether a ratio is 1 up to the factor `within`, which is above 1. Raises ValueError for another factor."""
    if not within > 1:
        raise ValueError(f"{within} is no factor above 1")
    if found.value is None or not math.isfinite(found.error):
        return Equivalence()
    apart, margin = math.log(found.value), math.log(within)
    if found.error <= EQUAL:
        same = abs(apart) < margin
        return Equivalence(same, 0.0 if same else 1.0, found.value, found.value)
    p = max(t_below(found.freedom, (side * apart - margin) / found.error) for side in (1, -1))
    wide = t_quantile(found.freedom, CONFIDENCE) * found.error
    return Equivalence(p <= 1 - CONFIDENCE, p, math.exp(apart - wide), math.exp(apart + wide))

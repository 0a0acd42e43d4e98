"""Pick the answers among portfolios that meet the levels: the fewest projections, the quickest, the best bargain. Pure.

A gain that can't be told apart by the intervals, or that is below the share `advice.gain` of the weighted query time,
buys nothing: of portfolios that differ by no more, the one with the lowest price is taken (`Portfolio.price`: fewer new
engines, fewer projections, less disk). A projection whose lag has no end is chosen only where no other would do.

The bargain is the knee of the front between what there is to operate and the weighted query time. What there is to
operate is counted in units: a projection is one, and so is an engine beside the source of truth's. At the knee the
front, with the logarithm of time, has the slope of `advice.worth` times quicker for each unit: before it a unit gains
more than that, behind it less (a knee by marginal utility, after Branke, Deb, Dierolf and Osswald, 2004). A front of
two portfolios has such a knee, and none by the distance from a chord.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from lab.advice.portfolio import Portfolio
from lab.advice.sensitivity import tied

# Below a nanosecond there is no time to gain.
_LEAST_SECONDS = 1e-9


def buys_nothing(dearer: Portfolio, cheaper: Portfolio) -> bool:
    """Return whether the first is not quicker than the second by as much as counts, and as can be told apart."""
    saved = cheaper.cost - dearer.cost
    return saved <= 0 or saved < dearer.problem.settings.gain * cheaper.cost or tied(dearer, cheaper)


def usable(found: Sequence[Portfolio]) -> list[Portfolio]:
    """Return the portfolios without a lag that has no end; all of them if there is no other."""
    return [each for each in found if not each.endless] or list(found)


def fewest(found: Sequence[Portfolio]) -> Portfolio:
    """Return the answer among portfolios of the smallest size: the quickest, or one as good for a lower price."""
    return quickest(found)


def quickest(found: Sequence[Portfolio]) -> Portfolio:
    """Return the portfolio of the least weighted time, or that of the lowest price that it gains nothing over."""
    found = usable(found)
    best = min(found, key=lambda each: each.order[1:])
    return min((each for each in found if buys_nothing(best, each)), key=lambda each: each.price)


def bargain(found: Sequence[Portfolio]) -> Portfolio:
    """Return the knee: the portfolio from which no further unit makes time `worth` times shorter."""

    def worth(each: Portfolio) -> float:
        seconds = max(each.cost, _LEAST_SECONDS)
        return math.log(seconds) + each.units * math.log(each.problem.settings.worth)

    found = usable(found)
    best = min(found, key=lambda each: (worth(each), each.price))
    return min((each for each in found if each.units <= best.units and buys_nothing(best, each)), key=_units_then_price)


def _units_then_price(each: Portfolio) -> tuple[object, ...]:
    return (each.units, *each.price)

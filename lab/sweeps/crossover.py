"""At which value of a key two projections change places: where the one that is quicker becomes the slower one.

The range is halved (in logarithms, if it says so) as long as one half is decided: at each value both projections are
measured in every repetition, with the same seeds, and the 95 % interval of their ratio says which is the smaller one,
or that this can't be told. What is found is an interval too: from the largest value at which the first is surely
smaller to the smallest one at which the other is. Where neither is told in between, both ends are moved closer apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from lab.formatting import plural
from lab.statistics.equivalence import equivalence
from lab.statistics.replicated import Ratio, ratio

# Values whose ratio is smaller than this, or that differ by less than this share of the range, are near enough.
NEAR_RATIO, NEAR_SHARE = 1.1, 0.02
STEPS = 12
# What each projection came to in every repetition, at a value of the key.
Measure = Callable[[float], tuple[Sequence[float | None], Sequence[float | None]]]


@dataclass(frozen=True)
class CrossingLook:
    """One value that was looked at: the ratio of the other to the one, and who is surely smaller.

    `side` is 1 where the one is (the ratio is above 1), -1 where the other is, 0 where that can't be told.
    """

    value: float
    ratio: Ratio

    @property
    def side(self) -> int:
        if self.ratio.low is None or self.ratio.high is None:
            return 0
        return 1 if self.ratio.low > 1 else -1 if self.ratio.high < 1 else 0


@dataclass(frozen=True)
class Crossover:
    """Where two projections change places: between `low` and `high`, most probably at `value`.

    All None where they don't within the range, or where that can't be told, for `reason`. `below` is 1 if the one is
    smaller below the crossover, -1 if the other is.
    """

    low: float | None = None
    high: float | None = None
    value: float | None = None
    below: int = 0
    reason: str = ""
    looks: tuple[CrossingLook, ...] = field(default=())


def crossover(
    low: float, high: float, measure: Measure, logarithmic: bool, steps: int = STEPS, whole: bool = False
) -> Crossover:
    """Return where two projections change places between two values of a key, with at most so many values looked at.

    A crossover is found once; of several in the range it is one of them. Of a key that takes whole numbers alone, two
    neighbours are as near as can be.
    """
    looks: dict[float, CrossingLook] = {}

    def look(value: float) -> CrossingLook:
        if value not in looks:
            one, other = measure(value)
            looks[value] = CrossingLook(value, ratio(one, other, True))
        return looks[value]

    first, last = look(low), look(high)
    if why := _undecided(first, last):
        return Crossover(reason=why, looks=(first, last))
    below, above = first, last
    # Between these two nothing is told; None as long as no such value was met.
    unsure: tuple[float, float] | None = None
    while len(looks) < steps:
        gaps = [(below.value, unsure[0]), (unsure[1], above.value)] if unsure else [(below.value, above.value)]
        wide = [gap for gap in gaps if not _near(gap[0], gap[1], low, high, logarithmic)]
        wide = [gap for gap in wide if not whole or gap[1] - gap[0] > 1]
        if not wide:
            break
        start, end = max(wide, key=lambda gap: _width(gap[0], gap[1], logarithmic))
        found = look(_between(start, end, logarithmic, whole))
        if found.side == first.side:
            below = found
            unsure = (
                None if unsure and unsure[1] <= found.value else unsure and (max(unsure[0], found.value), unsure[1])
            )
        elif found.side == last.side:
            above = found
            unsure = (
                None if unsure and unsure[0] >= found.value else unsure and (unsure[0], min(unsure[1], found.value))
            )
        else:
            unsure = (
                (min(unsure[0], found.value), max(unsure[1], found.value)) if unsure else (found.value, found.value)
            )
    ordered = tuple(sorted(looks.values(), key=lambda each: each.value))
    return Crossover(below.value, above.value, _even(ordered, below, above, logarithmic), first.side, "", ordered)


def _undecided(first: CrossingLook, last: CrossingLook) -> str:
    """Why there is nothing to be found between two ends; empty if they are surely different."""
    for each in (first, last):
        if each.side == 0 and equivalence(each.ratio, NEAR_RATIO).equivalent:
            return f"at {each.value:g} both are the same to within {100 * (NEAR_RATIO - 1):.0f} %: look further out"
        if each.side == 0:
            why = each.ratio.reason or "its interval has 1 in it"
            return f"at {each.value:g} it can't be told which is smaller ({why}): more repetitions, or a wider range"
    if first.side == last.side:
        who = "the first" if first.side == 1 else "the second"
        return f"{who} is smaller at both ends, {first.value:g} and {last.value:g}: look further out"
    return ""


def _near(start: float, end: float, low: float, high: float, logarithmic: bool) -> bool:
    return end / start <= NEAR_RATIO if logarithmic else end - start <= NEAR_SHARE * (high - low)


def _width(start: float, end: float, logarithmic: bool) -> float:
    return math.log(end / start) if logarithmic else end - start


def _between(start: float, end: float, logarithmic: bool, whole: bool = False) -> float:
    """The middle, of which a person could say the digits; a whole number strictly between, if it must be one."""
    middle = math.sqrt(start * end) if logarithmic else (start + end) / 2
    if whole:
        return float(min(max(round(float(f"{middle:.3g}")), math.floor(start) + 1), math.ceil(end) - 1))
    rounded = float(f"{middle:.3g}")
    return rounded if start < rounded < end else middle


def _even(looks: Sequence[CrossingLook], below: CrossingLook, above: CrossingLook, logarithmic: bool) -> float:
    """Where the line between the nearest two values crosses a ratio of 1."""
    inside = [each for each in looks if below.value <= each.value <= above.value and each.ratio.value]
    for one, other in pairwise(inside):
        assert one.ratio.value is not None
        assert other.ratio.value is not None
        y = math.log(one.ratio.value), math.log(other.ratio.value)
        if y[0] * y[1] <= 0 and y[0] != y[1]:
            share = y[0] / (y[0] - y[1])
            if logarithmic:
                return one.value * math.exp(share * math.log(other.value / one.value))
            return one.value + share * (other.value - one.value)
    return _between(below.value, above.value, logarithmic)


def said(found: Crossover, key: str, names: tuple[str, str], quantity: str) -> str:
    """Return what was found in a sentence."""
    looked = plural(len(found.looks), "value")
    if found.low is None or found.high is None or found.value is None:
        return f"{names[0]} and {names[1]} change places nowhere that could be told: {found.reason} ({looked} of {key})"
    first, last = names if found.below == 1 else names[::-1]
    return (
        f"{quantity}: {first} is smaller below, {last} above {key} = {found.value:,.3g}, "
        f"surely between {found.low:,.3g} and {found.high:,.3g} ({looked} of {key})"
    )

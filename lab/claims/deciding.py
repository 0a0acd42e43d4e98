"""Decide a claim whose two sides have values: by counting, from one repetition, or from several.

Claims of counts alone must hold in each repetition. For all others there is an interval of what is between the sides,
their ratio or their difference, and each claim demands that it lies above a point, below one, or (`~`) both: verified
if the interval meets all demands, refuted if it wholly misses one, inconclusive else.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lab.claims.expression import Arithmetic, Bounds, Call, Statement, bounds
from lab.claims.judged import INCONCLUSIVE, REFUTED, VERIFIED, JudgedClaim
from lab.claims.telling import shown, unit_of
from lab.statistics.intervals import CONFIDENCE, bounded, places
from lab.statistics.replicated import interval, middle, of_median
from lab.statistics.student import t_quantile

RATIO, DIFFERENCE = "ratio", "difference"
# Repetitions that are recommended where nothing is known of the spread, and the most that are worth a thought.
TRY, MOST = 5, 1_000
# Sides that differ by the rounding of sums and products alone are equal.
_ROUNDING = 1e-9
# Beyond these the quotient of two sides may be no number any more.
_SMALL, _LARGE = 1e-150, 1e150


def by_counting(
    statement: Statement, lefts: Sequence[float], rights: Sequence[float], undecided: JudgedClaim
) -> JudgedClaim:
    """Decide a claim of counts alone: it must hold in each repetition, so one in which it doesn't refutes it."""
    pairs = list(zip(lefts, rights, strict=True))
    found = replace(undecided, compared=DIFFERENCE, value=middle([left - right for left, right in pairs]))
    failing = [number for number, (left, right) in enumerate(pairs, 1) if not _holds(statement, left, right)]
    if not failing:
        return replace(found, verdict=VERIFIED)
    if len(pairs) == 1:
        return replace(found, verdict=REFUTED)
    left, right = (shown(side, unit_of(statement)) for side in pairs[failing[0] - 1])
    where = f"{left} against {right} in repetition {failing[0]}"
    reason = f"it doesn't hold in {len(failing)} of {len(pairs)} repetitions: {where}"
    return replace(found, verdict=REFUTED, reason=reason)


def _holds(statement: Statement, left: float, right: float) -> bool:
    """Return whether a comparison of two numbers holds; those that differ by rounding alone are equal."""
    slack = _slack(statement, right) if statement.comparison == "~" else 0.0
    apart, rounding = left - right, _ROUNDING * max(abs(left), abs(right))
    match statement.comparison:
        case "<":
            return apart < -rounding
        case ">":
            return apart > rounding
        case "<=":
            return apart <= rounding
        case ">=":
            return apart >= -rounding
    return abs(apart) <= slack + rounding


def _slack(statement: Statement, right: float) -> float:
    """Return how far the sides of `~` may be apart; nothing is near to what is infinite."""
    if statement.absolute:
        return statement.within
    return statement.within * abs(right) if math.isfinite(right) else 0.0


# --- demands ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Demand:
    """That what is between the sides lies `above` a point or below it; at the point itself only if `closed`.

    It is moved by a `shift` before: by how near the sides of `~` must be.
    """

    point: float
    above: bool
    closed: bool
    shift: int = 0

    def met(self, ends: Bounds) -> bool:
        """Return whether an interval lies wholly where it should."""
        end = ends[0] if self.above else ends[1]
        return (end > self.point if self.above else end < self.point) or (self.closed and end == self.point)

    def missed(self, ends: Bounds) -> bool:
        """Return whether an interval lies wholly where it should not."""
        end = ends[1] if self.above else ends[0]
        return (end < self.point if self.above else end > self.point) or (not self.closed and end == self.point)


def _demands(statement: Statement, compared: str) -> list[_Demand]:
    point, closed = (1.0 if compared == RATIO else 0.0), statement.comparison in ("<=", ">=", "~")
    match statement.comparison:
        case "<" | "<=":
            return [_Demand(point, False, closed)]
        case ">" | ">=":
            return [_Demand(point, True, closed)]
    return [_Demand(point, True, True, 1), _Demand(point, False, True, -1)]


def _verdict(demands: Sequence[_Demand], ends: Callable[[int], Bounds]) -> str:
    """Return the verdict of an interval; `ends` has it for a shift."""
    found = [(demand, ends(demand.shift)) for demand in demands]
    if any(demand.missed(between) for demand, between in found):
        return REFUTED
    return VERIFIED if all(demand.met(between) for demand, between in found) else INCONCLUSIVE


def _compared(statement: Statement, sides: Sequence[float]) -> str:
    """Say how the two sides are compared: by their ratio if all are above 0 and finite, else by their difference."""
    if statement.comparison == "~" and statement.absolute:
        return DIFFERENCE
    return RATIO if all(_SMALL < side < _LARGE for side in sides) else DIFFERENCE


# --- one repetition --------------------------------------------------------------------------------------------------


def by_one(
    statement: Statement, ends_of: Callable[[Call], Bounds], undecided: JudgedClaim, more: str = ""
) -> JudgedClaim:
    """Decide from a single repetition, by the bounds of its quantities; `more` says why they are no narrower."""
    left, right = bounds(statement.left, ends_of), bounds(statement.right, ends_of)
    one, other = undecided.left, undecided.right
    assert one is not None
    assert other is not None
    compared = _compared(statement, [*left, *right, one, other])
    both = Arithmetic("/" if compared == RATIO else "-", statement.left, statement.right, 0)
    low, high = bounds(both, ends_of)
    value = one / other if compared == RATIO else one - other
    nearest, farthest = _slack_bounds(statement, compared, right)

    def ends(shift: int) -> Bounds:
        if not shift:
            return low, high
        moved = (low + nearest, high + farthest) if shift > 0 else (low - farthest, high - nearest)
        return (-math.inf if math.isnan(moved[0]) else moved[0]), (math.inf if math.isnan(moved[1]) else moved[1])

    verdict = _verdict(_demands(statement, compared), ends)
    found = replace(undecided, verdict=verdict, compared=compared, low=low, high=high)
    found = replace(found, value=None if math.isnan(value) else value)
    if verdict != INCONCLUSIVE:
        return found
    return replace(found, reason=f"the interval reaches to both sides: {more or f'--repeat {TRY} narrows it'}")


def _slack_bounds(statement: Statement, compared: str, right: Bounds) -> Bounds:
    """Return how far the sides may be apart at the least and at the most; of a ratio, as a share."""
    if statement.comparison != "~":
        return 0.0, 0.0
    if statement.absolute or compared == RATIO:
        return statement.within, statement.within
    least = 0.0 if right[0] <= 0 <= right[1] else min(map(abs, right))
    least, most = (statement.within * end for end in (least, max(map(abs, right))))
    return (least if math.isfinite(least) else 0.0), most


# --- several repetitions ---------------------------------------------------------------------------------------------


def by_several(
    statement: Statement, lefts: Sequence[float], rights: Sequence[float], undecided: JudgedClaim
) -> JudgedClaim:
    """Decide from several repetitions, by the interval of what is between the two sides of each."""
    many = len(lefts)
    compared = _compared(statement, [*lefts, *rights])
    values = [left / right if compared == RATIO else left - right for left, right in zip(lefts, rights, strict=True)]
    undecided = replace(undecided, compared=compared)
    if nothing := sum(map(math.isnan, values)):
        what = f"both sides are infinite in {nothing} of {many} repetitions, so nothing is between them"
        return replace(undecided, reason=what)
    undecided = replace(undecided, value=middle(values))
    spread = _Spread(values, compared == RATIO, _slacks(statement, compared, rights))
    if not spread.enough:
        never, least = sum(map(math.isinf, values)), bounded(0.5)
        what = f"infinite in {never} of {many} repetitions, and the interval of their median"
        return replace(undecided, reason=f"{what} takes {least}: --repeat {least} gives one")
    low, high = spread.ends(0)
    demands = _demands(statement, compared)
    verdict = _verdict(demands, spread.ends)
    reason = spread.needed(demands) if verdict == INCONCLUSIVE else ""
    return replace(undecided, verdict=verdict, low=low, high=high, reason=reason)


def _slacks(statement: Statement, compared: str, rights: Sequence[float]) -> list[float]:
    if statement.comparison != "~":
        return [0.0] * len(rights)
    return [statement.within if compared == RATIO else _slack(statement, right) for right in rights]


@dataclass(frozen=True)
class _Spread:
    """What is between the sides in each repetition, and by how much each is moved for `~`."""

    values: Sequence[float]
    ratio: bool
    slacks: Sequence[float]

    @property
    def finite(self) -> bool:
        return all(map(math.isfinite, self.values))

    @property
    def enough(self) -> bool:
        """Return whether there is an interval: infinite values have no mean, and too few have none of their median."""
        return self.finite or len(self.values) >= bounded(0.5)

    def moved(self, shift: int) -> list[float]:
        """Return the values of each repetition, moved; those of ratios are as they are."""
        slacks = [0.0] * len(self.values) if self.ratio else self.slacks
        return [value + shift * slack for value, slack in zip(self.values, slacks, strict=True)]

    def ends(self, shift: int) -> Bounds:
        """Return the 95 % interval, moved."""
        beyond = shift * self.slacks[0] if self.ratio else 0.0
        values = self.moved(shift)
        if self.finite:
            found = interval(values, logarithmic=self.ratio)
            low, high = found.low, found.high
        else:
            low, high = of_median(values)
        assert low is not None
        assert high is not None
        return low + beyond, high + beyond

    def needed(self, demands: Sequence[_Demand]) -> str:
        """Say how many repetitions would decide if they spread as these do."""
        number = self._of_means(demands) if self.finite else self._of_medians(demands)
        what = "the interval reaches to both sides"
        if number is None:
            return f"{what}: the two are so near that more than {MOST:,} repetitions would be needed"
        return f"{what}: if further repetitions spread like these, --repeat {number} decides it"

    def _of_means(self, demands: Sequence[_Demand]) -> int | None:
        """The smallest number whose interval, around the same mean, reaches to no point; None beyond `MOST`."""
        away = min((self._away(demand) for demand in demands), default=0.0)

        def narrow(number: int) -> bool:
            return t_quantile(number - 1, (1 + CONFIDENCE) / 2) / math.sqrt(number) < away

        first = len(self.values) + 1
        number = first + bisect_left(range(first, MOST + 1), True, key=narrow)
        return None if number > MOST else number

    def _away(self, demand: _Demand) -> float:
        """By how many standard deviations the mean lies away from a demand's point."""
        values, point = self.moved(demand.shift), demand.point
        if self.ratio:
            point -= demand.shift * self.slacks[0]
            if point <= 0:
                return math.inf
            values, point = list(np.log(values)), math.log(point)
        spread = float(np.std(values, ddof=1))
        return abs(float(np.mean(values)) - point) / spread if spread else math.inf

    def _of_medians(self, demands: Sequence[_Demand]) -> int | None:
        """The smallest number whose interval decides if the values come as often as now; None beyond `MOST`."""
        many = len(self.values)
        ordered = {shift: sorted(self.moved(shift)) for shift in (-1, 0, 1)}
        for number in range(many + 1, MOST + 1):
            low, high = places(number, 0.5)

            def ends(shift: int, low: int = low, high: int = high, number: int = number) -> Bounds:
                return ordered[shift][low * many // number], ordered[shift][high * many // number]

            if _verdict(demands, ends) != INCONCLUSIVE:
                return number
        return None

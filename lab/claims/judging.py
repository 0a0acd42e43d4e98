"""Judge claims: verified, refuted or inconclusive, by the interval of what is between their two sides.

The sides are worked out in each repetition. Both sides of one repetition have its seed, so they are compared one by
one: by the ratio of left to right where all are above 0, else by their difference. What varies between repetitions is
in the spread of those, and a 95 % interval of Student's t over them (of the ratios: of their logarithms) says where the
true one is. **Verified** if the interval lies wholly where the claim holds, **refuted** if wholly where it doesn't,
**inconclusive** else.

A single repetition shows nothing of how measured times vary. It judges what is counted, which is exact for its seed,
and what is simulated with modelled stores: by the intervals within the repetition, for whose ends the sides are worked
out at their smallest and largest.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from lab.claims.expression import Bounds, Call, Expression, Statement, bounds, value
from lab.claims.grammar import read
from lab.claims.readings import ClaimReading, Readings
from lab.claims.telling import unit_of
from lab.runs import Run
from lab.scenario import ClaimTable
from lab.statistics.intervals import CONFIDENCE
from lab.statistics.replicated import middle
from lab.statistics.student import t_quantile
from lab.tables import TABLES

VERIFIED, REFUTED, INCONCLUSIVE = "verified", "refuted", "inconclusive"
RATIO, DIFFERENCE = "ratio", "difference"
# Repetitions that are recommended where nothing is known of the spread, and the most that are worth a thought.
TRY, MOST = 5, 1_000
# With so many repetitions all of one sign, that sign's 95 % interval excludes the other: 2 / 2^6 < 0.05.
_SIGNS = 6
# Values that differ by the rounding of sums alone are equal.
_EQUAL = 1e-12


@dataclass(frozen=True)
class JudgedClaim:
    """A claim's verdict. `left` and `right` are medians over the repetitions; None where they are not told.

    `value` is the ratio of left to right or their difference (`compared` says which), `low` and `high` the ends of its
    95 % interval. `reason` says why a claim is inconclusive, and how many repetitions it would take.
    """

    verdict: str
    repetitions: int
    reason: str = ""
    left: float | None = None
    right: float | None = None
    compared: str | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None


def judge(claims: Sequence[ClaimTable], run: Run, figures: pl.DataFrame) -> pl.DataFrame:
    """Return the table `claims` of a finished run; `figures` are those of `lab.measure.figures`."""
    readings = Readings(run, figures)
    rows = []
    for number, claim in enumerate(claims, 1):
        statement = read(claim.that)
        judged = judge_one(statement, readings, claim.repeat or 1)
        told = {
            name: getattr(judged, name) for name in ("verdict", "left", "right", "compared", "value", "low", "high")
        }
        row = {"claim": claim.name or f"claim-{number}", "that": claim.that, "why": claim.why, **told}
        rows.append(
            row | {"unit": unit_of(statement), "repetitions": judged.repetitions, "reason": judged.reason or None}
        )
    return TABLES["claims"].frame(rows)


def judge_one(statement: Statement, readings: Readings, least: int = 1) -> JudgedClaim:
    """Judge one claim, which asks for so many repetitions at the least."""
    read_of = {call: readings.of(call) for call in statement.calls}
    many: int = readings.repetitions
    if reason := next((reading.reason for reading in read_of.values() if reading.reason), ""):
        return JudgedClaim(INCONCLUSIVE, many, reason)
    lefts, rights = (_values(side, read_of, many) for side in (statement.left, statement.right))
    undecided = JudgedClaim(INCONCLUSIVE, many, "", _middle(lefts), _middle(rights))
    if many < least:
        have = "there is 1" if many == 1 else f"there are {many}"
        return replace(undecided, reason=f"it asks for {least} repetitions, and {have}: --repeat {least}")
    if undecided.left is None or undecided.right is None:
        return replace(undecided, reason="a side is made of infinities that cancel each other")
    if many == 1:
        return _of_one(statement, read_of, readings.modelled, undecided)
    compared = _compared(statement, lefts, rights)
    values = [_between(compared, *sides) for sides in zip(lefts, rights, strict=True)]
    undecided = replace(undecided, compared=compared, value=_middle(values))
    if any(map(math.isnan, values)):
        return replace(undecided, reason="both sides are infinite or 0, and nothing is between them")
    ends = interval(values, logarithmic=compared == RATIO and min(values) > 0)
    if ends is None:
        what = f"infinite in {sum(map(math.isinf, values))} of {many} repetitions"
        return replace(undecided, reason=f"{what}, and fewer than {_SIGNS}: --repeat {_SIGNS}")
    region = _holds(statement, compared)
    return _decided(undecided, ends, region, lambda: _needed(values, compared == RATIO, region))


def _values(side: Expression, read_of: Mapping[Call, ClaimReading], many: int) -> list[float]:
    """The values of a side, one a repetition."""

    def told(number: int) -> Callable[[Call], float]:
        return lambda call: read_of[call].values[number]

    return [value(side, told(number)) for number in range(many)]


def _of_one(
    statement: Statement, read_of: Mapping[Call, ClaimReading], modelled: bool, undecided: JudgedClaim
) -> JudgedClaim:
    """Judge by a single repetition."""
    for call, reading in read_of.items():
        origin = call.quantity.origin
        if origin == "measured" or (origin == "simulated" and not modelled):
            what = f"one repetition shows nothing of how {call} varies: --repeat {TRY}"
            return replace(undecided, reason=what)
        if origin == "simulated" and reading.within is None:
            more = "" if "--repeat" in reading.within_reason else f"; --repeat {TRY} gives an interval"
            return replace(undecided, reason=f"{call}: {reading.within_reason}{more}")

    def ends_of(call: Call) -> Bounds:
        reading = read_of[call]
        exact = reading.values[0], reading.values[0]
        return exact if call.quantity.origin == "counted" or reading.within is None else reading.within

    left, right = bounds(statement.left, ends_of), bounds(statement.right, ends_of)
    one, other = undecided.left or 0.0, undecided.right or 0.0
    compared = _compared(statement, [one, *left], [other, *right])
    corners = [_between(compared, end, against) for end in left for against in right]
    ends = (-math.inf, math.inf) if any(map(math.isnan, corners)) else (min(corners), max(corners))
    between = _between(compared, one, other)
    undecided = replace(undecided, compared=compared, value=None if math.isnan(between) else between)
    why = "; ".join(dict.fromkeys(reading.within_reason for reading in read_of.values() if reading.within_reason))
    return _decided(undecided, ends, _holds(statement, compared), lambda: why or f"--repeat {TRY} narrows it")


def _compared(statement: Statement, lefts: Sequence[float], rights: Sequence[float]) -> str:
    """Say how the two sides are compared: by their ratio if all are above 0 and finite, else by their difference."""
    if statement.comparison == "~":
        return DIFFERENCE if statement.absolute else RATIO
    ratio = statement.comparison != "=" and all(0 < side < math.inf for side in (*lefts, *rights))
    return RATIO if ratio else DIFFERENCE


def _between(compared: str, left: float, right: float) -> float:
    if compared == DIFFERENCE:
        return left - right
    return left / right if right else math.nan


def interval(values: Sequence[float], logarithmic: bool) -> Bounds | None:
    """Return the 95 % interval of the mean of values, or with logarithms of their geometric mean, by Student's t.

    Infinite values have no mean: of six values or more the interval is from the smallest to the largest, which holds
    the median in 97 % of cases. None for fewer, unless all are the same.
    """
    if max(values) == min(values):
        return values[0], values[0]
    if any(map(math.isinf, values)):
        return (min(values), max(values)) if len(values) >= _SIGNS else None
    taken = np.log(values) if logarithmic else np.asarray(values)
    if np.ptp(taken) <= _EQUAL * max(1.0, float(np.abs(taken).max())):
        return min(values), max(values)
    wide = t_quantile(len(values) - 1, (1 + CONFIDENCE) / 2) * float(taken.std(ddof=1)) / math.sqrt(len(values))
    low, high = float(taken.mean()) - wide, float(taken.mean()) + wide
    return (math.exp(low), math.exp(high)) if logarithmic else (low, high)


@dataclass(frozen=True)
class _Region:
    """Where what is between the sides lies if the claim holds: between two ends, which belong to it or don't."""

    low: float
    high: float
    closed: bool

    def holds(self, ends: Bounds) -> bool:
        """Return whether an interval lies wholly within."""
        above = ends[0] > self.low or (self.closed and ends[0] == self.low)
        below = ends[1] < self.high or (self.closed and ends[1] == self.high)
        return (above or self.low == -math.inf) and (below or self.high == math.inf)

    def fails(self, ends: Bounds) -> bool:
        """Return whether an interval lies wholly outside."""
        below = ends[1] < self.low or (not self.closed and ends[1] == self.low)
        above = ends[0] > self.high or (not self.closed and ends[0] == self.high)
        return (below and self.low > -math.inf) or (above and self.high < math.inf)


def _holds(statement: Statement, compared: str) -> _Region:
    even, closed = (1.0 if compared == RATIO else 0.0), statement.comparison in ("<=", ">=", "=", "~")
    match statement.comparison:
        case "<" | "<=":
            return _Region(-math.inf, even, closed)
        case ">" | ">=":
            return _Region(even, math.inf, closed)
    return _Region(even - statement.within, even + statement.within, closed)


def _decided(undecided: JudgedClaim, ends: Bounds, region: _Region, more: Callable[[], str]) -> JudgedClaim:
    found = replace(undecided, low=ends[0], high=ends[1])
    if region.holds(ends):
        return replace(found, verdict=VERIFIED)
    if region.fails(ends):
        return replace(found, verdict=REFUTED)
    return replace(found, reason=f"the interval reaches to both sides: {more()}")


def _needed(values: Sequence[float], logarithmic: bool, region: _Region) -> str:
    """Say how many repetitions it would take if they spread as these do."""
    ends = [end for end in (region.low, region.high) if math.isfinite(end)]
    if not np.isfinite(values).all():
        return f"--repeat {min(4 * len(values), MOST)} narrows it"
    if logarithmic and min(values) > 0:
        taken, ends = np.log(values), [math.log(end) for end in ends if end > 0]
    else:
        taken = np.asarray(values)
    spread, away = float(taken.std(ddof=1)), min((abs(float(taken.mean()) - end) for end in ends), default=0.0)

    def narrow(number: int) -> bool:
        return t_quantile(number - 1, (1 + CONFIDENCE) / 2) * spread / math.sqrt(number) < away

    number = len(values) + 1 + bisect_left(range(len(values) + 1, MOST + 1), True, key=narrow)
    if number > MOST:
        return f"the two are so near that more than {MOST:,} repetitions would be needed"
    return f"if further repetitions spread like these, --repeat {number} decides it"


def _middle(values: Sequence[float]) -> float | None:
    found = middle(values)
    return None if found is None or math.isnan(found) else found

"""Judge claims: verified, refuted or inconclusive, by the interval of what is between their two sides.

The sides are worked out in each repetition. Both sides of one repetition have its seed, so they are compared one by
one: by the ratio of left to right where all are above 0, else by their difference. What varies between repetitions is
in the spread of those, and a 95 % interval of Student's t over them (of the ratios: of their logarithms) says where the
true one is; where some are infinite, one of their median. **Verified** if the interval lies wholly where the claim
holds, **refuted** if wholly where it doesn't, **inconclusive** else.

What is counted is exact for its repetition, so a claim of counts alone needs no interval: it must hold in each.

A single repetition shows nothing of how measured times vary. It judges what is simulated with modelled stores: by the
intervals within the repetition, for whose ends the sides are worked out at their smallest and largest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import polars as pl

from lab.claims.deciding import TRY, by_counting, by_one, by_several
from lab.claims.expression import Bounds, Call, Expression, Statement, calls, undefined, value, written
from lab.claims.grammar import read
from lab.claims.judged import INCONCLUSIVE, REFUTED, VERIFIED, JudgedClaim
from lab.claims.naming import called
from lab.claims.readings import ClaimReading, Readings
from lab.claims.telling import unit_of
from lab.ending import stopping, told, traced
from lab.formatting import plural
from lab.runs import Run
from lab.scenario import ClaimTable
from lab.statistics.replicated import middle
from lab.tables import TABLES

# A side beyond this is a slip of the pen, and what is made of it may be no number any more.
_LARGEST = 1e100
# The columns of the table `claims` that are a judged claim's.
_JUDGED = ("verdict", "left", "right", "compared", "value", "low", "high", "repetitions")

Read = Mapping[Call, ClaimReading]


def judge(claims: Sequence[ClaimTable], run: Run, figures: Callable[[Run], pl.DataFrame]) -> pl.DataFrame:
    """Return the table `claims` of a finished run; `figures` is the function of `lab.measure.figures`.

    An error while a claim is judged makes it inconclusive, with the error as its reason: the run is not lost by it.
    """
    readings = Readings(run, figures)
    rows = []
    for number, claim in enumerate(claims, 1):
        statement = read(claim.that)
        judged = _judged(statement, readings, claim.repeat or 1)
        row = {"claim": called(claim, number), "that": claim.that, "why": claim.why, "unit": unit_of(statement)}
        rows.append(row | {name: getattr(judged, name) for name in _JUDGED} | {"reason": judged.reason or None})
    return TABLES["claims"].frame(rows)


def _judged(statement: Statement, readings: Readings, least: int) -> JudgedClaim:
    try:
        return judge_one(statement, readings, least)
    except Exception as error:
        # An interrupted engine raises what it likes.
        stopping.stop_here()
        traced(error)
        return JudgedClaim(INCONCLUSIVE, readings.repetitions, f"not judged: {'; '.join(map(str, told(error)))}")


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
    if reason := _undefined(statement, read_of, many):
        return JudgedClaim(INCONCLUSIVE, many, reason)
    if all(call.quantity.origin == "counted" for call in read_of):
        return by_counting(statement, lefts, rights, undecided)
    if many == 1:
        return _of_one(statement, read_of, readings.modelled, undecided)
    return by_several(statement, lefts, rights, undecided)


def _at(read_of: Read, number: int) -> Callable[[Call], float]:
    """What the quantities are in one repetition, by its number from 0."""
    return lambda call: read_of[call].values[number]


def _values(side: Expression, read_of: Read, many: int) -> list[float]:
    """The values of a side, one a repetition."""
    return [value(side, _at(read_of, number)) for number in range(many)]


def _undefined(statement: Statement, read_of: Read, many: int) -> str:
    """Say why a side has no value, and in how many repetitions; nothing if both have one in each."""
    sides = (statement.left, statement.right)
    found = [next(filter(None, (_nothing(side, _at(read_of, at)) for side in sides)), "") for at in range(many)]
    often, why = sum(map(bool, found)), next(filter(None, found), "")
    return f"{why} in {often} of {plural(many, 'repetition')}" if why and many > 1 else why


def _nothing(side: Expression, told: Callable[[Call], float]) -> str:
    """Say why a side has no value in a repetition, or none that can be judged."""
    if reason := undefined(side, told):
        return reason
    found = abs(value(side, told))
    infinite = any(math.isinf(told(call)) for call in calls(side))
    return f"`{written(side)}` is too large a number" if found > _LARGEST and not infinite else ""


def _of_one(statement: Statement, read_of: Read, modelled: bool, undecided: JudgedClaim) -> JudgedClaim:
    """Judge by a single repetition, if it says how its quantities vary."""
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

    why = dict.fromkeys(reading.within_reason for reading in read_of.values() if reading.within_reason)
    return by_one(statement, ends_of, undecided, "; ".join(why))


def _middle(values: Sequence[float]) -> float | None:
    found = None if any(map(math.isnan, values)) else middle(values)
    return None if found is None or math.isnan(found) else found


__all__ = ["INCONCLUSIVE", "REFUTED", "VERIFIED", "JudgedClaim", "judge", "judge_one"]

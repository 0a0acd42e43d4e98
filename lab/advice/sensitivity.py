"""Sensitivity of an answer: its ties, and how far each weight can move before another portfolio is better. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lab.advice.model import Candidate, Reading, SelectionProblem
from lab.advice.portfolio import Portfolio


@dataclass(frozen=True)
class WeightRange:
    """The answer stays the same while the query's weight is between `low` and `high`, all other weights unchanged.

    Outside this range `below` or `above` is better (None: no portfolio is, and the end is 0 or infinity).
    """

    query: str
    weight: float
    low: float = 0.0
    high: float = math.inf
    below: Portfolio | None = None
    above: Portfolio | None = None


def weight_ranges(found: Sequence[Portfolio]) -> list[WeightRange]:
    """Return for each query how far its weight can move; `found` is the result of `smallest`, the answer first.

    Weights decide only between portfolios of the same size, and don't reassign a query within one. The weighted time
    is linear in each weight, so an end is where two lines cross: exact for the measured values.
    """
    answer, *others = found
    weights = answer.problem.queries
    ranges = []
    for query, weight in weights.items():
        low, high = 0.0, math.inf
        below = above = None
        for other in others:
            gains = {name: _p50(answer, name).value - _p50(other, name).value for name in weights}
            rest = math.fsum(weights[name] * gains[name] for name in weights if name != query)
            slope = gains[query]
            if slope == 0:
                continue
            crossing = max(-rest / slope, 0.0)
            if slope > 0 and crossing < high:
                high, above = max(crossing, weight), other
            if slope < 0 and crossing > low:
                low, below = min(crossing, weight), other
        ranges.append(WeightRange(query, weight, low, high, below, above))
    return ranges


def apart(quicker: Reading, slower: Reading) -> bool:
    """Return whether two figures are told apart: the upper end of one is below the lower end of the other."""
    return _high(quicker) < _low(slower)


def ties(found: Sequence[Portfolio]) -> list[Portfolio]:
    """Return those of `found` (the result of `smallest`) whose weighted query time can't be told from the answer's.

    Queries that both assign to the same candidate cancel out. For the others, the difference lies between all lower
    ends minus all upper ends and the reverse. That is wider than a 95 % interval, so a reported difference is
    significant. Where an interval is unknown, the
    middle 80 % of the samples stand in for it; an end without these bounds nothing.
    """
    answer, *others = found
    return [other for other in others if tied(answer, other)]


def tied(a: Portfolio, b: Portfolio) -> bool:
    """Return whether the weighted query times of two portfolios can't be told apart; see `ties`."""
    weights = a.problem.queries
    pairs = [(weights[name], _p50(a, name), _p50(b, name)) for name in weights if a.assigned[name] != b.assigned[name]]
    low = math.fsum(weight * (_low(one) - _high(other)) for weight, one, other in pairs)
    high = math.fsum(weight * (_high(one) - _low(other)) for weight, one, other in pairs)
    return low <= 0 <= high


def tied_answers(problem: SelectionProblem, portfolio: Portfolio, query: str) -> list[Candidate]:
    """Return other members that answer a query within its level, in a time that can't be told from the assigned one."""
    chosen = portfolio.assigned[query]
    first, level = chosen.answers[query].p50, problem.query_level(query)
    there = [*([problem.truth] if problem.truth else []), *portfolio.members]
    return [
        each
        for each in there
        if each != chosen
        and query in each.answers
        and each.answers[query].p99.meets(level)
        and _low(each.answers[query].p50) <= _high(first)
    ]


def _p50(portfolio: Portfolio, query: str) -> Reading:
    return portfolio.assigned[query].answers[query].p50


def _low(reading: Reading) -> float:
    return reading.ends[0]


def _high(reading: Reading) -> float:
    # Finite, so that two unknown ends of opposite signs don't give NaN.
    high = reading.ends[1]
    return 1e12 if high is None else high

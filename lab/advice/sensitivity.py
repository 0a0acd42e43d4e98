"""How firm an answer is: what it ties with, and how far each weight can move before another takes its place. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lab.advice.model import Candidate, Reading, SelectionProblem
from lab.advice.portfolio import Portfolio


@dataclass(frozen=True)
class WeightRange:
    """The answer is the same as long as the query's weight lies between `low` and `high`, all others as they are.

    Outside, `below` or `above` takes its place (None: nothing does, and the end is 0 or infinity).
    """

    query: str
    weight: float
    low: float = 0.0
    high: float = math.inf
    below: Portfolio | None = None
    above: Portfolio | None = None


def weight_ranges(found: Sequence[Portfolio]) -> list[WeightRange]:
    """For each query how far its weight can move; `found` is `smallest`, the answer first.

    Weights decide only between portfolios of the same size, and don't move a query within one. The weighted time is
    linear in each weight, so an end is where two lines cross: exact, by the measured values.
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


def ties(found: Sequence[Portfolio]) -> list[Portfolio]:
    """Of `smallest`, those whose weighted query time can't be told from the answer's.

    Queries that both send to the same place cancel out. For the others, the difference lies between all lower ends
    against all upper ends and the reverse: wider than a 95 % interval needs to be, so that a difference that is told is
    one. An end that is unknown bounds nothing.
    """
    answer, *others = found
    return [other for other in others if tied(answer, other)]


def tied(a: Portfolio, b: Portfolio) -> bool:
    """Whether two portfolios' weighted query times can't be told apart; see `ties`."""
    weights = a.problem.queries
    pairs = [(weights[name], _p50(a, name), _p50(b, name)) for name in weights if a.assigned[name] != b.assigned[name]]
    low = math.fsum(weight * (_low(one) - _high(other)) for weight, one, other in pairs)
    high = math.fsum(weight * (_high(one) - _low(other)) for weight, one, other in pairs)
    return low <= 0 <= high


def tied_answers(problem: SelectionProblem, portfolio: Portfolio, query: str) -> list[Candidate]:
    """Others of the portfolio that answer a query within its level, in a time that can't be told from the first's."""
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
    return reading.low or 0.0


def _high(reading: Reading) -> float:
    # Finite, so that two unknown ends of unlike signs don't make something that is no number.
    return 1e12 if reading.high is None else reading.high

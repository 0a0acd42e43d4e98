"""What can't be told apart by the intervals: figures, portfolios, and the answers of one of them. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lab.advice.model import Candidate, Reading, SelectionProblem
from lab.advice.portfolio import Portfolio

# Stands for an end that is unknown.
_UNBOUNDED = 1e12


def apart(quicker: Reading, slower: Reading) -> bool:
    """Return whether two figures are told apart: the upper end of one is below the lower end of the other."""
    return bounds(quicker)[1] < bounds(slower)[0]


def told_apart(one: Reading, other: Reading) -> bool:
    """Return whether two figures could be told apart if they differed enough: there are samples for ends of both."""
    return all(each.ends[1] is not None for each in (one, other))


def ties(found: Sequence[Portfolio]) -> list[Portfolio]:
    """Return those of `found` (the result of `smallest`) whose weighted query time can't be told from the answer's.

    Queries that both assign to the same candidate cancel out. For the others, the difference lies between all lower
    ends minus all upper ends and the reverse. That is wider than a 95 % interval, so a reported difference is
    significant. Where an interval is unknown, the middle 80 % of the samples stand in for it; without these an end
    bounds nothing.
    """
    answer, *others = found
    return [other for other in others if tied(answer, other)]


def tied(a: Portfolio, b: Portfolio) -> bool:
    """Return whether the weighted query times of two portfolios can't be told apart; see `ties`."""
    weights = a.problem.queries
    differing = [name for name in weights if a.assigned[name] != b.assigned[name]]
    pairs = [(weights[name], bounds(_p50(a, name)), bounds(_p50(b, name))) for name in differing]
    low = math.fsum(weight * (one[0] - other[1]) for weight, one, other in pairs)
    high = math.fsum(weight * (one[1] - other[0]) for weight, one, other in pairs)
    return low <= 0 <= high


def tied_answers(problem: SelectionProblem, portfolio: Portfolio, query: str) -> list[Candidate]:
    """Return other members that may answer a query, in a time that can't be told from that of the assigned one."""
    chosen = portfolio.assigned[query]
    first = chosen.answers[query].p50
    there = [*([problem.truth] if problem.truth else []), *portfolio.members]
    return [
        each
        for each in there
        if each != chosen
        and problem.meets(each, query)
        and not apart(first, each.answers[query].p50)
        and not apart(each.answers[query].p50, first)
    ]


def _p50(portfolio: Portfolio, query: str) -> Reading:
    return portfolio.assigned[query].answers[query].p50


def bounds(reading: Reading) -> tuple[float, float]:
    """Return the ends by which a figure is told apart, finite: so unknown ends of opposite signs don't give NaN."""
    low, high = reading.ends
    return low, _UNBOUNDED if high is None else high

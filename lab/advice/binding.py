"""Find the levels that prevent a solution, and the values at which there would be one. Pure and exact."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import combinations

from lab.advice.model import SelectionProblem
from lab.advice.portfolio import disk_of, overshoot
from lab.advice.search import covers, solvable


@dataclass(frozen=True)
class Binding:
    """The levels that have to be raised: a single one where that is enough, else the fewest that are enough together.

    `asked` and `least` have an entry for each level: the value asked for, and the smallest feasible one with all other
    levels kept (of several, with the others of them lifted). Both are empty if a query has no answer at all.
    """

    levels: tuple[str, ...]
    asked: tuple[float, ...] = ()
    least: tuple[float, ...] = ()
    unanswered: tuple[str, ...] = ()

    @property
    def relaxation(self) -> float:
        """Return by how much the levels have to be raised, as a share of each; of several, the largest."""
        return max((overshoot(*pair) for pair in zip(self.asked, self.least, strict=True)), default=math.inf)


def binding(problem: SelectionProblem) -> Binding | None:
    """Return the levels that prevent a solution; None if there is one.

    If lifting any one of several levels is enough, the one that has to be raised least, relative to its value.
    """
    if unanswered := problem.unanswered():
        return Binding(tuple(f"queries.{name}" for name in unanswered), unanswered=tuple(unanswered))
    if solvable(problem):
        return None
    asked = dict(problem.set_levels())
    for size in range(1, len(asked) + 1):
        found = [
            Binding(group, tuple(asked[name] for name in group), tuple(_least(problem, name, group) for name in group))
            for group in combinations(asked, size)
            if solvable(lifted(problem, group))
        ]
        if found:
            return min(found, key=lambda each: each.relaxation)
    raise AssertionError("without levels, any set of candidates that answers the queries is a portfolio")


def lifted(problem: SelectionProblem, names: Iterable[str]) -> SelectionProblem:
    """Return the problem without these levels."""
    for name in names:
        problem = with_level(problem, name, None)
    return problem


def with_level(problem: SelectionProblem, name: str, value: float | None) -> SelectionProblem:
    """Return the problem with one level set, or lifted (None). A query whose own level is lifted has no bound."""
    levels = problem.levels
    table, _, query = name.partition(".")
    if query:
        own = {**getattr(levels, table), query: math.inf if value is None else value}
        return replace(problem, levels=levels.model_copy(update={table: own}))
    return replace(problem, levels=levels.model_copy(update={name: value}))


def _least(problem: SelectionProblem, name: str, group: tuple[str, ...]) -> float:
    """Return the smallest value of a level at which the problem is solvable, the other levels of the group lifted."""
    problem = lifted(problem, group)
    if name == "disk_bytes":
        everything = len(problem.projections)
        return min(disk_of(chosen).bound for chosen in covers(problem, everything))
    if name == "truth_reads":
        return _least_share(problem)
    return next(value for value in _values(problem, name) if solvable(with_level(problem, name, value)))


def _least_share(problem: SelectionProblem) -> float:
    """Return the smallest share of reads at the source of truth, by bisection: it is a sum over any set of queries."""
    truth = problem.truth
    low, high = 0.0, problem.truth_load(truth.answers if truth else ()).bound
    if solvable(with_level(problem, "truth_reads", 0.0)):
        return 0.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if solvable(with_level(problem, "truth_reads", middle)) else (middle, high)
    return high


def _values(problem: SelectionProblem, name: str) -> list[float]:
    """Return the values that can change whether a level is met, which are the measured figures, smallest first."""
    candidates = problem.candidates
    table, _, query = name.partition(".")
    if table in ("lag_p99", "lag"):
        found = {each.lag.bound for each in candidates}
    elif name == "rebuild":
        found = {each.rebuild.bound for each in candidates}
    elif name == "engines":
        found = {float(count) for count in range(len(candidates) + 1)}
    elif name == "query_p99":
        own = problem.levels.queries
        found = {answer.p99.bound for each in candidates for query, answer in each.answers.items() if query not in own}
    else:
        found = {each.answers[query].p99.bound for each in candidates if query in each.answers}
    # A portfolio of the source of truth alone has no lag and nothing to rebuild.
    return sorted(found | {0.0, math.inf})

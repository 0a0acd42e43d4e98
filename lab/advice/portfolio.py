"""Portfolios: which projections to keep, and which of them answers which query. Pure and exact.

A portfolio is a set of projections that together, and with the source of truth, answer every query. Within it each
query goes to the member that answers it fastest by p50, of those whose p99 is within the query's level. Between
equals it goes to the source of truth first, then to the projection that stands first in the scenario.

The answer is the first, among the portfolios that meet every level, by

1. the number of projections (the source of truth is none);
2. the weighted query time: the mean of the p50 by weight;
3. disk, then the lag p99, the rebuild, the number of engines, and last the projections' names.

The measured values decide. Where their intervals can't distinguish two portfolios, `sensitivity` reports a tie.

Lag and rebuild are levels of each projection, and disk and engines can only grow with a portfolio. So a portfolio of
the smallest size has no member that it could do without, and all of that size are found by taking a query that is not
yet answered and trying each projection that can answer it: an exhaustive search that stops early at dead ends.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np

from lab.advice.model import Candidate, Reading, SelectionProblem

# At most so many sets of projections are examined for the front and the runners-up. The answer has no such bound.
LOOKED_MAX = 2_048


@dataclass(frozen=True)
class Miss:
    """A level that a portfolio misses: the projection or query, the limit and the value (seconds, bytes, count)."""

    level: str
    of: str
    asked: float
    had: float

    @property
    def overshoot(self) -> float:
        """Return by how much the value exceeds the level, as a share of the level."""
        return overshoot(self.asked, self.had)


def overshoot(asked: float, had: float) -> float:
    """Return by how much `had` exceeds `asked`, as a share of `asked`; of one if `asked` is 0."""
    return (had - asked) / (asked or 1.0)


@dataclass(frozen=True)
class Portfolio:
    """A set of projections in the scenario's order, with the candidate that answers each query."""

    problem: SelectionProblem
    members: tuple[Candidate, ...]
    assigned: dict[str, Candidate]

    def __hash__(self) -> int:
        return hash(self.names)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the projections' names, which identify the portfolio."""
        return tuple(each.name for each in self.members)

    @property
    def used(self) -> tuple[Candidate, ...]:
        """Return the candidates that answer a query, the source of truth included."""
        return tuple(each for each in self.problem.candidates if each.name in self._at_work)

    @cached_property
    def _at_work(self) -> set[str]:
        return {each.name for each in self.assigned.values()}

    @property
    def idle(self) -> bool:
        """Return whether a member answers no query."""
        return not self._at_work.issuperset(self.names)

    @cached_property
    def cost(self) -> float:
        """Return the weighted query time: the mean of the p50 by weight, in seconds."""
        return self._weighted([self.assigned[name].answers[name].p50.value for name in self.assigned])

    @cached_property
    def cost_interval(self) -> tuple[float, float | None]:
        """Return the cost at all lower ends and at all upper ends (None: unknown); wider than a 95 % interval."""
        readings = [self.assigned[name].answers[name].p50 for name in self.assigned]
        high = [reading.high for reading in readings]
        known = [end for end in high if end is not None]
        upper = self._weighted(known) if len(known) == len(high) else None
        return self._weighted([reading.low or 0.0 for reading in readings]), upper

    def _weighted(self, seconds: Sequence[float]) -> float:
        weights = [self.problem.queries[name] for name in self.assigned]
        total = math.fsum(weights)
        return math.fsum(w * t for w, t in zip(weights, seconds, strict=True)) / total if total else 0.0

    @property
    def lag(self) -> Reading:
        """Return the longest lag p99 among the members."""
        return max((each.lag for each in self.members), key=lambda reading: reading.value, default=Reading(0, 0, 0))

    @property
    def rebuild(self) -> Reading:
        """Return the longest rebuild among the members; each is rebuilt alone."""
        return max((each.rebuild for each in self.members), key=lambda r: r.value, default=Reading(0, 0, 0))

    @cached_property
    def disk(self) -> float:
        """Return the bytes that all members take together."""
        return math.fsum(each.disk.value for each in self.members)

    @property
    def engines(self) -> tuple[str, ...]:
        """Return the engines to operate in addition to those of the source of truth."""
        return tuple(sorted({each.engine for each in self.members} - self.problem.operated))

    @cached_property
    def order(self) -> tuple[object, ...]:
        """Return the sort key by which the answer is chosen; see the module's docstring."""
        sizes = (len(self.members), self.cost, self.disk, self.lag.value, self.rebuild.value, len(self.engines))
        return (*sizes, self.names)

    @cached_property
    def misses(self) -> tuple[Miss, ...]:
        """Return every level that isn't met."""
        problem, levels = self.problem, self.problem.levels
        found = [
            Miss(name, each.name, level, reading.value)
            for each in self.members
            for name, level, reading in (
                ("lag_p99", levels.lag_p99, each.lag),
                ("rebuild", levels.rebuild, each.rebuild),
            )
            if level is not None and not reading.meets(level)
        ]
        for query, each in self.assigned.items():
            level, p99 = problem.query_level(query), each.answers[query].p99
            if level is not None and not p99.meets(level):
                found.append(Miss(problem.level_name(query), query, level, p99.value))
        if levels.disk_bytes is not None and self.disk > levels.disk_bytes:
            found.append(Miss("disk_bytes", "all together", levels.disk_bytes, self.disk))
        if levels.engines is not None and len(self.engines) > levels.engines:
            found.append(Miss("engines", ", ".join(self.engines), levels.engines, len(self.engines)))
        return tuple(found)

    def readings(self, level: str) -> list[Reading]:
        """Return the figures that a level bounds: one of lag or rebuild, the p99 of each query under a query level."""
        if level in ("lag_p99", "rebuild"):
            return [self.lag if level == "lag_p99" else self.rebuild]
        bounded = (query for query in self.assigned if self.problem.level_name(query) == level)
        return [self.assigned[query].answers[query].p99 for query in bounded]

    @property
    def figures(self) -> tuple[float, float, float, float]:
        """Return the dimensions of the Pareto front: lag p99, rebuild, weighted query time (seconds), disk (bytes)."""
        return self.lag.value, self.rebuild.value, self.cost, self.disk


def assemble(problem: SelectionProblem, members: Sequence[Candidate]) -> Portfolio | None:
    """Assign each query to a member, or return None if a query is left that none of them answers.

    A query that no member answers within its level goes to the one with the lowest p99, and is a miss.
    """
    truth = problem.truth
    there = ([truth] if truth else []) + list(members)
    assigned = {}
    for query in problem.queries:
        able = [each for each in there if query in each.answers]
        if not able:
            return None
        level = problem.query_level(query)
        within = [each for each in able if each.answers[query].p99.meets(level)]
        if within:
            assigned[query] = min(within, key=lambda each: each.answers[query].p50.value)
        else:
            assigned[query] = min(able, key=lambda each: each.answers[query].p99.value)
    return Portfolio(problem, tuple(members), assigned)


def smallest(problem: SelectionProblem) -> list[Portfolio]:
    """Return every portfolio of the smallest size that meets all levels, the best first; empty if none does."""
    for size in range(len(problem.projections) + 1):
        found = [made for chosen in covers(problem, size) if (made := assemble(problem, chosen))]
        if found:
            return sorted(found, key=lambda made: made.order)
    return []


def covers(problem: SelectionProblem, size: int) -> Iterator[tuple[Candidate, ...]]:
    """Yield the sets of at most `size` projections that meet all levels; at least every set without a spare member."""
    levels, truth = problem.levels, problem.truth
    able = [
        place
        for place, each in enumerate(problem.projections)
        if each.lag.meets(levels.lag_p99) and each.rebuild.meets(levels.rebuild)
    ]

    def answers(each: Candidate, query: str) -> bool:
        return query in each.answers and each.answers[query].p99.meets(problem.query_level(query))

    open_queries = [query for query in problem.queries if not (truth and answers(truth, query))]
    can = {query: [place for place in able if answers(problem.projections[place], query)] for query in open_queries}
    # The query that the fewest projections answer comes first, so that dead ends are found early.
    open_queries.sort(key=lambda query: len(can[query]))
    seen: set[frozenset[int]] = set()

    def walk(chosen: frozenset[int]) -> Iterator[tuple[Candidate, ...]]:
        if chosen in seen:
            return
        seen.add(chosen)
        members = tuple(problem.projections[place] for place in sorted(chosen))
        if not _fits(problem, members):
            return
        left = [can[query] for query in open_queries if chosen.isdisjoint(can[query])]
        if not left:
            yield members
        elif len(chosen) + _apart(left) <= size:
            for place in left[0]:
                yield from walk(chosen | {place})

    yield from walk(frozenset())


def _apart(left: Sequence[Sequence[int]]) -> int:
    """Return a lower bound of the projections still needed: a number of queries of which no projection answers two."""
    taken: set[int] = set()
    count = 0
    for able in left:
        if taken.isdisjoint(able):
            taken.update(able)
            count += 1
    return count


def solvable(problem: SelectionProblem) -> bool:
    """Return whether any portfolio meets all levels."""
    return next(covers(problem, len(problem.projections)), None) is not None


def _fits(problem: SelectionProblem, members: Sequence[Candidate]) -> bool:
    """Return whether disk and engines are within their levels; further members can only add to both."""
    levels = problem.levels
    engines = {each.engine for each in members} - problem.operated
    disk = math.fsum(each.disk.value for each in members)
    return not (
        (levels.disk_bytes is not None and disk > levels.disk_bytes)
        or (levels.engines is not None and len(engines) > levels.engines)
    )


def size_looked_at(problem: SelectionProblem) -> int:
    """Return how many projections a portfolio of the front or a runner-up may have.

    That is the number of projections, unless more than `LOOKED_MAX` sets would have to be examined.
    """
    count, looked = len(problem.projections), 0
    for size in range(count + 1):
        looked += math.comb(count, size)
        if size > 1 and looked > LOOKED_MAX:
            return size - 1
    return count


def portfolios(problem: SelectionProblem) -> list[Portfolio]:
    """Return every portfolio of limited size without an idle member, in order, whether it meets the levels or not."""
    found = []
    for size in range(size_looked_at(problem) + 1):
        for members in combinations(problem.projections, size):
            made = assemble(problem, members)
            if made and not made.idle:
                found.append(made)
    return sorted(found, key=lambda made: made.order)


def front(found: Sequence[Portfolio]) -> list[Portfolio]:
    """Return the Pareto front: portfolios that no other dominates in lag p99, rebuild, query time and disk."""
    if not found:
        return []
    figures = np.array([each.figures for each in found])
    kept = []
    for each, own in zip(found, figures, strict=True):
        beaten = (figures <= own).all(axis=1) & (figures < own).any(axis=1)
        if not beaten.any():
            kept.append(each)
    return kept

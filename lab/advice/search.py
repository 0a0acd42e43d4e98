"""Find portfolios: which projections to keep, and which of them answers which query. Pure and exact.

A portfolio is a set of projections that together, and with the source of truth, answer every query. Within it each
query goes to the member that answers it fastest by p50, of those that meet the query's levels of time and of lag.
Between equals it goes to the source of truth first, then to the projection that stands first in the scenario. If reads
keep the source of truth busy for longer than `truth_reads` allows, queries move from it to projections, those first
that lose the least time for the load that they take away.

A level is held against the upper end of a figure's interval. What has no upper end for lack of samples meets none,
unless the problem is `lenient`. `lab.advice.choice` picks the answers among portfolios.

Lag and time are levels of each query, the rebuild of each projection, and disk and engines can only grow with a
portfolio. So a portfolio of the smallest size has no member that it could do without, and all of that size are found
by taking a query that is not yet answered and trying each projection that can answer it: an exhaustive search that
stops early at dead ends.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from lab.advice.model import Candidate, SelectionProblem
from lab.advice.portfolio import Portfolio, disk_of

# At most so many sets of projections are examined for the front and the runners-up. The fewest have no such bound.
LOOKED_MAX = 2_048


def assemble(problem: SelectionProblem, members: Sequence[Candidate]) -> Portfolio | None:
    """Assign each query to a member, or return None if a query is left that none of them answers.

    A query that no member answers within its levels goes to the one that misses the fewest of them, by the least.
    """
    truth = problem.truth
    there = ([truth] if truth else []) + list(members)
    assigned = {}
    for query in problem.queries:
        able = [each for each in there if query in each.answers]
        if not able:
            return None
        within = [each for each in able if problem.meets(each, query)]
        if within:
            assigned[query] = min(within, key=lambda each: each.answers[query].p50.value)
        else:
            assigned[query] = min(able, key=lambda each: _shortcoming(problem, each, query))
    if problem.levels.truth_reads is not None:
        _relieve(problem, members, assigned, problem.levels.truth_reads)
    return Portfolio(problem, tuple(members), assigned)


def _shortcoming(problem: SelectionProblem, each: Candidate, query: str) -> tuple[float, ...]:
    """Return how far a candidate is from a query's levels: levels missed, levels not judged, the p99, the p50."""
    time = each.answers[query]
    held = ((each.lag, problem.lag_level(query)), (time.p99, problem.query_level(query)))
    missed = sum(not reading.meets(level, lenient=True) for reading, level in held)
    return missed, sum(not reading.meets(level) for reading, level in held), time.p99.bound, time.p50.value


def _relieve(
    problem: SelectionProblem, members: Sequence[Candidate], assigned: dict[str, Candidate], level: float
) -> None:
    """Move queries from the source of truth to projections that may answer them, until its reads are within a level."""
    while True:
        mine = [query for query, who in assigned.items() if who.truth]
        if problem.truth_load(mine).meets(level, problem.lenient):
            return
        moves = []
        for query in mine:
            others = [each for each in members if problem.meets(each, query)]
            if others:
                other = min(others, key=lambda each: each.answers[query].p50.value)
                lost = other.answers[query].p50.value - assigned[query].answers[query].p50.value
                load = problem.truth_load([query]).bound
                moves.append((lost * problem.queries[query] / load if load else math.inf, query, other))
        if not moves:
            return
        _, query, other = min(moves, key=lambda move: move[:2])
        assigned[query] = other


def smallest(problem: SelectionProblem) -> list[Portfolio]:
    """Return every portfolio of the smallest size that meets all levels, the quickest first; empty if none does."""
    for size in range(len(problem.projections) + 1):
        found = [made for chosen in covers(problem, size) if (made := assemble(problem, chosen))]
        if found:
            return sorted(found, key=lambda made: made.order)
    return []


def covers(problem: SelectionProblem, size: int) -> Iterator[tuple[Candidate, ...]]:
    """Yield the sets of at most `size` projections that meet all levels; at least every set without a spare member."""
    levels, truth = problem.levels, problem.truth
    able = [
        place for place, each in enumerate(problem.projections) if each.rebuild.meets(levels.rebuild, problem.lenient)
    ]
    by_truth = [query for query in problem.queries if truth and problem.meets(truth, query)]
    can = {
        query: [place for place in able if problem.meets(problem.projections[place], query)]
        for query in problem.queries
    }
    # The query that the fewest projections answer comes first, so that dead ends are found early.
    open_queries = sorted((query for query in can if query not in by_truth), key=lambda query: len(can[query]))
    seen: set[frozenset[int]] = set()

    def walk(chosen: frozenset[int]) -> Iterator[tuple[Candidate, ...]]:
        if chosen in seen:
            return
        seen.add(chosen)
        members = tuple(problem.projections[place] for place in sorted(chosen))
        if not _fits(problem, members):
            return
        left = [can[query] for query in open_queries if chosen.isdisjoint(can[query])]
        read = [query for query in by_truth if chosen.isdisjoint(can[query])]
        if left and len(chosen) + _apart(left) <= size:
            for place in left[0]:
                yield from walk(chosen | {place})
        elif not left and problem.truth_load(read).meets(levels.truth_reads, problem.lenient):
            yield members
        elif not left and len(chosen) < size:
            # Any projection that takes a query from the source of truth helps.
            for place in sorted({place for query in read for place in can[query]}):
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
    return disk_of(members).meets(levels.disk_bytes, lenient=True) and (
        levels.engines is None or len(engines) <= levels.engines
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
        # What is untold is neither better nor worse than anything.
        unknown = np.isnan(figures) | np.isnan(own)
        beaten = ((figures <= own) | unknown).all(axis=1) & (figures < own).any(axis=1)
        if not beaten.any():
            kept.append(each)
    return kept

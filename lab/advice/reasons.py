"""Say why: what each candidate is best at, what it can't do, and which query alone decides the answer. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lab.advice.choice import buys_nothing, fewest
from lab.advice.model import Candidate, SelectionProblem
from lab.advice.portfolio import Portfolio
from lab.advice.search import smallest
from lab.advice.sensitivity import apart, told_apart

_LOOKED_MAX = 60


@dataclass(frozen=True)
class Standing:
    """What a candidate is good for, among all candidates.

    `best`: the queries that it answers fastest, or as fast as the fastest by what was measured. `only`: the queries
    that no other candidate answers. `beside`: for each other query, the fastest candidate and how many times as long
    this one takes. `blind`: the queries at which another is faster by the median, and there are too few samples to show
    a difference. `cannot`: for each query that it doesn't answer, the reason.
    """

    candidate: Candidate
    best: tuple[str, ...]
    only: tuple[str, ...]
    beside: Mapping[str, tuple[Candidate, float]]
    cannot: Mapping[str, str]
    blind: tuple[str, ...] = ()

    @property
    def nothing(self) -> bool:
        """Return whether it is best at nothing: whatever it answers, another candidate answers faster."""
        return not self.best and not self.only and not self.blind

    @property
    def lone_merit(self) -> str | None:
        """Return the query that is its only merit, since only it can answer it; None if it has another merit."""
        return self.only[0] if len(self.only) == 1 and not self.best and not self.blind and self.beside else None


@dataclass(frozen=True)
class Decider:
    """A query without which the fewest projections would be others: `without` it is the answer then.

    `only` are the projections of the answer that are there for this query alone.
    """

    query: str
    without: Portfolio
    only: tuple[str, ...]


def standings(problem: SelectionProblem) -> list[Standing]:
    """Return the standing of every candidate, in their order."""
    found = []
    quickest = {query: _two_quickest(problem, query) for query in problem.queries}
    for each in problem.candidates:
        best: list[str] = []
        only: list[str] = []
        blind: list[str] = []
        beside: dict[str, tuple[Candidate, float]] = {}
        for query in problem.queries:
            if query not in each.answers:
                continue
            others = [other for other in quickest[query] if other is not each]
            if not others:
                only.append(query)
                continue
            first = others[0]
            own, quick = each.answers[query].p50, first.answers[query].p50
            if own.value <= quick.value:
                best.append(query)
            elif not apart(quick, own):
                (best if told_apart(quick, own) else blind).append(query)
            else:
                beside[query] = (first, own.value / quick.value if quick.value else float("inf"))
        reasons = {query: each.cannot.get(query, "") for query in problem.queries if query not in each.answers}
        found.append(Standing(each, tuple(best), tuple(only), beside, reasons, tuple(blind)))
    return found


def _two_quickest(problem: SelectionProblem, query: str) -> list[Candidate]:
    able = [each for each in problem.candidates if query in each.answers]
    return sorted(able, key=lambda each: each.answers[query].p50.value)[:2]


def deciders(problem: SelectionProblem, answer: Portfolio, limit: int = 3) -> list[Decider]:
    """Return the queries that alone decide the fewest projections, the most telling first.

    A query decides if without it fewer projections are enough, or others of the same number that the answer's can't
    keep up with. None are looked for among more than `_LOOKED_MAX` queries: each takes a search of its own.
    """
    if len(problem.queries) > _LOOKED_MAX:
        return []
    found = []
    for query in problem.queries:
        asked = problem.without(query)
        others = smallest(asked) if asked.queries else []
        if not others:
            continue
        without = fewest(others)
        if without.names == answer.names:
            continue
        same = next((each for each in others if each.names == answer.names), None)
        if same is not None and buys_nothing(without, same):
            continue
        mine = [who.name for who in answer.members if _serves_only(answer, who, query)]
        found.append(Decider(query, without, tuple(mine)))
    found.sort(key=lambda each: (len(each.without.members), each.without.cost))
    return found[:limit]


def _serves_only(answer: Portfolio, who: Candidate, query: str) -> bool:
    """Return whether a member is there for one query: without it, the others of the portfolio would answer the rest."""
    there = [*([answer.problem.truth] if answer.problem.truth else []), *answer.members]
    others = [each for each in there if each != who]
    return not any(query in each.answers for each in others) and all(
        any(answer.problem.meets(each, name) for each in others) for name in answer.assigned if name != query
    )

"""Assemble the advice: three answers, the portfolios that come near them, and the reasons. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lab.advice.binding import Binding, binding
from lab.advice.choice import bargain, fewest, quickest
from lab.advice.model import Reading, SelectionProblem
from lab.advice.portfolio import Portfolio
from lab.advice.reasons import Decider, Standing, deciders, standings
from lab.advice.search import front, portfolios, size_looked_at, smallest
from lab.advice.sensitivity import ties
from lab.advice.weights import WeightRange, weight_ranges

RUNNERS_MAX = 3


@dataclass(frozen=True)
class Advice:
    """The answers to a `SelectionProblem`, or the levels that prevent one.

    `answer` has the fewest projections that meet the levels; `quickest` and `bargain` meet them, too. Where `unjudged`
    is not empty, none meets them for sure: the answers miss no level as far as is known, and those of these names have
    too few samples. `tied` are portfolios of the size of `answer` that the measurement can't distinguish from it,
    `next_best` the next ones that meet the levels, `near` those of at most its size that miss one, or that are not
    judged. `front` is the Pareto front. `standings` say what each candidate is good for, `deciders` which query alone
    decides.
    """

    problem: SelectionProblem
    answer: Portfolio | None
    quickest: Portfolio | None
    bargain: Portfolio | None
    binding: Binding | None
    tied: tuple[Portfolio, ...]
    next_best: tuple[Portfolio, ...]
    near: tuple[Portfolio, ...]
    front: tuple[Portfolio, ...]
    weights: tuple[WeightRange, ...]
    standings: tuple[Standing, ...] = ()
    deciders: tuple[Decider, ...] = ()

    @property
    def unjudged(self) -> dict[str, Reading]:
        """Return the levels that are not judged for lack of samples, each with a figure that has too few."""
        return self.answer.unjudged if self.answer and self.problem.lenient else {}

    @property
    def feasible(self) -> bool | None:
        """Return whether a portfolio meets all levels; None if that is not judged for lack of samples."""
        return None if self.unjudged else self.answer is not None

    @property
    def bounded(self) -> bool:
        """Return whether every query has a level of time, so that what meets the levels is quick enough."""
        return all(self.problem.query_level(query) is not None for query in self.problem.queries)

    @property
    def recommended(self) -> Portfolio | None:
        """Return the portfolio to begin with: the fewest where levels say what is quick enough, else the bargain."""
        return self.answer if self.bounded else self.bargain

    @property
    def left_out(self) -> tuple[str, ...]:
        """Return what could not be considered, and which portfolios were not examined, as sentences."""
        size = size_looked_at(self.problem)
        if size == len(self.problem.projections):
            return self.problem.left_out
        return (*self.problem.left_out, f"all but the fewest: portfolios of more than {size} projections")

    @property
    def runners_up(self) -> tuple[Portfolio, ...]:
        """Return the portfolios that were not chosen: ties, the next best, then those that miss a level."""
        chosen = {each.names for each in (self.answer, self.quickest, self.bargain) if each}
        kept = {each.names: each for each in (*self.tied, *self.next_best, *self.near) if each.names not in chosen}
        return tuple(kept.values())


def advise(problem: SelectionProblem) -> Advice:
    """Find the three answers, with ties, runners-up, Pareto front, weight ranges, standings and deciding queries."""
    found = smallest(problem)
    if not found:
        lenient = replace(problem, lenient=True)
        if found := smallest(lenient):
            problem = lenient
    everything = portfolios(problem)
    # What is chosen comes first, and the others are compared with it.
    answer = fewest(found) if found else None
    found = [*([answer] if answer else []), *(each for each in found if each is not answer)]
    meeting = [each for each in everything if each.meets_levels]
    able = [*found, *(each for each in meeting if answer is None or len(each.members) != len(answer.members))]
    others = [each for each in meeting if answer is None or each.names != answer.names]
    return Advice(
        problem,
        answer,
        quickest(able) if answer else None,
        bargain(able) if answer else None,
        None if answer else binding(replace(problem, lenient=True)),
        tuple(ties(found)) if answer else (),
        tuple(others[:RUNNERS_MAX]),
        tuple(_near(everything, answer)),
        tuple(front(everything)),
        tuple(weight_ranges(answer, found)) if answer else (),
        tuple(standings(problem)),
        tuple(deciders(problem, answer)) if answer else (),
    )


def _near(everything: Sequence[Portfolio], answer: Portfolio | None) -> list[Portfolio]:
    """Return portfolios of at most the answer's size that miss a level or are not judged, the nearest first."""
    small = [each for each in everything if not answer or len(each.members) <= len(answer.members)]
    missing = [each for each in small if not each.meets_levels]
    missing.sort(
        key=lambda each: (len(each.misses), max((miss.overshoot for miss in each.misses), default=0), each.order)
    )
    return missing[:RUNNERS_MAX]

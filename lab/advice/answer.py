"""Assemble the advice: the answer, the portfolios that come near it, and the reasons. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lab.advice.binding import Binding, binding
from lab.advice.model import SelectionProblem
from lab.advice.portfolio import Portfolio, front, portfolios, size_looked_at, smallest
from lab.advice.sensitivity import WeightRange, ties, weight_ranges

RUNNERS_MAX = 3


@dataclass(frozen=True)
class Advice:
    """The answer to a `SelectionProblem`, or the levels that prevent one.

    `tied` are portfolios of the same size that the measurement can't distinguish from the answer, `next_best` the next
    ones that meet the levels, `near` those of at most the answer's size that miss a level. `front` is the Pareto front.
    """

    problem: SelectionProblem
    answer: Portfolio | None
    binding: Binding | None
    tied: tuple[Portfolio, ...]
    next_best: tuple[Portfolio, ...]
    near: tuple[Portfolio, ...]
    front: tuple[Portfolio, ...]
    weights: tuple[WeightRange, ...]

    @property
    def left_out(self) -> tuple[str, ...]:
        """Return what could not be considered, and which portfolios were not examined, as sentences."""
        size = size_looked_at(self.problem)
        if size == len(self.problem.projections):
            return self.problem.left_out
        return (*self.problem.left_out, f"runners-up and front: portfolios of more than {size} projections")

    @property
    def runners_up(self) -> tuple[Portfolio, ...]:
        """Return the portfolios that were not chosen: ties, the next best, then those that miss a level."""
        kept = {each.names: each for each in (*self.tied, *self.next_best, *self.near)}
        return tuple(kept.values())


def advise(problem: SelectionProblem) -> Advice:
    """Find the smallest portfolio that meets the levels, with its ties, runners-up, Pareto front and weight ranges."""
    found, everything = smallest(problem), portfolios(problem)
    answer = found[0] if found else None
    meeting = [each for each in everything if not each.misses and (answer is None or each.names != answer.names)]
    return Advice(
        problem,
        answer,
        None if answer else binding(problem),
        tuple(ties(found)) if found else (),
        tuple(meeting[:RUNNERS_MAX]),
        tuple(_near(everything, answer)),
        tuple(front(everything)),
        tuple(weight_ranges(found)) if found else (),
    )


def _near(everything: Sequence[Portfolio], answer: Portfolio | None) -> list[Portfolio]:
    """Return portfolios of at most the answer's size that miss a level, those that miss it least first."""
    missing = [each for each in everything if each.misses and (not answer or len(each.members) <= len(answer.members))]
    missing.sort(key=lambda each: (len(each.misses), max(miss.overshoot for miss in each.misses), each.order))
    return missing[:RUNNERS_MAX]

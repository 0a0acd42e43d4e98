"""Everything that there is to say to a question: the answer, what comes near it, and why. Pure."""

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
    """The answer, or what stands in its way.

    `tied` are portfolios of the same size that can't be told from the answer, `next_best` the next that meet the
    levels, `near` those that would come first, or second to nothing, but for a level. `front` is the Pareto front.
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
        """What could not be considered, and what was not looked at."""
        size = size_looked_at(self.problem)
        if size == len(self.problem.projections):
            return self.problem.left_out
        return (*self.problem.left_out, f"runners-up and front: portfolios of more than {size} projections")

    @property
    def runners_up(self) -> tuple[Portfolio, ...]:
        """What was not chosen: ties and the next best, then what misses a level."""
        kept = {each.names: each for each in (*self.tied, *self.next_best, *self.near)}
        return tuple(kept.values())


def advise(problem: SelectionProblem) -> Advice:
    """The smallest portfolio that meets the levels, with all that a person needs to believe it or not."""
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
    """Those that miss a level, and come before the answer in size or beside it: by how much they miss it."""
    missing = [each for each in everything if each.misses and (not answer or len(each.members) <= len(answer.members))]
    missing.sort(key=lambda each: (len(each.misses), max(miss.overshoot for miss in each.misses), each.order))
    return missing[:RUNNERS_MAX]

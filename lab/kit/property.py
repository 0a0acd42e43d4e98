"""A check of projectors: its description, its function on a trial, and the scripts that try it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from lab.base import stream
from lab.checks import OF_PROJECTORS, Check
from lab.kit.families import Family
from lab.kit.history import Shape
from lab.kit.reader import Observer, Violation
from lab.kit.script import TrialCase
from lab.kit.trial import TrialOutcome

Again = Callable[[TrialCase], TrialOutcome]
Look = Callable[[Observer, Again], Violation | None]


@dataclass(frozen=True)
class Property:
    """One check of projectors. `look` finds the violation in a trial, if there is one; `family` draws its cases.

    `restarts` says that it can be known only of a projector that has `reopen()`.
    """

    about: Check
    look: Look
    family: Family
    restarts: bool

    def case(
        self, seed: int, number: int, shape: Shape, *, recreate: bool = False, snapshot: bool = False
    ) -> TrialCase:
        """The `number`-th case of this property. It depends on nothing but these arguments."""
        rng = stream(seed, "kit", self.about.name, str(number))
        return replace(self.family(rng, shape, recreate, snapshot), recreates=recreate)


def tried_on(family: Family, *, restarts: bool = False) -> Callable[[Look], Property]:
    """Decorator: the function is the check of projectors that `lab.checks` describes under the function's name."""
    return lambda look: Property(OF_PROJECTORS[look.__name__], look, family, restarts)

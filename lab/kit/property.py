"""A check of projectors: its description, its function on a trial, and the scripts that try it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from lab.base import stream
from lab.checks import OF_PROJECTORS, Check
from lab.kit.families import Family, Setting
from lab.kit.history import Shape
from lab.kit.outcome import TrialOutcome
from lab.kit.reader import Observer, Violation
from lab.kit.script import TrialCase

Again = Callable[[TrialCase], TrialOutcome]
Look = Callable[[Observer, Again], Violation | None]

# What a feed promises, from the most to the least; each with what it says of the changes.
DELIVERIES: dict[str, str] = {
    "in-order": "each change once, in the order of commits",
    "at-least-once": "in the order of commits, and some again",
    "out-of-order": "in any order, some again, some lost until catch-up brings them",
}
# What a projector that polls meets: nothing is delivered to it.
POLLED = "polled"


def promised(delivery: str) -> str:
    """Say under which promise a verdict was reached."""
    if delivery == POLLED:
        return "where it polls a source in which some changes are committed late"
    return f"under {delivery} delivery ({DELIVERIES[delivery]})"


@dataclass(frozen=True)
class Property:
    """One check of projectors. `look` finds the violation in a trial, if there is one.

    `families` draw its cases, by what the feed promises; it isn't tried under a promise that is not there. `needs` is
    the method without which it can't be known. One that is `asked` is tried only if it is named.
    """

    about: Check
    look: Look
    families: dict[str, Family]
    needs: str
    asked: bool

    def case(
        self,
        seed: int,
        number: int,
        shape: Shape,
        *,
        recreate: bool = False,
        snapshot: bool = False,
        delivery: str = "out-of-order",
    ) -> TrialCase:
        """The `number`-th case of this property. It depends on nothing but these arguments."""
        rng = stream(seed, "kit", self.about.name, str(number))
        case = self.families[delivery](rng, Setting(number, shape, recreate, snapshot))
        return replace(case, recreates=recreate or case.recreates)


def tried_on(
    family: Family,
    *,
    in_order: Family | None = None,
    at_least_once: Family | None = None,
    polled: Family | None = None,
    needs: str = "",
    asked: bool = False,
) -> Callable[[Look], Property]:
    """Decorator: the function is the check of projectors that `lab.checks` describes under the function's name.

    `family` draws cases for a feed that promises nothing, the others for one that promises more, and `polled` for a
    projector that polls. What is tried in order is tried in the same way at least once.
    """
    found = {"in-order": in_order, "at-least-once": at_least_once or in_order, "out-of-order": family, POLLED: polled}
    families = {delivery: made for delivery, made in found.items() if made is not None}
    return lambda look: Property(OF_PROJECTORS[look.__name__], look, families, needs, asked)

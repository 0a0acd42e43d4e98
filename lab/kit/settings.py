"""What `lab check` takes with `--set`: how many histories a property is tried on, and how long a step may take."""

from __future__ import annotations

from collections.abc import Sequence

from lab.base import BadInput, Problem, nearest

# `patience`: seconds for which a step of a projector may take before it counts as one that doesn't return.
SETTINGS = ("histories", "patience")


def settings(overrides: Sequence[str]) -> dict[str, int]:
    """The settings of a command line. Raises BadInput with everything that is wrong with them."""
    found: dict[str, int] = {}
    problems: list[Problem] = []
    for override in overrides:
        name, sign, value = override.partition("=")
        where = f"--set {override}"
        if name.strip() not in SETTINGS:
            problems.append(Problem(where, f"`lab check` has no setting `{name.strip()}`", nearest(name, SETTINGS)))
        elif not sign or not value.strip().replace("_", "").isdecimal() or int(value) < 1:
            problems.append(Problem(where, "a whole number from 1 up is wanted", "for example --set histories=300"))
        else:
            found[name.strip()] = int(value)
    if problems:
        raise BadInput(problems)
    return found

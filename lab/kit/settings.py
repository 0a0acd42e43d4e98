"""What `lab check` takes with `--set`: how many histories a property is tried on, and how long a step may take."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lab.base import BadInput, Problem, nearest

# `patience`: seconds for which a step of a projector may take before it counts as one that doesn't return.
SETTINGS = ("histories", "patience")
# A million seconds are more than eleven days.
SETTING_MAX = 1_000_000
_WHOLE = re.compile(r"[0-9]{1,9}(_[0-9]{1,9})*")


def settings(overrides: Sequence[str]) -> dict[str, int]:
    """The settings of a command line. Raises BadInput with everything that is wrong with them."""
    found: dict[str, int] = {}
    problems: list[Problem] = []
    for override in overrides:
        name, sign, value = override.partition("=")
        where = f"--set {override}"
        if name.strip() not in SETTINGS:
            problems.append(Problem(where, f"`lab check` has no setting `{name.strip()}`", nearest(name, SETTINGS)))
        elif not sign or not 1 <= (number := _whole(value.strip())) <= SETTING_MAX:
            what = f"a whole number from 1 up to {SETTING_MAX:,} is wanted"
            problems.append(Problem(where, what, "for example --set histories=300"))
        else:
            found[name.strip()] = number
    if problems:
        raise BadInput(problems)
    return found


def _whole(text: str) -> int:
    """Return the whole number that a text says; 0 for anything else, and for one that is far too long."""
    return int(text) if len(text) <= 20 and _WHOLE.fullmatch(text) else 0

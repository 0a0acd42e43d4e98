"""What `lab check` takes: with `--set` how much is tried; what the feed promises; which properties."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lab.base import BadInput, Problem, nearest
from lab.kit.properties import PROPERTIES
from lab.kit.property import DELIVERIES

# `seconds`: after which no more histories are tried.
# `patience`: seconds for which a step of a projector may take before it counts as one that doesn't return.
SETTINGS = ("histories", "seconds", "patience")
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


def replayed(delivery: str, properties: Sequence[str], seed: int, rounds: int) -> str:
    """The options of a command line that does it again."""
    promise = "" if delivery == "out-of-order" else f"--delivery {delivery} "
    named = f"--properties {','.join(properties)} " if properties else ""
    return f"{promise}{named}--seed {seed} --set histories={rounds}"


def checked_subject(projector: str | None, program: str | None, selftest: bool, file: object) -> str:
    """Return what is to be tried: MODULE:OBJECT, or the command of `--exec`. Raises BadInput."""
    if (projector is None) == (program is None):
        what = "there is nothing to try" if program is None else "it can't be tried together with MODULE:OBJECT"
        way_out = (
            'name a projector, `lab check package.module:Projector`, or a program, `lab check --exec "node x.mjs"`'
        )
        raise BadInput([Problem("lab check" if program is None else "--exec", what, way_out)])
    if selftest and program is None:
        raise BadInput([Problem("--selftest", "it tests the adapter of a program", "give the program: --exec COMMAND")])
    if selftest and file:
        raise BadInput(
            [Problem("--selftest", "it has no verdicts on properties to write", "leave the file out; use --json")]
        )
    return str(program if projector is None else projector)


def _whole(text: str) -> int:
    """Return the whole number that a text says; 0 for anything else, and for one that is far too long."""
    return int(text) if len(text) <= 20 and _WHOLE.fullmatch(text) else 0


def contract(delivery: str, properties: str) -> tuple[str, ...]:
    """The properties of a command line, apart by commas, if any are named. Raises BadInput with all that is wrong."""
    problems: list[Problem] = []
    if delivery not in DELIVERIES:
        problems.append(Problem("--delivery", f"there is no delivery `{delivery}`", nearest(delivery, DELIVERIES)))
    names = tuple(dict.fromkeys(name.strip() for name in properties.split(",") if name.strip()))
    if properties and not names:
        problems.append(Problem("--properties", "it names none", "for example --properties converged,no_loss"))
    for name in names:
        if name not in PROPERTIES:
            problems.append(Problem("properties", f"there is no property `{name}`", nearest(name, PROPERTIES)))
        elif delivery in DELIVERIES and delivery not in PROPERTIES[name].families:
            valid = [promise for promise in DELIVERIES if promise in PROPERTIES[name].families]
            what = f"`{name}` is about what can't happen where delivery is {delivery}"
            problems.append(Problem("properties", what, f"it is tried under {' and '.join(valid)}"))
    if problems:
        raise BadInput(problems)
    return names

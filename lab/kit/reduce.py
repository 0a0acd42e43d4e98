"""The smallest case that still fails: fewer changes in the history, fewer steps, fewer deliveries in a step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from lab.kit.history import build
from lab.kit.script import Commit, Deliver, Lose, Poll, Rewind, Step, TrialCase
from lab.shrink import ddmin

TRIALS = 150


def reduce(case: TrialCase, fails: Callable[[TrialCase], bool]) -> TrialCase:
    """A case that fails and is small. Takes a bounded number of trials, and says the same every time."""

    def possible(smaller: TrialCase) -> bool:
        return smaller.possible() and fails(smaller)

    case = _one_by_one(case, possible)
    for _ in range(2):
        size = len(case.script), len(case.history.changes)
        # A new list of changes is numbered anew, so that ten revisions of which two matter become two.
        positions = list(range(1, len(case.history.changes) + 1))
        kept = ddmin(positions, lambda chosen: possible(_with_changes(case, chosen)), TRIALS)  # noqa: B023
        case = _with_changes(case, kept) if len(kept) < len(positions) else case
        case = case.with_script(
            ddmin(list(case.script), lambda steps: possible(case.with_script(steps)), TRIALS)  # noqa: B023
        )
        atoms = _atoms(case.script)
        case = case.with_script(
            _steps(case.script, ddmin(atoms, lambda some: possible(_with_atoms(case, some)), TRIALS))  # noqa: B023
        )
        if (len(case.script), len(case.history.changes)) == size:
            break
    return case


def _one_by_one(case: TrialCase, possible: Callable[[TrialCase], bool]) -> TrialCase:
    """Pages of one change where that does it too: a page brings its neighbours along."""
    steps: list[Step] = [Poll(1, step.lag) if isinstance(step, Poll) else step for step in case.script]
    for smaller in (replace(case.with_script(steps), page=1), case.with_script(steps), replace(case, page=1)):
        if smaller != case and possible(smaller):
            return smaller
    return case


def _with_changes(case: TrialCase, kept: Sequence[int]) -> TrialCase:
    """The same with these changes only, in positions from 1 again."""
    number = {position: index for index, position in enumerate(kept, 1)}
    old = [case.history.at(position) for position in kept]
    records = [_record(change["key"]) for change in old]
    optional = [name for index, (name, _) in enumerate(case.history.shape.columns) if index % 2]
    nulls = [bool(optional) and all(change[name] is None for name in optional) for change in old]
    plan = [(record, change["deleted"]) for record, change in zip(records, old, strict=True)]
    commits = [number[position] for position in case.history.commits if position in number]
    history = build(plan, case.history.shape, nulls, commits)
    script: list[Step] = []
    before = 0
    committed: list[int] = []
    for step in case.script:
        match step:
            case Commit(positions) | Deliver(positions) | Lose(positions):
                left = tuple(number[position] for position in positions if position in number)
                if isinstance(step, Commit):
                    committed += positions
                script += [type(step)(left)] if left else []
            case Rewind(count):
                before = sum(position in number for position in committed[:count])
                script.append(Rewind(before))
            case _:
                script.append(step)
    return replace(case, history=history, script=tuple(script))


def _record(key: Any) -> int:
    return int(str(key).removeprefix("key-"))


def _atoms(script: Sequence[Step]) -> list[tuple[int, int | None]]:
    """Each step with each of its deliveries: (step, place in it); None for a step without any."""
    found: list[tuple[int, int | None]] = []
    for index, step in enumerate(script):
        if isinstance(step, Commit | Deliver | Lose):
            found += [(index, place) for place in range(len(step.positions))]
        else:
            found.append((index, None))
    return found


def _steps(script: Sequence[Step], atoms: Sequence[tuple[int, int | None]]) -> list[Step]:
    places: dict[int, list[int]] = {}
    for index, place in atoms:
        places.setdefault(index, [])
        if place is not None:
            places[index].append(place)
    made: list[Step] = []
    for index, chosen in places.items():
        step = script[index]
        if isinstance(step, Commit | Deliver | Lose):
            step = type(step)(tuple(step.positions[place] for place in chosen))
        made.append(step)
    return made


def _with_atoms(case: TrialCase, atoms: Sequence[tuple[int, int | None]]) -> TrialCase:
    return case.with_script(_steps(case.script, atoms))

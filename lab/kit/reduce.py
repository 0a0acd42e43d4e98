"""The smallest case that still fails: fewer changes in the history, fewer steps, fewer deliveries in a step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from lab.kit.history import build
from lab.kit.script import PLACED, TOLD_MAX, Commit, Deliver, Each, Lose, Poll, Rewind, Step, Takeover, TrialCase
from lab.shrink import ddmin

TRIALS = 150


def reduce(case: TrialCase, fails: Callable[[TrialCase], bool]) -> TrialCase:
    """A case that fails and is small. Takes a bounded number of trials, and says the same every time."""

    def possible(smaller: TrialCase) -> bool:
        return smaller.possible() and fails(smaller)

    case = _shorter(_one_by_one(case, possible), possible)
    for _ in range(2):
        size = len(case.script), len(case.history.changes)
        # A new list of changes is numbered anew, so that ten revisions of which two matter become two.
        blocks = _blocks(case)
        kept = ddmin(blocks, lambda chosen: possible(_with_changes(case, _flat(chosen))), TRIALS)  # noqa: B023
        case = _with_changes(case, _flat(kept)) if len(kept) < len(blocks) else case
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
    steps: list[Step] = [Poll(1, step.lag, step.meanwhile) if isinstance(step, Poll) else step for step in case.script]
    for smaller in (replace(case.with_script(steps), page=1), case.with_script(steps), replace(case, page=1)):
        if smaller != case and possible(smaller):
            return smaller
    return case


def _shorter(case: TrialCase, possible: Callable[[TrialCase], bool]) -> TrialCase:
    """The fewest changes one at a time with which it fails still: how long what was remembered is remembered."""
    many = next((step.positions for step in case.script if isinstance(step, Each)), ())
    rest = [position for position in range(1, len(case.history.changes) + 1) if position not in set(many)]
    low, high = 0, len(many)
    while low < high:
        middle = (low + high) // 2
        smaller = _with_changes(case, sorted([*rest, *many[:middle]]))
        if possible(smaller):
            high = middle
        else:
            low = middle + 1
    return _with_changes(case, sorted([*rest, *many[:high]])) if high < len(many) else case


def _blocks(case: TrialCase) -> list[tuple[int, ...]]:
    """The positions, each by itself; those that come one at a time stay together."""
    many = next((step.positions for step in case.script if isinstance(step, Each)), ())
    inside = set(many)
    single = [(position,) for position in range(1, len(case.history.changes) + 1) if position not in inside]
    return sorted([*single, many] if many else single)


def _flat(blocks: Sequence[tuple[int, ...]]) -> list[int]:
    return sorted(position for block in blocks for position in block)


def _with_changes(case: TrialCase, kept: Sequence[int]) -> TrialCase:
    """The same with these changes only, in positions from 1 again."""
    number = {position: index for index, position in enumerate(kept, 1)}
    # Each at the time that it had.
    plan = [case.history.plan[position - 1]._replace(at=case.history.at(position)["committed_at"]) for position in kept]
    commits = [number[position] for position in case.history.commits if position in number]
    history = build(plan, case.history.shape, commits)
    script: list[Step] = []
    before = 0
    committed: list[int] = []
    for step in case.script:
        match step:
            case Commit(positions) | Deliver(positions) | Each(positions) | Lose(positions) | Takeover(positions):
                left = tuple(number[position] for position in positions if position in number)
                if isinstance(step, Commit):
                    committed += positions
                script += [type(step)(left)] if left else []
            case Poll(limit, lag, meanwhile):
                committed += meanwhile
                script.append(Poll(limit, lag, tuple(number[place] for place in meanwhile if place in number)))
            case Rewind(count):
                before = sum(position in number for position in committed[:count])
                script.append(Rewind(before))
            case _:
                script.append(step)
    return replace(case, history=history, script=tuple(script))


def _atoms(script: Sequence[Step]) -> list[tuple[int, int | None]]:
    """Each step with each of its deliveries: (step, place in it); None for one that has none, or too many to tell."""
    found: list[tuple[int, int | None]] = []
    for index, step in enumerate(script):
        if isinstance(step, PLACED) and len(step.positions) <= TOLD_MAX:
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
        if isinstance(step, PLACED) and chosen:
            step = type(step)(tuple(step.positions[place] for place in chosen))
        made.append(step)
    return made


def _with_atoms(case: TrialCase, atoms: Sequence[tuple[int, int | None]]) -> TrialCase:
    return case.with_script(_steps(case.script, atoms))

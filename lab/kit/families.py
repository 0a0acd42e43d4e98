"""The scripts that test each property, with one kind of fault at a time, so that a failure names its cause."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lab.kit import wild
from lab.kit.history import Planned, Shape, TrialHistory, build, draw
from lab.kit.script import Commit, Deliver, Die, Each, Lose, Poll, Rewind, Step, TrialCase

Random = np.random.Generator


@dataclass(frozen=True)
class Setting:
    """What a case is drawn for: the `number`-th of its property, and what the changes look like.

    `recreate`: records come back after a tombstone. `snapshot`: the feed shows last states alone.
    """

    number: int
    shape: Shape
    recreate: bool = False
    snapshot: bool = False


Family = Callable[[Random, Setting], TrialCase]


def chunks(rng: Random, positions: Sequence[int], most: int = 4) -> Iterator[tuple[int, ...]]:
    """The positions in their order, cut into batches of random size."""
    start = 0
    while start < len(positions):
        size = int(rng.integers(1, most + 1))
        yield tuple(positions[start : start + size])
        start += size


def _polls(rng: Random, share: float = 0.5) -> list[Step]:
    return [Poll(int(rng.integers(1, 5)))] if rng.random() < share else []


def delivered(rng: Random, setting: Setting, history: TrialHistory, messages: float) -> TrialCase:
    """A history once and in order: by messages with this probability, otherwise by catch-up."""
    by_messages = bool(rng.random() < messages)
    script: list[Step] = []
    for chunk in chunks(rng, history.commits):
        script.append(Commit(chunk))
        script += [Deliver(chunk)] if by_messages else _polls(rng)
    return TrialCase(history, tuple(script), not by_messages, int(rng.integers(1, 5)), setting.snapshot)


def in_order(messages: float = 0.5, deletes: float = 0.2) -> Family:
    """Everything once and in order: by messages with this probability, otherwise by catch-up."""

    def family(rng: Random, setting: Setting) -> TrialCase:
        history = draw(rng, setting.shape, deletes=deletes, nulls=0.3, recreate=setting.recreate)
        return delivered(rng, setting, history, messages)

    return family


def wild_values(messages: float = 0.5) -> Family:
    """Values that are awkward to keep, once and in order."""

    def family(rng: Random, setting: Setting) -> TrialCase:
        return delivered(rng, setting, wild.awkward(rng, setting.shape), messages)

    return family


def lossy(lose: float = 0.3, deletes: float = 0.0, rewind: bool = False) -> Family:
    """Messages in order, some lost, and catch-up that goes over everything at its own pace.

    With `rewind`, catch-up starts again from an earlier change now and then, and pages may come late.
    """

    def family(rng: Random, setting: Setting) -> TrialCase:
        history = draw(rng, setting.shape, deletes=deletes, recreate=setting.recreate)
        script: list[Step] = []
        committed = 0
        for chunk in chunks(rng, history.commits):
            script.append(Commit(chunk))
            committed += len(chunk)
            lost = tuple(position for position in chunk if rng.random() < lose)
            kept = tuple(position for position in chunk if position not in lost)
            if rng.random() < 0.7:
                script += [Lose(lost)] if lost else []
                script += [Deliver(kept)] if kept else []
            if rng.random() < (0.8 if rewind else 0.5):
                lag = int(rng.integers(1, 4)) if rewind and rng.random() < 0.4 else 0
                script.append(Poll(int(rng.integers(1, 7 if rewind else 5)), lag))
            if rewind and rng.random() < 0.15:
                script.append(Rewind(int(rng.integers(0, committed))))
        return TrialCase(history, tuple(script), True, int(rng.integers(1, 4)), setting.snapshot)

    return family


def duplicates(rng: Random, setting: Setting) -> TrialCase:
    """In order, and some again: never an older revision after a newer one of the same record.

    Now and then many others come between a change and its repetition, as many as windows of messages remember.
    """
    if many := wild.between(setting.number):
        history = build([Planned(1), *wild.others(rng, many, 2)], setting.shape)
        rest = history.commits[1:]
        return TrialCase(history, (Commit((1,)), Deliver((1,)), Commit(rest), Each(rest), Deliver((1,))))
    history = draw(rng, setting.shape, deletes=0.1, recreate=setting.recreate)
    if rng.random() < 0.25:
        return in_order(messages=0.0)(rng, Setting(setting.number, setting.shape, setting.recreate))
    script: list[Step] = []
    latest: dict[object, int] = {}
    for chunk in chunks(rng, history.commits):
        script += [Commit(chunk), Deliver(chunk)]
        latest |= {history.at(position)["key"]: position for position in chunk}
        known = list(latest.values())
        if rng.random() < 0.5:
            script.append(Deliver((known[int(rng.integers(len(known)))],)))
        if rng.random() < 0.2:
            # The batch as a whole comes again: its acknowledgement was lost.
            own = tuple(position for position in chunk if latest[history.at(position)["key"]] == position)
            script.append(Deliver(own + own[:1]))
    return TrialCase(history, tuple(script))


def shuffled(rng: Random, positions: Sequence[int], reach: float) -> list[int]:
    """The positions with each delayed by up to `reach` places: the further, the more overtake each other."""
    places = np.arange(len(positions)) + rng.random(len(positions)) * reach
    return [positions[index] for index in np.argsort(places, kind="stable")]


def reordered(rng: Random, setting: Setting) -> TrialCase:
    """Messages overtake each other; each comes once, and nothing is deleted."""
    history = draw(rng, setting.shape, deletes=0.0)
    sent = shuffled(rng, history.commits, float(rng.choice([2.0, 4.0, 12.0])))
    script: list[Step] = [Commit(history.commits), *(Deliver(chunk) for chunk in chunks(rng, sent))]
    return TrialCase(history, tuple(script))


def after_tombstones(rng: Random, setting: Setting) -> TrialCase:
    """Late messages and pages that were read earlier arrive after a tombstone; now and then after many others."""
    if many := wild.between(setting.number):
        history = build([Planned(1), Planned(1, True), *wild.others(rng, many, 2)], setting.shape)
        rest = history.commits[2:]
        return TrialCase(history, (Commit((1, 2)), Deliver((2,)), Commit(rest), Each(rest), Deliver((1,))))
    history = draw(rng, setting.shape, deletes=0.45, recreate=setting.recreate)
    if rng.random() < 0.6:
        sent = shuffled(rng, history.commits, float(rng.choice([2.0, 6.0, 20.0])))
        again = [position for position in history.commits if rng.random() < 0.2]
        script: list[Step] = [Commit(history.commits), *(Deliver(chunk) for chunk in chunks(rng, sent))]
        script += [Deliver(chunk) for chunk in chunks(rng, shuffled(rng, again, 5.0))]
        return TrialCase(history, tuple(script))
    script = []
    for chunk in chunks(rng, history.commits):
        script += [Commit(chunk), Deliver(chunk)]
        if rng.random() < 0.6:
            script.append(Poll(int(rng.integers(1, 5)), int(rng.integers(0, 4))))
    return TrialCase(history, tuple(script), True, 3, setting.snapshot)


def mixed(deletes: float) -> Family:
    """Messages run ahead, out of order and more than once; catch-up follows and brings old revisions."""

    def family(rng: Random, setting: Setting) -> TrialCase:
        history = draw(rng, setting.shape, deletes=deletes, nulls=0.4)
        ordered = bool(rng.random() < 0.5)
        script: list[Step] = []
        committed: list[int] = []
        for chunk in chunks(rng, history.commits):
            script.append(Commit(chunk))
            committed += chunk
            sent = list(chunk) if ordered else shuffled(rng, chunk, 3.0)
            script.append(Deliver(tuple(sent)))
            if rng.random() < 0.3:
                script.append(Deliver((committed[int(rng.integers(len(committed)))],)))
            script += _polls(rng, 0.3)
        return TrialCase(history, tuple(script), True, int(rng.integers(1, 4)), setting.snapshot)

    return family


def late_commits(rng: Random, setting: Setting) -> TrialCase:
    """Positions are taken in one order and committed in another, while catch-up polls; some while a page is read."""
    history: TrialHistory = draw(rng, setting.shape, late=True)
    script: list[Step] = []
    highest = 0
    for chunk in chunks(rng, history.commits, 3):
        late, highest = min(chunk) < highest, max(highest, *chunk)
        if rng.random() < (0.6 if late else 0.15):
            script.append(Poll(int(rng.integers(1, 5)), meanwhile=chunk))
            continue
        script.append(Commit(chunk))
        script += _polls(rng, 0.7)
    return TrialCase(history, tuple(script), True, int(rng.integers(1, 5)), setting.snapshot)


def crashes(deletes: float = 0.0, messages: float = 0.0, lost: float = 0.0) -> Family:
    """Everything in order, by messages or by catch-up, and the process dies at every kind of step.

    `messages` is the probability of a case by messages; `lost` that of one without a crash and with lost messages.
    """

    steps = ("before-apply", "between", "after-checkpoint", "idle")

    def family(rng: Random, setting: Setting) -> TrialCase:
        if lost and rng.random() < lost:
            return lossy()(rng, setting)
        history = draw(rng, setting.shape, deletes=deletes, recreate=setting.recreate, longest=12)
        by_messages = bool(messages) and bool(rng.random() < messages)
        script: list[Step] = []
        for chunk in chunks(rng, history.commits):
            script.append(Commit(chunk))
            if rng.random() < 0.4:
                script.append(Die(steps[int(rng.integers(len(steps)))], int(rng.integers(1, 7))))
            script += [Deliver(chunk)] if by_messages else _polls(rng, 0.7)
        return TrialCase(history, tuple(script), not by_messages, int(rng.integers(1, 5)), setting.snapshot)

    return family

"""The scripts that test each property, with one kind of fault at a time, so that a failure names its cause."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from lab.kit.history import Shape, TrialHistory, draw
from lab.kit.script import Commit, Deliver, Die, Lose, Poll, Rewind, Step, TrialCase

Random = np.random.Generator
# Draws a case: of which shape, whether records come back after a tombstone, whether the feed shows last states alone.
Family = Callable[[Random, Shape, bool, bool], TrialCase]


def _chunks(rng: Random, positions: Sequence[int], most: int = 4) -> Iterator[tuple[int, ...]]:
    """The positions in their order, cut into batches of random size."""
    start = 0
    while start < len(positions):
        size = int(rng.integers(1, most + 1))
        yield tuple(positions[start : start + size])
        start += size


def _polls(rng: Random, share: float = 0.5) -> list[Step]:
    return [Poll(int(rng.integers(1, 5)))] if rng.random() < share else []


def in_order(messages: float = 0.5) -> Family:
    """Everything once and in order: by messages with this probability, otherwise by catch-up."""

    def family(rng: Random, shape: Shape, recreate: bool, snapshot: bool) -> TrialCase:
        history = draw(rng, shape, deletes=0.2, nulls=0.3, recreate=recreate)
        by_messages = bool(rng.random() < messages)
        script: list[Step] = []
        for chunk in _chunks(rng, history.commits):
            script.append(Commit(chunk))
            script += [Deliver(chunk)] if by_messages else _polls(rng)
        return TrialCase(history, tuple(script), not by_messages, int(rng.integers(1, 5)), snapshot)

    return family


def lossy(lose: float = 0.3, deletes: float = 0.0, rewind: bool = False) -> Family:
    """Messages in order, some lost, and catch-up that goes over everything at its own pace.

    With `rewind`, catch-up starts again from an earlier change now and then, and pages may come late.
    """

    def family(rng: Random, shape: Shape, recreate: bool, snapshot: bool) -> TrialCase:
        history = draw(rng, shape, deletes=deletes, recreate=recreate)
        script: list[Step] = []
        committed = 0
        for chunk in _chunks(rng, history.commits):
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
        return TrialCase(history, tuple(script), True, int(rng.integers(1, 4)), snapshot)

    return family


def duplicates(rng: Random, shape: Shape, recreate: bool, snapshot: bool) -> TrialCase:
    """In order, and some again: never an older revision after a newer one of the same record."""
    history = draw(rng, shape, deletes=0.1, recreate=recreate)
    if rng.random() < 0.25:
        return in_order(messages=0.0)(rng, shape, recreate, False)
    script: list[Step] = []
    latest: dict[object, int] = {}
    for chunk in _chunks(rng, history.commits):
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


def _shuffled(rng: Random, positions: Sequence[int], reach: float) -> list[int]:
    """The positions with each delayed by up to `reach` places: the further, the more overtake each other."""
    places = np.arange(len(positions)) + rng.random(len(positions)) * reach
    return [positions[index] for index in np.argsort(places, kind="stable")]


def reordered(rng: Random, shape: Shape, recreate: bool, snapshot: bool) -> TrialCase:
    """Messages overtake each other; each comes once, and nothing is deleted."""
    history = draw(rng, shape, deletes=0.0)
    sent = _shuffled(rng, history.commits, float(rng.choice([2.0, 4.0, 12.0])))
    script: list[Step] = [Commit(history.commits), *(Deliver(chunk) for chunk in _chunks(rng, sent))]
    return TrialCase(history, tuple(script))


def after_tombstones(rng: Random, shape: Shape, recreate: bool, snapshot: bool) -> TrialCase:
    """Late messages and pages that were read earlier arrive after a tombstone."""
    history = draw(rng, shape, deletes=0.45, recreate=recreate)
    if rng.random() < 0.6:
        sent = _shuffled(rng, history.commits, float(rng.choice([2.0, 6.0, 20.0])))
        again = [position for position in history.commits if rng.random() < 0.2]
        script: list[Step] = [Commit(history.commits), *(Deliver(chunk) for chunk in _chunks(rng, sent))]
        script += [Deliver(chunk) for chunk in _chunks(rng, _shuffled(rng, again, 5.0))]
        return TrialCase(history, tuple(script))
    script = []
    for chunk in _chunks(rng, history.commits):
        script += [Commit(chunk), Deliver(chunk)]
        if rng.random() < 0.6:
            script.append(Poll(int(rng.integers(1, 5)), int(rng.integers(0, 4))))
    return TrialCase(history, tuple(script), True, 3, snapshot)


def mixed(deletes: float) -> Family:
    """Messages run ahead, out of order and more than once; catch-up follows and brings old revisions."""

    def family(rng: Random, shape: Shape, recreate: bool, snapshot: bool) -> TrialCase:
        history = draw(rng, shape, deletes=deletes, nulls=0.4)
        ordered = bool(rng.random() < 0.5)
        script: list[Step] = []
        committed: list[int] = []
        for chunk in _chunks(rng, history.commits):
            script.append(Commit(chunk))
            committed += chunk
            sent = list(chunk) if ordered else _shuffled(rng, chunk, 3.0)
            script.append(Deliver(tuple(sent)))
            if rng.random() < 0.3:
                script.append(Deliver((committed[int(rng.integers(len(committed)))],)))
            script += _polls(rng, 0.3)
        return TrialCase(history, tuple(script), True, int(rng.integers(1, 4)), snapshot)

    return family


def late_commits(rng: Random, shape: Shape, recreate: bool, snapshot: bool) -> TrialCase:
    """Positions are taken in one order and committed in another, while catch-up polls."""
    history: TrialHistory = draw(rng, shape, late=True)
    script: list[Step] = []
    for chunk in _chunks(rng, history.commits, 3):
        script.append(Commit(chunk))
        script += _polls(rng, 0.7)
    return TrialCase(history, tuple(script), True, int(rng.integers(1, 5)), snapshot)


def crashes(deletes: float = 0.0, messages: float = 0.0, lost: float = 0.0) -> Family:
    """Everything in order, by messages or by catch-up, and the process dies at every kind of step.

    `messages` is the probability of a case by messages; `lost` that of one without a crash and with lost messages.
    """
    steps = ("before-apply", "between", "after-checkpoint", "idle")

    def family(rng: Random, shape: Shape, recreate: bool, snapshot: bool) -> TrialCase:
        if lost and rng.random() < lost:
            return lossy()(rng, shape, recreate, snapshot)
        history = draw(rng, shape, deletes=deletes, recreate=recreate, longest=12)
        by_messages = bool(messages) and bool(rng.random() < messages)
        script: list[Step] = []
        for chunk in _chunks(rng, history.commits):
            script.append(Commit(chunk))
            if rng.random() < 0.4:
                script.append(Die(steps[int(rng.integers(len(steps)))], int(rng.integers(1, 7))))
            script += [Deliver(chunk)] if by_messages else _polls(rng, 0.7)
        return TrialCase(history, tuple(script), not by_messages, int(rng.integers(1, 5)), snapshot)

    return family

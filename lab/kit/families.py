"""The scripts that try each property: one kind of trouble at a time, so that a failure names its cause."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from lab.base import stream
from lab.kit.history import History, Shape, draw
from lab.kit.script import Case, Commit, Crash, Lose, Message, Poll, Rewind, Step

Random = np.random.Generator


def case(prop: str, seed: int, number: int, shape: Shape, *, recreate: bool = False, snapshot: bool = False) -> Case:
    """The `number`-th case for a property. It depends on nothing but these words."""
    rng = stream(seed, "kit", prop, str(number))
    return replace(FAMILIES[prop](rng, shape, recreate, snapshot), recreates=recreate)


def _chunks(rng: Random, positions: Sequence[int], most: int = 4) -> Iterator[tuple[int, ...]]:
    """The positions in their order, cut into batches of random size."""
    start = 0
    while start < len(positions):
        size = int(rng.integers(1, most + 1))
        yield tuple(positions[start : start + size])
        start += size


def _polls(rng: Random, share: float = 0.5) -> list[Step]:
    return [Poll(int(rng.integers(1, 5)))] if rng.random() < share else []


def _in_order(prop: str, messages: float = 0.5) -> Callable[[Random, Shape, bool, bool], Case]:
    """Everything once and in order: by messages, or by catch-up."""

    def family(rng: Random, shape: Shape, recreate: bool, snapshot: bool) -> Case:
        history = draw(rng, shape, deletes=0.2, nulls=0.3, recreate=recreate)
        by_messages = bool(rng.random() < messages)
        script: list[Step] = []
        for chunk in _chunks(rng, history.commits):
            script.append(Commit(chunk))
            script += [Message(chunk)] if by_messages else _polls(rng)
        return Case(prop, history, tuple(script), not by_messages, int(rng.integers(1, 5)), snapshot)

    return family


def _lossy(prop: str, deletes: float = 0.0, rewind: bool = False) -> Callable[[Random, Shape, bool, bool], Case]:
    """Messages in order, some lost, and catch-up that goes over everything at its own pace."""

    def family(rng: Random, shape: Shape, recreate: bool, snapshot: bool) -> Case:
        history = draw(rng, shape, deletes=deletes, recreate=recreate)
        lose = 0.0 if prop == "read_your_writes" else 0.3
        script: list[Step] = []
        committed = 0
        for chunk in _chunks(rng, history.commits):
            script.append(Commit(chunk))
            committed += len(chunk)
            lost = tuple(position for position in chunk if rng.random() < lose)
            kept = tuple(position for position in chunk if position not in lost)
            if rng.random() < 0.7:
                script += [Lose(lost)] if lost else []
                script += [Message(kept)] if kept else []
            if rng.random() < (0.8 if rewind else 0.5):
                lag = int(rng.integers(1, 4)) if rewind and rng.random() < 0.4 else 0
                script.append(Poll(int(rng.integers(1, 7 if rewind else 5)), lag))
            if rewind and rng.random() < 0.15:
                script.append(Rewind(int(rng.integers(0, committed))))
        return Case(prop, history, tuple(script), True, int(rng.integers(1, 4)), snapshot)

    return family


def _duplicates(rng: Random, shape: Shape, recreate: bool, snapshot: bool) -> Case:
    """In order, and some again: never an older revision after a newer one of the same record."""
    history = draw(rng, shape, deletes=0.1, recreate=recreate)
    if rng.random() < 0.25:
        return _in_order("no_double_effect", 0.0)(rng, shape, recreate, False)
    script: list[Step] = []
    latest: dict[object, int] = {}
    for chunk in _chunks(rng, history.commits):
        script += [Commit(chunk), Message(chunk)]
        latest |= {history.at(position)["key"]: position for position in chunk}
        known = list(latest.values())
        if rng.random() < 0.5:
            script.append(Message((known[int(rng.integers(len(known)))],)))
        if rng.random() < 0.2:
            # The batch as a whole comes again: its acknowledgement was lost.
            own = tuple(position for position in chunk if latest[history.at(position)["key"]] == position)
            script.append(Message(own + own[:1]))
    return Case("no_double_effect", history, tuple(script))


def _shuffled(rng: Random, positions: Sequence[int], reach: float) -> list[int]:
    """The positions with each delayed by up to `reach` places: the further, the more overtake each other."""
    places = np.arange(len(positions)) + rng.random(len(positions)) * reach
    return [positions[index] for index in np.argsort(places, kind="stable")]


def _reordered(rng: Random, shape: Shape, recreate: bool, snapshot: bool) -> Case:
    """Messages overtake each other; each comes once, and nothing is deleted."""
    history = draw(rng, shape, deletes=0.0)
    sent = _shuffled(rng, history.commits, float(rng.choice([2.0, 4.0, 12.0])))
    script: list[Step] = [Commit(history.commits), *(Message(chunk) for chunk in _chunks(rng, sent))]
    return Case("per_key_order", history, tuple(script))


def _after_tombstones(rng: Random, shape: Shape, recreate: bool, snapshot: bool) -> Case:
    """Late messages and pages that were read earlier arrive after a tombstone."""
    history = draw(rng, shape, deletes=0.45, recreate=recreate)
    if rng.random() < 0.6:
        sent = _shuffled(rng, history.commits, float(rng.choice([2.0, 6.0, 20.0])))
        again = [position for position in history.commits if rng.random() < 0.2]
        script: list[Step] = [Commit(history.commits), *(Message(chunk) for chunk in _chunks(rng, sent))]
        script += [Message(chunk) for chunk in _chunks(rng, _shuffled(rng, again, 5.0))]
        return Case("no_resurrection", history, tuple(script))
    script = []
    for chunk in _chunks(rng, history.commits):
        script += [Commit(chunk), Message(chunk)]
        if rng.random() < 0.6:
            script.append(Poll(int(rng.integers(1, 5)), int(rng.integers(0, 4))))
    return Case("no_resurrection", history, tuple(script), True, 3, snapshot)


def _mixed(prop: str) -> Callable[[Random, Shape, bool, bool], Case]:
    """Messages run ahead, out of order and more than once; catch-up follows and brings old revisions."""

    def family(rng: Random, shape: Shape, recreate: bool, snapshot: bool) -> Case:
        history = draw(rng, shape, deletes=0.0 if prop == "monotonic_reads" else 0.15, nulls=0.4)
        ordered = bool(rng.random() < 0.5)
        script: list[Step] = []
        committed: list[int] = []
        for chunk in _chunks(rng, history.commits):
            script.append(Commit(chunk))
            committed += chunk
            sent = list(chunk) if ordered else _shuffled(rng, chunk, 3.0)
            script.append(Message(tuple(sent)))
            if rng.random() < 0.3:
                script.append(Message((committed[int(rng.integers(len(committed)))],)))
            script += _polls(rng, 0.3)
        return Case(prop, history, tuple(script), True, int(rng.integers(1, 4)), snapshot)

    return family


def _late_commits(rng: Random, shape: Shape, recreate: bool, snapshot: bool) -> Case:
    """Positions are taken in one order and committed in another, while catch-up polls."""
    history: History = draw(rng, shape, late=True)
    script: list[Step] = []
    for chunk in _chunks(rng, history.commits, 3):
        script.append(Commit(chunk))
        script += _polls(rng, 0.7)
    return Case("no_skipped_gap", history, tuple(script), True, int(rng.integers(1, 5)), snapshot)


def _crashes(prop: str) -> Callable[[Random, Shape, bool, bool], Case]:
    """Everything in order, by messages or by catch-up, and the process dies at every kind of step."""
    steps = ("before-apply", "between", "after-checkpoint", "idle")

    def family(rng: Random, shape: Shape, recreate: bool, snapshot: bool) -> Case:
        if prop == "checkpoint_sound" and rng.random() < 0.4:
            return _lossy(prop)(rng, shape, recreate, snapshot)
        history = draw(rng, shape, deletes=0.1 if prop == "survives_crash" else 0.0, recreate=recreate, longest=12)
        by_messages = prop == "survives_crash" and bool(rng.random() < 0.5)
        script: list[Step] = []
        for chunk in _chunks(rng, history.commits):
            script.append(Commit(chunk))
            if rng.random() < 0.4:
                script.append(Crash(steps[int(rng.integers(len(steps)))], int(rng.integers(1, 7))))
            script += [Message(chunk)] if by_messages else _polls(rng, 0.7)
        return Case(prop, history, tuple(script), not by_messages, int(rng.integers(1, 5)), snapshot)

    return family


FAMILIES: dict[str, Callable[[Random, Shape, bool, bool], Case]] = {
    "converged": _in_order("converged"),
    "no_loss": _lossy("no_loss"),
    "no_double_effect": _duplicates,
    "no_resurrection": _after_tombstones,
    "per_key_order": _reordered,
    "no_rewind": _lossy("no_rewind", rewind=True),
    "checkpoint_sound": _crashes("checkpoint_sound"),
    "no_skipped_gap": _late_commits,
    "monotonic_reads": _mixed("monotonic_reads"),
    "read_your_writes": _lossy("read_your_writes", deletes=0.1),
    "no_phantom": _mixed("no_phantom"),
    "survives_crash": _crashes("survives_crash"),
}

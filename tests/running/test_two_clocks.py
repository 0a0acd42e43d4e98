"""One behaviour under two clocks: the wall's driver on a manual clock leaves the simulation's journal, bit by bit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from random import Random
from typing import Any

import manual
import numpy as np
import pytest
from effort import examples
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from manual import Story, on_the_wall, simulated

from lab.feed.writers import Timeline
from lab.running.follower import Follower
from lab.running.journal import Journal
from lab.running.lane import Lane, Pace
from lab.running.live import Heard, Waiting
from lab.running.worker import Worker
from lab.scenario import FaultsTable, ServiceModel

TICK = 1 / 64
# Fields of a journal for how it is kept, not for what happened: a wall clock's lane keeps no spans, and where arrays
# are spilled to is each journal's own.
KEEPING = ("spans", "spans_beside", "spill")


def ticks(low: int, high: int) -> st.SearchStrategy[float]:
    """Whole ticks, as seconds."""
    return st.integers(low, high).map(lambda number: number * TICK)


@st.composite
def faults(draw: st.DrawFn) -> FaultsTable:
    """Crashes, refusals, poison and slowness; a process is away at least as long as its last apply takes."""
    if not draw(st.booleans()):
        return FaultsTable()
    away = ticks(64, 128)
    steps = st.sampled_from(["before-apply", "between", "after-checkpoint"])
    crashes = draw(st.lists(st.tuples(ticks(0, 400), steps, away), max_size=2))
    slow = draw(st.lists(st.tuples(ticks(0, 300), ticks(1, 100)), max_size=1))
    return FaultsTable.model_validate(
        {
            "crashes": [{"at": at, "step": step, "lasts": lasts} for at, step, lasts in crashes],
            "crash": draw(st.sampled_from([0.0, 0.0, 0.1])),
            "down": draw(away),
            "refuse": draw(st.sampled_from([0.0, 0.1, 0.4])),
            "retry": draw(ticks(1, 20)),
            "poison": draw(st.sampled_from([0.0, 0.2])),
            "heals_at": draw(st.none() | ticks(0, 500)),
            "retry_parked": draw(ticks(1, 60)),
            "slow": [{"at": at, "lasts": lasts, "factor": 2.0} for at, lasts in slow],
        }
    )


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """Up to 40 changes of two entities, some delivered twice, some never; every setting small enough to matter."""
    changes = draw(st.lists(st.tuples(st.sampled_from(["item", "shelf"]), st.integers(1, 4)), min_size=1, max_size=40))
    count = len(changes)
    begun = np.cumsum(draw(st.lists(ticks(0, 12), min_size=count, max_size=count)))
    committed, timeline = begun, None
    gaps = draw(st.sampled_from(["", "", "naive", "horizon", "hold"]))
    if gaps:
        held = draw(
            st.lists(st.sampled_from([0, 0, 3, 40]).map(lambda number: number * TICK), min_size=count, max_size=count)
        )
        last: dict[Any, float] = {}
        committed = np.empty(count)
        for number, change in enumerate(changes):
            # A record is locked: its revisions are committed in their order.
            committed[number] = last[change] = max(float(begun[number]), last.get(change, 0.0)) + held[number]
        timeline = Timeline(begun, committed, np.arange(1, count + 1), np.zeros(count, bool))
    copies = draw(st.lists(st.tuples(st.integers(0, count - 1), ticks(0, 60)), max_size=50))
    deliveries = sorted(
        ((change, float(committed[change]) + delay) for change, delay in copies), key=lambda one: one[1]
    )
    pace = Pace(
        draw(st.integers(1, 6)),
        draw(ticks(0, 20)),
        draw(ticks(1, 60)),
        draw(st.booleans()),
        draw(st.sampled_from([1, 3, 1_000])),
    )
    rebuild = draw(st.none() | st.tuples(st.sampled_from(["in-place", "blue-green"]), ticks(0, 400)))
    if rebuild and not pace.polls:
        rebuild = None
    return Story(
        tuple(changes), committed, tuple(deliveries), timeline, gaps, draw(ticks(1, 60)), pace,
        draw(st.integers(1, 8)), draw(st.booleans()), draw(st.sampled_from(["revision", "ordered", "dedupe"])),
        draw(st.sampled_from([1, 1_000])), ServiceModel(per_batch=draw(ticks(0, 8)), per_row=draw(ticks(0, 2))),
        draw(faults()), rebuild, draw(st.integers(0, 99)),
    )  # fmt: skip


def told(story: Story, journal: Journal, batches: bool) -> dict[str, Any]:
    """All that a journal says: its notes row by row, or with `batches` note by note, and everything else as it is."""
    rows: dict[str, list[Any]] = {"handed": [], "applied": [], "refused": [], "dropped": [], "parked": []}
    for note in journal.notes:
        size = note.handed.size
        columns = (
            np.broadcast_to(np.asarray(value), size).tolist() for value in (note.source, note.began_at, note.visible_at)
        )
        handed = list(zip([note.entity] * size, [note.epoch] * size, note.handed.tolist(), *columns, strict=True))
        applied = list(zip(note.applied.positions.tolist(), note.written_at.tolist(), strict=True))
        for name, found in (("handed", handed), ("applied", applied)):
            rows[name] += [(found, note.crash, note.checkpoint)] if batches else found
        for name in ("refused", "dropped", "parked"):
            found = getattr(note.applied, name).tolist()
            rows[name] += [found] if batches else found
    rest = {name: getattr(journal, name) for item in fields(journal) if (name := item.name) not in KEEPING}
    # Of polls that found nothing only the number is kept. A checkpoint's poll is found by its time, and an empty one
    # may begin just when the checkpoint is moved: what had been committed by then must be the same without it.
    polled = np.array(sorted(rest.pop("polled_at")))
    asked_at = np.append(-np.inf, polled)[
        np.searchsorted(polled, [at for at, _, _ in journal.checkpoints], side="right")
    ]
    rest["committed_when_asked"] = np.searchsorted(np.sort(story.committed_at), asked_at, side="right").tolist()
    for name in ("overflowed", "forgotten"):
        rest[name] = [position for group in rest[name] for position in group.tolist()]
    rest["held"] = rest["held"].tolist()
    # Sizes of files are no matter of time.
    del rest["notes"], rest["peak_bytes"]
    return rows | rest


def differences(story: Story, blocked: bool = True) -> list[str]:
    """What the two journals of a story don't agree on."""
    # Two lanes in one process take turns, which a simulation of two processes doesn't know.
    blue_green = story.rebuild is not None and story.rebuild[0] == "blue-green"
    # Without faults a modelled run applies many batches together, later.
    modelled, real = simulated(story), on_the_wall(story, processors=blue_green or not blocked)
    must, found = told(story, modelled, story.faults.any), told(story, real, story.faults.any)
    wrong = [name for name, value in must.items() if found[name] != value]
    # The simulation skips polls, and makes none up.
    return wrong + ([] if set(modelled.polled_at) <= set(real.polled_at) else ["polled_at"])


@settings(max_examples=examples(100), suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(story=stories(), blocked=st.booleans())
def test_the_wall_leaves_the_journal_of_the_simulation(story: Story, blocked: bool) -> None:
    assert differences(story, blocked) == []


def test_a_skipped_poll_may_be_due_just_when_the_checkpoint_is_moved() -> None:
    at = np.zeros(1)
    story = Story(
        (("item", 1),), at, (), Timeline(at, at, np.array([1]), np.zeros(1, bool)), "naive", TICK,
        Pace(1, 0.0, TICK, True, 1), 1, False, "revision", 1, ServiceModel(per_batch=TICK, per_row=0.0),
        FaultsTable(), None, 0,
    )  # fmt: skip
    moved_at = [at for at, _, _ in simulated(story).checkpoints]
    assert set(moved_at) <= set(on_the_wall(story, processors=True).polled_at)
    assert not set(moved_at) & set(simulated(story).polled_at)
    assert not differences(story)


# Each of these is planted in what runs on the wall alone, and the stories must find it.


class LateBeat(Lane):
    """Skips a beat after each poll."""

    def _poll(self, start: float) -> None:
        super()._poll(start)
        self.due_at += self.pace.every


class Hasty(Lane):
    """Ignores how long messages are to linger."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.pace = replace(self.pace, linger=0.0)


class MessagesFirst(Lane):
    """Takes messages before a poll that is due at the same time."""

    def step(self, now: float) -> None:
        if self._batch_at() <= now:
            self._take(now)
        else:
            self._poll(now)


class Roomy(Waiting):
    """Has room for one message more."""

    def arrive(self, messages: Sequence[Heard], at: float) -> None:
        self.capacity += 1
        super().arrive(messages, at)
        self.capacity -= 1


class Forgetful(Waiting):
    """Removes messages as they are taken, whatever becomes of them."""

    def first(self, count: int) -> list[Heard]:
        found = super().first(count)
        super().acknowledge(count)
        return found

    def acknowledge(self, count: int) -> None:
        pass


class Unsound(Follower):
    """Moves the checkpoint with each piece of a snapshot feed."""

    def pieces(self, rows: int, ended: bool, ends: np.ndarray | None) -> Iterator[tuple[int, int, bool]]:
        for first, last, _ in super().pieces(rows, ended, ends):
            yield first, last, True


class Impatient(Follower):
    """Takes over from a projection that has shown more."""

    def level_with(self, other: Worker) -> bool:
        return True


class NeverRetried(Follower):
    """Leaves parked changes where they are."""

    def _retry(self, start: float) -> float:
        return start


PLANTED = (LateBeat, Hasty, MessagesFirst, Roomy, Forgetful, Unsound, NeverRetried)


def differ(story: Story, planted: type) -> bool:
    """True if the journals differ with this class on the wall."""
    name = next(name for name in ("Lane", "Waiting", "Follower") if issubclass(planted, getattr(manual, name)))
    must = told(story, simulated(story), story.faults.any)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manual, name, planted)
        found = told(story, on_the_wall(story, processors=True), story.faults.any)
    return must != found


@pytest.mark.parametrize("planted", PLANTED)
def test_a_difference_between_the_clocks_is_found(planted: type) -> None:
    generate = settings(max_examples=2_000, phases=[Phase.generate], database=None, deadline=None)
    assert find(stories(), lambda story: differ(story, planted), settings=generate, random=Random(1))


def test_a_projection_does_not_take_over_before_it_is_level() -> None:
    # A message has brought a change that the feed still keeps back, for an older transaction that is open.
    committed = np.array([100 * TICK, 3 * TICK])
    timeline = Timeline(np.array([0.0, TICK]), committed, np.array([1, 2]), np.zeros(2, bool))
    story = Story(
        (("item", 1), ("item", 2)), committed, ((1, 4 * TICK),), timeline, "horizon", 1.0,
        Pace(1, 0.0, 8 * TICK, True, 10), 4, True, "revision", 10, ServiceModel(per_batch=TICK, per_row=0.0),
        FaultsTable(), ("blue-green", 10 * TICK), 1,
    )  # fmt: skip
    assert not differences(story)
    swapped_at = simulated(story).swapped_at
    assert swapped_at is not None
    assert swapped_at > committed[0]
    assert differ(story, Impatient)

"""One generated scenario under both clocks: simulated, and by the wall's own driver on a clock that is moved by hand.

All times are whole ticks of 1/64 s: sums of such numbers are exact, so journals can be compared to the last bit.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl

from lab.base import Entity
from lab.feed.arrays import FeedArrays
from lab.feed.gaps import Gate
from lab.feed.published import Published
from lab.feed.writers import Timeline
from lab.place import FolderPlace
from lab.projection.applied import Applied
from lab.projection.guards import guarded_layout
from lab.projection.projector import Projector
from lab.running.follower import Follower
from lab.running.journal import Journal
from lab.running.lane import INFINITY, Lane, Pace, Timed
from lab.running.live import Heard, LiveService, LiveSource, Waiting
from lab.running.services import Modelled
from lab.running.simulated import Arrivals, drive
from lab.running.swap import BlueGreen, InPlace
from lab.running.trouble import Crashed, Trouble, faulty
from lab.running.wall import WallRunner
from lab.running.worker import Worker
from lab.running.worklog import WorkLog
from lab.scenario import FaultsTable, ServiceModel
from lab.stores import Store, store_class

ENTITIES = {name: Entity(name, "int", {"value": "int"}) for name in ("item", "shelf")}


@dataclass(frozen=True)
class Story:
    """A scenario: changes as (entity, key), their times of commit, deliveries as (change, when), and all settings."""

    changes: tuple[tuple[str, int], ...]
    committed_at: np.ndarray
    deliveries: tuple[tuple[int, float], ...]
    timeline: Timeline | None
    gaps: str
    gap_limit: float
    pace: Pace
    page: int
    every_revision: bool
    policy: str
    hold: int
    model: ServiceModel
    faults: FaultsTable
    rebuild: tuple[str, float] | None
    seed: int

    @property
    def end(self) -> float:
        """After everything has arrived, and every scheduled thing has happened."""
        times = [0.0, *self.committed_at, *(at for _, at in self.deliveries)]
        times += [crash.at for crash in self.faults.crashes] + ([self.rebuild[1]] if self.rebuild else [])
        times += list(self.timeline.ended_at) if self.timeline else []
        return max(times) + 1.0

    def published(self) -> Published:
        """The changes as they are published."""
        revisions: dict[tuple[str, int], int] = {}
        rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in ENTITIES}
        for position, (entity, key) in enumerate(self.changes, 1):
            revision = revisions[entity, key] = revisions.get((entity, key), 0) + 1
            at = float(self.committed_at[position - 1])
            rows[entity].append((position, key, revision, False, at, position))
        frames = {name: pl.DataFrame(rows[name], schema=ENTITIES[name].schema, orient="row") for name in ENTITIES}
        return Published.of(frames).committed(self.committed_at)

    def feeds(self, published: Published) -> dict[str, FeedArrays]:
        """What the feed shows of each entity at a time."""
        every = self.every_revision
        return {name: FeedArrays(frame, every, published.times(name)) for name, frame in published.frames.items()}

    def gate(self) -> Gate | None:
        """The strategy for gaps, if there are any."""
        return None if self.timeline is None else Gate.of(self.gaps, self.timeline, self.gap_limit)

    def trouble(self, published: Published) -> Trouble | None:
        """The faults, drawn from the seed."""
        if not self.faults.any:
            return None
        chosen = np.arange(len(self.changes))
        return Trouble(self.faults, published, chosen, np.random.default_rng(self.seed))

    def store(self, trouble: Trouble | None) -> Store:
        """A store with the faults around it."""
        layout = guarded_layout(self.policy, "records", ENTITIES)
        return faulty(store_class("memory")(FolderPlace(Path("unused")), layout), trouble)


def _timed(story: Story, lane: Lane, worker: Worker, make: Any) -> Timed:
    if story.rebuild is None:
        return lane
    mode, at = story.rebuild
    return InPlace(lane, worker, at) if mode == "in-place" else BlueGreen(lane, worker, at, make)


def _finished(lane: Lane) -> Worker:
    assert isinstance(lane.worker, Worker)
    return lane.worker


def simulated(story: Story, kind: type[Modelled] = Modelled) -> Journal:
    """The journal that the simulated clock leaves, with a service of this kind."""
    return followed(story, kind)[0]


def followed(story: Story, kind: type[Modelled] = Modelled) -> tuple[Journal, Arrivals]:
    """The same, with the inbox as it is left."""
    published, journal = story.published(), Journal()
    trouble = story.trouble(published)
    messages = np.array([change for change, _ in story.deliveries], np.int64)
    arrives_at = np.array([at for _, at in story.deliveries])
    inbox = Arrivals(messages, arrives_at, story.pace.capacity, lambda lost: journal.overflow(lost + 1))
    service = kind(published, story.feeds(published), story.model)

    def make() -> Projector:
        return Projector(story.store(trouble), story.policy, story.hold)

    worker = Worker(make(), service, inbox, journal, story.page, story.pace.batch, story.gate(), trouble)
    lane = Lane(story.pace, inbox, story.end, worker, spans=journal.spans)
    drive([_timed(story, lane, worker, make)])
    _finished(lane).finish(lane.free_at)
    return journal, inbox


@dataclass
class ManualClock:
    """A clock that stands still until it is waited for. `events` are (time, what arrives then), in order.

    Work that is spent moves it at once, as in a process that is blocked meanwhile. With `processors`, each lane has one
    of its own: the work of one lane keeps no other waiting, and the clock is put back when it has been noted.
    """

    events: list[tuple[float, Heard]]
    processors: bool
    inbox: Waiting | None = None
    runner: WallRunner | None = None
    time: float = 0.0
    spent: float = 0.0
    # When the work began that is being done.
    started: float = 0.0
    seen: list[float] = field(default_factory=list)

    def now(self) -> float:
        """The time, with the work so far."""
        return self.time + self.spent

    def spend(self, seconds: float) -> None:
        """Work."""
        if self.processors:
            self.spent += seconds
        else:
            self.time += seconds

    async def wait(self, until: float, woken: asyncio.Event) -> None:
        """Move to `until` or to the next arrival, whichever is earlier, and let arrive what is due by then."""
        self.spent = 0.0
        at = min(until, self.events[0][0] if self.events else INFINITY)
        assert self.runner is not None
        if at == INFINITY:
            self.runner.stop()
            return
        self.time = self.started = max(self.time, at)
        while self.events and self.events[0][0] <= self.time:
            assert self.inbox is not None
            arrived_at, message = self.events.pop(0)
            self.inbox.arrive([message], arrived_at)
            self.runner.wake()


class Reader:
    """What a live worker reads pages from: the feed as it is when the poll began."""

    def __init__(self, published: Published, feeds: dict[str, FeedArrays], clock: ManualClock) -> None:
        self.published, self.feeds, self.clock = published, feeds, clock

    def changes_since(self, entity: str, position: int, limit: int) -> pl.DataFrame:
        """The next changes."""
        return self.published.frames[entity][self.feeds[entity].page(position, limit, self.clock.started)]


def paced(clock: ManualClock, model: ServiceModel, trouble: Trouble | None) -> type[Projector]:
    """A projector whose work takes on this clock what the model says."""

    class Paced(Projector):
        def apply(self, entity: str, frame: pl.DataFrame, checkpoint: int | None = None) -> Applied:
            factor = 1.0 if trouble is None else trouble.factor(clock.now())
            seconds = (model.per_batch + model.per_row * frame.height) * factor
            try:
                applied = super().apply(entity, frame, checkpoint)
            except Crashed:
                clock.spend(seconds)
                raise
            clock.spend(seconds)
            return applied

        def retry(self, entity: str) -> Applied:
            applied = super().retry(entity)
            clock.spend(model.per_batch + model.per_row * applied.positions.size)
            return applied

        def reset(self) -> None:
            super().reset()
            clock.spend(model.per_batch)

    return Paced


def on_the_wall(story: Story, processors: bool) -> Journal:
    """The journal that the wall's driver, inbox and worker leave on a manual clock."""
    published, journal = story.published(), Journal()
    trouble = story.trouble(published)
    clock = ManualClock([(at, _heard(published, change)) for change, at in story.deliveries], processors)
    kind = paced(clock, story.model, trouble)
    truth = SimpleNamespace(
        publishes_every_revision=story.every_revision, head=lambda _: len(story.changes), close=lambda: None
    )
    reader = Reader(published, story.feeds(published), clock)
    domain = SimpleNamespace(entities=ENTITIES, contracts={})
    source = LiveSource(lambda: truth, lambda _: reader, domain)  # type: ignore[arg-type, return-value]
    inbox = clock.inbox = Waiting(story.pace.capacity, journal.overflow)
    service = LiveService(source, tuple(ENTITIES), WorkLog(clock.now), None)

    def make() -> Projector:
        return kind(story.store(trouble), story.policy, story.hold)

    worker = Follower(make(), service, inbox, journal, story.page, story.pace.batch, story.gate(), trouble)
    lane = Lane(story.pace, inbox, story.end, worker)
    clock.runner = WallRunner(_timed(story, lane, worker, make), clock)
    asyncio.run(clock.runner.run())
    heals_at = story.faults.heals_at
    clock.time, clock.spent, clock.processors = max(lane.free_at, heals_at or 0.0), 0.0, False
    _finished(lane).finish(lane.free_at)
    return journal


def _heard(published: Published, change: int) -> Heard:
    entity, row = published.change(change)
    return Heard(entity, tuple(row.values()), ())

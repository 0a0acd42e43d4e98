"""The project step: every projection fed through simulated time, by messages, by polls, or by both."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lab.base import stream
from lab.channel.simulated import Deliveries
from lab.experiment.progress import Progress
from lab.experiment.strands import Strand, strands
from lab.experiment.write import Written
from lab.feed.arrays import FeedArrays
from lab.feed.gaps import Gate
from lab.feed.published import Published
from lab.measure import lag
from lab.projection.projector import Projector
from lab.running.journal import Journal
from lab.running.lane import Lane, Timed
from lab.running.services import Measured, Modelled
from lab.running.simulated import Arrivals, drive
from lab.running.swap import BlueGreen, InPlace
from lab.running.trouble import Trouble
from lab.running.worker import Worker
from lab.truth import Truth
from lab.wiring import Plan, ProjectionPlan


@dataclass
class Live:
    """One projection that has been fed: its projector, its journal, and when each change was visible in it.

    `chosen` are the indices of the changes that it subscribes to, `strand` the source of truth that it was fed from.
    """

    plan: ProjectionPlan
    projector: Projector
    chosen: np.ndarray
    strand: Strand
    journal: Journal = field(default_factory=Journal)
    visible: np.ndarray = field(default_factory=lambda: np.empty(0))
    gate: Gate | None = None
    # Of a projection that was thrown away in place: when, and when each change was visible after that.
    again: tuple[float, np.ndarray] | None = None

    def lose(self, messages: np.ndarray) -> None:
        """Record messages, by the indices of their changes, that found the inbox full."""
        self.journal.overflow(messages + 1)

    @property
    def published(self) -> Published:
        """The changes with the times at which they were committed for this projection."""
        return self.strand.published


@dataclass
class Projected:
    """All projections after they were fed, and the source of truth."""

    lives: list[Live]
    main: Strand
    every: list[Strand]


def project(plan: Plan, written: Written, truth: Truth, work: Path, progress: Progress) -> Projected:
    """Feed every projection to the end; the source of truth is complete afterwards."""
    main, by_strategy = strands(plan, written, truth, lambda: plan.truth(work / "queued-truth"))
    lives, lanes, drivers = [], [], []
    for item in plan.projections:
        strand = by_strategy[item.gaps]
        chosen = strand.published.of_entities(tuple(item.layout.entities))
        trouble = _trouble(plan, item, strand, chosen)
        live = Live(item, item.projector(work / item.name, trouble), chosen, strand)
        if strand.timeline is not None:
            live.gate = Gate.of(item.gaps, strand.timeline, item.gap_limit)
        heard, arrives_at = _heard(live, strand.sent)
        inbox = Arrivals(heard, arrives_at, item.pace.capacity, live.lose)
        worker = _worker(plan, live, inbox, trouble)
        lane = Lane(item.pace, inbox, strand.published.end, worker)
        lives.append(live)
        lanes.append(lane)
        drivers.append(_driver(live, lane, worker, work))
    progress.step("projecting", max(strand.published.end for strand in by_strategy.values()))
    drive(drivers, progress.done)
    for live, lane in zip(lives, lanes, strict=True):
        assert isinstance(lane.worker, Worker)
        lane.worker.finish(lane.free_at)
        live.projector, live.gate = lane.worker.projector, lane.worker.gate
    every = list({id(strand): strand for strand in by_strategy.values()}.values())
    for strand in every:
        strand.replay.finish()
    for live in lives:
        live.visible = lag.visible_at(live.published, live.journal, live.plan.subsumes)
        if live.journal.resets:
            since = live.journal.epoch
            after = lag.visible_at(live.published, live.journal, live.plan.subsumes, since)
            live.again = live.journal.resets[-1], after
    return Projected(lives, main, every)


def _trouble(plan: Plan, item: ProjectionPlan, strand: Strand, chosen: np.ndarray) -> Trouble | None:
    if not item.faults.any:
        return None
    return Trouble(item.faults, strand.published, chosen, stream(plan.scenario.seed, "faults", item.name))


def _worker(plan: Plan, live: Live, inbox: Arrivals, trouble: Trouble | None) -> Worker:
    item, strand = live.plan, live.strand
    service: Measured | Modelled
    if plan.scenario.time.service == "measured":
        reader, entities = item.subscription(strand.truth), tuple(item.layout.entities)
        service = Measured(strand.published, entities, reader, strand.replay.advance)
    else:
        every = strand.truth.publishes_every_revision
        feeds = {
            name: FeedArrays(strand.published.frames[name], every, strand.published.times(name))
            for name in item.layout.entities
        }
        service = Modelled(strand.published, feeds, item.model)
    page, batch = plan.scenario.catch_up.page, item.table.batch
    return Worker(live.projector, service, inbox, live.journal, page, batch, live.gate, trouble)


def _driver(live: Live, lane: Lane, worker: Worker, work: Path) -> Timed:
    """Return the lane, or the lane with its scheduled rebuild."""
    item = live.plan
    rebuild = item.table.rebuild
    if rebuild is None:
        return lane
    if rebuild.mode == "in-place":
        return InPlace(lane, worker, rebuild.at)
    return BlueGreen(lane, worker, rebuild.at, lambda: item.projector(work / f"{item.name}-green", worker.trouble))


def _heard(live: Live, sent: Deliveries | None) -> tuple[np.ndarray, np.ndarray]:
    """The deliveries that a projection listens to: the changes they carry, and when they arrive."""
    if sent is None or not live.plan.by_messages:
        return np.empty(0, np.int64), np.empty(0)
    size = live.published.committed_at.size
    if live.chosen.size == size:
        return sent.message, sent.arrives_at
    mine = np.zeros(size, bool)
    mine[live.chosen] = True
    heard = mine[sent.message]
    return sent.message[heard], sent.arrives_at[heard]

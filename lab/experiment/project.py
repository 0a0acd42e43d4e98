"""The project step: every projection fed through simulated time, by messages, by polls, or by both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from lab.base import stream
from lab.conformance.job import Conformance
from lab.experiment.progress import Progress
from lab.experiment.strands import Strand, strands
from lab.experiment.write import Written
from lab.feed.arrays import FeedArrays
from lab.feed.gaps import Gate, GivenUp
from lab.feed.published import Published
from lab.measure import lag
from lab.measure.midrun import Glance, Onlooker, Questions
from lab.measure.parts import Arrived
from lab.place import FolderPlace
from lab.projection.projector import Projector
from lab.running.batches import transaction_ends
from lab.running.journal import Journal
from lab.running.lane import Lane, Timed
from lab.running.services import Measured, Modelled
from lab.running.simulated import Arrivals, drive
from lab.running.swap import BlueGreen, InPlace
from lab.running.trouble import Trouble
from lab.running.worker import Worker
from lab.spill import Spill
from lab.truth import Truth
from lab.wiring import Plan, ProjectionPlan


@dataclass
class Live:
    """One projection that has been fed: its projector, its journal, and when each change was visible in it.

    `chosen` are the indices of the changes that it subscribes to, `strand` the source of truth that it was fed from,
    `visible` seconds by index, `looks` what it answered meanwhile. `again`, of a projection that was thrown away in
    place: when, and when each change was visible after that. `conformance`: what came of the trials of its store; None
    without any. `arrived`: the messages that came to its inbox; None without a channel. `calm` marks those of `chosen`
    that no fault has disturbed; None if that was not looked for. `fresh`, on the wall clock: those of `chosen` that
    were committed since the clock began.
    """

    plan: ProjectionPlan
    projector: Projector
    chosen: np.ndarray
    strand: Strand
    journal: Journal
    visible: np.ndarray
    gate: Gate | GivenUp | None = None
    again: tuple[float, np.ndarray] | None = None
    looks: Sequence[Glance] = ()
    conformance: Conformance | None = None
    arrived: Arrived | None = None
    calm: np.ndarray | None = None
    fresh: np.ndarray | None = None

    @property
    def published(self) -> Published:
        """The changes with the times at which they were committed for this projection."""
        return self.strand.published

    def release(self) -> None:
        """Close the store and give back the memory of the journal, once both have been judged."""
        self.projector.store.close()
        self.journal, self.looks, self.arrived = Journal(), (), None


@dataclass
class Projected:
    """All projections after they were fed, and the source of truth.

    `order` has the names of the projections in the order in which they were given work that was due at the same time.
    """

    lives: list[Live]
    main: Strand
    every: list[Strand]
    order: list[str] = field(default_factory=list)


def project(plan: Plan, written: Written, truth: Truth, work: FolderPlace, progress: Progress) -> Projected:
    """Feed every projection to the end; the source of truth is complete afterwards."""
    main, by_strategy = strands(plan, written, truth, lambda: plan.truth(work.within("queued-truth")))
    oracle = written.oracle
    questions = Questions.draw(plan.scenario.seed, plan.queries, oracle.tables, oracle.histories)
    feeds = [_Feed.of(plan, item, by_strategy[item.gaps], questions, work) for item in plan.projections]
    every = list({id(strand): strand for strand in by_strategy.values()}.values())
    progress.step("projecting", max(strand.published.end for strand in every))
    turns = list(range(len(feeds)))
    if plan.scenario.time.service == "measured":
        # None of them is always the first after a commit: that one finds the caches as the source of truth left them.
        turns = stream(plan.scenario.seed, "order of feeds").permutation(len(feeds)).tolist()
    drive([feeds[turn].driver for turn in turns], progress.done)
    lives = [feed.finished() for feed in feeds]
    for strand in every:
        progress.step("loading the source of truth", strand.published.committed_at.size)
        strand.replay.finish(progress.done)
    return Projected(lives, main, every, [feeds[turn].plan.name for turn in turns])


@dataclass(frozen=True)
class _Feed:
    """One projection while it is fed: `driver` moves its lane through simulated time, and what happens is noted."""

    plan: ProjectionPlan
    strand: Strand
    chosen: np.ndarray
    journal: Journal
    lane: Lane
    driver: Timed
    onlooker: Onlooker

    @classmethod
    def of(cls, plan: Plan, item: ProjectionPlan, strand: Strand, questions: Questions, work: FolderPlace) -> _Feed:
        """Open the projection's store below `work`, and put a worker on a lane before it."""
        journal = Journal(spill=Spill(strand.published.spill.folder))
        chosen = strand.published.of_entities(tuple(item.layout.entities))
        trouble = _trouble(plan, item, strand, chosen)
        heard, arrives_at = _heard(item, strand, chosen)
        inbox = Arrivals(heard, arrives_at, item.pace.capacity, lambda lost: journal.overflow(lost + 1))
        worker = Worker(
            item.projector(work.within(item.name), trouble),
            _service(plan, item, strand),
            inbox,
            journal,
            plan.scenario.catch_up.page,
            item.table.batch,
            None if strand.timeline is None else Gate.of(item.gaps, strand.timeline, item.gap_limit),
            trouble,
            item.layout.refresh,
        )
        if item.table.atomic == "transaction":
            worker.ends = partial(transaction_ends, strand.published)
        worker.watch = onlooker = Onlooker(item.name, questions, item.queries, strand.published, chosen)
        lane = Lane(item.pace, inbox, strand.published.end, worker, spans=journal.spans)
        return cls(item, strand, chosen, journal, lane, _driver(item, lane, worker, work), onlooker)

    def finished(self) -> Live:
        """Try once more what is parked, and return what has come of the projection."""
        worker, published, journal, subsumes = self.lane.worker, self.strand.published, self.journal, self.plan.subsumes
        assert isinstance(worker, Worker)
        worker.finish(self.lane.free_at)
        again = None
        if journal.resets:
            again = journal.resets[-1], lag.visible_at(published, journal, subsumes, journal.epoch)
        visible = lag.visible_at(published, journal, subsumes)
        gate = worker.gate
        assert gate is None or isinstance(gate, Gate)
        found = Live(self.plan, worker.projector, self.chosen, self.strand, journal, visible, gate, again)
        found.looks, found.arrived = self.onlooker.looks, self._arrived()
        return found

    def _arrived(self) -> Arrived | None:
        inbox = self.lane.inbox
        assert isinstance(inbox, Arrivals)
        listens = self.plan.by_messages and self.strand.messages is not None
        return Arrived(inbox.messages, inbox.arrives_at) if listens else None


def _trouble(plan: Plan, item: ProjectionPlan, strand: Strand, chosen: np.ndarray) -> Trouble | None:
    if not item.faults.any:
        return None
    return Trouble(item.faults, strand.published, chosen, stream(plan.scenario.seed, "faults", item.name))


def _service(plan: Plan, item: ProjectionPlan, strand: Strand) -> Measured | Modelled:
    """Create what times the work: a stopwatch, or the scenario's formula."""
    if plan.scenario.time.service == "measured":
        reader, entities = item.subscription(strand.truth), tuple(item.layout.entities)
        return Measured(strand.published, entities, reader, strand.replay.advance)
    every = strand.truth.publishes_every_revision
    feeds = {name: FeedArrays.of(strand.published, name, every) for name in item.layout.entities}
    rng = stream(plan.scenario.seed, "service", item.name)
    return Modelled(strand.published, feeds, item.model, rng, item.recorded)


def _driver(item: ProjectionPlan, lane: Lane, worker: Worker, work: FolderPlace) -> Timed:
    """Return the lane, or the lane with its scheduled rebuild."""
    rebuild = item.table.rebuild
    if rebuild is None:
        return lane
    if rebuild.mode == "in-place":
        return InPlace(lane, worker, rebuild.at)
    return BlueGreen(
        lane, worker, rebuild.at, lambda: item.projector(work.within(f"{item.name}-green"), worker.trouble)
    )


def _heard(item: ProjectionPlan, strand: Strand, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The deliveries that a projection listens to: the changes they carry, and when they arrive."""
    if strand.messages is None or not item.by_messages:
        return np.empty(0, np.int64), np.empty(0)
    sent = strand.messages.to(item.name)
    size = strand.published.committed_at.size
    if chosen.size == size:
        return sent.message, sent.arrives_at
    mine = np.zeros(size, bool)
    mine[chosen] = True
    heard = mine[sent.message]
    return sent.message[heard], sent.arrives_at[heard]

"""The project step: every projection fed through simulated time, by messages, by polls, or by both."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lab.base import stream
from lab.channel.simulated import Deliveries, transmit
from lab.experiment.progress import Progress
from lab.experiment.write import Replay, Written
from lab.feed.arrays import FeedArrays
from lab.feed.published import Published
from lab.measure import lag
from lab.measure.queries import Asked
from lab.projection.lane import Lane, drive
from lab.projection.projector import Projector
from lab.projection.workers import Journal, Measured, Modelled
from lab.truth import Truth
from lab.wiring import Plan, ProjectionPlan


@dataclass
class Live:
    """One projection that has been fed: its projector, its journal, and when each change was visible in it.

    `chosen` are the indices of the changes that it subscribes to.
    """

    plan: ProjectionPlan
    projector: Projector
    chosen: np.ndarray
    journal: Journal = field(default_factory=Journal)
    visible: np.ndarray = field(default_factory=lambda: np.empty(0))
    asked: list[Asked] = field(default_factory=list)


def deliveries(plan: Plan, published: Published) -> Deliveries | None:
    """What the channel does to the run's messages: the same to every projection, so that they can be compared."""
    if plan.scenario.channel is None:
        return None
    rng = stream(plan.scenario.seed, "channel")
    return transmit(published.committed_at, published.record, plan.scenario.channel, rng)


def project(
    plan: Plan, written: Written, truth: Truth, sent: Deliveries | None, work: Path, progress: Progress
) -> tuple[list[Live], Replay]:
    """Feed every projection to the end; the source of truth is complete afterwards."""
    published = written.published
    end = float(published.committed_at[-1]) if published.committed_at.size else 0.0
    replay = Replay(truth, written.events)
    lives, lanes, planned = [], [], []
    for item in plan.projections:
        live = Live(item, item.projector(work / item.name), published.of_entities(tuple(item.layout.entities)))
        heard, arrives_at = _heard(live, published, sent)
        page, batch = plan.scenario.catch_up.page, item.table.batch
        worker: Measured | Modelled
        if plan.scenario.time.service == "measured":
            feed = item.subscription(truth)
            worker = Measured(live.projector, feed, replay.advance, page, batch, published, heard, live.journal)
        else:
            every = truth.publishes_every_revision
            feeds = {name: FeedArrays(published.frames[name], every) for name in item.layout.entities}
            worker = Modelled(live.projector, feeds, item.model, page, batch, published, heard, live.journal)
            planned.append(worker)
        lives.append(live)
        lanes.append(Lane(item.pace, arrives_at, end, worker))
    progress.step("projecting", end)
    drive(lanes, progress.done)
    for worker in planned:
        worker.carry_out()
    replay.finish()
    for live in lives:
        live.visible = lag.visible_at(published, live.journal, live.plan.subsumes)
    return lives, replay


def _heard(live: Live, published: Published, sent: Deliveries | None) -> tuple[np.ndarray, np.ndarray]:
    """The deliveries that a projection listens to: the changes they carry, and when they arrive."""
    if sent is None or not live.plan.by_messages:
        return np.empty(0, np.int64), np.empty(0)
    if live.chosen.size == published.committed_at.size:
        return sent.message, sent.arrives_at
    mine = np.zeros(published.committed_at.size, bool)
    mine[live.chosen] = True
    heard = mine[sent.message]
    return sent.message[heard], sent.arrives_at[heard]

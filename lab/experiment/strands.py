"""The commit histories of a run: one, or a second one in which the writers take turns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lab.base import stream
from lab.channel.simulated import Deliveries, transmit
from lab.experiment.write import Replay, Written
from lab.feed.published import Published
from lab.feed.writers import Timeline, Transactions
from lab.truth import Truth
from lab.wiring import Plan


@dataclass
class Strand:
    """One way in which the run's changes come to be committed. `timeline` is None when writers simply take turns."""

    published: Published
    truth: Truth
    replay: Replay
    sent: Deliveries | None
    timeline: Timeline | None = None


def strands(plan: Plan, written: Written, truth: Truth, other: Callable[[], Truth]) -> tuple[Strand, dict[str, Strand]]:
    """The main strand, and for each gap strategy the one that its readers see.

    `other` opens a second source of truth, for writers that queue beside writers that don't: same commands, same
    positions, other times of commit.
    """
    writers = plan.scenario.writers
    if writers is None:
        only = _strand(plan, written, written.published, truth, None)
        return only, dict.fromkeys(("naive", "serialise", "horizon", "hold"), only)
    published = written.published
    work = Transactions.draw(published.committed_at, published.record, writers, plan.scenario.seed)
    together = work.concurrent()
    main = _strand(plan, written, published.committed(together.committed_at), truth, together)
    found = dict.fromkeys(("naive", "horizon", "hold"), main)
    if any(item.gaps == "serialise" for item in plan.projections):
        queued = work.queued()
        found["serialise"] = _strand(plan, written, published.committed(queued.committed_at), other(), queued)
    return main, found


def _strand(plan: Plan, written: Written, published: Published, truth: Truth, timeline: Timeline | None) -> Strand:
    return Strand(published, truth, Replay(truth, written.events, published), deliveries(plan, published), timeline)


def deliveries(plan: Plan, published: Published) -> Deliveries | None:
    """Simulate the channel for the run's messages, with the same result for every projection."""
    if plan.scenario.channel is None:
        return None
    rng = stream(plan.scenario.seed, "channel")
    return transmit(published.committed_at, published.record, plan.scenario.channel, rng)

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


class Messages:
    """What the simulated channel makes of the run's messages, for each projection on its own or for all alike.

    A projection's draws come from the seed and its name, so they don't depend on which other projections there are.
    """

    def __init__(self, plan: Plan, published: Published) -> None:
        channel = plan.scenario.channel
        assert channel is not None
        self.options, self.published, self._seed = channel, published, plan.scenario.seed
        self._drawn: dict[str, Deliveries] = {}

    @property
    def shared(self) -> bool:
        """True if one draw serves all projections."""
        return self.options.draws == "shared"

    def to(self, projection: str) -> Deliveries:
        """What arrives at the projection of this name."""
        name = "" if self.shared else projection
        if name not in self._drawn:
            rng = stream(self._seed, "channel", *([name] if name else []))
            at, record, spill = self.published.committed_at, self.published.record, self.published.spill
            self._drawn[name] = transmit(at, record, self.options, rng, spill)
        return self._drawn[name]


@dataclass
class Strand:
    """One way in which the run's changes come to be committed.

    `messages` is None without a channel, `timeline` when writers simply take turns.
    """

    published: Published
    truth: Truth
    replay: Replay
    messages: Messages | None
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
    messages = Messages(plan, published) if plan.scenario.channel is not None else None
    return Strand(published, truth, Replay(truth, written.events, published), messages, timeline)

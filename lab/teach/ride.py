"""Send a few changes through the channel into projections, and record every step for an animation.

The changes come from the domain's workload, the messages from the simulated channel, and each projection is a real
projector with a real guard.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import polars as pl

from lab.base import stream
from lab.channel.simulated import transmit
from lab.domain.model import Options
from lab.scenario import ChannelTable
from lab.stores.whole import dump
from lab.teach.desk import Reader, source_of_truth
from lab.teach.experiments import messages

# Per record, what a projection shows: its revision, and whether it is live.
Shown = dict[int, tuple[int, bool]]


@dataclass(frozen=True)
class Ride:
    """The changes (a change frame), the copies that were sent (`journal`, by position), and what was shown when.

    `times[i]` is when the i-th copy arrived, and `shown[guard][i]` what the projection with that guard shows since
    then; `shown[guard][0]` is the empty projection, so there is one more of them than times.
    """

    changes: pl.DataFrame
    journal: pl.DataFrame
    times: tuple[float, ...]
    shown: dict[str, tuple[Shown, ...]]

    @property
    def end(self) -> float:
        """Return when the last copy arrived, in simulated seconds."""
        return max(self.times[-1] if self.times else 0.0, float(self.changes["committed_at"][-1]))

    def at(self, guard: str, seconds: float) -> Shown:
        """Return what the projection with this guard shows at a time."""
        return self.shown[guard][int(np.searchsorted(self.times, seconds, side="right"))]

    def truth_at(self, seconds: float) -> Shown:
        """Return what the source of truth holds at a time."""
        known = self.changes.filter(pl.col("committed_at") <= seconds)
        return {
            key: (revision, not deleted)
            for key, revision, deleted in known.select("key", "revision", "deleted").iter_rows()
        }

    def went_back(self, guard: str) -> int:
        """Count the arrivals after which the projection showed an older revision than before."""
        steps = zip(self.shown[guard], self.shown[guard][1:], strict=False)
        return sum(after[key][0] < revision for before, after in steps for key, (revision, _) in before.items())

    def wrong_at_the_end(self, guard: str) -> int:
        """Count the records that differ from the source of truth after the last arrival."""
        right, found = self.truth_at(np.inf), self.at(guard, np.inf)
        return sum(found.get(key) != state for key, state in right.items())


@lru_cache(maxsize=64)
def ride(
    changes: int = 14,
    records: int = 3,
    duplicate: float = 0.2,
    lose: float = 0.0,
    reorder: float = 0.35,
    guards: Sequence[str] = ("revision", "none"),
    seed: int = 7,
) -> Ride:
    """Send `changes` of a few records, ten a second; a detour takes half a second on average."""
    truth = source_of_truth("history")
    options = Options(records=records, commands=4 * changes, rate=10.0, skew=0.2, deletes=0.08, arrivals="uniform")
    for command in truth.domain.workload(options, stream(seed, "workload")):
        if truth.head("employee") < changes:
            truth.execute(command)
    frame = truth.changes_since("employee", 0, changes)
    channel = ChannelTable.model_validate(messages(duplicate=duplicate, lose=lose, reorder=reorder, delay=0.05))
    sent = transmit(frame["committed_at"].to_numpy(), frame["key"].to_numpy(), channel, stream(seed, "channel"))
    shown: dict[str, tuple[Shown, ...]] = {}
    for guard in guards:
        reader = Reader(truth, "memory", guard=guard)
        states: list[Shown] = [{}]
        for index in sent.message.tolist():
            reader.hear(frame[[index]])
            rows = dump(reader.projector.store, "employee").select("key", "revision", "deleted").iter_rows()
            states.append({key: (revision, not deleted) for key, revision, deleted in rows})
        shown[guard] = tuple(states)
    return Ride(frame, sent.journal, tuple(sent.arrives_at.tolist()), shown)

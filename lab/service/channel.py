"""The live faulty channel: what `lab.channel` computes for a whole run at once, for messages as they come.

It knows no clock: whoever drives it says what time it is. What happens to a message is decided when it is sent, but for
an outage, which may begin while it is on its way.
"""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from lab.scenario import ChannelTable, Delay, Reorder
from lab.scenario.draws import delays
from lab.scenario.tables import Probability


class Faults(BaseModel):
    """What the channel does to messages now. `outage`: what would arrive is held until it is over, or lost."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    delay: Delay = Delay()
    duplicate: Probability = 0.0
    lose: Probability = 0.0
    reorder: Reorder = Reorder()
    ordered_by_key: bool = False
    outage: Literal["none", "held", "lost"] = "none"

    @classmethod
    def of(cls, table: ChannelTable) -> Faults:
        """A scenario's channel. Its outages are at simulated times; here they are switched by hand."""
        return cls(
            delay=table.delay,
            duplicate=table.duplicate,
            lose=table.lose,
            reorder=table.reorder,
            ordered_by_key=table.ordered_by_key,
        )


@dataclass
class LiveChannel:
    """Messages on their way. `capacity` bounds how many; what finds no room is gone, and counted."""

    faults: Faults
    rng: np.random.Generator
    capacity: int
    counts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("sent", "delivered", "duplicated", "lost", "overflowed"), 0)
    )
    _on_the_way: list[tuple[float, int, Any]] = field(default_factory=list)
    _held: list[Any] = field(default_factory=list)
    _last: dict[Any, float] = field(default_factory=dict)
    _order: Any = field(default_factory=itertools.count)

    def send(self, messages: list[tuple[Any, Any]], now: float) -> None:
        """Messages that were published now, each with what tells its record from others."""
        faults, rng, count = self.faults, self.rng, len(messages)
        twice = np.flatnonzero(rng.random(count) < faults.duplicate)
        which = np.concatenate([np.arange(count), twice])
        takes = delays(faults.delay, which.size, rng)
        detour = rng.random(which.size) < faults.reorder.share
        takes += np.where(detour, delays(faults.reorder.extra, which.size, rng), 0.0)
        lost = rng.random(which.size) < faults.lose
        self.counts["sent"] += count
        self.counts["duplicated"] += twice.size
        self.counts["lost"] += int(lost.sum())
        for copy, (index, after, gone) in enumerate(zip(which.tolist(), takes.tolist(), lost.tolist(), strict=True)):
            if gone:
                continue
            if len(self._on_the_way) + len(self._held) >= self.capacity:
                self.counts["overflowed"] += 1
                continue
            record, message = messages[index]
            arrives = now + after
            if faults.ordered_by_key and copy < count:
                # As in a partition: behind the earlier ones of its record; a second copy keeps to no order.
                arrives = self._last[record] = max(arrives, self._last.get(record, 0.0))
            heapq.heappush(self._on_the_way, (arrives, next(self._order), message))

    def next_at(self) -> float | None:
        """When the next one arrives; None when none is on its way."""
        return self._on_the_way[0][0] if self._on_the_way else None

    def due(self, now: float) -> list[Any]:
        """What has arrived by now, in order; in an outage nothing does."""
        arrived: list[Any] = []
        while self._on_the_way and self._on_the_way[0][0] <= now:
            arrived.append(heapq.heappop(self._on_the_way)[2])
        if not self._on_the_way:
            self._last.clear()
        match self.faults.outage:
            case "held":
                self._held += arrived
                return []
            case "lost":
                self.counts["lost"] += len(arrived)
                return []
        arrived, self._held = self._held + arrived, []
        self.counts["delivered"] += len(arrived)
        return arrived

    @property
    def waiting(self) -> int:
        """How many are on their way, or held back by an outage."""
        return len(self._on_the_way) + len(self._held)

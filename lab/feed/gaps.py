"""Gap strategies: how far a reader may go in a feed whose positions are not committed in order.

`naive` takes what it sees, and never sees what commits later behind it. `serialise` lets the writers queue, so that
there are no gaps. `horizon` stops before the oldest transaction that is still open. `hold` stops at a
number that is missing, waits for it, and gives it up after a time: then it says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lab.feed.writers import Timeline


@dataclass
class Gate:
    """One reader's strategy. `limit` is how long `hold` waits for a missing number, in seconds.

    `given_up` lists the gaps that `hold` stopped waiting for: when, and the position that may come there after
    all (0 when its transaction had been rolled back).
    """

    strategy: str
    timeline: Timeline
    limit: float = 1.0
    given_up: list[tuple[float, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._settled_at = np.maximum.accumulate(self.timeline.ended_at)
        # The highest position among the first so many transactions.
        self._up_to = np.concatenate([[0], np.maximum.accumulate(self.timeline.position)]).astype(np.int64)
        self._next = 0
        self._waiting_since: dict[int, float] = {}

    def bound(self, at: float) -> int:
        """The highest position that may be read at `at` seconds; times must not fall from call to call."""
        if self.strategy == "horizon":
            return int(self._up_to[np.searchsorted(self._settled_at, at, side="right")])
        if self.strategy == "hold":
            return self._held(at)
        return int(self._up_to[-1])

    def _held(self, at: float) -> int:
        timeline = self.timeline
        started = int(np.searchsorted(timeline.taken_at, at, side="right"))
        window = slice(self._next, started)
        visible = (timeline.position[window] > 0) & (timeline.ended_at[window] <= at)
        last = self._next + int(np.flatnonzero(visible)[-1]) if visible.any() else -1
        missing = self._next + np.flatnonzero(~visible)
        # Where nothing has been seen behind a number, it is no gap yet.
        gaps = missing[missing < last].tolist()
        for number in gaps:
            self._waiting_since.setdefault(number, at)
        for number in gaps:
            if at - self._waiting_since[number] < self.limit:
                self._next = number
                return int(self._up_to[number])
            self.given_up.append((at, int(timeline.position[number])))
        self._next = max(self._next, last + 1)
        self._waiting_since.clear()
        return int(self._up_to[self._next])

    def keeps_back(self, at: float) -> bool:
        """Whether something that is committed, or will be, can't be read at `at` seconds and may be later."""
        return self.strategy in ("horizon", "hold") and self.bound(at) < int(self._up_to[-1])

"""Requests that a projection's process answers beside its work, in simulated time: one process does both, in turn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lab.running.lane import INFINITY, Lane


class BesideReaders:
    """A lane in a process that also answers requests, one at a time. A `Timed` around the lane.

    As in the event loop of the service, neither interrupts the other, and requests are answered in rounds: all that
    have arrived when a round begins. A step that is due while a round is going on starts after the next one, since the
    loop hears of new requests and of the time in the same turn. `late` draws by how many seconds a step starts later
    still.
    """

    def __init__(
        self, lane: Lane, arrives_at: np.ndarray, seconds: np.ndarray, late: Callable[[], float] = lambda: 0.0
    ) -> None:
        """`arrives_at` is sorted; `seconds` is what each request takes."""
        self.lane, self.arrives_at, self.seconds, self.late = lane, arrives_at, seconds, late
        # When each request was answered; infinity for those that are not yet.
        self.answered_at = np.full(arrives_at.size, INFINITY)
        self._next = 0
        self._free_at = 0.0

    def next_at(self) -> float:
        """When the lane's next work is due."""
        return self.lane.next_at()

    def step(self, now: float) -> None:
        """Answer what comes before the step, then execute it."""
        self.answer(now)
        if self._free_at > now:
            self._round(self._free_at)
        self.lane.step(max(now, self._free_at) + self.late())
        self._free_at = max(self._free_at, self.lane.free_at)

    def answer(self, until: float) -> None:
        """Answer requests in all rounds that begin at or before `until` seconds."""
        while self._next < self.arrives_at.size:
            begins = max(self._free_at, float(self.arrives_at[self._next]))
            if begins > until:
                break
            self._round(begins)

    def _round(self, begins: float) -> None:
        while self._next < self.arrives_at.size and self.arrives_at[self._next] <= begins:
            self._free_at = max(self._free_at, float(self.arrives_at[self._next])) + float(self.seconds[self._next])
            self.answered_at[self._next] = self._free_at
            self._next += 1

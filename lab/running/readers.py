"""Requests that a projection's process answers beside its work, in simulated time: one process does both, in turn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lab.running.lane import INFINITY, Lane


class BesideReaders:
    """A lane in a process that also answers requests, one at a time. A `Timed` around the lane.

    As in the event loop of the service, neither interrupts the other: all requests that have arrived when a step of
    the lane is due, and the step before it is over, are answered first. `late` draws by how many seconds a step
    starts later than it could.
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
        """Answer what has arrived by `now`, then execute the step."""
        self.answer(now)
        self.lane.step(max(now, self._free_at) + self.late())
        self._free_at = max(self._free_at, self.lane.free_at)

    def answer(self, until: float) -> None:
        """Answer the requests that have arrived by `until` seconds."""
        while self._next < self.arrives_at.size and self.arrives_at[self._next] <= until:
            self._free_at = max(self._free_at, float(self.arrives_at[self._next])) + float(self.seconds[self._next])
            self.answered_at[self._next] = self._free_at
            self._next += 1

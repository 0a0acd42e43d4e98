"""Requests that a projection's process answers beside its work, in simulated time: one process does both, in turn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lab.running.lane import INFINITY, Lane


class BesideReaders:
    """A lane in a process that also answers requests, one at a time. A `Timed` around the lane.

    As in the event loop of the service, neither interrupts the other. In each turn of the loop requests are answered
    that were read two turns ago, then a step is executed if one was due when the turn began, then requests are read
    that have arrived. `late` draws by how many seconds a step starts later still.
    """

    def __init__(
        self, lane: Lane, arrives_at: np.ndarray, seconds: np.ndarray, late: Callable[[], float] = lambda: 0.0
    ) -> None:
        """`arrives_at` is sorted; `seconds` is what each request takes."""
        self.lane, self.arrives_at, self.seconds, self.late = lane, arrives_at, seconds, late
        # When each request was answered; infinity for those that are not yet.
        self.answered_at = np.full(arrives_at.size, INFINITY)
        # How many requests have been answered, are answered in the next turn at the latest, and have been read.
        self._answered = self._ready = self._read = 0
        self._free_at = 0.0

    def next_at(self) -> float:
        """When the lane's next work is due."""
        return self.lane.next_at()

    def step(self, now: float) -> None:
        """Answer what comes before the step, then execute it."""
        self.answer(now)
        self.lane.step(max(now, self._free_at) + self.late())
        self._free_at = max(self._free_at, self.lane.free_at)
        self._look()

    def answer(self, until: float) -> None:
        """Take turns until one has begun at or after `until` seconds, or nothing is left to do before."""
        while True:
            if self._answered == self._read:
                arrives_at = self.arrives_at[self._read] if self._read < self.arrives_at.size else INFINITY
                if arrives_at >= until:
                    return
                self._free_at = max(self._free_at, float(arrives_at))
                self._look()
            due = self._free_at >= until
            self._turn()
            if due:
                return
            self._look()

    def _turn(self) -> None:
        for number in range(self._answered, self._ready):
            self._free_at += float(self.seconds[number])
            self.answered_at[number] = self._free_at
        self._answered, self._ready = self._ready, self._read

    def _look(self) -> None:
        self._read = max(self._read, int(np.searchsorted(self.arrives_at, self._free_at, side="right")))

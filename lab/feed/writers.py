"""Simulate concurrent writers: when each transaction takes its position, and when it ends.

A position is taken at the start and becomes visible at the commit, so positions are not committed in their order: a
reader that has seen position 8 may not have seen 7. Simulated here, for an engine that has one writer at a time;
rows are locked as they would be, so the revisions of one record are always committed in order.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np

from lab.base import stream
from lab.scenario import WritersTable
from lab.scenario.draws import delays


@dataclass(frozen=True)
class Timeline:
    """Transactions in the order in which they took their numbers; all arrays have one entry for each.

    `position` is the change that a transaction commits, 0 for one that is rolled back: its number stays
    unused for ever, as a database sequence leaves it. Times in seconds.
    """

    taken_at: np.ndarray
    ended_at: np.ndarray
    position: np.ndarray
    slept: np.ndarray

    @property
    def committed_at(self) -> np.ndarray:
        """Return when each change is committed, by position less 1."""
        return self._by_position(self.ended_at)

    @property
    def begun_at(self) -> np.ndarray:
        """Return when each change's position was taken, by position less 1."""
        return self._by_position(self.taken_at)

    def _by_position(self, values: np.ndarray) -> np.ndarray:
        kept = self.position > 0
        times = np.empty(int(kept.sum()))
        times[self.position[kept] - 1] = values[kept]
        return times

    @property
    def per_second(self) -> float:
        """Return the commits per second from the first start to the last commit."""
        if not self.taken_at.size:
            return 0.0
        took = float(self.ended_at.max() - self.taken_at.min())
        return float((self.position > 0).sum()) / took if took > 0 else float("inf")


@dataclass(frozen=True)
class Transactions:
    """The writers' transactions: when each command arrives, on which record, how long its transaction is open."""

    arrives_at: np.ndarray
    record: np.ndarray
    position: np.ndarray
    hold: np.ndarray
    slept: np.ndarray
    count: int

    @classmethod
    def draw(cls, arrives_at: np.ndarray, record: np.ndarray, options: WritersTable, seed: int) -> Transactions:
        """Draw a transaction for each change, and before some of them one on the same record that is rolled back."""
        rng = stream(seed, "writers")
        size = arrives_at.size
        aborted = rng.random(size) < options.abort
        # An aborted attempt goes before the one that succeeds.
        of = np.repeat(np.arange(size), 1 + aborted)
        last = np.append(of[1:] != of[:-1], True)[: of.size]
        hold = delays(options.hold, of.size, rng)
        slept = (rng.random(of.size) < options.sleep.share) & last
        hold = hold + np.where(slept, delays(options.sleep.lasts, of.size, rng), 0.0)
        return cls(arrives_at[of], record[of], np.where(last, of + 1, 0), hold, slept, options.count)

    def concurrent(self) -> Timeline:
        """Schedule `count` concurrent writers: numbers are taken at the start; only a lock on the same record waits."""
        taken, ended = np.empty(self.hold.size), np.empty(self.hold.size)
        free = [0.0] * self.count
        locked: dict[int, float] = {}
        rows = zip(self.arrives_at.tolist(), self.record.tolist(), self.hold.tolist(), strict=True)
        for number, (arrives_at, record, hold) in enumerate(rows):
            start = max(arrives_at, heapq.heappop(free))
            end = max(start, locked.get(record, 0.0)) + hold
            locked[record] = end
            heapq.heappush(free, end)
            taken[number], ended[number] = start, end
        return Timeline(taken, ended, self.position, self.slept)

    def queued(self) -> Timeline:
        """Schedule serialised writers: each takes its number under a lock that it keeps until the commit."""
        # One server: with S the running sum, end = S + running maximum of (arrival - former S).
        total = np.cumsum(self.hold)
        ended = total + np.maximum.accumulate(self.arrives_at - (total - self.hold)) if total.size else total
        return Timeline(ended - self.hold, ended, self.position, self.slept)

"""The simulated clock: a heap that executes lanes in one order of time, and inboxes whose arrivals are known before."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

import numpy as np

from lab.running.lane import INFINITY, Timed
from lab.spill import here
from lab.statistics.grouped import copied


class Arrivals:
    """The inbox of a simulated lane: `messages` and the times at which they arrive, sorted, as arrays.

    Messages that find no room are cut off when the queue is looked at, as they would have been one by one on arrival,
    and `lost` is called with them.
    """

    def __init__(
        self, messages: np.ndarray, arrives_at: np.ndarray, capacity: int, lost: Callable[[np.ndarray], None]
    ) -> None:
        self.messages, self.arrives_at = messages, arrives_at
        self.capacity, self.lost = capacity, lost
        self._first = 0
        self._copied = False

    def arrival(self, number: int) -> float:
        """When the message of this number in the queue arrives; infinity if there is none."""
        place = self._first + number
        return float(self.arrives_at[place]) if place < self.arrives_at.size else INFINITY

    def waiting(self, at: float) -> int:
        """How many messages wait at `at` seconds, after those without room have been cut off."""
        arrived = int(np.searchsorted(self.arrives_at, at, side="right"))
        room = self._first + self.capacity
        if arrived > room:
            self.lost(self.messages[room:arrived].copy())
            self._cut(room, arrived)
            return self.capacity
        return arrived - self._first

    def _cut(self, first: int, last: int) -> None:
        """Remove the arrivals `first` to `last` (exclusive), by moving the queue that stands before them."""
        if not self._copied:
            # The arrays are shared with other projections.
            self.messages, self.arrives_at = (copied(values, here()) for values in (self.messages, self.arrives_at))
            self._copied = True
        for values in (self.messages, self.arrives_at):
            queue = values[self._first : first].copy()
            # Nothing of what is removed stays behind the queue: what found room is told from the arrays later.
            values[self._first : last - self.capacity] = queue[0]
            values[last - self.capacity : last] = queue
        self._first = last - self.capacity

    def first(self, count: int) -> np.ndarray:
        """The first `count` messages of the queue."""
        return self.messages[self._first : self._first + count]

    def acknowledge(self, count: int) -> None:
        """Remove the first `count` messages."""
        self._first += count


def nothing_arrives() -> Arrivals:
    """The inbox of a lane that only polls."""
    return Arrivals(np.empty(0, np.int64), np.empty(0), 1, lambda _: None)


def drive(lanes: Sequence[Timed], progress: Callable[[float], None] = lambda _: None) -> None:
    """Execute all lanes to their end in one order of simulated time, so that a shared feed only moves forward."""
    queue = [(lane.next_at(), place) for place, lane in enumerate(lanes)]
    heapq.heapify(queue)
    while queue:
        at, place = heapq.heappop(queue)
        if at == INFINITY:
            break
        lanes[place].step(at)
        progress(at)
        heapq.heappush(queue, (lanes[place].next_at(), place))

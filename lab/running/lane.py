"""A lane: one projection's place in simulated time. One server, two things to do: take messages, and poll.

The lane decides *when*; a `Server` does the work and says how long it took. A micro-batch starts when the
projector is free and the batch is full, or its oldest message has lingered long enough. A poll starts when it
is due and the projector is free, goes on page by page while there is more, and has precedence over messages.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from lab.running.trouble import Interrupted

INFINITY = float("inf")


@dataclass(frozen=True)
class Pace:
    """How a projection takes its changes; times in seconds."""

    batch: int
    linger: float
    every: float
    polls: bool
    capacity: int


class Server(Protocol):
    """Does what a lane has decided, and says how long the projector was busy with it, in seconds."""

    def take(self, start: float, first: int, last: int) -> float:
        """Apply the deliveries `first` to `last` (exclusive). Raises Interrupted when it comes to nothing."""

    def poll(self, start: float) -> tuple[float, bool]:
        """Apply the next page of each entity; also says whether there is more to be had at once."""

    def overflow(self, first: int, last: int) -> None:
        """These deliveries found the queue full."""

    def unfinished(self, at: float) -> bool:
        """Whether a poll that finds nothing at this time may find more later."""


@dataclass
class Lane:
    """The queue of one projection. `arrives_at` are the times at which its deliveries arrive, in order.

    It is done when every delivery has been taken and a poll that began at or after `until` found nothing more.
    """

    pace: Pace
    arrives_at: np.ndarray
    until: float
    worker: Server
    free_at: float = 0.0
    taken: int = 0
    due_at: float = field(init=False)
    # The last page was a full one, or came to nothing: the next is asked for at once.
    more: bool = False
    # Nothing new is begun while a projection that was built beside takes over.
    paused: bool = False

    def __post_init__(self) -> None:
        self.due_at = self.pace.every if self.pace.polls else INFINITY

    def next_at(self) -> float:
        """When the next thing starts; infinity when there is nothing left."""
        return INFINITY if self.paused else min(self._poll_at(), self._batch_at())

    def _poll_at(self) -> float:
        return self.free_at if self.more else max(self.free_at, self.due_at)

    def _batch_at(self) -> float:
        if self.taken >= self.arrives_at.size:
            return INFINITY
        oldest = float(self.arrives_at[self.taken])
        ready = oldest + self.pace.linger
        full = self.taken + self.pace.batch - 1
        if full < self.arrives_at.size:
            ready = min(ready, float(self.arrives_at[full]))
        return max(self.free_at, ready)

    def step(self) -> None:
        """Do the next thing."""
        poll_at, batch_at = self._poll_at(), self._batch_at()
        if poll_at <= batch_at:
            self._poll(poll_at)
        else:
            self._take(batch_at)

    def _poll(self, start: float) -> None:
        try:
            seconds, self.more = self.worker.poll(start)
        except Interrupted as stop:
            self.free_at, self.more = stop.until, True
            return
        self.free_at = start + seconds
        if self.more:
            return
        if start >= self.until and self.taken >= self.arrives_at.size and not self.worker.unfinished(start):
            self.due_at = INFINITY
        else:
            # The next poll keeps to the beat; beats that were missed meanwhile are not made up for.
            missed = max(0.0, np.ceil((self.free_at - self.due_at) / self.pace.every) - 1)
            self.due_at += (missed + 1) * self.pace.every

    def _take(self, start: float) -> None:
        arrived = int(np.searchsorted(self.arrives_at, start, side="right"))
        last = min(arrived, self.taken + self.pace.batch)
        try:
            self.free_at = start + self.worker.take(start, self.taken, last)
        except Interrupted as stop:
            # They were not acknowledged: they are delivered again.
            self.free_at = stop.until
            return
        self.taken = last
        room = last + self.pace.capacity
        if arrived > room:
            self.worker.overflow(room, arrived)
            self.arrives_at = np.delete(self.arrives_at, np.s_[room:arrived])


class Timed(Protocol):
    """Anything that has a next thing to do at a time."""

    def next_at(self) -> float:
        """When; infinity for never again."""

    def step(self) -> None:
        """Do it."""


def drive(lanes: Sequence[Timed], progress: Callable[[float], None] = lambda _: None) -> None:
    """Run all lanes to their end in one order of simulated time, so that a shared feed only ever moves forward."""
    queue = [(lane.next_at(), place) for place, lane in enumerate(lanes)]
    heapq.heapify(queue)
    while queue:
        at, place = heapq.heappop(queue)
        if at == INFINITY:
            break
        lanes[place].step()
        progress(at)
        heapq.heappush(queue, (lanes[place].next_at(), place))


def single_server(arrives_at: np.ndarray, seconds: float) -> np.ndarray:
    """Departure times of one server that takes each arrival alone, for `seconds`; arrivals in order.

    With S the running sum of service, departure = S + running maximum of (arrival - former S): Lindley's
    recursion in closed form (D. V. Lindley, 1952). What `Lane` gives for a batch of 1 without polls.
    """
    served = seconds * np.arange(1, arrives_at.size + 1)
    # In place: at this length, fresh memory costs more than the sums.
    ahead: np.ndarray = served - seconds
    np.subtract(arrives_at, ahead, out=ahead)
    np.maximum.accumulate(ahead, out=ahead)
    ahead += served
    return ahead

"""A lane: one projection's schedule. One server with two kinds of work: take messages, and poll.

The lane decides *when*, the same under a simulated and under a wall clock; a `Server` does the work and returns how
long it took. A micro-batch starts when the projector is free and the batch is full, or its oldest message has lingered
long enough. A poll starts when it is due and the projector is free, continues page by page while there is more, and
has precedence over messages that are due at the same time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from lab.running.spans import DOWN, POLL, TAKE, Spans
from lab.running.trouble import Interrupted

INFINITY = math.inf
# Beats are computed so many at a time.
BEATS_AT_ONCE = 1_000_000


@dataclass(frozen=True)
class Pace:
    """How a projection takes its changes; times in seconds. `capacity` bounds how many messages wait."""

    batch: int
    linger: float
    every: float
    polls: bool
    capacity: int


class Inbox(Protocol):
    """The messages that wait for a projection, in the order of their arrival, bounded by a capacity.

    A message that arrives when as many wait as there is room for is lost. One leaves when it is acknowledged.
    """

    def arrival(self, number: int) -> float:
        """When the message of this number in the queue (from 0) arrived or will arrive; infinity if none is known."""

    def waiting(self, at: float) -> int:
        """How many messages wait at `at` seconds; times must not fall from call to call."""

    def acknowledge(self, count: int) -> None:
        """Remove the first `count` messages: they have been applied."""


class Server(Protocol):
    """Does what a lane has decided, and returns how long the projector was busy with it, in seconds."""

    def take(self, start: float, count: int) -> float:
        """Apply the first `count` messages of the inbox. Raises Interrupted when they must be delivered again."""

    def poll(self, start: float) -> tuple[float, bool]:
        """Apply the next page of each entity; also returns whether there is more to be read at once."""

    def unfinished(self, at: float) -> bool:
        """True if a poll that finds nothing at this time may find more later."""

    def quiet_until(self, at: float) -> float:
        """Before this time every poll after the one at `at` finds nothing and changes nothing; `at` if unknown."""

    def skip(self, beats: np.ndarray) -> None:
        """Note polls at these times that need not be executed, since each finds nothing."""


class Timed(Protocol):
    """Anything that a driver moves through time."""

    def next_at(self) -> float:
        """When it has something to do; infinity for never, or not before something arrives from outside."""

    def step(self, now: float) -> None:
        """Execute what is due next. `now` is `next_at()`, or later where a wall clock has gone on meanwhile."""


@dataclass
class Lane:
    """The schedule of one projection.

    It ends when no message is expected and a poll that began at or after `until` found nothing more; with `until`
    infinite, never. What it does when is noted in `spans`, if they are given.
    """

    pace: Pace
    inbox: Inbox
    until: float
    worker: Server
    free_at: float = 0.0
    spans: Spans | None = None
    due_at: float = field(init=False)
    # When the poll was due whose pages are being read.
    _pages_due_at: float = 0.0
    # The last page was a full one, or was interrupted: the next is read at once.
    more: bool = False
    # Nothing new is started while a projection that was built beside takes over.
    paused: bool = False
    # Polls from this time on are executed one by one, since another lane looks at what they leave.
    skips_until: float = INFINITY

    def __post_init__(self) -> None:
        self.due_at = self.pace.every if self.pace.polls else INFINITY

    def next_at(self) -> float:
        """When the next work starts; infinity when there is none left."""
        return INFINITY if self.paused else min(self._poll_at(), self._batch_at())

    def _poll_at(self) -> float:
        return self.free_at if self.more else max(self.free_at, self.due_at)

    def _batch_at(self) -> float:
        pace, inbox = self.pace, self.inbox
        ready = inbox.arrival(0) + pace.linger
        # A batch that is larger than the queue never fills.
        if ready < INFINITY and pace.batch <= pace.capacity:
            ready = min(ready, inbox.arrival(pace.batch - 1))
        return max(self.free_at, ready)

    def step(self, now: float) -> None:
        """Poll or take a batch, whichever is due first."""
        if self._poll_at() <= self._batch_at():
            self._poll(now)
        else:
            self._take(now)

    def _poll(self, start: float) -> None:
        if not self.more:
            self._pages_due_at = self.due_at
        try:
            seconds, self.more = self.worker.poll(start)
        except Interrupted as stop:
            self._interrupted(POLL, self._pages_due_at, start, stop)
            self.more = True
            return
        self.free_at = start + seconds
        self._note(POLL, self._pages_due_at, start)
        if self.more:
            return
        if start >= self.until and self.inbox.arrival(0) == INFINITY and not self.worker.unfinished(start):
            self.due_at = INFINITY
        elif self.due_at < INFINITY:
            # The next poll is at a multiple of the interval; missed polls are not repeated.
            missed = max(0, math.ceil((self.free_at - self.due_at) / self.pace.every) - 1)
            self.due_at += (missed + 1) * self.pace.every
            self._skip(start)

    def _skip(self, start: float) -> None:
        """Move on to the first beat whose poll can find something, or at which something else is due.

        It is the beat that the polls would have come to one by one, to the last bit: each adds the interval once.
        """
        if self.due_at < self.free_at:
            return
        until = min(self.worker.quiet_until(start), self._batch_at(), self.skips_until)
        if start < self.until:
            until = min(until, self.until)
        while self.due_at < until < INFINITY:
            size = min(BEATS_AT_ONCE, int((until - self.due_at) / self.pace.every) + 2)
            beats = np.full(size, self.pace.every)
            beats[0] = self.due_at
            np.add.accumulate(beats, out=beats)
            skipped = beats[: np.searchsorted(beats, until)]
            self.worker.skip(skipped)
            self.due_at = float(skipped[-1]) + self.pace.every

    def _take(self, start: float) -> None:
        count = min(self.inbox.waiting(start), self.pace.batch)
        try:
            self.free_at = start + self.worker.take(start, count)
        except Interrupted as stop:
            # They are not acknowledged: they are delivered again.
            self._interrupted(TAKE, start, start, stop)
            return
        self._note(TAKE, start, start)
        self.inbox.acknowledge(count)

    def _interrupted(self, kind: int, due: float, start: float, stop: Interrupted) -> None:
        self.free_at = stop.at
        self._note(kind, due, start)
        self.free_at = stop.until
        self._note(DOWN, due, stop.at)

    def _note(self, kind: int, due: float, start: float) -> None:
        if self.spans is not None:
            self.spans.note(kind, due, start, self.free_at)

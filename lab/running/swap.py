"""Rebuild under fire: projected again from the start while changes keep coming and readers keep reading.

In place, readers see the projection empty, then partial, then older than it was. Blue/green, a second projection is
built on another store from the same feed; when it has come as far as the first, the first one pauses, the second
catches up with the rest and takes over, and readers are switched to it at once. Both are state machines that
any driver moves on: the heap of simulated time, or the loop of a service.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lab.projection.projector import Projector
from lab.running.journal import Fault, Journal
from lab.running.lane import INFINITY, Lane
from lab.running.simulated import nothing_arrives
from lab.running.spans import POLL, TAKEN_OVER
from lab.running.worker import Worker


@dataclass
class InPlace:
    """A lane whose projection is emptied at `at` seconds and read again from position 0."""

    lane: Lane
    worker: Worker
    at: float
    _began: float = INFINITY
    _peak: int = 0
    _done: bool = False

    def __post_init__(self) -> None:
        self.lane.skips_until = self.at

    def next_at(self) -> float:
        """The lane's next work, or the rebuild when it is due."""
        return min(self.lane.next_at(), INFINITY if self._began < INFINITY else max(self.at, self.lane.free_at))

    def step(self, now: float) -> None:
        """Throw the projection away, or continue the lane until it has read everything again."""
        if self._began == INFINITY and max(self.at, self.lane.free_at) <= self.lane.next_at():
            self._began = now
            self._peak = self.worker.projector.store.size_bytes()
            self.lane.free_at = self.worker.reset(now)
            if self.lane.spans is not None:
                self.lane.spans.note(POLL, now, now, self.lane.free_at)
            self.lane.more = True
            self.lane.skips_until = INFINITY
            return
        polls = self.worker.polls
        self.lane.step(now)
        if self._began < INFINITY and not self._done and self.worker.polls > polls and not self.lane.more:
            self._done = True
            self.worker.carry_out()
            journal = self.worker.journal
            journal.rebuilt(self.lane.free_at, max(self._peak, self.worker.projector.store.size_bytes()))
            journal.fault(Fault("rebuild", self._began, self.lane.free_at, detail="in place"))


@dataclass
class BlueGreen:
    """A lane that is joined by a second one at `at` seconds, until the second one takes over.

    `make` opens the projector on the second store: empty, or filled in bulk up to its checkpoint. `point` makes the
    second store the one that a restart opens; when it raises, the first one stays. `taken_over` is called after the
    swap, when the first store has been closed.
    """

    lane: Lane
    worker: Worker
    at: float
    make: Callable[[], Projector]
    point: Callable[[], None] = lambda: None
    taken_over: Callable[[], None] = lambda: None
    green: Lane | None = None
    swapped: bool = False
    _builder: Worker | None = None

    def __post_init__(self) -> None:
        self.lane.skips_until = self.at

    def next_at(self) -> float:
        """Return the time of the earlier event of both lanes, or of the start of the second."""
        if self.swapped:
            return self.lane.next_at()
        if self.green is None:
            return min(self.lane.next_at(), self.at)
        return min(self.lane.next_at(), self.green.next_at())

    def step(self, now: float) -> None:
        """Execute the earlier work; switch when the second lane has read all that the first one showed."""
        if self.swapped:
            self.lane.step(now)
        elif self.green is None:
            if self.at <= self.lane.next_at():
                self._start(now)
            else:
                self.lane.step(now)
        elif self.green.next_at() <= self.lane.next_at():
            self.build(now)
        else:
            self.lane.step(now)

    def build(self, now: float) -> None:
        """Execute the second lane's next work."""
        assert self.green is not None
        self.green.step(now)
        if not self.green.more:
            self._approach()

    def _start(self, now: float) -> None:
        self._builder = self.worker.beside(self.make())
        journal = self._builder.journal
        assert isinstance(journal, Journal)
        self.green = Lane(self.lane.pace, nothing_arrives(), self.lane.until, self._builder, now, journal.spans)
        self.green.skips_until = now
        self.green.more = True

    def _approach(self) -> None:
        assert self.green is not None
        assert self._builder is not None
        # The first lane finishes what it is at; then the second reads what came meanwhile.
        if not self.lane.paused:
            self.lane.paused = True
            self.green.free_at = max(self.green.free_at, self.lane.free_at)
            self.green.more = True
        elif self._builder.level_with(self.worker):
            self._swap()
        else:
            # What the first showed is not yet to be had from the feed, for gaps in it: the next poll will tell.
            self._paused_until(self.green.free_at)
            self.lane.paused = False
            self.green.due_at = self.green.free_at + self.lane.pace.every

    def _paused_until(self, at: float) -> None:
        if self.lane.spans is not None:
            self.lane.spans.note(TAKEN_OVER, self.lane.free_at, self.lane.free_at, at)

    def _swap(self) -> None:
        assert self.green is not None
        assert self._builder is not None
        at = self.green.free_at
        for worker in (self.worker, self._builder):
            worker.carry_out()
            worker.refreshes.show(at)
        blue, journal = self.worker.projector.store, self.worker.journal
        peak = blue.size_bytes() + self._builder.projector.store.size_bytes()
        green = self._builder.journal
        assert isinstance(green, Journal)
        self._paused_until(at)
        journal.swap(green, at, self._builder.settled)
        # The last step that can fail: after it the first store is closed, and its files go.
        self.point()
        journal.rebuilt(at, peak)
        journal.fault(Fault("rebuild", self.at, at, detail="built beside, then swapped in"))
        self._builder.journal, self._builder.watch = journal, self.worker.watch
        self.worker = self.lane.worker = self._builder
        blue.close()
        self.lane.free_at, self.lane.due_at, self.lane.more = at, at + self.lane.pace.every, False
        self.lane.paused, self.swapped = False, True
        self.lane.skips_until = INFINITY
        self._builder.watched(at, "swap")
        self.taken_over()

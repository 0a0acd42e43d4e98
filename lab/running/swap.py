"""Rebuild under fire: thrown away and projected again while changes keep coming and readers keep reading.

In place, readers see the projection empty, then partial, then older than it was. Beside (blue/green), a second
projection is built on another store from the same feed; when it has come as far as the first, the first one pauses, the
second catches up with what is left and takes over, and readers are switched to it at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from lab.projection.projector import Projector
from lab.running.journal import Fault
from lab.running.lane import INFINITY, Lane
from lab.running.worker import Worker


@dataclass
class InPlace:
    """A lane whose projection is thrown away at `at` seconds and read again from position 0."""

    lane: Lane
    worker: Worker
    at: float
    _began: float = INFINITY
    _done: bool = False

    def next_at(self) -> float:
        """The lane's next thing, or the rebuild when it is due."""
        return min(self.lane.next_at(), INFINITY if self._began < INFINITY else max(self.at, self.lane.free_at))

    def step(self) -> None:
        """Throw away, or go on with the lane until it has read everything again."""
        if self._began == INFINITY and max(self.at, self.lane.free_at) <= self.lane.next_at():
            self._began = max(self.at, self.lane.free_at)
            self.worker.journal.peak_bytes = self.worker.projector.store.size_bytes()
            self.lane.free_at = self._began + self.worker.reset(self._began)
            self.lane.more = True
            return
        before = self.worker.journal.polls
        self.lane.step()
        if self._began < INFINITY and not self._done and self.worker.journal.polls > before and not self.lane.more:
            self._done = True
            self.worker.carry_out()
            journal = self.worker.journal
            journal.rebuilt_at = self.lane.free_at
            journal.peak_bytes = max(journal.peak_bytes, self.worker.projector.store.size_bytes())
            journal.faults.append(Fault("rebuild", self._began, self.lane.free_at, detail="in place"))


@dataclass
class BlueGreen:
    """A lane that is joined by a second one at `at` seconds; `make` opens the projector on the second store."""

    lane: Lane
    worker: Worker
    at: float
    make: Callable[[], Projector]
    green: Lane | None = None
    _builder: Worker | None = None
    _swapped: bool = field(default=False)

    def next_at(self) -> float:
        """The earlier of what both lanes have to do; the start of the second, when it is due."""
        if self._swapped:
            return self.lane.next_at()
        if self.green is None:
            return min(self.lane.next_at(), self.at)
        return min(self.lane.next_at(), self.green.next_at())

    def step(self) -> None:
        """Do the earlier thing; switch when the second lane has read all that the first one showed."""
        if self._swapped:
            self.lane.step()
        elif self.green is None:
            if self.at <= self.lane.next_at():
                self._start()
            else:
                self.lane.step()
        elif self.green.next_at() <= self.lane.next_at():
            self.green.step()
            if not self.green.more:
                self._approach()
        else:
            self.lane.step()

    def _start(self) -> None:
        self._builder = self.worker.beside(self.make())
        self.green = Lane(self.lane.pace, np.empty(0), self.lane.until, self._builder, self.at)
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
            self.lane.paused = False
            self.green.due_at = self.green.free_at + self.lane.pace.every

    def _swap(self) -> None:
        assert self.green is not None
        assert self._builder is not None
        at = self.green.free_at
        for worker in (self.worker, self._builder):
            worker.carry_out()
        blue, journal = self.worker.projector.store, self.worker.journal
        journal.peak_bytes = blue.size_bytes() + self._builder.projector.store.size_bytes()
        journal.swap(self._builder.journal, at, self._builder.settled)
        journal.faults.append(Fault("rebuild", self.at, at, detail="built beside, then swapped in"))
        blue.close()
        self._builder.journal = journal
        self.worker = self._builder
        self.lane.worker = self._builder
        self.lane.free_at, self.lane.due_at, self.lane.more = at, at + self.lane.pace.every, False
        self.lane.paused = False
        self._swapped = True

"""A worker of a service: what it adds to every other worker is how far it is, told to those who ask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl

from lab.base import Unavailable
from lab.projection.projector import Projector
from lab.running.gating import LiveGate
from lab.running.live import RETRY, LiveService, reading
from lab.running.trouble import Interrupted
from lab.running.worker import Worker


class Follower(Worker):
    """A worker of a service: it knows up to where everything is in, and by when everything was that had been committed.

    `verified_at` is on the runner's clock; None until a poll has come to the feed's end. `reaching` is told the highest
    position of all that is handed over, before it is written, and `handing` the frame; `confirm`, that a page was read,
    before it is applied.
    """

    verified_at: float | None = None
    # Whether the feed leaves out records of others: then the checkpoint passes their changes, too. And the position up
    # to which everything had been committed before the last poll.
    sliced, _head = False, 0
    reaching: Callable[[int], None] = staticmethod(lambda _: None)
    confirm: Callable[[], object] = staticmethod(lambda: None)
    handing: Callable[[str, pl.DataFrame], None] = staticmethod(lambda entity, frame: None)

    def poll(self, start: float) -> tuple[float, bool]:
        """Poll as ever, once there is a source of truth."""
        service = self.service
        assert isinstance(service, LiveService)
        try:
            if not service.source.found():
                raise Interrupted(start, start + RETRY)
            # Asked before the poll: what a poll finds is at least as new.
            if isinstance(self.gate, LiveGate):
                with reading():
                    self.gate.ask(start)
                head = self.gate.shown
            else:
                head = service.source.head()
        except Unavailable as error:
            raise self._refused(start, error) from None
        self._head = head
        seconds, more = super().poll(start)
        for name, settled in self.settled.items():
            self.covered[name] = max(self.covered[name], settled, 0 if more else head)
        if not more:
            self.verified_at = start
        return seconds, more

    def _read(self, entity: str, start: float, now: float) -> tuple[Any, bool, float]:
        read = super()._read(entity, start, now)
        try:
            self.confirm()
        except Unavailable as error:
            raise self._refused(now, error) from None
        page, ended, _ = read
        if self.sliced and ended and not len(page):
            self.positions[entity] = max(self.positions[entity], self._head)
        return read

    def _do(self, entity: str, piece: Any, start: float, checkpoint: int | None, source: int) -> float:
        self.reaching(self.newest)
        self.handing(entity, piece)
        return super()._do(entity, piece, start, checkpoint, source)

    def beside(self, projector: Projector) -> Worker:
        """Return such a worker on another store, for a rebuild."""
        found = super().beside(projector)
        assert isinstance(found, Follower)
        found.confirm, found.reaching = self.confirm, self.reaching
        return found

    def remember(self) -> None:
        """Remember what a worker needs to know that is built beside this one from now on. Raises Unavailable."""

    def hand_over(self) -> None:
        """Prepare for a restart that opens the store of the worker which takes over. Raises Unavailable."""

    def take_over(self, other: Follower) -> None:
        """Go on in the place of another follower, for which this one was built; called after the swap."""
        self.handing = other.handing

    @property
    def socket(self) -> int | None:
        """The file descriptor at which something arrives that a poll would find; None where polls alone tell."""
        return None

    def close(self) -> None:
        """Close the connections that are the follower's own."""

    def _find_place(self) -> None:
        super()._find_place()
        # Up to where everything is in, by entity: beyond the checkpoint where a poll has found nothing more.
        self.covered = dict(self.positions)

    @property
    def position(self) -> int:
        """Everything up to here is in."""
        return min(self.covered.values())

    @property
    def newest(self) -> int:
        """The highest position of all that was handed over."""
        return max(self.position, *self.highest.values())

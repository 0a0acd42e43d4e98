"""Workers whose changes come by themselves, and workers that are told when to ask: see `lab.feed.streams`.

What a stream brings is applied in the order in which it comes, which is not that of positions. The checkpoint moves to
a position once the stream has passed the place in it at which the engine said that nothing below that is open any more.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import polars as pl

from lab.base import Unavailable
from lab.feed.source import TruthReader
from lab.feed.streams import ChangeStream, Streamed
from lab.projection.projector import Projector
from lab.running.follower import Follower
from lab.running.gating import LiveGate
from lab.running.journal import CATCH_UP
from lab.running.live import RETRY, Heard, LiveService, reading
from lab.running.trouble import Interrupted
from lab.running.worklog import READ

if TYPE_CHECKING:
    from lab.feed.postgres_streams import Notices

T = TypeVar("T")


class NotifiedFollower(Follower):
    """Polls, and hears notifications: what was heard before a poll begins is what the poll finds."""

    listens: Callable[[TruthReader], Notices]
    notices: Notices | None = None

    @property
    def socket(self) -> int | None:
        """Where a notification arrives; None while it isn't listened for."""
        return None if self.notices is None else self.notices.socket

    def poll(self, start: float) -> tuple[float, bool]:
        """Poll; without a connection to listen at, polls alone find what there is."""
        source = self._live.source
        try:
            if source.found():
                self.notices = self.notices or self.listens(_there(source.truth))
                self.notices.open()
                self.notices.heard()
        except Unavailable:
            pass
        return super().poll(start)

    def close(self) -> None:
        """Hang up."""
        if self.notices is not None:
            self.notices.close()

    def beside(self, projector: Projector) -> NotifiedFollower:
        """Return such a worker on another store; it listens for itself."""
        found = super().beside(projector)
        assert isinstance(found, NotifiedFollower)
        found.listens = self.listens
        return found

    def take_over(self, other: Follower) -> None:
        """Go on in the place of another worker, which listens no more."""
        super().take_over(other)
        assert isinstance(other, NotifiedFollower)
        other.close()

    @property
    def _live(self) -> LiveService:
        assert isinstance(self.service, LiveService)
        return self.service


class StreamFollower(Follower):
    """Applies what a stream brings. `every` is how often it asks up to where everything is in, in seconds."""

    streams: Callable[[TruthReader], ChangeStream]
    every: float
    stream: ChangeStream | None = None
    _asked_at = -math.inf
    # The connection that a thread is making: a new slot waits for transactions, and queries are answered meanwhile.
    _opening: Future[bool] | None = None
    # Whether it is built beside another, which reads the stream.
    _builds = False
    # Up to where the tables must be read first, since earlier changes won't come; None until that is known.
    _tables_to: int | None = None
    # What the engine last told.
    _bound = 0
    # Where the stream was when another worker began to be built; and where it must begin, after such a one took over.
    _remembered: object = None
    _back_to: object = None

    @property
    def socket(self) -> int | None:
        """Where a change arrives; None while there is no stream, one that must be asked, or tables are read first."""
        return self.stream.socket if self.stream is not None and self._tables_to == 0 else None

    def poll(self, start: float) -> tuple[float, bool]:
        """Read the tables as long as that must be; then take what has come, and apply it."""
        if self._builds:
            return super().poll(start)
        try:
            stream = self._opened(start)
        except Unavailable as error:
            raise self._refused(start, error) from None
        if self._tables_to is None or self.position < self._tables_to:
            return super().poll(start)
        self._tables_to = 0
        self.polls += 1
        self.journal.polled(start, True)
        now = self._retry(start)
        try:
            if start - self._asked_at >= self.every:
                self._ask(stream, start)
            found = stream.take(self.page)
            read_at = self._live.now(now)
            self._live.work.note(READ, len(found), start, read_at - start)
            now = self._applied(self._frames(found), self._bound if stream.passed else None, read_at)
            stream.acknowledge(self.settled)
        except Unavailable as error:
            raise self._refused(self._live.now(now), error) from None
        if stream.passed:
            self.verified_at = self._asked_at
        return now - start, len(found) >= self.page

    def close(self) -> None:
        """Hang up, also once a connection that is still being made is there."""
        stream, opening = self.stream, self._opening
        if opening is not None and stream is not None:
            opening.add_done_callback(lambda _: stream.close())
        elif stream is not None:
            stream.close()

    def beside(self, projector: Projector) -> StreamFollower:
        """A worker that reads the tables by position until it takes over: a stream has one reader at a time."""
        found = super().beside(projector)
        assert isinstance(found, StreamFollower)
        found.streams, found.every, found._builds = self.streams, self.every, True
        return found

    def remember(self) -> None:
        """Remember where the stream is, for a worker that is built beside this one and takes over.

        It needn't have been opened: what it brings from now to the end of the building may be in no table yet.
        """
        if (truth := self._live.source.truth) is None:
            raise Unavailable("there is no source of truth yet")
        # Called in a thread: one of its own is asked, where the worker has none.
        self._remembered = (self.stream or self.streams(truth)).here()

    def hand_over(self) -> None:
        """Have the stream begin where neither store lacks anything: a restart may open this one or the other."""
        if self.stream is not None and self._opening is None and self._remembered is not None:
            self.stream.go_back(self._remembered)

    def take_over(self, other: Follower) -> None:
        """Go on with the stream of another worker, once the tables have been read up to where they are now."""
        super().take_over(other)
        assert isinstance(other, StreamFollower)
        self.stream, self._opening, self._builds = other.stream, other._opening, False
        other.stream = other._opening = None
        # What the other one has acknowledged meanwhile may not have been in the tables when they were read.
        self._back_to = other._remembered

    @property
    def _live(self) -> LiveService:
        assert isinstance(self.service, LiveService)
        return self.service

    def _opened(self, start: float) -> ChangeStream:
        source = self._live.source
        if not source.found():
            raise Interrupted(start, start + RETRY)
        self.stream = self.stream or self.streams(_there(source.truth))
        if self._opening is None and self._back_to is not None:
            self.stream.go_back(self._back_to)
            self._back_to = None
        if self._opening is None and not self.stream.opened:
            # A connection takes its time, and what the store has is answered meanwhile.
            self.confirm()
            self._opening = in_thread(partial(self.stream.open, dict(self.settled)), "connects")
        if self._opening is not None:
            if not self._opening.done():
                raise Interrupted(start, start + RETRY)
            opening, self._opening = self._opening, None
            opening.result()
            if self._back_to is not None:
                raise Interrupted(start, start + RETRY)
            # Whatever the stream is at: the store has what its checkpoint says, and not what was acknowledged once.
            self._tables_to, self._asked_at = 0 if self.stream.whole else None, -math.inf
        if self._tables_to is None:
            with reading():
                self._tables_to = source.evidence().newest()
        return self.stream

    def _find_place(self) -> None:
        super()._find_place()
        # The store may be behind what was acknowledged: it is another one, was emptied, or has lost its last commits.
        self._tables_to = None

    def _ask(self, stream: ChangeStream, start: float) -> None:
        """Ask how far everything is settled, and then where in the stream that is."""
        assert isinstance(self.gate, LiveGate)
        with reading():
            self.gate.ask(start)
        self._bound, self._asked_at = self.gate.shown, start
        stream.mark()
        self.confirm()

    def _frames(self, found: Sequence[Streamed]) -> dict[str, pl.DataFrame]:
        """The changes of each entity as a change frame, in the order in which they came."""
        heard: dict[str, list[Heard]] = {name: [] for name in self.entities}
        for change in found:
            if change.entity in heard:
                heard[change.entity].append(Heard(*change))
        return {name: self._live.source.frame(name, some) for name, some in heard.items()}

    def _applied(self, frames: dict[str, pl.DataFrame], settled: int | None, now: float) -> float:
        """Apply frames, with the last batch of each the checkpoint, if everything up to `settled` is in by then."""
        self._live.caught_up()
        places, moving = dict[str, int | None](), dict[str, bool]()
        for entity, frame in frames.items():
            newest = max(self.highest[entity], int(frame["position"].to_numpy().max(initial=0)))
            places[entity] = place = None if settled is None else min(settled, newest)
            moving[entity] = place is not None and place > self.settled[entity]
        # Those whose checkpoints move are the last: a store that has the new checkpoints has everything before them.
        for entity in sorted(frames, key=moving.__getitem__):
            frame, place, moves = frames[entity], places[entity], moving[entity]
            for first in range(0, max(frame.height, int(moves)), self.batch):
                last = first + self.batch >= frame.height
                checkpoint = place if moves and last else None
                now = self._work(entity, frame[first : first + self.batch], now, checkpoint, CATCH_UP)
                if checkpoint is not None:
                    self.positions[entity] = self.settled[entity] = checkpoint
                    self.journal.checkpoint(now, entity, checkpoint)
                self.watched(now)
            if settled is not None:
                self.covered[entity] = max(self.covered[entity], settled)
        return now

    def _interrupted(self, kind: str, at: float, lasts: float, step: str, detail: str = "") -> Interrupted:
        """What was taken and not kept must come again; a connection that is still being made has brought nothing."""
        if self._opening is None:
            self.close()
        return super()._interrupted(kind, at, lasts, step, detail)


def in_thread(work: Callable[[], T], name: str) -> Future[T]:
    """Do work in a thread that the end of the process doesn't wait for."""
    found: Future[T] = Future()

    def done() -> None:
        try:
            found.set_result(work())
        except BaseException as error:
            found.set_exception(error)

    threading.Thread(target=done, name=name, daemon=True).start()
    return found


def _there(truth: TruthReader | None) -> TruthReader:
    assert truth is not None
    return truth

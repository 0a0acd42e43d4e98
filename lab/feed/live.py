"""A live feed: pages of a source with concurrent writers, as far as a gap strategy lets a reader go."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Protocol

import numpy as np
import polars as pl

from lab.feed.gaps import STRATEGIES, Hold, Reach, Strategy
from lab.feed.reader import ChangeReader
from lab.ports import Blocker, Clock, Page
from lab.truth.evidence import LiveEvidence
from lab.truth.port import Truth


class ChangeSource(Protocol):
    """What a live feed reads: the changes that are committed now, in order of position."""

    def changes_since(self, entity: str, position: int, limit: int, columns: Sequence[str] | None) -> pl.DataFrame:
        """At most `limit` changes of an entity above `position`, as a change frame."""

    def evidence(self) -> LiveEvidence:
        """What can be known of the transactions that are open."""


@dataclass(frozen=True)
class TruthSource:
    """The published changes of a source of truth. A snapshot's overwritten positions stay missing: no `hold` there."""

    truth: Truth

    def changes_since(self, entity: str, position: int, limit: int, columns: Sequence[str] | None) -> pl.DataFrame:
        """The page as `ChangeReader` gives it."""
        return ChangeReader(self.truth, columns=columns).changes_since(entity, position, limit)

    def evidence(self) -> LiveEvidence:
        """What the engine knows."""
        return self.truth.evidence()


def live_strategy(name: str, limit: float) -> Strategy:
    """The strategy of this name for a live source: `hold` asks it first, so that nothing is waited for in vain."""
    return Hold(limit, asks=True) if name == Hold.name else STRATEGIES[name](limit)


class OpenTransactions:
    """A registry of open transactions, for an engine that can't tell which are open. Safe to use from many threads.

    A writer registers before it takes a position. `newest` returns the newest position that is committed: what a
    transaction writes lies above what that was when it began.
    """

    def __init__(self, newest: Callable[[], int], clock: Clock) -> None:
        self._newest, self._clock = newest, clock
        self._lock = threading.Lock()
        self._open: dict[int, Blocker] = {}
        self._numbers = count()

    @contextmanager
    def writing(self, owner: str) -> Iterator[None]:
        """Open while the block runs, which begins, writes and commits one transaction."""
        with self._lock:
            number = next(self._numbers)
            self._open[number] = Blocker(owner, self._clock.now(), self._newest())
        try:
            yield
        finally:
            with self._lock:
                del self._open[number]

    def settled(self) -> int:
        """The highest position at or below which no open transaction will write."""
        # In this order: a transaction that begins after `newest` was read takes a higher position.
        newest = self._newest()
        return min([newest, *(item.above for item in self.blockers())])

    def blockers(self) -> list[Blocker]:
        """Return the open transactions, the oldest first."""
        with self._lock:
            return sorted(self._open.values(), key=lambda item: item.since)


@dataclass(frozen=True)
class RegisteredEvidence:
    """Evidence of an engine that can't tell which transactions are open: the positions that it shows, and a registry.

    Without a registry nothing is settled.
    """

    positions: Callable[[int], np.ndarray]
    registry: OpenTransactions | None = None

    def newest(self) -> int:
        """Return the newest committed position."""
        return int(self.positions(0).max(initial=0))

    def settled(self) -> int:
        """Return the settled position from the registry; 0 without one."""
        return 0 if self.registry is None else self.registry.settled()

    def shown(self, after: int) -> np.ndarray:
        """Return the committed positions above `after`."""
        return self.positions(after)

    def blockers(self, at: float) -> list[Blocker]:
        """Return the registered transactions."""
        return [] if self.registry is None else self.registry.blockers()


@dataclass
class LiveFeed:
    """A `Feed` over a source. Tokens are positions in decimal digits.

    Where the source's evidence tells which transactions are open, `horizon` goes by it, and `hold` skips at once what
    was rolled back. `skipped` lists what `hold` stopped waiting for: when, and the position.
    """

    source: ChangeSource
    strategy: Strategy
    clock: Clock
    every_seconds: float = 0.01
    skipped: list[tuple[float, int]] = field(default_factory=list)
    _reach: Reach = field(default_factory=Reach)

    def __post_init__(self) -> None:
        self._evidence = self.source.evidence()

    def page(self, entity: str, since: bytes, limit: int, columns: Sequence[str] | None = None) -> Page:
        """At most `limit` changes after the token, none beyond `complete_to()`; with the published columns."""
        position, bound = _position(since), self.complete_to()
        found = self.source.changes_since(entity, position, limit, columns)
        frame = found.filter(pl.col("position") <= bound)
        token = str(frame["position"][-1]).encode() if frame.height else since
        return Page(frame, token, found.height < limit and frame.height == found.height)

    def complete_to(self) -> int:
        """Look at the feed now, and return how far the strategy lets a reader go."""
        now = self.clock.now()
        self._reach = self.strategy.look(self._reach, self._evidence, now)
        self.skipped += [(now, number) for number in self._reach.skipped]
        return self._reach.number

    def wait(self, since: bytes, seconds: float) -> bool:
        """Look again every `every_seconds` until there is something to read; False after `seconds`."""
        position, until = _position(since), self.clock.now() + seconds
        while True:
            bound = self.complete_to()
            if bound > position and (self._evidence.shown(position) <= bound).any():
                return True
            now = self.clock.now()
            if now >= until:
                return False
            self.clock.wait(min(until, now + self.every_seconds))

    def blockers(self) -> list[Blocker]:
        """The open transactions, where the source knows them; else the missing numbers, whose writers aren't known."""
        if not self.strategy.waits:
            return []
        missing = [Blocker("unknown", since, number - 1) for number, since in self._reach.missing_since.items()]
        return self._evidence.blockers(self.clock.now()) or missing


def _position(token: bytes) -> int:
    return int(token or b"0")

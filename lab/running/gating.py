"""A strategy for gaps on the wall clock: bounds what a reader may read by what the engine tells beside its writers."""

from __future__ import annotations

from collections.abc import Callable

from lab.feed.gaps import Reach
from lab.feed.live import live_strategy
from lab.ports import Blocker
from lab.truth.evidence import LiveEvidence


class LiveGate:
    """The gate of one live reader. `ask` asks the engine before a page is read, and `look` returns what it said.

    What is committed between the two lies beyond the bound, so a page that is cut there lacks nothing below it.
    `evidence` is called once the source of truth has been found; `gave_up` is told which position is skipped, and when.
    `blocked` is told which transactions are open for longer than `limit` seconds, if the reader has not got on for as
    long.
    """

    def __init__(
        self,
        name: str,
        limit: float,
        evidence: Callable[[], LiveEvidence],
        gave_up: Callable[[float, int], None],
        blocked: Callable[[float, Blocker], None] = lambda at, blocker: None,
    ) -> None:
        self._made = name, limit, evidence, gave_up, blocked
        self.strategy, self._limit = live_strategy(name, limit), limit
        self._evidence, self._gave_up, self._blocked = evidence, gave_up, blocked
        self._reach, self._newest = Reach(), 0
        # When the reader last got on, or was last found to be held back.
        self._moved_at: float | None = None

    def ask(self, at: float) -> None:
        """Ask the engine how far a reader may go now."""
        evidence = self._evidence()
        self._newest, before = evidence.newest(), self._reach.number
        self._reach = self.strategy.look(self._reach, evidence, at)
        if self._moved_at is None or self._reach.number != before:
            self._moved_at = at
        elif at - self._moved_at >= self._limit and self.strategy.waits:
            self._moved_at = at
            for blocker in evidence.blockers(at):
                if at - blocker.since >= self._limit:
                    self._blocked(at, blocker)
        for position in self._reach.skipped:
            self._gave_up(at, position)

    def look(self, at: float) -> int:
        """Return the position up to which may be read, as of the last time that the engine was asked."""
        return self._reach.number

    @property
    def shown(self) -> int:
        """The position up to which everything was in when the engine was asked: none above what there is."""
        return min(self._reach.number, self._newest)

    @property
    def keeps_back(self) -> bool:
        """True if something newer was committed when the engine was asked."""
        return self._reach.number < self._newest

    def quiet_until(self, at: float) -> float:
        """Unknown: the engine is asked at each beat."""
        return at

    def afresh(self) -> LiveGate:
        """Return such a gate for another reader."""
        return LiveGate(*self._made)

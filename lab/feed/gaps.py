"""Gap strategies: how far a reader may go in a feed whose positions are not committed in order.

`naive` reads what it sees, and never sees what commits later behind it. `serialise` has the writers take turns, so that
there are no gaps. `horizon` stops below the oldest transaction that is still open; in PostgreSQL that is drain, see
`lab.truth.gate`. `hold` stops at a number that is missing, waits for it, and skips it after a time limit. `xmin` reads
what PostgreSQL's `pg_snapshot_xmin` has passed, a popular cursor: ids of transactions aren't given in the order of
positions, so it loses changes, and is there to be caught.

A strategy keeps no state: it makes a new `Reach` from the former one and from the `GapEvidence` of a moment. The same
objects serve a live feed (`feed/live.py`) and a simulated one (`Gate`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import numpy as np

from lab.feed.writers import Timeline
from lab.truth.evidence import GapEvidence


@dataclass(frozen=True)
class Reach:
    """How far a reader may go, by number; since when numbers above that are missing; what was skipped just now."""

    number: int = 0
    missing_since: Mapping[int, float] = field(default_factory=dict)
    skipped: tuple[int, ...] = ()


class ReaderGate(Protocol):
    """Bounds what one reader may read of a feed, by a strategy for gaps."""

    def look(self, at: float) -> int:
        """Return the highest position that may be read at `at` seconds; times must not fall from look to look."""

    @property
    def keeps_back(self) -> bool:
        """True while something couldn't be read at the last look that may be read later."""

    def quiet_until(self, at: float) -> float:
        """Before this time looks after the one at `at` can't differ from it; `at` if that isn't known."""

    def afresh(self) -> ReaderGate:
        """Return a gate with the same strategy for another reader."""


@dataclass
class GivenUp:
    """What one reader's strategy for gaps, `name`, stopped waiting for: when, and which position."""

    name: str
    given_up: list[tuple[float, int]]


class Strategy(Protocol):
    """A strategy for gaps. `waits`: whether it holds anything back that may be read later."""

    name: ClassVar[str]
    waits: ClassVar[bool]

    def look(self, before: Reach, evidence: GapEvidence, at: float) -> Reach:
        """The reach at `at` seconds; times must not fall from look to look."""


@dataclass(frozen=True)
class Naive:
    """Read everything that is committed at once."""

    name: ClassVar[str] = "naive"
    waits: ClassVar[bool] = False

    def look(self, before: Reach, evidence: GapEvidence, at: float) -> Reach:
        """The newest number."""
        return Reach(evidence.newest())


@dataclass(frozen=True)
class Serialise(Naive):
    """Read everything that is committed; the writers take turns instead."""

    name: ClassVar[str] = "serialise"


@dataclass(frozen=True)
class Horizon:
    """Stop below the oldest open transaction, as the engine or a registry of open transactions tells."""

    name: ClassVar[str] = "horizon"
    waits: ClassVar[bool] = True

    def look(self, before: Reach, evidence: GapEvidence, at: float) -> Reach:
        """What is settled; never less than before."""
        return Reach(max(before.number, evidence.settled()))


@dataclass(frozen=True)
class Hold:
    """Stop at a missing number and wait for it, at most `limit` seconds from when it was first missed, then skip it.

    With `asks` the engine is asked first: a number that no open transaction will write was rolled back, and is skipped
    at once without a report.
    """

    limit: float
    asks: bool = False
    name: ClassVar[str] = "hold"
    waits: ClassVar[bool] = True

    def look(self, before: Reach, evidence: GapEvidence, at: float) -> Reach:
        """The number before the first gap that is still waited for. A number is a gap once one behind it is shown."""
        settled = max(before.number, evidence.settled()) if self.asks else before.number
        shown = evidence.shown(settled)
        if not shown.size:
            return Reach(settled)
        last = int(shown[-1])
        there = np.zeros(last - settled, bool)
        there[shown - settled - 1] = True
        gaps = (np.flatnonzero(~there) + settled + 1).tolist()
        since = {number: before.missing_since.get(number, at) for number in gaps}
        for place, number in enumerate(gaps):
            if at - since[number] < self.limit:
                return Reach(number - 1, since, tuple(gaps[:place]))
        return Reach(last, skipped=tuple(gaps))


@dataclass(frozen=True)
class Xmin(Naive):
    """Read what is below the oldest transaction that has written, as an engine shows it to such a reader."""

    name: ClassVar[str] = "xmin"
    waits: ClassVar[bool] = True


STRATEGIES: dict[str, Callable[[float], Strategy]] = {
    "naive": lambda _: Naive(),
    "serialise": lambda _: Serialise(),
    "horizon": lambda _: Horizon(),
    "hold": Hold,
    "xmin": lambda _: Xmin(),
}


@dataclass
class Gate:
    """The simulated feed's `complete_to` for one reader: a strategy over the timeline of simulated transactions.

    `given_up` lists the gaps that were skipped: when, and the position that may come there after all (0 when its
    transaction had been rolled back).
    """

    strategy: Strategy
    timeline: Timeline
    given_up: list[tuple[float, int]] = field(default_factory=list)
    _reach: Reach = field(default_factory=Reach)

    def __post_init__(self) -> None:
        self._settled_at = np.maximum.accumulate(self.timeline.ended_at)
        self._ends = np.sort(self.timeline.ended_at)
        # The highest position among the first so many transactions.
        self._up_to = np.concatenate([[0], np.maximum.accumulate(self.timeline.position)]).astype(np.int64)

    @classmethod
    def of(cls, name: str, timeline: Timeline, limit: float = 1.0) -> Gate:
        """A gate with the strategy of this name; `limit` is how long `hold` waits for a number, in seconds."""
        return cls(STRATEGIES[name](limit), timeline)

    def afresh(self) -> Gate:
        """Return a gate with the same strategy for another reader."""
        return Gate(self.strategy, self.timeline)

    def look(self, at: float) -> int:
        """Look at the feed at `at` seconds, and note what is missing or skipped from now on. Returns `complete_to`."""
        self._reach = self.strategy.look(self._reach, _Moment(self.timeline, self._settled_at, at), at)
        self.given_up += [(at, int(self.timeline.position[number - 1])) for number in self._reach.skipped]
        return self.complete_to

    @property
    def complete_to(self) -> int:
        """Return the highest position that may be read since the last look."""
        return int(self._up_to[self._reach.number])

    def quiet_until(self, at: float) -> float:
        """Return the time before which looks after the one at `at` can't differ from it.

        That is when the next transaction ends, or when a number has been missing for as long as the strategy waits.
        """
        ended = int(np.searchsorted(self._ends, at, side="right"))
        until = float(self._ends[ended]) if ended < self._ends.size else np.inf
        if isinstance(self.strategy, Hold) and self._reach.missing_since:
            # Rounded down: the comparison is of the time waited, not of the sum.
            given_up = min(self._reach.missing_since.values()) + self.strategy.limit
            until = min(until, given_up - abs(given_up) * 1e-12)
        return until

    @property
    def keeps_back(self) -> bool:
        """True while something that is committed, or will be, couldn't be read at the last look and may be later."""
        return self.strategy.waits and self.complete_to < int(self._up_to[-1])


@dataclass(frozen=True)
class _Moment:
    """The evidence at a simulated moment. A transaction that hasn't begun counts as open."""

    timeline: Timeline
    settled_at: np.ndarray
    at: float

    def newest(self) -> int:
        return self.timeline.position.size

    def settled(self) -> int:
        return int(np.searchsorted(self.settled_at, self.at, side="right"))

    def shown(self, after: int) -> np.ndarray:
        window = slice(after, int(np.searchsorted(self.timeline.taken_at, self.at, side="right")))
        visible = (self.timeline.position[window] > 0) & (self.timeline.ended_at[window] <= self.at)
        numbers: np.ndarray = np.flatnonzero(visible) + after + 1
        return numbers

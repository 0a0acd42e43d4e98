"""Trouble at one projection: crashes, refused applies, poison and slowness, drawn from the seed or as scheduled."""

from __future__ import annotations

import numpy as np
import polars as pl

from lab.base import CannotTake, Unavailable
from lab.scenario import FaultsTable

# The words of a scenario and of the report for the three steps at which a projector can die.
STEPS = {
    "before-apply": "before apply",
    "between": "between data and checkpoint",
    "after-checkpoint": "after checkpoint",
}


class Interrupted(Exception):
    """The work did not come to its end: what was handed over must be handed over again, from `until` seconds on."""

    def __init__(self, until: float) -> None:
        super().__init__("interrupted")
        self.until = until


class Trouble:
    """One projection's faults. `record` numbers the record of each change, by position less 1."""

    def __init__(self, options: FaultsTable, record: np.ndarray, chosen: np.ndarray, rng: np.random.Generator) -> None:
        self.options = options
        self._rng = rng
        self._scheduled = sorted(options.crashes, key=lambda crash: crash.at, reverse=True)
        self._refuses = False
        # When each change that can't be taken was first met, by position.
        self.met: dict[int, float] = {}
        self.poisoned = self._poison(record, chosen)

    def _poison(self, record: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """One change of each of some records, by position."""
        marks = np.zeros(record.size + 1, bool)
        if self.options.poison and chosen.size:
            records = np.unique(record[chosen])
            bad = records[self._rng.random(records.size) < self.options.poison]
            if not bad.size:
                # A scenario that asks for poison gets some.
                bad = self._rng.choice(records, 1)
            mine = chosen[np.isin(record[chosen], bad)]
            order = self._rng.permutation(mine.size)
            _, first = np.unique(record[mine][order], return_index=True)
            marks[mine[order][first] + 1] = True
        return marks

    def begin(self) -> None:
        """A new apply: whether the store refuses it is drawn once, however many pieces it is tried in."""
        self._refuses = bool(self.options.refuse) and bool(self._rng.random() < self.options.refuse)

    def crash(self, start: float) -> tuple[str, float] | None:
        """The step at which the apply that starts now crashes, and how long the process is away; None if it doesn't."""
        if self._scheduled and self._scheduled[-1].at <= start:
            due = self._scheduled.pop()
            return due.step, due.lasts
        if self.options.crash and self._rng.random() < self.options.crash:
            return str(self._rng.choice(list(STEPS))), self.options.down
        return None

    def heals(self, at: float) -> bool:
        """Whether what was poison can be taken at this time."""
        return self.options.heals_at is not None and at >= self.options.heals_at

    def inspect(self, frame: pl.DataFrame, at: float) -> None:
        """Raise CannotTake or Unavailable as the store would."""
        if self._refuses:
            raise Unavailable("the store refused the batch for now")
        if self.options.poison and not self.heals(at):
            bad = frame.filter(pl.Series(self.poisoned[frame["position"].to_numpy()]))
            if bad.height:
                self.met.setdefault(int(bad["position"][0]), at)
                raise CannotTake(f"the store can't take revision {bad['revision'][0]} of {bad['key'][0]}")

    def factor(self, at: float) -> float:
        """How many times as long as usual the store takes at this time."""
        slow = (item.factor for item in self.options.slow if item.at <= at < item.at + item.lasts)
        return float(np.prod([*slow, 1.0]))

"""Faults of one projection: crashes, refused batches, poisoned changes and slowness, drawn or scheduled.

Faults are planted around the store: the projector knows nothing of them. `FaultyStore` stands before a store and does
what `StoreFaults` say; `Trouble` is the faults of a scenario.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, cast

import numpy as np

from lab.base import Batch, CannotTake, Unavailable
from lab.feed.published import Published
from lab.scenario import FaultsTable
from lab.stores.port import Store

# The steps at which a projector can die: a scenario's word, and the report's.
STEPS = {
    "before-apply": "before apply",
    "between": "between data and checkpoint",
    "after-checkpoint": "after checkpoint",
}


class Interrupted(Exception):
    """The work was cut off at `at` seconds; its changes must be delivered again from `until` on."""

    def __init__(self, at: float, until: float) -> None:
        super().__init__("interrupted")
        self.at, self.until = at, until


class Crashed(Exception):
    """The process dies. `landed`: the write in flight was committed. `moved`: the checkpoint was committed."""

    def __init__(self, landed: bool, moved: bool) -> None:
        super().__init__("crashed while applying")
        self.landed, self.moved = landed, moved


class StoreFaults:
    """What goes wrong in the next apply: by itself nothing; a crash at the step that it is armed with."""

    def __init__(self) -> None:
        self.armed: str | None = None
        # The store can't take a batch, and the projector tries it piece by piece: the process dies at the last write.
        self.divided = False

    def arm(self, step: str | None) -> None:
        """Begin an apply, in which the process dies at this step (a key of `STEPS`), or doesn't (None)."""
        self.armed, self.divided = step, False

    def inspect(self, batch: Batch) -> None:
        """Raise CannotTake or Unavailable if the store refuses the batch."""

    def end(self) -> None:
        """End the apply. Raises Crashed if a crash was armed and there was nothing to write."""
        if self.armed:
            raise Crashed(landed=True, moved=False)


class FaultyStore:
    """A store that refuses batches and crashes, as `faults` say, and may land a checkpoint apart from its data.

    `order` says whether the checkpoint lands with the data, or wrongly before or after it, in a transaction of its own.
    All verbs but `apply` are the store's own.
    """

    def __init__(self, store: Store, faults: StoreFaults, order: str) -> None:
        self.store, self.faults, self.order = store, faults, order

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def apply(self, batch: Batch) -> None:
        """Write the batch, unless a fault prevents it. Raises CannotTake, Unavailable or Crashed."""
        if batch.park is not None:
            # Parking is neither interrupted nor refused.
            self.store.apply(batch)
            return
        try:
            if batch.positions.size:
                self.faults.inspect(batch)
            self._land(batch)
        except CannotTake:
            self.faults.divided = True
            raise

    def _land(self, batch: Batch) -> None:
        moves = batch.checkpoint is not None
        crash = None if self.faults.divided and not moves else self.faults.armed
        if crash == "before-apply":
            raise Crashed(landed=False, moved=False)
        if not moves:
            # Messages move no checkpoint, so between data and acknowledgement is after the data.
            self.store.apply(batch)
        elif self.order == "with-data":
            if crash == "between":
                # The transaction was not committed.
                raise Crashed(landed=False, moved=False)
            self.store.apply(batch)
        else:
            parts = [replace(batch, checkpoint=None), Batch(batch.entity, batch.rows[:0], batch.checkpoint)]
            if self.order == "before-data":
                parts.reverse()
            self.store.apply(parts[0])
            if crash == "between":
                raise Crashed(landed=self.order == "after-data", moved=self.order == "before-data")
            self.store.apply(parts[1])
        if crash:
            raise Crashed(landed=True, moved=moves)


def faulty(store: Store, faults: StoreFaults | None = None, order: str = "with-data") -> Store:
    """The store with these faults around it; the store itself when there is nothing to go wrong."""
    if faults is None and order == "with-data":
        return store
    return cast("Store", FaultyStore(store, faults or StoreFaults(), order))


def slowed(faults: FaultsTable, at: float) -> float:
    """Return the factor by which planted slowness stretches work that begins at `at` seconds."""
    return math.prod(item.factor for item in faults.slow if item.at <= at < item.at + item.lasts)


class Trouble(StoreFaults):
    """One projection's faults, drawn from the seed. `chosen` are the indices of the changes that it subscribes to."""

    def __init__(
        self, options: FaultsTable, published: Published, chosen: np.ndarray, rng: np.random.Generator
    ) -> None:
        super().__init__()
        self.options = options
        self._published = published
        self._rng = rng
        self._scheduled = sorted(options.crashes, key=lambda crash: crash.at, reverse=True)
        self._at = 0.0
        self._refuses = False
        # When each poisoned change was first met, by position.
        self.met: dict[int, float] = {}
        self.poisoned = self._poison(published.record, chosen)

    def _poison(self, record: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Draw one change of each of some records, by position."""
        marks = np.zeros(record.size + 1, bool)
        if self.options.poison and chosen.size:
            records = np.unique(record[chosen])
            bad = records[self._rng.random(records.size) < self.options.poison]
            if not bad.size:
                # At least one record, if the scenario asks for poison.
                bad = self._rng.choice(records, 1)
            mine = chosen[np.isin(record[chosen], bad)]
            order = self._rng.permutation(mine.size)
            _, first = np.unique(record[mine][order], return_index=True)
            marks[mine[order][first] + 1] = True
        return marks

    @property
    def retry_parked(self) -> float | None:
        """How often parked changes are tried again, in seconds; None where none can be."""
        return self.options.retry_parked if self.options.poison else None

    def begin(self, at: float) -> None:
        """Begin an apply. Whether the store refuses it is drawn once, also if it is tried in several pieces."""
        self.arm(None)
        self._at = at
        self._refuses = bool(self.options.refuse) and bool(self._rng.random() < self.options.refuse)

    def crash(self) -> tuple[str, float] | None:
        """Arm the next apply with a crash if one is due or drawn; return its step and the seconds until the restart."""
        found: tuple[str, float] | None = None
        if self._scheduled and self._scheduled[-1].at <= self._at:
            due = self._scheduled.pop()
            found = due.step, due.lasts
        elif self.options.crash and self._rng.random() < self.options.crash:
            found = str(self._rng.choice(list(STEPS))), self.options.down
        self.arm(found[0] if found else None)
        return found

    def heals(self, at: float) -> bool:
        """Return whether poisoned changes can be taken at this time."""
        return self.options.heals_at is not None and at >= self.options.heals_at

    def inspect(self, batch: Batch) -> None:
        """Raise CannotTake for a poisoned change, or Unavailable if the apply is refused."""
        if self._refuses:
            raise Unavailable("the store refused the batch for now")
        if self.options.poison and not self.heals(self._at):
            bad = batch.positions[self.poisoned[batch.positions]]
            if bad.size:
                position = int(bad[0])
                self.met.setdefault(position, self._at)
                _, change = self._published.change(position - 1)
                raise CannotTake(f"the store can't take revision {change['revision']} of {change['key']}")

    def factor(self, at: float) -> float:
        """Return the factor by which the store is slower at this time."""
        return slowed(self.options, at)

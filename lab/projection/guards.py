"""Guards: the idempotency policy. A guard decides which of the arriving changes are applied, and in what order.

It decides row by row in the order of arrival, whatever batches they come in. What it must remember it can
find again after a crash: in the projection's own rows, or in its memory, which is written with them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

import numpy as np
import polars as pl

from lab.base import Key
from lab.stores.port import Layout, Store, dump


@dataclass
class Admission:
    """What a guard makes of a frame: indices of its rows, in the order in which they are to be applied.

    A row that had been held back is taken from `held` (by index there) when its gap is filled; `trigger` names
    the row that filled it. `refused` rows are older than what is known, or known already.
    """

    take: Sequence[int] | np.ndarray = field(default_factory=list)
    trigger: Sequence[int] | np.ndarray = field(default_factory=list)
    refused: Sequence[int] | np.ndarray = field(default_factory=list)
    dropped: Sequence[int] | np.ndarray = field(default_factory=list)


class Guard(ABC):
    """One policy for one projection. Keeps a memory for each entity."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    @abstractmethod
    def load(self, store: Store, entity: str) -> None:
        """Find the memory again in what the store holds."""

    @abstractmethod
    def admit(self, entity: str, keys: pl.Series, revisions: pl.Series, positions: pl.Series) -> Admission:
        """Decide on rows in the order of arrival. Rows that are held back come first, as they were left."""

    def known(self, entity: str, key: Key, revision: int, position: int) -> bool:
        """Whether this change would be refused whatever comes before it: it, or a later one, is in."""
        return False

    def passed(self, entity: str, checkpoint: int) -> None:  # noqa: B027 (most guards have nothing to do then)
        """Everything up to this position is in."""

    def awaits(self, entity: str, positions: Sequence[int]) -> None:  # noqa: B027 (most guards look at revisions)
        """These changes are parked: they are not in, wherever the checkpoint stands."""


class NoGuard(Guard):
    """`none`: the last arrival wins."""

    def load(self, store: Store, entity: str) -> None:
        """There is nothing to remember."""

    def admit(self, entity: str, keys: pl.Series, revisions: pl.Series, positions: pl.Series) -> Admission:
        """Everything is applied."""
        rows = list(range(len(positions)))
        return Admission(rows, rows)


class Dedupe(Guard):
    """`dedupe`: remembers the ids of messages. A change's position is its id; below the checkpoint all are known."""

    def __init__(self, layout: Layout) -> None:
        super().__init__(layout)
        self._seen: dict[str, set[int]] = {}
        self._checkpoint: dict[str, int] = {}
        self._parked: dict[str, set[int]] = {}

    def load(self, store: Store, entity: str) -> None:
        """The ids are the positions of the rows when all revisions are kept; else they are in the memory."""
        self._checkpoint[entity] = store.checkpoint(entity)
        if self.layout.keeps == "revisions":
            self._seen[entity] = set(dump(store, entity)["position"].to_list())
        else:
            self._seen[entity] = set(store.memory(entity)["id"].to_list())

    def admit(self, entity: str, keys: pl.Series, revisions: pl.Series, positions: pl.Series) -> Admission:
        """An id that has been seen is refused."""
        seen, checkpoint = self._seen[entity], self._checkpoint[entity]
        parked = self._parked.get(entity, set())
        take: list[int] = []
        refused: list[int] = []
        for row, position in enumerate(positions.to_list()):
            if position in seen or (position <= checkpoint and position not in parked):
                refused.append(row)
            else:
                seen.add(position)
                take.append(row)
        return Admission(take, take, refused)

    def known(self, entity: str, key: Key, revision: int, position: int) -> bool:
        """An id that has been seen."""
        below = position <= self._checkpoint[entity] and position not in self._parked.get(entity, set())
        return below or position in self._seen[entity]

    def passed(self, entity: str, checkpoint: int) -> None:
        """What lies below the checkpoint needs no remembering."""
        self._checkpoint[entity] = checkpoint
        seen = self._seen[entity]
        if len(seen) > 100_000:
            parked = self._parked.get(entity, set())
            self._seen[entity] = {position for position in seen if position > checkpoint or position in parked}

    def awaits(self, entity: str, positions: Sequence[int]) -> None:
        """An id below the checkpoint is known, unless its change is parked."""
        self._parked.setdefault(entity, set()).update(positions)


# From so many rows on, NumPy's fixed price is less than that of a loop over the rows.
_MANY = 64


def _ahead(keys: pl.Series, revisions: np.ndarray, highest: dict[Key, int]) -> np.ndarray:
    """Which rows, in the order of arrival, have a higher revision than is known and than all of their key before them.

    `highest` is brought up to date. Rows are brought together by key, and each key is lifted above the one before it:
    one running maximum then serves all keys. What is known is looked up once for each key, in the order of keys.
    """
    codes = keys.to_numpy() if keys.dtype.is_integer() else keys.rank("dense").to_numpy()
    order = np.argsort(codes, kind="stable")
    codes, mine = codes[order], revisions[order]
    starts = np.append(np.True_, codes[1:] != codes[:-1])
    groups = np.cumsum(starts) - 1
    first = np.flatnonzero(starts)
    distinct = keys[order[first]].to_list()
    known = np.fromiter(map(highest.get, distinct, repeat(0)), np.int64, len(distinct))
    lift = groups * (max(int(mine.max()), int(known.max())) + 1)
    so_far = np.maximum.accumulate(np.maximum(mine, known[groups]) + lift) - lift
    before = np.append(0, so_far[:-1])
    before[first] = known
    highest.update(zip(distinct, so_far[np.append(first[1:], len(order)) - 1].tolist(), strict=True))
    ahead = np.empty(len(order), bool)
    ahead[order] = mine > before
    return ahead


class HighestRevision(Guard):
    """`revision`: keeps the highest revision of each record, tombstones included."""

    def __init__(self, layout: Layout) -> None:
        super().__init__(layout)
        self._highest: dict[str, dict[Key, int]] = {}

    def load(self, store: Store, entity: str) -> None:
        """The revisions stand in the projection's own rows; a running aggregate has them in its memory."""
        if self.layout.keeps == "totals":
            frame = store.memory(entity).select("id", "revision")
        else:
            frame = dump(store, entity).select("key", "revision")
        self._highest[entity] = dict(frame.iter_rows())

    def admit(self, entity: str, keys: pl.Series, revisions: pl.Series, positions: pl.Series) -> Admission:
        """A revision that is not higher than the highest is refused."""
        highest = self._highest[entity]
        known = highest.get
        if len(keys) >= _MANY:
            ahead = _ahead(keys, revisions.to_numpy(), highest)
            return Admission(taken := np.flatnonzero(ahead), taken, np.flatnonzero(~ahead))
        take: list[int] = []
        refused: list[int] = []
        for row, (key, revision) in enumerate(zip(keys.to_list(), revisions.to_list(), strict=True)):
            if revision > known(key, 0):
                highest[key] = revision
                take.append(row)
            else:
                refused.append(row)
        return Admission(take, take, refused)

    def known(self, entity: str, key: Key, revision: int, position: int) -> bool:
        """A revision that is not higher."""
        return revision <= self._highest[entity].get(key, 0)


class Ordered(HighestRevision):
    """`ordered`: each record's revisions one after the other, none left out; what comes early is held back."""

    def __init__(self, layout: Layout, hold: int) -> None:
        super().__init__(layout)
        self._hold = hold

    def admit(self, entity: str, keys: pl.Series, revisions: pl.Series, positions: pl.Series) -> Admission:
        """A revision is taken when it is the next one, and pulls in those that waited for it.

        The queue of rows that wait is bounded: what does not fit is dropped, and told.
        """
        highest = self._highest[entity]
        waiting: dict[Key, dict[int, int]] = {}
        take: list[int] = []
        trigger: list[int] = []
        refused: list[int] = []
        dropped: list[int] = []
        held = 0
        for row, (key, revision) in enumerate(zip(keys.to_list(), revisions.to_list(), strict=True)):
            last = highest.get(key, 0)
            early = waiting.get(key)
            if revision <= last or (early is not None and revision in early):
                refused.append(row)
            elif revision > last + 1:
                if held >= self._hold:
                    dropped.append(row)
                    continue
                held += 1
                waiting.setdefault(key, {})[revision] = row
            else:
                take.append(row)
                trigger.append(row)
                while early and revision + 1 in early:
                    revision += 1
                    held -= 1
                    take.append(early.pop(revision))
                    trigger.append(row)
                highest[key] = revision
        return Admission(take, trigger, refused, dropped)


def make_guard(policy: str, layout: Layout, hold: int) -> Guard:
    """The guard of that name."""
    if policy == "ordered":
        return Ordered(layout, hold)
    if policy == "revision" and layout.keeps == "revisions":
        # Each revision has a row of its own there: the highest one is no reason to refuse the others.
        return Dedupe(layout)
    policies: dict[str, Callable[[Layout], Guard]] = {"none": NoGuard, "dedupe": Dedupe, "revision": HighestRevision}
    return policies[policy](layout)


def memory_schema(policy: str, keeps: str, key: pl.DataType, contribution: dict[str, Any]) -> dict[str, pl.DataType]:
    """What a guard must have kept beside the data, so that a crash makes it forget nothing."""
    if policy == "dedupe" and keeps != "revisions":
        return {"id": pl.Int64()}
    if keeps == "totals" and policy == "ordered":
        return {"id": key, "revision": pl.Int64()}
    if keeps == "totals" and policy == "revision":
        return {"id": key, "revision": pl.Int64(), "live": pl.Boolean(), **contribution}
    return {}

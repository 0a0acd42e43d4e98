"""The guards that compare revisions: `revision` for records and for running aggregates, and `ordered`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import polars as pl

from lab.base import BEFORE, Key
from lab.projection.dedupe import Dedupe
from lab.projection.guard import Admission, Guard, Lookup, Schema
from lab.projection.recent import Recent
from lab.projection.totals import contributions, last_rows
from lab.stores.kept import Kept
from lab.stores.layout import Layout

# From so many rows on, NumPy is quicker than a loop over the rows.
_MANY = 64

Known = Callable[[Sequence[Key]], list[int]]


def _ahead(keys: pl.Series, revisions: np.ndarray, known_of: Known) -> tuple[np.ndarray, Iterable[tuple[Key, int]]]:
    """Which rows, in the order of arrival, have a higher revision than is known and than all of their key before them.

    Also returns what is known of each key afterwards. Rows are brought together by key, and each key is lifted above
    the one before it: one running maximum then serves all keys. What is known is looked up once for each key, in the
    order of keys.
    """
    codes = keys.to_numpy() if keys.dtype.is_integer() else keys.rank("dense").to_numpy()
    order = np.argsort(codes, kind="stable")
    codes, mine = codes[order], revisions[order]
    starts = np.append(np.True_, codes[1:] != codes[:-1])
    groups = np.cumsum(starts) - 1
    first = np.flatnonzero(starts)
    distinct = keys[order[first]].to_list()
    known = np.fromiter(known_of(distinct), np.int64, len(distinct))
    lift = groups * (max(int(mine.max()), int(known.max())) + 1)
    so_far = np.maximum.accumulate(np.maximum(mine, known[groups]) + lift) - lift
    before = np.append(0, so_far[:-1])
    before[first] = known
    ahead = np.empty(len(order), bool)
    ahead[order] = mine > before
    return ahead, zip(distinct, so_far[np.append(first[1:], len(order)) - 1].tolist(), strict=True)


class HighestRevision(Guard):
    """`revision`: refuses revisions that are not higher than the record's highest, tombstones included."""

    orders_totals = True

    def __init__(self, layout: Layout, projected: Lookup, hold: int = 0) -> None:
        super().__init__(layout, projected, hold)
        self._highest = {name: self._recent(name, self._revisions, 0) for name in layout.entities}

    @classmethod
    def over(cls, kept: Kept) -> type[Guard]:
        """Over revisions the highest is no reason to refuse the others; an aggregate is kept up by contributions."""
        return Dedupe if kept.every_revision else Contributions if kept.adds else cls

    def _recent(self, entity: str, fetch: Callable[..., dict[Key, Any]], missing: Any) -> Recent[Any]:
        return Recent(lambda keys: fetch(entity, keys), missing, self._empty(entity))

    def _empty(self, entity: str) -> bool:
        """Whether the projection has nothing of an entity; one that catch-up has written to isn't read for it."""
        if self.projected.checkpoint(entity) or not self.projected.capabilities.lists:
            return False
        if self.layout.kept.adds:
            return not self.projected.memory(entity).height
        return not any(page.height for page in self.projected.pages(entity))

    def _revisions(self, entity: str, keys: Sequence[Key]) -> dict[Key, int]:
        return self.projected.revisions(entity, keys)

    def admit(self, entity: str, keys: pl.Series, revisions: pl.Series, positions: pl.Series) -> Admission:
        """Refuse revisions that are not higher than the record's highest."""
        highest = self._highest[entity]
        if len(keys) >= _MANY:
            ahead, after = _ahead(keys, revisions.to_numpy(), highest.many)
            return Admission(taken := np.flatnonzero(ahead), taken, np.flatnonzero(~ahead), known=after)
        arrived = keys.to_list()
        known = highest.of(arrived)
        take: list[int] = []
        refused: list[int] = []
        for row, (key, revision) in enumerate(zip(arrived, revisions.to_list(), strict=True)):
            if revision > known[key]:
                known[key] = revision
                take.append(row)
            else:
                refused.append(row)
        return Admission(take, take, refused, known=known.items())

    def known(self, entity: str, keys: Sequence[Key], revisions: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Return which revisions are not higher than the record's highest."""
        highest = self._highest[entity].of(keys)
        return revisions <= np.fromiter((highest[key] for key in keys), np.int64, len(keys))

    def landed(self, entity: str, admission: Admission, checkpoint: int | None, memory: pl.DataFrame | None) -> None:
        """Record the admitted revisions as the highest."""
        self._highest[entity].update(admission.known)

    def forget(self, entity: str, keys: pl.Series, positions: pl.Series) -> None:
        """Only the records that were touched are looked up again."""
        self._highest[entity].forget(keys.unique().to_list())


class Contributions(HighestRevision):
    """`revision` over a running aggregate: with the highest revision of each record, what it has added to its group."""

    remembers_contributions = True

    def __init__(self, layout: Layout, projected: Lookup, hold: int = 0) -> None:
        super().__init__(layout, projected, hold)
        assert layout.totals is not None
        self._totals = layout.totals
        self._columns = list(dict.fromkeys(self._totals.columns))
        self._nothing = (False, *(None for _ in self._columns))
        self._last = {name: self._recent(name, self._contributed, self._nothing) for name in layout.entities}

    @classmethod
    def memory_schema(cls, layout: Layout) -> Schema:
        """Each record's revision, and what it has added."""
        assert layout.totals is not None
        schema = layout.entities[layout.totals.entity].schema
        added = {name: schema[name] for name in layout.totals.columns}
        return {"id": schema["key"], "revision": pl.Int64(), "live": pl.Boolean(), **added}

    def _revisions(self, entity: str, keys: Sequence[Key]) -> dict[Key, int]:
        """Both are in the same rows: one read finds the contributions too."""
        found = {row[0]: row[1:] for row in self.projected.memory(entity, keys).iter_rows()}
        self._last[entity].update((key, found[key][1:] if key in found else self._nothing) for key in keys)
        return {key: row[0] for key, row in found.items()}

    def _contributed(self, entity: str, keys: Sequence[Key]) -> dict[Key, tuple[Any, ...]]:
        return {row[0]: row[2:] for row in self.projected.memory(entity, keys).iter_rows()}

    def memory(self, taken: pl.DataFrame) -> pl.DataFrame | None:
        """Each record's revision and contribution; of a record there is one row."""
        return contributions(taken, self._totals)

    def with_before(self, entity: str, taken: pl.DataFrame) -> pl.DataFrame:
        """The last change of each record, with what the record has contributed before as its before-image."""
        last = last_rows(taken, ("key",))
        former = self._last[entity].many(last["key"].to_list())
        names = [f"{BEFORE}live", *(f"{BEFORE}{name}" for name in self._columns)]
        types = [pl.Boolean(), *(last.schema[name] for name in self._columns)]
        before = pl.DataFrame(former, schema=dict(zip(names, types, strict=True)), orient="row")
        return last.drop([name for name in names if name in last.columns]).hstack(before)

    def landed(self, entity: str, admission: Admission, checkpoint: int | None, memory: pl.DataFrame | None) -> None:
        """What was kept with the changes is what their records have contributed now."""
        super().landed(entity, admission, checkpoint, memory)
        if memory is not None:
            self._last[entity].update((row[0], row[2:]) for row in memory.iter_rows())

    def forget(self, entity: str, keys: pl.Series, positions: pl.Series) -> None:
        """Only the records that were touched are looked up again."""
        super().forget(entity, keys, positions)
        self._last[entity].forget(keys.unique().to_list())


class Ordered(HighestRevision):
    """`ordered`: applies each record's revisions in order without a gap; early ones are held back."""

    needs_every_revision = True
    holds_back = True

    @classmethod
    def over(cls, kept: Kept) -> type[Guard]:
        """Return this class: it is the same for everything that a projection can keep."""
        return cls

    @classmethod
    def memory_schema(cls, layout: Layout) -> Schema:
        """Return a column for each record's revision, if no row has it."""
        if layout.totals is None:
            return {}
        return {"id": layout.entities[layout.totals.entity].schema["key"], "revision": pl.Int64()}

    def memory(self, taken: pl.DataFrame) -> pl.DataFrame | None:
        """Return each record's revision."""
        if not self.layout.memory:
            return None
        return last_rows(taken, ("key",)).select(pl.col("key").alias("id"), "revision")

    def admit(self, entity: str, keys: pl.Series, revisions: pl.Series, positions: pl.Series) -> Admission:
        """Admit a revision if it is the next one, followed by those that waited for it.

        The queue of waiting rows is bounded: a row that does not fit is dropped and reported.
        """
        arrived = keys.to_list()
        highest = self._highest[entity].of(arrived)
        waiting: dict[Key, dict[int, int]] = {}
        take: list[int] = []
        trigger: list[int] = []
        refused: list[int] = []
        dropped: list[int] = []
        held = 0
        for row, (key, revision) in enumerate(zip(arrived, revisions.to_list(), strict=True)):
            last = highest[key]
            early = waiting.get(key)
            if revision <= last or (early is not None and revision in early):
                refused.append(row)
            elif revision > last + 1:
                if held >= self.hold:
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
        return Admission(take, trigger, refused, dropped, highest.items())

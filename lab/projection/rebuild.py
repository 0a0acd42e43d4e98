"""Rebuild a projection from position 0.

The last revision of each record is found before anything is written; then everything is written once, sorted by key,
and indexes are built last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import polars as pl

from lab.base import Batch, Key
from lab.feed.reader import ChangeReader
from lab.mapped import breathe
from lab.projection.guards import guard_class
from lab.projection.projector import Projector
from lab.projection.totals import aggregate
from lab.spill import here
from lab.stores.layout import Layout
from lab.stores.port import Store

PAGE = 100_000
# Rows are reduced to the last revision of each record when so many have accumulated.
PILE = 400_000
# So many records are written together, in the order of keys.
ROWS_AT_ONCE = 400_000


def rebuild(store: Store, subscription: ChangeReader, policy: str, told: Callable[[int], None] = lambda _: None) -> int:
    """Fill an empty, open projection from the feed; returns how many changes were read, and tells it meanwhile."""
    read = 0
    # Parents come first, so that a document's embedded parts exist when it is written.
    for entity in store.layout.embedded_first():
        counted = _Counted(subscription, entity, read, told)
        if store.layout.kept.every_revision:
            store.bulk(entity, (Batch(entity, page, int(page["position"][-1])) for page in counted))
        else:
            last = _LastRevisions(counted, store.layout, entity)
            store.bulk(entity, _batches(entity, last, store, policy, counted))
        read = counted.read
    return read


def follow(store: Store, reader: ChangeReader, policy: str, told: Callable[[int], None] = lambda _: None) -> int:
    """Fill a store as `rebuild` does, by catching up: what the store can't take is parked, and the rest is in.

    For a running aggregate the reader gives before-images. Returns how many changes were read, and tells it meanwhile.
    """
    store.reset()
    read, projector = 0, Projector(store, policy, hold=0)
    for entity in store.layout.embedded_first():
        for page in reader.pages(entity, PAGE):
            projector.apply(entity, page, int(page["position"][-1]))
            read += page.height
            told(read)
    return read


class _Counted:
    """Iterates over the feed's pages from the first, and counts the changes, after those of entities before it."""

    def __init__(self, subscription: ChangeReader, entity: str, read: int, told: Callable[[int], None]) -> None:
        self.subscription, self.entity, self._told = subscription, entity, told
        self.position, self.read = 0, read

    def __iter__(self) -> Iterator[pl.DataFrame]:
        for page in self.subscription.pages(self.entity, PAGE):
            self.position = int(page["position"][-1])
            self.read += page.height
            self._told(self.read)
            yield page


class _LastRevisions:
    """The last revision of each record, in parts that have no record in common: so they are never copied as a whole.

    Large parts are kept in the spill of the block that this is made in (`lab.spill.here`).
    """

    def __init__(self, pages: _Counted, layout: Layout, entity: str) -> None:
        needed = list(layout.entities[entity].schema)
        if layout.totals:
            needed = ["key", "revision", "deleted", *dict.fromkeys(layout.totals.columns)]
        self._parts: list[_Part] = []
        pile: list[pl.DataFrame] = [layout.entities[entity].empty().select(needed)]
        rows = 0
        for page in pages:
            pile.append(page.select(needed))
            rows += page.height
            if rows > PILE:
                self._merge(pile)
                pile, rows = [], 0
        self._merge(pile)

    def _merge(self, pile: list[pl.DataFrame]) -> None:
        """Add the last revisions of a pile of pages, which is emptied, and drop the earlier ones of their records."""
        if not pile:
            return
        newest = _reduced(pile)
        keys = newest["key"].implode()
        for part in self._parts:
            part.drop(keys)
        # Small parts are joined, so that there are few; of a large one, what is dropped stays until it is half of it.
        small = [part for part in self._parts if part.count < PILE or 2 * part.count < part.frame.height]
        large = [part for part in self._parts if not any(part is one for one in small)]
        self._parts = [*large, _Part(_own([*(part.rows() for part in small), newest]) if small else newest)]

    def whole(self) -> pl.DataFrame:
        """Return all of them, by key."""
        return pl.concat([part.rows() for part in self._parts]).sort("key")

    def ranges(self) -> Iterator[pl.DataFrame]:
        """Yield them by key, some at a time; at least once."""
        keys = pl.concat([part.keys() for part in self._parts]).sort()
        for first in range(0, max(keys.len(), 1), ROWS_AT_ONCE):
            some = keys[first : first + ROWS_AT_ONCE]
            if some.len() == keys.len():
                yield self.whole()
            else:
                yield pl.concat([part.within(some[0], some[-1]) for part in self._parts]).sort("key")


class _Part:
    """Last revisions of records, on disk if they are many; those of which a later one is elsewhere are left out."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self.frame = here().kept(frame) if frame.height >= PILE else frame
        self.count = frame.height
        self._last = pl.Series([True]).new_from_index(0, frame.height)

    def drop(self, keys: pl.Series) -> None:
        """Leave out the records of these keys, a list in one value."""
        breathe()
        self._last = self._last & ~self.frame["key"].is_in(keys)
        self.count = int(self._last.sum())

    def rows(self) -> pl.DataFrame:
        """Return what is not left out."""
        return self.frame if self.count == self.frame.height else self.frame.filter(self._last)

    def keys(self) -> pl.Series:
        """Return the keys of these."""
        return self.frame["key"].filter(self._last)

    def within(self, first: Key, last: Key) -> pl.DataFrame:
        """Return those of them with keys from `first` to `last`."""
        breathe()
        return self.frame.filter(self._last & self.frame["key"].is_between(first, last))


def _reduced(pile: list[pl.DataFrame]) -> pl.DataFrame:
    """Return the last row of each key, and empty the pile: whole rows are copied page by page, not all at once."""
    keys = pl.concat([page.select("key") for page in pile]).with_row_index("row")
    rows = keys.unique("key", keep="last", maintain_order=True)["row"].to_numpy()
    parts: list[pl.DataFrame] = []
    first = 0
    for page in pile:
        low, high = np.searchsorted(rows, [first, first + page.height])
        parts.append(page[rows[low:high] - first])
        first += page.height
    pile.clear()
    return _own(parts)


def _own(parts: list[pl.DataFrame]) -> pl.DataFrame:
    # A row that is kept keeps the texts of its whole page in memory. Copied to Arrow's older layout, they are its own:
    # without that, the memory of a rebuild grows with the feed.
    found = pl.from_arrow(pl.concat(parts).to_arrow(compat_level=pl.CompatLevel.oldest()))
    assert isinstance(found, pl.DataFrame)
    return found


def _batches(entity: str, last: _LastRevisions, store: Store, policy: str, counted: _Counted) -> Iterator[Batch]:
    """Yield the batches to write, the last one with the checkpoint; with the guard's memory after every change."""
    totals = store.layout.totals
    if totals is not None:
        whole = last.whole()
        guard = guard_class(policy, store.layout.kept)(store.layout, store)
        yield Batch(entity, aggregate(whole, totals), counted.position, guard.memory_of(whole))
        return
    former: pl.DataFrame | None = None
    for rows in last.ranges():
        if former is not None:
            yield Batch(entity, former)
        former = rows
    assert former is not None
    yield Batch(entity, former, counted.position)

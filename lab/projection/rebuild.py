"""Rebuild a projection from position 0.

The last revision of each record is found before anything is written; then everything is written once, sorted by key,
and indexes are built last.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from lab.base import Batch
from lab.feed.reader import ChangeReader
from lab.projection.guards import guard_class
from lab.projection.projector import Projector
from lab.projection.totals import aggregate
from lab.stores.port import Layout, Store

PAGE = 100_000
# Rows are reduced to the last revision of each record when so many have accumulated.
PILE = 400_000


def rebuild(store: Store, subscription: ChangeReader, policy: str) -> int:
    """Fill an empty, open projection from the feed; returns how many changes were read."""
    read = 0
    # Parents come first, so that a document's embedded parts exist when it is written.
    for entity in store.layout.embedded_first():
        counted = _Counted(subscription, entity)
        if store.layout.kept.every_revision:
            store.bulk(entity, (Batch(entity, page, int(page["position"][-1])) for page in counted))
        else:
            last = _last_revisions(counted, store.layout, entity)
            store.bulk(entity, [_batch(entity, last, store, policy, counted.position)])
        read += counted.read
    return read


def follow(store: Store, reader: ChangeReader, policy: str) -> int:
    """Fill a store as `rebuild` does, by catching up: what the store can't take is parked, and the rest is in.

    For a running aggregate the reader gives before-images. Returns how many changes were read.
    """
    store.reset()
    read, projector = 0, Projector(store, policy, hold=0)
    for entity in store.layout.embedded_first():
        for page in reader.pages(entity, PAGE):
            projector.apply(entity, page, int(page["position"][-1]))
            read += page.height
    return read


class _Counted:
    """Iterates over the feed's pages from the first, and counts the changes."""

    def __init__(self, subscription: ChangeReader, entity: str) -> None:
        self.subscription, self.entity = subscription, entity
        self.position = self.read = 0

    def __iter__(self) -> Iterator[pl.DataFrame]:
        for page in self.subscription.pages(self.entity, PAGE):
            self.position = int(page["position"][-1])
            self.read += page.height
            yield page


def _last_revisions(pages: _Counted, layout: Layout, entity: str) -> pl.DataFrame:
    needed = list(layout.entities[entity].schema)
    if layout.totals:
        needed = ["key", "revision", "deleted", *dict.fromkeys(layout.totals.columns)]
    pile: list[pl.DataFrame] = [layout.entities[entity].empty().select(needed)]
    rows = 0
    for page in pages:
        pile.append(page.select(needed))
        rows += page.height
        if rows > PILE:
            pile = [_reduced(pile)]
            rows = 0
    return _reduced(pile).sort("key")


def _reduced(pile: list[pl.DataFrame]) -> pl.DataFrame:
    kept = pl.concat(pile).unique("key", keep="last", maintain_order=True)
    # A row that is kept keeps the texts of its whole page in memory. Copied to Arrow's older layout, they are its own:
    # without that, the memory of a rebuild grows with the feed.
    found = pl.from_arrow(kept.to_arrow(compat_level=pl.CompatLevel.oldest()))
    assert isinstance(found, pl.DataFrame)
    return found


def _batch(entity: str, last: pl.DataFrame, store: Store, policy: str, position: int) -> Batch:
    """Return the batch to write, with the guard's memory after every change."""
    totals = store.layout.totals
    if totals is None:
        return Batch(entity, last, position)
    guard = guard_class(policy, store.layout.kept)(store.layout, store)
    return Batch(entity, aggregate(last, totals), position, guard.memory_of(last))

"""Tries a store that can't list what it holds: another object remembers which keys it was given, and looks them up.

A projection in such a store is judged by the keys that the oracle knows. Here there is no oracle: so the keys are those
that were written at the same place in this process, and those that a trial tells of.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import ClassVar

import polars as pl

from lab.base import Batch, Key
from lab.stores.port import Store

_MEMORY = "memory of "


class Listing(Store):
    """Lists the rows of a store by the keys that it was given; mixed in before the store's own class."""

    # By place: two objects at one place, one after the other, hold the same.
    _told: ClassVar[dict[Path, dict[str, dict[Key, None]]]] = {}

    def tell(self, entity: str, keys: Iterable[Key]) -> None:
        """Say which keys there may be."""
        self._told.setdefault(self.path, {}).setdefault(entity, {}).update(dict.fromkeys(keys))

    def _keys(self, entity: str) -> list[Key]:
        return list(self._told.get(self.path, {}).get(entity, {}))

    def _seen(self, batch: Batch) -> Batch:
        if "key" in batch.rows.columns:
            self.tell(batch.entity, batch.rows["key"])
        if batch.memory is not None and batch.memory["id"].dtype in (pl.Int64, pl.String):
            self.tell(_MEMORY + batch.entity, batch.memory["id"])
        return batch

    def apply(self, batch: Batch) -> None:
        """Apply a batch, and remember its keys."""
        super().apply(self._seen(batch))  # type: ignore[safe-super]

    def bulk(self, entity: str, frames: Iterable[Batch]) -> None:
        """Fill the store, and remember the keys."""
        super().bulk(entity, map(self._seen, frames))  # type: ignore[safe-super]

    def pages(self, entity: str) -> Iterator[pl.DataFrame]:
        """Look every key up that is remembered."""
        return self.rows(entity, self._keys(entity))

    def memory(self, entity: str, keys: Sequence[Key] | None = None) -> pl.DataFrame:
        """Look up the guard's memory; without keys, of all that are remembered."""
        return super().memory(entity, self._keys(_MEMORY + entity) if keys is None else keys)  # type: ignore[safe-super]


@cache
def listing(store: type[Store]) -> type[Store]:
    """Return the class, or for one that can't list its rows a class of the same store that remembers their keys."""
    if store.capabilities.lists:
        return store
    names = {"__module__": store.__module__, "capabilities": replace(store.capabilities, lists=True)}
    return type(f"Listing{store.__name__}", (Listing, store), names)

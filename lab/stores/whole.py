"""What a store holds, read as a whole: of one that can't list its rows, by keys that are known from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import polars as pl

from lab.base import Key
from lab.stores.port import Store


def held(store: Store, entity: str, keys: Callable[[], Iterable[Key]]) -> Iterator[pl.DataFrame]:
    """The pages of an entity; of a store that can't list its rows, the rows with these keys."""
    return store.pages(entity) if store.capabilities.lists else store.rows(entity, keys())


def dump(store: Store, entity: str, keys: Callable[[], Iterable[Key]] = tuple) -> pl.DataFrame:
    """Join what a store holds of an entity into one frame, with `Layout.schema`; `keys` are as for `held`."""
    return pl.concat([*held(store, entity, keys)] or [pl.DataFrame(schema=store.layout.schema(entity))])

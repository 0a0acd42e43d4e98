"""The content of a store, to be judged: what is as it must be takes no memory of its own."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import polars as pl

from lab.base import Key
from lab.mapped import breathe
from lab.spill import Spill
from lab.stores.port import Store
from lab.stores.whole import held
from lab.verdict.oracle import Oracle


def dumped(store: Store, oracle: Oracle, spill: Spill) -> dict[str, pl.DataFrame]:
    """Return everything that a store keeps, by entity, as its pages join to one frame.

    The oracle's frame stands for one that equals it, page by page; any other is kept in `spill`. A store that can't
    list its rows is asked for every record that the oracle knows of.
    """
    found = {}
    for name in store.layout.entities:
        must = oracle.expected(store.layout.keeps, name, store.layout.totals)
        keys = partial(_keys, oracle, name)
        if _same(held(store, name, keys), must):
            found[name] = must
        else:
            found[name] = spill.frame(held(store, name, keys), store.layout.schema(name))
    return found


def _keys(oracle: Oracle, entity: str) -> list[Key]:
    """The keys of all records that there have ever been."""
    return oracle.revisions[entity]["key"].unique().to_list()


def _same(pages: Iterable[pl.DataFrame], must: pl.DataFrame) -> bool:
    at = 0
    for page in pages:
        breathe()
        if not page.equals(must[at : at + page.height]):
            return False
        at += page.height
    return 0 < at == must.height

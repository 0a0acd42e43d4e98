"""The content of a store, to be judged: what is as it must be takes no memory of its own."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from lab.spill import Spill, breathe
from lab.stores.port import Store
from lab.verdict.oracle import Oracle


def dumped(store: Store, oracle: Oracle, spill: Spill) -> dict[str, pl.DataFrame]:
    """Return everything that a store keeps, by entity, as its pages join to one frame.

    The oracle's frame stands for one that equals it, page by page; any other is kept in `spill`.
    """
    found = {}
    for name in store.layout.entities:
        must = oracle.expected(store.layout.keeps, name, store.layout.totals)
        if _same(store.pages(name), must):
            found[name] = must
        else:
            found[name] = spill.frame(store.pages(name), store.layout.schema(name))
    return found


def _same(pages: Iterable[pl.DataFrame], must: pl.DataFrame) -> bool:
    at = 0
    for page in pages:
        breathe()
        if not page.equals(must[at : at + page.height]):
            return False
        at += page.height
    return 0 < at == must.height

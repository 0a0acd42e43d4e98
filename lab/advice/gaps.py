"""Say why a projection or the source of truth was not timed with a query, and which stores could answer it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import polars as pl

from lab.base import TRUTH, BadInput, MissingDriver
from lab.formatting import listed
from lab.queries.kinds import KINDS
from lab.runs import Run
from lab.stores import STORES, store_class
from lab.stores.port import Store

_NAMED_MAX = 3
# It could, but the scenario keeps the query from it.
NOT_ASKED = "the scenario doesn't ask it that"
# What to add for a class of query, where there is a word for it.
_REMEDIES = {"search": "a search index", "traverse": "a graph", "as_of": "a log", "history": "a log"}


def cannot(run: Run) -> dict[str, dict[str, str]]:
    """Return for each projection of the run, and the source of truth, the reason of each query that it wasn't asked."""
    asked = run.table("queries")
    kinds: dict[str, str] = dict(asked.select("query", "kind").unique("query", maintain_order=True).iter_rows())
    given: dict[str, list[str]] = dict(
        asked.group_by("projection").agg(pl.col("query")).iter_rows() if asked.height else ()
    )
    entries = {str(entry["name"]): entry for entry in run.manifest["projections"]}
    found = {}
    for name in [*entries, *([TRUTH] if TRUTH in given and TRUTH not in entries else [])]:
        missing = {query: kind for query, kind in kinds.items() if query not in given.get(name, [])}
        found[name] = {
            query: _lacks(entries.get(name), query) or reason(entries.get(name), run.manifest.get("truth"), kind)
            for query, kind in missing.items()
        }
    return found


def _lacks(entry: Mapping[str, Any] | None, query: str) -> str:
    """Return why the store can't answer this query though it answers others of its class; "" for no such reason."""
    return str((entry or {}).get("lacks", {}).get(query, ""))


def reason(entry: Mapping[str, object] | None, truth: Mapping[str, object] | None, kind: str) -> str:
    """Return why a projection (its entry of the manifest) can't answer a class of query; None: the source of truth."""
    past = kind in KINDS and KINDS[kind].past
    if entry is None:
        if kind == "search":
            return "the source of truth has no index of words"
        if past and (truth or {}).get("model") == "snapshot":
            return "the source of truth keeps the last state alone"
        return "the source of truth can't answer it by itself"
    store = _class(str(entry.get("store")))
    if store is None:
        return NOT_ASKED
    if kind not in store.answers:
        why = store.gaps.get(kind, "the store has no way to")
        return why.partition(": ")[2] or why
    if past and entry.get("keeps") != "revisions":
        return f"it keeps {entry.get('keeps', 'no revisions')}, not revisions"
    return NOT_ASKED


@cache
def remedy(kind: str) -> str:
    """Return what to add for a class of query: `a search index (sqlite.search or tantivy.search)`."""
    able = [
        spec.name
        for spec in STORES.values()
        if spec.compared and not spec.server and (store := _class(spec.name)) is not None and kind in store.answers
    ]
    what = _REMEDIES.get(kind)
    if what:
        family = {"a search index": "search index", "a graph": "graph", "a log": "event log"}[what]
        able = [name for name in able if STORES[name].family == family] or able
    stores = listed(able[:_NAMED_MAX]).replace(" and ", " or ")
    return f"{what} ({stores})" if what and stores else stores or "a store that can"


@cache
def _class(name: str) -> type[Store] | None:
    """Return a store's class; None if it isn't known or installed here."""
    try:
        return store_class(name)
    except (BadInput, MissingDriver):
        return None

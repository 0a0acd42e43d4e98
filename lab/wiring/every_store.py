"""`projections = "all"`: a projection in each store that is installed, so that all can be held against each other."""

from __future__ import annotations

from collections.abc import Sequence

from lab.scenario import ProjectionTable, Scenario
from lab.stores import STORES
from lab.wiring.meaning import usable


def expanded(scenario: Scenario) -> Scenario:
    """The scenario with the projections that its word `projections` stands for.

    A projection that is declared stands for its store, unless it keeps a running aggregate; the first of them does. Any
    other store gets one of its own, called after it (`lmdb-keyvalue`), which is fed like the first that is declared. A
    store that keeps revisions alone is left out where the feed doesn't show them all.
    """
    if scenario.projections == "declared":
        return scenario
    model = scenario.projection[0]
    tables: list[ProjectionTable] = []
    for name, spec in STORES.items():
        store = usable(name) if spec.compared else None
        if store is None:
            continue
        holds = store.holds[0]
        if holds == "revisions" and scenario.truth.model == "snapshot":
            continue
        tables.append(_declared(scenario.projection, name) or _made(name, model))
    return scenario.model_copy(update={"projection": tuple(tables)})


def _declared(tables: Sequence[ProjectionTable], store: str) -> ProjectionTable | None:
    fitting = (table for table in tables if table.store == store and table.keeps != "totals" and table.entities is None)
    return next(fitting, None)


def _made(store: str, model: ProjectionTable) -> ProjectionTable:
    return ProjectionTable(
        name=store.replace(".", "-"),
        store=store,
        subscribe=model.subscribe,
        batch=model.batch,
        linger=model.linger,
        every=model.every,
    )

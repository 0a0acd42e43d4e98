"""Expand `projections = "all"` into a projection for each installed store."""

from __future__ import annotations

from collections.abc import Sequence

from lab.scenario import ProjectionTable, Scenario
from lab.stores import STORES
from lab.wiring.meaning import usable


def expanded(scenario: Scenario) -> Scenario:
    """Return the scenario with the projections that its key `projections` stands for.

    A declared projection covers its store, unless it keeps a running aggregate. Every other store gets a projection
    named after it (`lmdb-keyvalue`) that is fed like the first declared one. A store that keeps only revisions is left
    out if the feed doesn't show them all; one that needs a server, if it isn't declared.
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
        declared = _declared(scenario.projection, name)
        if declared or not spec.server:
            tables.append(declared or _made(name, model))
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

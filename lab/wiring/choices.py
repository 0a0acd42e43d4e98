"""What a projection is made of where the scenario leaves it open: what it keeps, of which entities, which totals."""

from __future__ import annotations

from dataclasses import replace

from lab.base import Entity, Problem, Totals, nearest
from lab.domain.model import Domain, published
from lab.queries.kinds import KINDS
from lab.queries.model import Query
from lab.scenario import ProjectionTable, Scenario
from lab.stores import STORES
from lab.wiring import meaning


def kept(scenario: Scenario, queries: tuple[Query, ...], explicit: bool, table: ProjectionTable) -> str:
    """Return what is kept if the scenario doesn't say: revisions if a declared query needs the past, else records."""
    store = meaning.usable(table.store)
    holds = store.holds if store else ("records",)
    if holds[0] != "records":
        return holds[0]
    past = {query.name for query in queries if KINDS[query.kind].past}
    asked = past if table.queries is None else past & set(table.queries)
    wanted = explicit and asked and scenario.truth.model != "snapshot" and "revisions" in holds
    return "revisions" if wanted else "records"


def totals(table: ProjectionTable, business: Domain, where: str, problems: list[Problem]) -> Totals | None:
    name = table.totals or next(iter(business.totals), "")
    if name not in business.totals:
        way_out = nearest(str(name), business.totals) if business.totals else f"`{business.name}` has none"
        problems.append(Problem(f"{where}.totals", f"no running aggregate is called `{name}`", way_out))
        return None
    return business.totals[name]


def entities(
    table: ProjectionTable, business: Domain, totals: Totals | None, where: str, problems: list[Problem]
) -> dict[str, Entity]:
    known = published(business)
    if totals:
        return {totals.entity: known[totals.entity]}
    chosen = table.entities or tuple(known)
    for name in chosen:
        if name not in known:
            problems.append(Problem(f"{where}.entities", f"no entity is called `{name}`", nearest(name, known)))
    return _keyed({name: known[name] for name in chosen if name in known}, table, where, problems)


def _keyed(found: dict[str, Entity], table: ProjectionTable, where: str, problems: list[Problem]) -> dict[str, Entity]:
    """Entities with the primary keys that the scenario gives them in place of their indexes."""
    if table.primary_key and table.store in STORES and STORES[table.store].family != "wide column":
        what = f"`{table.store}` finds its records by key and by indexes, not by partitions"
        problems.append(Problem(f"{where}.primary_key", what, 'leave it out, or store = "lmdb.widecolumn"'))
        return found
    keyed = dict(found)
    for name, columns in table.primary_key.items():
        if name not in found:
            what = f"the projection holds no entity `{name}`"
            problems.append(Problem(f"{where}.primary_key", what, nearest(name, found)))
            continue
        for column in columns:
            if column not in found[name].columns:
                what, valid = f"`{name}` has no column `{column}`", found[name].columns
                problems.append(Problem(f"{where}.primary_key.{name}", what, nearest(column, valid)))
        keyed[name] = replace(found[name], indexes=(columns,))
    return keyed

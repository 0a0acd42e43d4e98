"""Turn a scenario's [[query]] into a `Query`, or report every mistake in it at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from lab.base import Entity, Problem
from lab.queries.kinds import KINDS
from lab.queries.kinds.traversal import WALKS
from lab.queries.model import Query
from lab.queries.reader import QueryReader
from lab.scenario import QueryTable


def resolve(
    table: QueryTable, entities: Mapping[str, Entity], file: str, engines: Collection[str] = ()
) -> tuple[Query | None, list[Problem]]:
    """Return the query, or None and every problem of it; `file` is what problems name as their place.

    `engines` are those that a statement of the user's own must run in.
    """
    reader = QueryReader(table, entities, f"{file}: query.{table.name}", engines)
    kind = KINDS[table.kind] if reader.known("kind", table.kind, list(KINDS), "class of query") else None
    if not reader.known("entity", table.entity, list(entities), "entity"):
        return None, reader.problems
    reader.columns()
    where = reader.conditions()
    reader.known("walk", table.walk, WALKS, "walk")
    uses = kind.uses if kind else ()
    if kind and "sql" not in uses and (table.sql is not None or table.parameters):
        reader.wrong("sql", f"a statement of your own in a query of kind `{table.kind}`", 'kind = "sql"')
    own = kind.resolve(reader) if kind else {}
    if reader.problems:
        return None, reader.problems
    # Keys that the class uses and has not resolved itself go into the query as they are.
    copied = {key: getattr(table, key) for key in uses if key in Query.__dataclass_fields__}
    read = copied | ({"where": where} if "where" in uses else {}) | own
    return Query(table.name, table.kind, reader.entity, weight=table.weight, **read), []

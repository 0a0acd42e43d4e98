"""Propose queries and projections for the tables that were looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lab.base import Entity, MissingDriver
from lab.domain.trace.links import link_column, linked_entity
from lab.domain.trace.questions import link_questions, unlike
from lab.queries.kinds import PAST
from lab.starter.looking import Looked
from lab.stores import STORES, store_class

MANY = 2_000_000  # Of more changes than this, only the two stores that every scenario begins with are fed.
FULL = 4  # The largest tables, which are asked everything; the others by key, and along their links.
QUERIES = 60  # The most queries of a scenario: each takes its time in each projection.


@dataclass(frozen=True)
class ProposedProjection:
    """A proposed projection: name, store, what it keeps, and what it is for.

    `apart`: it is fed only the entities that its queries ask for.
    """

    name: str
    store: str
    keeps: str
    kinds: tuple[str, ...]
    why: str
    apart: bool = False


PRESENT = ("get", "get_many", "filter", "aggregate", "join", "traverse")


def proposed_queries(found: Sequence[Looked]) -> list[Mapping[str, Any]]:
    """Return the queries of all tables and those along their links; those of smaller tables give way, if too many."""
    largest = sorted(found, key=lambda one: -one.rows)[:FULL]
    asked = [one.asked[0] for one in found]
    tables = {one.table.name: one.table for one in found}
    kinds = {one.table.name: one.kinds for one in found}
    entities: dict[str, Entity] = {name: linked_entity(name, tables, kinds) for name in tables}
    for one in found:
        links = [(link_column(link, one.kinds), link.to) for link in one.table.link]
        asked += link_questions(entities[one.table.name], links, entities)
    asked += [query for one in found if one in largest for query in one.asked[1:]]
    order = [one.table.name for one in found]
    return sorted(unlike(asked)[:QUERIES], key=lambda query: order.index(str(query["entity"])))


def proposed_projections(
    asked: Sequence[Mapping[str, Any]], changes: int, several: bool
) -> tuple[list[ProposedProjection], list[str]]:
    """Return the projections that suit these queries, and remarks on those that are left out."""
    kinds = {item["kind"] for item in asked}
    past = kinds & set(PAST)
    found = [
        ProposedProjection("table", "sqlite.table", "records", PRESENT, "relational: the last state of each record"),
        ProposedProjection(
            "columns", "duckdb.columnar", "revisions" if past else "records",
            (*PRESENT, "search", *PAST),
            "columnar: every revision" if past else "columnar: the last state of each record",
        ),
    ]  # fmt: skip
    if changes > MANY:
        return found, [f"More than {MANY:,} changes: other stores are left to you, for each takes its time."]
    by_key = ProposedProjection("keys", "lmdb.keyvalue", "records", ("get", "get_many"), "key and value: by key")
    remarks = []
    try:
        store_class(by_key.store)
        found.append(by_key)
    except MissingDriver:
        install = STORES[by_key.store].install
        remarks.append(f"`{by_key.store}` would suit questions by key; it is not installed: {install}")
    if "search" in kinds:
        words = ("search",) if several else ("get", "search")
        found.append(ProposedProjection("words", "sqlite.search", "records", words, "an index of words", several))
    if "traverse" in kinds:
        why = "links between records, to walk along"
        found.append(ProposedProjection("links", "sqlite.graph", "records", ("traverse",), why, several))
    if past:
        found.append(ProposedProjection("log", "sqlite.log", "revisions", PAST, "every revision, appended", several))
    return found, remarks

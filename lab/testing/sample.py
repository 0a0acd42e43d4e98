"""The sample that stores are tried on: items on shelves, with every kind of column, and texts that are awkward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from lab.base import REASON, Embed, Entity, Totals
from lab.conformance.operations import content
from lab.queries.model import Query
from lab.queries.resolve import resolve
from lab.scenario import QueryTable
from lab.stores import Layout, Store

__all__ = [
    "BY_SHELF", "ENTITIES", "IDS", "ITEM", "NASTY", "SHELF", "ask", "content", "item", "items", "layout", "nasty",
    "parked", "sums",
]  # fmt: skip

ITEM = Entity(
    "item",
    "int",
    {"label": "str", "parent": "int", "shelf": "str", "amount": "int", "weight": "float", "fragile": "bool"},
    indexes=(("shelf", "amount"),),
    parent="parent",
    texts=("label", "shelf"),
    embeds=(Embed("parent", "item", ("label",)), Embed("shelf", "shelf", ("title",))),
)
SHELF = Entity("shelf", "str", {"title": "str", "metres": "float"})
ENTITIES = {"item": ITEM, "shelf": SHELF}
BY_SHELF = Totals("item", ("shelf", "fragile"), ("amount",))

NASTY = ("", "'; DROP TABLE item; --", 'say "no"', "nul\x00inside", "\x00", "naïve ☃ 🦆", "a\nb\tc", "%_\\")
# The memory of a guard that keeps the ids of changes alone.
IDS: dict[str, pl.DataType] = {"id": pl.Int64()}


def nasty(store: type[Store]) -> list[str]:
    """The texts of `NASTY` that this store takes, so many that they repeat."""
    return [text for text in NASTY if store.capabilities.nul or "\x00" not in text]


def layout(keeps: str = "records", memory: dict[str, pl.DataType] | None = None, durability: str = "normal") -> Layout:
    """A layout of items and shelves; of items' totals by shelf."""
    if keeps == "totals":
        return Layout(keeps, {"item": ITEM}, BY_SHELF, memory or {}, durability)
    return Layout(keeps, ENTITIES, None, memory or {}, durability)


def items(*rows: Sequence[Any], first: int = 1) -> pl.DataFrame:
    """A change frame of items from (key, revision, deleted, *columns), a position and a second each, from `first`."""
    wide = [
        (at, key, revision, deleted, float(at), *values)
        for at, (key, revision, deleted, *values) in enumerate(rows, first)
    ]
    return pl.DataFrame(wide, schema=ITEM.schema, orient="row")


def item(key: int, revision: int = 1, deleted: bool = False, **columns: Any) -> tuple[Any, ...]:
    """One row for `items`; columns that aren't given are null."""
    return (key, revision, deleted, *(columns.get(name) for name in ITEM.columns))


def sums(*rows: tuple[str | None, bool | None, int, int]) -> pl.DataFrame:
    """Increments of `BY_SHELF`: shelf, fragile, records, sum of amounts."""
    return pl.DataFrame(rows, schema=layout("totals").totals_schema(), orient="row")


def parked(entity: Entity, reason: str, *rows: tuple[Any, ...]) -> pl.DataFrame:
    """Changes of these positions, keys, revisions and further columns, to be parked."""
    wide = [(*row, *[None] * (len(entity.schema) - len(row))) for row in rows]
    frame = pl.DataFrame(wide, entity.schema, orient="row")
    return frame.with_columns(pl.lit(reason, pl.String).alias(REASON))


def ask(**table: Any) -> Query:
    """A query about items, in the words of a scenario."""
    words = {"name": "asked", "entity": "item"} | table
    query, problems = resolve(QueryTable.model_validate(words), ENTITIES, "sample")
    assert query is not None, problems
    return query

"""What the right answer is: every query class over plain frames, with no engine in between.

The memory store and the oracle both answer through this module; SQL engines answer through their own
planner, and the two are compared row by row.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import polars as pl

from lab.base import Entity
from lab.queries.model import Query
from lab.queries.sql import DEPTH_MAX, bind

Row = tuple[Any, ...]


class Table:
    """One entity's change frame (the last revision of each key, or all revisions), with what makes look-ups quick."""

    def __init__(self, entity: Entity, frame: pl.DataFrame) -> None:
        self.entity = entity
        self.frame = frame

    @cached_property
    def live(self) -> pl.DataFrame:
        """The records that are not deleted, sorted by key."""
        newest = pl.col("revision") == pl.col("revision").max().over("key")
        return self.frame.filter(newest).filter(~pl.col("deleted")).sort("key")

    def rows(self, keys: Sequence[Any]) -> list[Row]:
        """The live records of these keys as a reader sees them, by key."""
        return self.live.filter(pl.col("key").is_in(list(keys))).select(self.entity.row).rows()

    @cached_property
    def children(self) -> dict[Any, list[Any]]:
        """The keys of the live records below each parent."""
        below: dict[Any, list[Any]] = defaultdict(list)
        for key, parent in self.live.select("key", str(self.entity.parent)).iter_rows():
            below[parent].append(key)
        return below

    def revisions(self, key: Any) -> pl.DataFrame:
        """All revisions of a record, oldest first."""
        return self.frame.filter(pl.col("key") == key).sort("revision")


def answer(query: Query, parameters: Row, tables: dict[str, Table]) -> list[Row]:
    """The rows that are right, in the order that the query's class says."""
    table = tables[query.entity.name]
    match query.kind:
        case "get" | "get_many":
            return table.rows(parameters)
        case "filter" | "join":
            return _filter(query, parameters, tables)
        case "aggregate":
            return _aggregate(query, _matching(query, parameters, table.live))
        case "traverse":
            return _traverse(parameters[0], table)
        case "as_of":
            key, at = parameters
            newest = table.revisions(key).filter(pl.col("committed_at") <= at).tail(1)
            return newest.filter(~pl.col("deleted")).select(query.entity.row).rows()
        case "history":
            names = ["key", "revision", "deleted", "committed_at", *query.entity.columns]
            return table.revisions(parameters[0]).select(names).rows()
    raise AssertionError(query.kind)


def _matching(query: Query, parameters: Row, frame: pl.DataFrame) -> pl.DataFrame:
    values: Row = bind(tuple(condition.value for condition in query.where), parameters)
    tests: list[pl.Expr] = []
    for condition, value in zip(query.where, values, strict=True):
        if value is None:
            # As in SQL: nothing equals null, or is more or less than it.
            return frame.clear()
        column = pl.col(condition.column)
        match condition.operator:
            case "=":
                tests.append(column == value)
            case ">=":
                tests.append(column >= value)
            case _:
                tests.append(column < value)
    return frame.filter(*tests) if tests else frame


def _filter(query: Query, parameters: Row, tables: dict[str, Table]) -> list[Row]:
    frame = _matching(query, parameters, tables[query.entity.name].live)
    by = [query.order_by] if query.order_by else []
    descending = [query.descending] if by else []
    frame = frame.sort(*by, "key", descending=[*descending, False], nulls_last=True)
    if query.limit:
        frame = frame.head(query.limit)
    if query.other is None:
        return frame.select(query.entity.row).rows()
    taken = {column: f"taken_{place}" for place, column in enumerate(query.take)}
    others = tables[query.other.name].live.select(pl.col("key").alias("found"), *query.take).rename(taken)
    joined = frame.join(others, left_on=str(query.on), right_on="found", how="left", maintain_order="left")
    return joined.select(*query.entity.row, *taken.values()).rows()


def _aggregate(query: Query, frame: pl.DataFrame) -> list[Row]:
    sums = [pl.col(column).sum().alias(f"sum_{column}") for column in query.sum]
    grouped = frame.group_by(query.group_by).agg(pl.len().cast(pl.Int64).alias("records"), *sums)
    return grouped.sort(query.group_by, nulls_last=True).rows()


def _traverse(start: Any, table: Table) -> list[Row]:
    if not table.rows([start]):
        return []
    depth_of: dict[Any, int] = {start: 0}
    level, depth = [start], 0
    while level and depth < DEPTH_MAX:
        depth += 1
        level = [child for key in level for child in table.children.get(key, ()) if child not in depth_of]
        depth_of.update((key, depth) for key in level)
    del depth_of[start]
    return sorted(depth_of.items(), key=lambda item: (item[1], item[0]))


def same(expected: Sequence[Row], found: Sequence[Row]) -> bool:
    """Whether two answers are the same: row by row, floats within 1e-9 (engines add in their own order)."""
    return len(expected) == len(found) and all(
        len(one) == len(other) and all(map(_equal, one, other)) for one, other in zip(expected, found, strict=True)
    )


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)
    return bool(one == other)

"""What the right answer is: every query class over plain frames, with no engine in between.

The memory store and the oracle both answer through this module; SQL engines answer through their own
planner, and the two are compared row by row.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from functools import cached_property
from typing import Any

import polars as pl

from lab.base import Entity
from lab.queries.model import Query
from lab.queries.sql import DEPTH_MAX, bind
from lab.queries.text import plain
from lab.queries.user_sql import reference

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

    @cached_property
    def parents(self) -> dict[Any, Any]:
        """What is above each live record."""
        return dict(self.live.select("key", str(self.entity.parent)).iter_rows())

    @cached_property
    def words(self) -> dict[str, set[Any]]:
        """The keys of the live records in whose texts each word is."""
        found: dict[str, set[Any]] = defaultdict(set)
        for key, text in self.live.select("key", text=plain(self.entity.texts)).iter_rows():
            for word in text.split():
                found[word].add(key)
        return found

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
            return _WALKS[query.walk](query, parameters, table)
        case "search":
            return _search(query, parameters[0], table)
        case "sql":
            used = {entity.name: tables[entity.name] for entity in (query.entity, *query.uses)}
            frames = {name: one.live.select(one.entity.row) for name, one in used.items()}
            return reference(query.statement, parameters, frames)
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


def _search(query: Query, words: str, table: Table) -> list[Row]:
    """Every match, by key; a store may rank them as it likes, and gives `limit` of them."""
    wanted = [table.words.get(word, set()) for word in words.split()]
    return [(key,) for key in sorted(set.intersection(*wanted))] if wanted else []


def _below(query: Query, parameters: Row, table: Table) -> list[Row]:
    return _reached(parameters[0], table, DEPTH_MAX, lambda key: table.children.get(key, ()))


def _near(query: Query, parameters: Row, table: Table) -> list[Row]:
    def steps(key: Any) -> list[Any]:
        above = table.parents.get(key)
        return [*table.children.get(key, ()), *([above] if above in table.parents else [])]

    return _reached(parameters[0], table, query.depth, steps)


def _reached(start: Any, table: Table, most: int, steps: Callable[[Any], Iterable[Any]]) -> list[Row]:
    """Key and depth of each record that is reached from the first, level by level."""
    if start not in table.parents:
        return []
    depth_of: dict[Any, int] = {start: 0}
    level, depth = [start], 0
    while level and depth < most:
        depth += 1
        level = [other for key in level for other in steps(key) if other not in depth_of]
        depth_of.update((key, depth) for key in level)
    del depth_of[start]
    return sorted(depth_of.items(), key=lambda item: (item[1], item[0]))


def _path(query: Query, parameters: Row, table: Table) -> list[Row]:
    one, other = (_line(key, table) for key in parameters)
    depth = {key: place for place, key in reversed(list(enumerate(other)))}
    meet = [(up + depth[key], up, depth[key]) for up, key in enumerate(one) if key in depth]
    if not meet:
        return []
    _, up, down = min(meet)
    return list(enumerate([*one[: up + 1], *reversed(other[:down])]))


def _line(key: Any, table: Table) -> list[Any]:
    """From a record upwards, itself first; a cycle, which a projection that has diverged can hold, ends it."""
    line: list[Any] = []
    while key in table.parents and key not in line and len(line) <= DEPTH_MAX:
        line.append(key)
        key = table.parents[key]
    return line


_WALKS = {"below": _below, "near": _near, "path": _path}


def agrees(query: Query, expected: Sequence[Row], found: Sequence[Row]) -> bool:
    """Whether an answer is right. Of a search all matches are expected, and `limit` of them may be found."""
    if query.kind == "search":
        most = len(expected) if query.limit is None else min(query.limit, len(expected))
        return len(found) == len(set(found)) == most and set(found) <= set(expected)
    if query.kind == "sql":
        return same(sorted(expected, key=_order), sorted(found, key=_order))
    return same(expected, found)


def _order(row: Row) -> tuple[tuple[int, Any], ...]:
    """Any rows have an order, whatever is in them; floats that are told apart by rounding only stand together."""
    return tuple(
        (0, 0)
        if value is None
        else (1, float(f"{float(value):.6g}"))
        if isinstance(value, int | float | Decimal)
        else (2, str(value))
        for value in row
    )


def same(expected: Sequence[Row], found: Sequence[Row]) -> bool:
    """Whether two answers are the same: row by row, floats within 1e-9 (engines add in their own order)."""
    return len(expected) == len(found) and all(
        len(one) == len(other) and all(map(_equal, one, other)) for one, other in zip(expected, found, strict=True)
    )


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, float | Decimal) or isinstance(other, float | Decimal):
        if not isinstance(one, int | float | Decimal) or not isinstance(other, int | float | Decimal):
            return False
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)
    return bool(one == other)

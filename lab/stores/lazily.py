"""Queries over scanned files, as lazy expressions: the engine (Polars) sees the whole question and reads what it needs.

`live` gives the live records of an entity as a scan; what that takes is the store's business.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl

from lab.queries.answers import Row
from lab.queries.model import Condition, Query
from lab.queries.sql import bind

Live = Callable[[str], pl.LazyFrame]

_TESTS: dict[str, Callable[[pl.Expr, Any], pl.Expr]] = {
    "=": lambda column, value: column == value,
    ">=": lambda column, value: column >= value,
    "<": lambda column, value: column < value,
}


def ask(query: Query, parameters: Row, live: Live) -> list[Row]:
    """The rows of a query over live records, in the order that its class says."""
    scan = live(query.entity.name)
    if query.kind != "get_many":
        scan = _matching(scan, query, parameters)
    match query.kind:
        case "get_many":
            found = scan.filter(pl.col("key").is_in(sorted(set(parameters)))).select(query.entity.row).sort("key")
        case "aggregate":
            found = _aggregate(scan, query)
        case "filter":
            found = _ordered(scan, query).select(query.entity.row)
        case "join":
            found = _join(_ordered(scan, query), query, live)
        case _:
            raise AssertionError(query.kind)
    return found.collect().rows()


def _matching(scan: pl.LazyFrame, query: Query, parameters: Row) -> pl.LazyFrame:
    values: Row = bind(tuple(condition.value for condition in query.where), parameters)
    # As in SQL: nothing equals null, or is more or less than it.
    tests = [
        pl.lit(False) if value is None else _test(condition, value)
        for condition, value in zip(query.where, values, strict=True)
    ]
    return scan.filter(*tests) if tests else scan


def _test(condition: Condition, value: Any) -> pl.Expr:
    return _TESTS[condition.operator](pl.col(condition.column), value)


def _ordered(scan: pl.LazyFrame, query: Query) -> pl.LazyFrame:
    by = [query.order_by] if query.order_by else []
    descending = [query.descending] if by else []
    ordered = scan.sort(*by, "key", descending=[*descending, False], nulls_last=True)
    return ordered.head(query.limit) if query.limit else ordered


def _aggregate(scan: pl.LazyFrame, query: Query) -> pl.LazyFrame:
    sums = [pl.col(column).sum().alias(f"sum_{column}") for column in query.sum]
    grouped = scan.group_by(query.group_by).agg(pl.len().cast(pl.Int64).alias("records"), *sums)
    return grouped.sort(query.group_by, nulls_last=True)


def _join(scan: pl.LazyFrame, query: Query, live: Live) -> pl.LazyFrame:
    assert query.other is not None
    taken = {column: f"taken_{place}" for place, column in enumerate(query.take)}
    others = live(query.other.name).select(pl.col("key").alias("found"), *query.take).rename(taken)
    rows = scan.select(query.entity.row).collect()
    # The few keys that are joined are known by now: the other entity's files are read for these alone.
    keys = rows[str(query.on)].drop_nulls().unique().implode()
    found = others.filter(pl.col("found").is_in(keys)).collect()
    joined = rows.lazy().join(found.lazy(), left_on=str(query.on), right_on="found", how="left", maintain_order="left")
    return joined.select(*query.entity.row, *taken.values())

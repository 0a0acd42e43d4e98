"""Queries over scanned files, as lazy expressions: the engine (Polars) sees the whole question and reads what it needs.

`live` gives the live records of an entity as a scan; what that takes is the store's business.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl

from lab.queries.answers import Row, sought
from lab.queries.kinds.matching import grouped, numbered
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
            found = scan.filter(pl.col("key").is_in(sought(parameters))).select(query.entity.row).sort("key")
        case "aggregate":
            found = grouped(scan, query)
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


def _join(scan: pl.LazyFrame, query: Query, live: Live) -> pl.LazyFrame:
    assert query.other is not None
    row = query.entity.row
    rows = scan.select(numbered("own", row)).collect()
    on = f"own_{row.index(str(query.on))}"
    # The few keys that are joined are known by now: the other entity's files are read for these alone.
    keys = rows[on].drop_nulls().unique().implode()
    others = live(query.other.name).select(pl.col("key").alias("other"), *numbered("other", query.take))
    found = others.filter(pl.col("other").is_in(keys)).collect()
    return rows.lazy().join(found.lazy(), left_on=on, right_on="other", how="left", maintain_order="left")

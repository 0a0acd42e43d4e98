"""Queries by conditions: records, records joined with others, and groups of records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import polars as pl

from lab.base import Totals
from lab.queries.answers import ReferenceTable, Row
from lab.queries.kinds.base import Pool, QueryClass, Statement, apart, apart_columns, record_columns
from lab.queries.model import AnswerColumn, Parameter, Query
from lab.queries.reader import QueryReader
from lab.queries.sql import bind, columns, cut, live, order, quoted, source, where
from lab.spill import taken

# What an operator adds to the name of a parameter.
SUFFIX = {"=": "", ">=": "_at_least", "<": "_less_than"}
# The column of places among live records; no entity's column begins with this character.
PLACE = "\1place"


class Filter(QueryClass):
    """`filter`: records that satisfy conditions."""

    name = "filter"
    asks = "records that satisfy conditions"
    gives = "the live records, by `order_by` (nulls last) then key, at most `limit`"
    uses: ClassVar[tuple[str, ...]] = ("where", "order_by", "descending", "limit")

    def drawn(self, query: Query, pool: Pool, count: int, rng: np.random.Generator) -> list[Row]:
        """Draw the values of the conditions that are parameters."""
        return [draw_values(query, pool.frame, rng) for _ in range(count)]

    def parameters(self, query: Query) -> tuple[Parameter, ...]:
        """One for each value of `where` that is drawn."""
        drawn = [condition for condition in query.where if condition.drawn]
        return apart([(one.column + SUFFIX[one.operator], query.entity.told(one.column)) for one in drawn])

    def columns(self, query: Query) -> tuple[AnswerColumn, ...]:
        """Those of a record."""
        return record_columns(query.entity)

    def answer(self, query: Query, parameters: Row, tables: Mapping[str, ReferenceTable]) -> list[Row]:
        """Select the matching records, sorted and cut."""
        return ordered(query, parameters, tables).select(query.entity.row).rows()

    def sql(self, query: Query, keeps: str, dialect: str) -> Statement:
        """Select with conditions, in a total order."""
        return f"{live(query, keeps)}{where(query)}{order(query)}", _arguments(query)


class Join(Filter):
    """`join`: records that satisfy conditions, each with columns of another record."""

    name = "join"
    asks = "as `filter`, with columns of another record"
    gives = "as `filter`, then the columns taken from the other record (null if none is live)"
    uses = (*Filter.uses, "on", "to", "take")

    def resolve(self, reader: QueryReader) -> dict[str, Any]:
        """Find the other entity. Its key and `on` must be of one kind."""
        table, entity = reader.table, reader.entity
        known = reader.known("on", table.on, list(entity.columns), "column")
        if not reader.known("to", table.to, list(reader.entities), "entity"):
            return {}
        other = reader.entities[str(table.to)]
        if known and entity.told(str(table.on)) != other.key:
            what = f"`{table.on}` is {entity.told(str(table.on))}, and the key of `{other.name}` is {other.key}"
            reader.wrong("on", what, "join on a column that holds the other's key")
        reader.all_known("take", table.take, list(other.columns), "column")
        return {"other": other}

    def columns(self, query: Query) -> tuple[AnswerColumn, ...]:
        """Those of a record, then the taken ones, each after the column that was joined on."""
        assert query.other is not None
        taken = (AnswerColumn(f"{query.on}_{name}", query.other.told(name)) for name in query.take)
        return apart_columns((*record_columns(query.entity), *taken))

    def answer(self, query: Query, parameters: Row, tables: Mapping[str, ReferenceTable]) -> list[Row]:
        """Select as a filter does, and look each other record up."""
        assert query.other is not None
        row = query.entity.row
        own = ordered(query, parameters, tables).select(numbered("own", row))
        others = tables[query.other.name].live.select(pl.col("key").alias("other"), *numbered("other", query.take))
        on = f"own_{row.index(str(query.on))}"
        return own.join(others, left_on=on, right_on="other", how="left", maintain_order="left").rows()

    def sql(self, query: Query, keeps: str, dialect: str) -> Statement:
        """As a filter; with a limit, other records are looked up for those that are left."""
        if query.limit is None:
            return super().sql(query, keeps, dialect)
        return cut(query, keeps, by_key=dialect == "sqlite" and keeps == "records"), _arguments(query)


class Aggregate(Filter):
    """`aggregate`: records counted and columns summed, by group."""

    name = "aggregate"
    asks = "counts and sums by group"
    gives = "group columns, count, sums (null counts as 0), by group (nulls last)"
    uses = ("where", "group_by", "sum")

    def resolve(self, reader: QueryReader) -> dict[str, Any]:
        """Refuse an aggregate without groups."""
        if not reader.table.group_by:
            reader.missing("group_by")
        return {}

    def in_totals(self, query: Query, totals: Totals | None) -> bool:
        """True if the groups and sums are the same, and there is no condition."""
        return query.totals == totals and not query.where

    def columns(self, query: Query) -> tuple[AnswerColumn, ...]:
        """The groups, then how many records, then the sums."""
        told = query.entity.told
        groups = (AnswerColumn(name, told(name)) for name in query.group_by)
        sums = (AnswerColumn(f"sum_{name}", told(name), nullable=False, wide=True) for name in query.sum)
        return apart_columns((*groups, AnswerColumn("records", "int", nullable=False), *sums))

    def answer(self, query: Query, parameters: Row, tables: Mapping[str, ReferenceTable]) -> list[Row]:
        """Group the matching records."""
        return grouped(matching(query, parameters, tables), query).collect().rows()

    def sql(self, query: Query, keeps: str, dialect: str) -> Statement:
        """Group the matching records, or read the running aggregate."""
        if keeps != "totals":
            return grouped_sql(query, keeps, [f"t.{quoted(name)}" for name in query.sum])
        chosen = columns([*query.group_by, *query.totals.measures])
        return f"SELECT {chosen} FROM totals WHERE records <> 0 ORDER BY {_by_group(query)}", ()


def grouped_sql(query: Query, keeps: str, sums: Sequence[str]) -> Statement:
    """Group the matching records, of a table `t`, and sum these expressions."""
    groups = columns(query.group_by)
    added = "".join(f", COALESCE(SUM({one}), 0)" for one in sums)
    found = f"{source(query.entity.name, keeps)} AS t WHERE NOT t.deleted{where(query)}"
    statement = f"SELECT {groups}, COUNT(*){added} FROM {found} GROUP BY {groups} ORDER BY {_by_group(query)}"
    return statement, _arguments(query)


def _by_group(query: Query) -> str:
    return ", ".join(f"{quoted(column)} NULLS LAST" for column in query.group_by)


def _arguments(query: Query) -> tuple[object, ...]:
    return tuple(condition.value for condition in query.where)


def numbered(prefix: str, columns: Sequence[str]) -> list[pl.Expr]:
    """Select columns under names that no other column has, whatever an entity calls its own."""
    return [pl.col(name).alias(f"{prefix}_{place}") for place, name in enumerate(columns)]


def grouped(frame: pl.LazyFrame, query: Query) -> pl.LazyFrame:
    """Count and sum by group, nulls last. A sum of whole numbers may need more than 64 bits."""
    kinds = query.entity.columns
    groups = [f"group_{place}" for place, _ in enumerate(query.group_by)]
    sums = [
        (pl.col(f"sum_{place}").cast(pl.Int128) if kinds[name] == "int" else pl.col(f"sum_{place}")).sum()
        for place, name in enumerate(query.sum)
    ]
    chosen = frame.select(*numbered("group", query.group_by), *numbered("sum", query.sum))
    return chosen.group_by(groups).agg(pl.len().cast(pl.Int64).alias("records"), *sums).sort(groups, nulls_last=True)


def matching(query: Query, parameters: Row, tables: Mapping[str, ReferenceTable]) -> pl.LazyFrame:
    """Select the live records that satisfy every condition; their places among all live ones are in `PLACE`."""
    found = tables[query.entity.name].live.lazy().with_row_index(PLACE)
    values: Row = bind(_arguments(query), parameters)
    tests: list[pl.Expr] = []
    for condition, value in zip(query.where, values, strict=True):
        if value is None:
            # As in SQL: nothing equals null, or is more or less than it.
            return found.clear()
        column = pl.col(condition.column)
        match condition.operator:
            case "=":
                tests.append(column == value)
            case ">=":
                tests.append(column >= value)
            case _:
                tests.append(column < value)
    return found.filter(*tests) if tests else found


def ordered(query: Query, parameters: Row, tables: Mapping[str, ReferenceTable]) -> pl.DataFrame:
    """Sort the matching records by `order_by`, nulls last, then by key; keep the first `limit`."""
    by = [query.order_by] if query.order_by else []
    descending = [query.descending] if by else []
    # Records may be many: what they are sorted by is read of all, and the rest of those that are kept.
    places = matching(query, parameters, tables).select(PLACE, *dict.fromkeys([*by, "key"]))
    places = places.sort(*by, "key", descending=[*descending, False], nulls_last=True)
    kept = (places.head(query.limit) if query.limit else places).select(PLACE).collect()
    return taken(tables[query.entity.name].live, kept[PLACE].to_numpy())


def draw_values(query: Query, frame: pl.DataFrame, rng: np.random.Generator) -> Row:
    """Draw the values of one record, so that equalities hold together; a range lies between two records."""
    drawn = [condition for condition in query.where if condition.drawn]
    rows = rng.integers(frame.height, size=2)
    values = []
    for condition in drawn:
        usable = frame[condition.column].gather(rows).drop_nulls().sort().to_list()
        if not usable:
            usable = frame[condition.column].drop_nulls().head(1).to_list() or [None]
        both = sum(other.column == condition.column for other in drawn) == 2
        if both:
            values.append(usable[0] if condition.operator == ">=" else usable[-1])
        else:
            one = frame[condition.column][int(rows[0])]
            values.append(usable[0] if one is None else one)
    return tuple(values)

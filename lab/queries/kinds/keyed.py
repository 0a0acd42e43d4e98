"""Queries by key: one record, several, a record as it stood at a time, and all its revisions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from lab.queries.answers import ReferenceTable, Row
from lab.queries.kinds.base import Pool, QueryClass, Statement, draw_keys, key_of, record_columns
from lab.queries.model import AnswerColumn, Parameter, Query
from lab.queries.sql import columns, live, quoted


class KeyLookup(QueryClass):
    """`get`: the live record of a key."""

    name = "get"
    asks = "one record by key"
    gives = "the live record: key, revision, columns"

    def drawn(self, query: Query, pool: Pool, count: int, rng: np.random.Generator) -> list[Row]:
        """Draw one key for each set."""
        return [(key,) for key in draw_keys(pool.frame, count, rng)]

    def parameters(self, query: Query) -> tuple[Parameter, ...]:
        """The key."""
        return (key_of(query),)

    def columns(self, query: Query) -> tuple[AnswerColumn, ...]:
        """Those of a record."""
        return record_columns(query.entity)

    def answer(self, query: Query, parameters: Row, tables: Mapping[str, ReferenceTable]) -> list[Row]:
        """Select the live records of these keys, by key."""
        return tables[query.entity.name].rows(parameters)

    def sql(self, query: Query, keeps: str, dialect: str) -> Statement:
        """Select by key; of all revisions, the newest of this key alone is looked for."""
        if keeps == "records":
            return f"{live(query, keeps)} AND t.key = ?", ("?",)
        newest = f"SELECT * FROM {quoted(query.entity.name)} WHERE key = ? ORDER BY revision DESC LIMIT 1"
        return f"SELECT {columns(query.entity.row)} FROM ({newest}) AS newest WHERE NOT deleted", ("?",)


class KeysLookup(KeyLookup):
    """`get_many`: the live records of several keys."""

    name = "get_many"
    asks = "several records by key"
    gives = "the live records, by key"
    uses = ("count",)

    def drawn(self, query: Query, pool: Pool, count: int, rng: np.random.Generator) -> list[Row]:
        """Draw `query.count` keys for each set."""
        keys = draw_keys(pool.frame, count * query.count, rng)
        return [tuple(keys[start : start + query.count]) for start in range(0, len(keys), query.count)]

    def parameters(self, query: Query) -> tuple[Parameter, ...]:
        """The key, up to `query.count` times."""
        return (key_of(query, most=query.count),)

    def given(self, query: Query, values: list[Any]) -> Row:
        """Repeat the last key: a store expects `query.count` of them, and finds one that is repeated once."""
        return tuple(values + values[-1:] * (query.count - len(values)))

    def sql(self, query: Query, keeps: str, dialect: str) -> Statement:
        """Select by a list of `query.count` keys."""
        marks = ", ".join("?" * query.count)
        return f"{live(query, keeps)} AND t.key IN ({marks}) ORDER BY t.key", ("?",) * query.count


class AsOf(KeyLookup):
    """`as_of`: a record as it stood at a time."""

    name = "as_of"
    asks = "a record as it stood at a time"
    gives = "as `get`, as the record stood at that time"
    past = True

    def drawn(self, query: Query, pool: Pool, count: int, rng: np.random.Generator) -> list[Row]:
        """Draw a key, and a time between the first and the last commit."""
        times = pool.frame["committed_at"].to_numpy()
        moments = rng.uniform(times.min(), times.max(), count)
        return list(zip(draw_keys(pool.frame, count, rng), map(float, moments), strict=True))

    def parameters(self, query: Query) -> tuple[Parameter, ...]:
        """The key, and the time in seconds on the run's clock."""
        return key_of(query), Parameter("at", "float", meaning="Seconds since 1970, as changes are committed")

    def answer(self, query: Query, parameters: Row, tables: Mapping[str, ReferenceTable]) -> list[Row]:
        """Select the last revision that was committed by then; nothing if it is a tombstone."""
        key, at = parameters
        newest = tables[query.entity.name].revisions(key).filter(pl.col("committed_at") <= at).tail(1)
        return newest.filter(~pl.col("deleted")).select(query.entity.row).rows()

    def sql(self, query: Query, keeps: str, dialect: str) -> Statement:
        """Look for the last revision committed by then."""
        newest = (
            f"SELECT * FROM {quoted(query.entity.name)} WHERE key = ? AND committed_at <= ? "
            "ORDER BY revision DESC LIMIT 1"
        )
        return f"SELECT {columns(query.entity.row)} FROM ({newest}) AS newest WHERE NOT deleted", ("?", "?")


class RecordHistory(KeyLookup):
    """`history`: every revision of a record, tombstones included."""

    name = "history"
    asks = "all revisions of a record"
    gives = "key, revision, deleted, committed_at, columns of every revision"
    past = True

    def columns(self, query: Query) -> tuple[AnswerColumn, ...]:
        """Those of a record, with what a revision has beside them."""
        key, revision, *own = record_columns(query.entity)
        return key, revision, AnswerColumn("deleted", "bool", False), AnswerColumn("committed_at", "float", False), *own

    def answer(self, query: Query, parameters: Row, tables: Mapping[str, ReferenceTable]) -> list[Row]:
        """Select all revisions, oldest first."""
        names = [column.name for column in self.columns(query)]
        return tables[query.entity.name].revisions(parameters[0]).select(names).rows()

    def sql(self, query: Query, keeps: str, dialect: str) -> Statement:
        """Select all revisions, oldest first."""
        chosen = columns([column.name for column in self.columns(query)])
        return f"SELECT {chosen} FROM {quoted(query.entity.name)} WHERE key = ? ORDER BY revision", ("?",)

"""`postgres.table`: one relational table for each entity, indexed for its readers."""

from __future__ import annotations

from types import MappingProxyType

import polars as pl

from lab.engines.postgres import ARRAYS
from lab.queries import sql
from lab.queries.kinds import KINDS
from lab.stores.postgres_schema import PostgresSchema
from lab.stores.slices import tuples


class PostgresTable(PostgresSchema):
    """A column of the table for each column of the entity."""

    name = "postgres.table"
    answers = frozenset(KINDS) - {"search"}
    gaps = MappingProxyType({"search": "not yet: words are in no index of this table; see postgres.search"})

    def _add(self, rows: pl.DataFrame) -> None:
        """Add to the groups that are there, insert the rest. A group's value may be null."""
        assert self.layout.totals is not None
        groups, measures = self.layout.totals.group_by, self.layout.totals.measures
        schema = self.layout.totals_schema()
        columns = [list(column) for column in zip(*tuples(rows, list(schema)), strict=True)]
        if not columns:
            return
        lists = ", ".join(f"?::{ARRAYS[dtype]}" for dtype in schema.values())
        incoming = f"unnest({lists}) AS i({sql.columns(list(schema))})"
        same = " AND ".join(f"t.{sql.quoted(name)} IS NOT DISTINCT FROM i.{sql.quoted(name)}" for name in groups)
        added = ", ".join(f"{sql.quoted(name)} = t.{sql.quoted(name)} + i.{sql.quoted(name)}" for name in measures)
        # Both see the table as it was, so a group that is new is not found by the update.
        self._connection.execute(
            f"WITH incoming AS MATERIALIZED (SELECT * FROM {incoming}), "
            f"updated AS (UPDATE totals AS t SET {added} FROM incoming AS i WHERE {same}) "
            f"INSERT INTO totals ({sql.columns(list(schema))}) "
            f"SELECT * FROM incoming AS i WHERE NOT EXISTS (SELECT FROM totals AS t WHERE {same})",
            columns,
        )

"""`duckdb.columnar`: one columnar table for each entity, without a primary key.

A key's row is replaced by deleting and inserting a whole batch at once, straight from Arrow: an upsert row by
row costs milliseconds in a columnar engine, a batch of thousands hardly more than one row.
"""

from __future__ import annotations

import polars as pl

from lab.base import Batch
from lab.queries import sql
from lab.queries.kinds import KINDS
from lab.stores.duckdb_file import DuckdbFile
from lab.stores.slices import FEW, tuples


class DuckdbColumnar(DuckdbFile):
    """A column of the table for each column of the entity."""

    name = "duckdb.columnar"
    answers = frozenset(KINDS)

    def _make_shape(self) -> None:
        for name in self.layout.entities:
            self._make_table("totals" if self.layout.kept.adds else name, self.layout.schema(name), None)

    def _put(self, batch: Batch, replace: bool) -> None:
        if self.layout.kept.adds:
            self._add(batch.rows)
        elif batch.rows.height:
            names, identity = list(self.layout.schema(batch.entity)), self.layout.identity if replace else ()
            if batch.rows.height <= FEW and len(identity) <= 1:
                self._replace_few(batch.entity, names, tuples(batch.rows, names), identity)
            else:
                self._replace(batch.entity, batch.rows.select(names), identity)

    def _add(self, rows: pl.DataFrame) -> None:
        """Add to the groups that are there, insert the rest. A group's value may be null."""
        assert self.layout.totals is not None
        groups, measures = self.layout.totals.group_by, self.layout.totals.measures
        same = " AND ".join(f"t.{sql.quoted(name)} IS NOT DISTINCT FROM i.{sql.quoted(name)}" for name in groups)
        added = ", ".join(f"{sql.quoted(name)} = t.{sql.quoted(name)} + i.{sql.quoted(name)}" for name in measures)
        with self._incoming(rows.select(*groups, *measures)) as connection:
            # What is new is found before the update, which would find it again.
            connection.execute(
                "CREATE OR REPLACE TEMP TABLE lab_fresh AS "
                f"SELECT * FROM lab_incoming AS i WHERE NOT EXISTS (FROM totals AS t WHERE {same})"
            )
            connection.execute(f"UPDATE totals AS t SET {added} FROM lab_incoming AS i WHERE {same}")
            connection.execute("INSERT INTO totals SELECT * FROM lab_fresh")

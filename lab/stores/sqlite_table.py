"""`sqlite.table`: one relational table for each entity, indexed for its readers.

sqlite-utils makes the tables; writing goes below it, in transactions of a whole batch.
"""

from __future__ import annotations

import polars as pl

from lab.base import Batch
from lab.queries import sql
from lab.queries.model import KINDS
from lab.stores.sqlite_file import SqliteFile


class SqliteTable(SqliteFile):
    """A column of the table for each column of the entity."""

    name = "sqlite.table"
    shape = "relational table"
    family = "relational"
    answers = frozenset(KINDS)

    def _make_shape(self) -> None:
        layout = self.layout
        for name in layout.entities:
            key = None if layout.keeps == "totals" else (layout.identity if len(layout.identity) > 1 else "key")
            self._make_table("totals" if layout.keeps == "totals" else name, layout.schema(name), key)

    def _put(self, batch: Batch, replace: bool) -> None:
        if self.layout.keeps == "totals":
            self._add(batch.rows)
        elif batch.rows.height:
            schema = self.layout.schema(batch.entity)
            statement = self._insert(batch.entity, list(schema), self.layout.identity if replace else ())
            self._connection.executemany(statement, batch.rows.select(list(schema)).rows())

    def _add(self, rows: pl.DataFrame) -> None:
        """Add to the groups that are there, insert the rest. `IS` finds a group whose value is null."""
        assert self.layout.totals is not None
        groups, measures = self.layout.totals.group_by, self.layout.totals.measures
        found = " AND ".join(f"{sql.quoted(name)} IS ?" for name in groups)
        added = ", ".join(f"{sql.quoted(name)} = {sql.quoted(name)} + ?" for name in measures)
        update = f"UPDATE totals SET {added} WHERE {found}"
        insert = self._insert("totals", [*groups, *measures], ())
        for row in rows.select(*groups, *measures).iter_rows():
            group, deltas = row[: len(groups)], row[len(groups) :]
            if not self._connection.execute(update, (*deltas, *group)).rowcount:
                self._connection.execute(insert, row)

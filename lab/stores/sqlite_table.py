"""`sqlite.table`: one relational table for each entity, indexed for its readers.

sqlite-utils makes the tables; writing goes below it, in transactions of a whole batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType

import polars as pl

from lab.base import Batch
from lab.queries import sql
from lab.queries.answers import Row
from lab.queries.kinds import KINDS
from lab.stores.sqlite_file import SqliteFile

AT_ONCE = 20_000


class SqliteTable(SqliteFile):
    """A column of the table for each column of the entity."""

    name = "sqlite.table"
    answers = frozenset(KINDS) - {"search"}
    gaps = MappingProxyType({"search": "never: SQL finds letters with LIKE, not words; see sqlite.search"})

    def _make_shape(self) -> None:
        for name in self.layout.entities:
            self._make_entity(name)

    def _make_entity(self, name: str) -> None:
        layout = self.layout
        key = None if layout.kept.adds else (layout.identity if len(layout.identity) > 1 else "key")
        self._make_table("totals" if layout.kept.adds else name, layout.schema(name), key)

    def _put(self, batch: Batch, replace: bool) -> None:
        if self.layout.kept.adds:
            self._add(batch.rows)
        elif batch.rows.height:
            identity = self.layout.identity if replace else ()
            statement = self._insert(batch.entity, self._columns(batch.entity), identity)
            self._connection.executemany(statement, self._rows(batch))

    def _columns(self, entity: str) -> list[str]:
        """The columns of a row as it is stored."""
        return list(self.layout.schema(entity))

    def _rows(self, batch: Batch) -> Iterator[Row]:
        """Some at a time: rows as Python objects take ten times the memory that they take in a frame."""
        names = self._columns(batch.entity)
        # To choose columns costs a tenth of a millisecond: as much as a small batch takes by itself.
        rows = batch.rows if batch.rows.columns == names else batch.rows.select(names)
        return rows.iter_rows(buffer_size=AT_ONCE)

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

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
from lab.stores.slices import rows_within, tuples
from lab.stores.sqlite_file import SqliteFile

# How many rows are Python objects at once, and how many bytes of a frame.
AT_ONCE, AT_ONCE_BYTES = 20_000, 2**26
# Batches that are taken without looking at how large their rows are: that costs more than it saves.
FEW = 1_000


def at_once(rows: pl.DataFrame) -> int:
    """How many of these rows are made Python objects at once."""
    return AT_ONCE if rows.height <= FEW else rows_within(rows, AT_ONCE, AT_ONCE_BYTES)


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
        if layout.totals is None:
            self._make_table(name, layout.schema(name), key)
            return
        # The engine makes a float of a sum that needs more than 64 bits: it is refused instead.
        schema = layout.totals_schema()
        whole = [sql.quoted(one) for one in layout.totals.measures if schema[one] == pl.Int64()]
        checks = [f"CHECK (typeof({one}) = 'integer')" for one in whole]
        self._make_table("totals", schema, key, checks)

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
        # Of a few rows, all at once: a third of the time that the iterator takes.
        if batch.rows.height <= FEW:
            return iter(tuples(batch.rows, names))
        return batch.rows.select(names).iter_rows(buffer_size=at_once(batch.rows))

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

"""`mariadb.table`: one relational table for each entity, indexed for its readers."""

from __future__ import annotations

from types import MappingProxyType

import polars as pl

from lab.queries import sql
from lab.queries.kinds import KINDS
from lab.stores.mariadb_database import MariadbDatabase
from lab.stores.slices import tuples


class MariadbTable(MariadbDatabase):
    """A column of the table for each column of the entity."""

    name = "mariadb.table"
    answers = frozenset(KINDS) - {"search"}
    gaps = MappingProxyType({"search": "not yet: words are in no index of this table"})

    def _add(self, rows: pl.DataFrame) -> None:
        """Add to the groups that are there, insert the rest; `<=>` finds a group whose value is null."""
        assert self.layout.totals is not None
        groups, measures = self.layout.totals.group_by, self.layout.totals.measures
        names = [*groups, *measures]
        found = " AND ".join(f"{sql.quoted(name)} <=> ?" for name in groups)
        added = ", ".join(f"{sql.quoted(name)} = {sql.quoted(name)} + ?" for name in measures)
        update = f"UPDATE totals SET {added} WHERE {found}"
        insert = f"INSERT INTO totals ({sql.columns(names)}) VALUES ({', '.join('?' * len(names))})"
        rows_ = tuples(rows, names)
        changed = self._connection.together([(update, (*row[len(groups) :], *row[: len(groups)])) for row in rows_])
        new = [(insert, row) for row, one in zip(rows_, changed, strict=True) if not one.rowcount]
        if new:
            self._connection.together(new)

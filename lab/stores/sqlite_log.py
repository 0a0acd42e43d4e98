"""`sqlite.log`: every revision in the order of its arrival, appended; what was, is read from it.

A log grows at its end, whatever the keys: nothing is put between older rows but an entry in the index of revisions.
"""

from __future__ import annotations

from types import MappingProxyType

from lab.engines import sqlite
from lab.queries import sql
from lab.stores.sqlite_table import SqliteTable


class SqliteLog(SqliteTable):
    """An append-only table with an index by key and revision; a revision that comes again replaces itself."""

    name = "sqlite.log"
    answers = SqliteTable.answers - {"traverse"}
    gaps = MappingProxyType(
        {**SqliteTable.gaps, "traverse": "never: each step would look for the last revisions of all records anew"}
    )
    holds = ("revisions",)

    def _make_entity(self, name: str) -> None:
        schema = self.layout.schema(name)
        declared = ", ".join(f"{sql.quoted(column)} {sqlite.TYPES[dtype]}" for column, dtype in schema.items())
        unique = f"UNIQUE ({sql.columns(list(self.layout.identity))})"
        self._connection.execute(f"CREATE TABLE IF NOT EXISTS {sql.quoted(name)} ({declared}, {unique})")

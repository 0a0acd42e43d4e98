"""`sqlite.document`: one JSON document for each record, with indexes over expressions of its body.

SQLite reads a text within JSON up to its first NUL. So NUL and U+0001 are written as two characters each, U+0001 before
U+0001 or U+0002, and read back by the computed columns.
"""

from __future__ import annotations

import sqlite3

import polars as pl

from lab.base import META, Batch, Embed, Entity, Key
from lab.queries import sql
from lab.queries.answers import Row
from lab.stores.bodies import STORED, bodies
from lab.stores.documents import Dialect, Documents, embeds, followed, holders
from lab.stores.slices import FEW, in_lists, tuples
from lab.stores.sqlite_file import SqliteFile

DIALECT = Dialect(
    merge="json_patch",
    types={"int": "INTEGER", "float": "REAL", "str": "TEXT", "bool": "INTEGER"},
    extract=dict.fromkeys(("int", "float", "bool"), "lab_body ->> {}")
    | {"str": "replace(replace(lab_body ->> {}, char(1, 1), char(0)), char(1, 2), char(1))"},
)


class SqliteDocument(Documents[sqlite3.Connection], SqliteFile):
    """A table of documents for each entity, and a temporary one for what comes in."""

    name = "sqlite.document"
    json = DIALECT

    @staticmethod
    def _readable(text: str) -> str:
        return text.replace("\x01", "\x01\x02").replace("\x00", "\x01\x01")

    def _make_shape(self) -> None:
        for entity in self.layout.entities.values():
            schema = {name: entity.schema[name] for name in META} | {"lab_body": pl.String()}
            computed = DIALECT.computed(self.layout, entity)
            self._make_table(entity.name, schema, "key", computed)
            types = ", ".join(f"{name} {DIALECT.types[entity.kind(name)]}" for name in META if name != "key")
            self._connection.execute(
                f"CREATE TEMP TABLE IF NOT EXISTS {_incoming(entity)} ("
                + ", ".join([f"key {DIALECT.types[entity.key]} PRIMARY KEY", types, "lab_body TEXT", *computed])
                + ")"
            )

    def _sought(self, entity: Entity) -> list[tuple[str, ...]]:
        """Also what a change of another record fans out along."""
        return list(dict.fromkeys([*super()._sought(entity), *followed(self.layout, entity)]))

    def _put(self, batch: Batch, replace: bool) -> None:
        if not batch.rows.height:
            return
        entity, connection = self.layout.entities[batch.entity], self._connection
        self._written += batch.rows.height
        if batch.rows.height <= FEW:
            self._put_few(tuples(batch.rows, list(entity.schema)), entity, replace)
            return
        rows = bodies(_escaped(batch.rows.select(list(entity.schema)), entity), entity, self.name).select(STORED)
        identity = ("key",) if replace else ()
        held_by = holders(self.layout, entity.name) if replace else []
        if not held_by and not embeds(self.layout, entity):
            connection.executemany(self._insert(entity.name, STORED, identity), rows.rows())
            return
        incoming = _incoming(entity)
        connection.execute(f"DELETE FROM {incoming}")
        marks = ", ".join("?" * len(STORED))
        connection.executemany(f"INSERT INTO {incoming} ({sql.columns(STORED)}) VALUES ({marks})", rows.rows())
        whole = DIALECT.whole(self.layout, entity, incoming)
        connection.execute(self._insert(entity.name, STORED, identity, whole))
        for child, embed in held_by:
            self._fanned_out += connection.execute(DIALECT.fan_out(child, embed, incoming, "+")).rowcount

    def _parts_found(self, statement: str, keys: list[Key]) -> list[Row]:
        return list(self._found(statement, keys))

    def _insert_documents(self, entity: Entity, rows: list[Row], replace: bool) -> None:
        self._connection.executemany(self._insert(entity.name, STORED, ("key",) if replace else ()), rows)

    def _fan_out(self, child: Entity, embed: Embed, keys: list[Key]) -> None:
        for some, marks in in_lists(keys):
            changed = f"(SELECT * FROM {sql.quoted(embed.entity)} WHERE key IN {marks})"
            statement = DIALECT.fan_out(child, embed, changed, "+")
            self._fanned_out += self._connection.execute(statement, some).rowcount


def _incoming(entity: Entity) -> str:
    return "temp." + sql.quoted(f"lab_incoming_{entity.name}")


def _escaped(rows: pl.DataFrame, entity: Entity) -> pl.DataFrame:
    """Without a NUL in any text; the order of texts stays what it was."""
    texts = [pl.col(name) for name, kind in entity.columns.items() if kind == "str"]
    return rows.with_columns(
        text.str.replace_all("\x01", "\x01\x02", literal=True).str.replace_all("\x00", "\x01\x01", literal=True)
        for text in texts
    )

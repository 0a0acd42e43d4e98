"""`duckdb.document`: one JSON document for each record in a columnar engine, replaced a whole batch at a time.

It builds no indexes: the engine scans, and looks into the bodies on its way.
"""

from __future__ import annotations

import duckdb

from lab.base import META, Batch, Embed, Entity, Key
from lab.queries import sql
from lab.queries.answers import Row
from lab.stores.bodies import STORED, bodies
from lab.stores.documents import Dialect, Documents, holders
from lab.stores.duckdb_file import KEYS, DuckdbFile
from lab.stores.slices import FEW, tuples

DIALECT = Dialect(
    merge="json_merge_patch",
    types={"int": "BIGINT", "float": "DOUBLE", "str": "VARCHAR", "bool": "BOOLEAN"},
    extract={
        "int": "CAST(lab_body ->> {} AS BIGINT)",
        "float": "CAST(lab_body ->> {} AS DOUBLE)",
        "str": "lab_body ->> {}",
        "bool": "CAST(lab_body ->> {} AS BOOLEAN)",
    },
)


class DuckdbDocument(Documents[duckdb.DuckDBPyConnection], DuckdbFile):
    """A table of documents for each entity."""

    name = "duckdb.document"
    json = DIALECT

    def _make_shape(self) -> None:
        for entity in self.layout.entities.values():
            schema = {name: entity.schema[name] for name in META}
            self._make_table(entity.name, schema, "key", ["lab_body JSON", *DIALECT.computed(self.layout, entity)])

    def _put(self, batch: Batch, replace: bool) -> None:
        if not batch.rows.height:
            return
        entity = self.layout.entities[batch.entity]
        self._written += batch.rows.height
        if batch.rows.height <= FEW:
            self._put_few(tuples(batch.rows, list(entity.schema)), entity, replace)
            return
        rows = bodies(batch.rows.select(list(entity.schema)), entity, self.name)
        with self._incoming(rows) as connection:
            # What stands there is looked up before it is deleted.
            whole = DIALECT.whole(self.layout, entity, "lab_incoming")
            connection.execute(f"CREATE OR REPLACE TEMP TABLE lab_whole AS {whole}")
            if replace:
                self._remove(entity.name, ("key",))
            table = sql.quoted(entity.name)
            connection.execute(f"INSERT INTO {table} ({sql.columns(STORED)}) SELECT * FROM lab_whole")
            for child, embed in holders(self.layout, entity.name) if replace else ():
                changed = connection.execute(DIALECT.fan_out(child, embed, "lab_incoming")).fetchall()
                self._fanned_out += changed[0][0]

    def _parts_found(self, statement: str, keys: list[Key]) -> list[Row]:
        return self._connection.execute(statement.format(KEYS), [keys]).fetchall()

    def _insert_documents(self, entity: Entity, rows: list[Row], replace: bool) -> None:
        self._replace_few(entity.name, STORED, rows, ("key",) if replace else ())

    def _fan_out(self, child: Entity, embed: Embed, keys: list[Key]) -> None:
        changed = f"(SELECT * FROM {sql.quoted(embed.entity)} WHERE key IN {KEYS})"
        found = self._connection.execute(DIALECT.fan_out(child, embed, changed), [keys]).fetchall()
        self._fanned_out += found[0][0]

"""`postgres.document`: one JSON document (jsonb) for each record, with indexes over expressions of its body.

PostgreSQL before 18 works out no column when it is asked for it, so the columns of a body are those of a view over the
table of documents: what is asked of the view, the planner asks of the bodies and of the indexes over them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import polars as pl

from lab.base import META, Batch, Embed, Entity, Key
from lab.engines.postgres import ARRAYS, TYPES, Session
from lab.queries import sql
from lab.queries.answers import Row
from lab.stores.bodies import EMBEDDED, STORED, bodies
from lab.stores.documents import Dialect, Documents, followed, holders, literal
from lab.stores.postgres_reading import INCOMING, PostgresReading
from lab.stores.postgres_schema import insert
from lab.stores.postgres_table import PostgresTable
from lab.stores.slices import FEW, tuples

# Before the name of an entity: the table of its documents, whose view has the entity's name.
DOCUMENTS = "lab_doc_"


class JsonbDialect(Dialect):
    """JSON as jsonb has it: a path is an array of keys, and an object is laid over another by `||`."""

    def path(self, *names: str) -> str:
        """The keys of a path, as an array."""
        return f"ARRAY[{', '.join(map(literal, names))}]"

    def member(self, name: str, table: str = "") -> str:
        """A column as it stands in a body, in JSON."""
        return f"{table}lab_body #> {self.path(name)}"

    def written(self, name: str) -> str:
        """The same as text: the driver would make a number of it."""
        return f"({self.member(name)})::text"

    def object_of(self, values: Mapping[str, str]) -> str:
        """An object of these values, without those that are null."""
        written = ", ".join(f"{literal(name)}, {value}" for name, value in values.items())
        return f"jsonb_strip_nulls(jsonb_build_object({written}))"

    def embedding(self, body: str, parts: Mapping[str, str]) -> str:
        """A body in which these objects are embedded, in the place of those of the same names."""
        written = ", ".join(f"{literal(name)}, {value}" for name, value in parts.items())
        there = f"COALESCE({body} -> {literal(EMBEDDED)}, '{{}}'::jsonb)"
        return f"{body} || jsonb_build_object({literal(EMBEDDED)}, {there} || jsonb_build_object({written}))"


DIALECT = JsonbDialect(
    merge="",
    types={},
    extract={
        "int": "((lab_body #>> {})::bigint)",
        "float": "((lab_body #>> {})::double precision)",
        "str": '((lab_body #>> {}) COLLATE "C")',
        "bool": "((lab_body #>> {})::boolean)",
    },
)


class PostgresDocument(Documents[Session], PostgresTable):
    """A table of documents for each entity, with a view that has their columns."""

    name = "postgres.document"
    json = DIALECT
    # A record's change writes documents of other records, which may be another owner's; numbers have no negative zero.
    capabilities = replace(PostgresReading.capabilities, fences=False, signed_zero=False)

    def _into(self, table: str) -> str:
        return f"{DOCUMENTS}{table}" if table in self.layout.entities else table

    def _make_shape(self) -> None:
        # A view can't have columns of entities whose tables are not there yet.
        for entity in self.layout.entities.values():
            schema, table = {name: entity.schema[name] for name in META}, self._into(entity.name)
            self._make_table(table, schema, "key", ["lab_body jsonb NOT NULL"])
            self._connection.execute(
                f"CREATE OR REPLACE VIEW {sql.quoted(entity.name)} AS {self._columns(entity)} FROM {sql.quoted(table)}"
            )

    def _columns(self, entity: Entity) -> str:
        """Select the columns of an entity from its documents, and what they embed."""
        found = DIALECT.extracted(self.layout, entity).items()
        taken = [f"{value} AS {sql.quoted(name)}" for name, (_, value) in found]
        return f"SELECT {', '.join([sql.columns(META), 'lab_body', *taken])}"

    def _indexes(self, entity: Entity) -> list[str]:
        """Of live records, over expressions of the body, in the order of answers."""
        values = {name: value for name, (_, value) in DIALECT.extracted(self.layout, entity).items()}
        sought = dict.fromkeys([*self._sought(entity), *followed(self.layout, entity)])
        written = [", ".join([*(values[one] for one in columns), "key"]) for columns in sought]
        return [f"({one}) WHERE NOT deleted" for one in written]

    # -- writing -------------------------------------------------------------------------------------------------------

    def _put(self, batch: Batch, replace: bool) -> None:
        if not batch.rows.height:
            return
        entity, session = self.layout.entities[batch.entity], self._connection
        self._written += batch.rows.height
        if batch.rows.height <= FEW:
            self._put_few(tuples(batch.rows, list(entity.schema)), entity, replace)
            return
        incoming = sql.quoted(f"{INCOMING}{entity.name}")
        if incoming not in session.temporary:
            defined = ", ".join(f"{sql.quoted(name)} {TYPES[entity.schema[name]]}" for name in META)
            session.execute(f"CREATE TEMP TABLE IF NOT EXISTS {incoming} ({defined}, lab_body jsonb)")
            session.temporary.add(incoming)
        session.execute(f"TRUNCATE {incoming}")
        rows = bodies(batch.rows.select(list(entity.schema)), entity, self.name).select(STORED)
        session.copy_in(incoming, STORED, rows)
        came = f"({self._columns(entity)} FROM {incoming})"
        whole = DIALECT.whole(self.layout, entity, came)
        session.execute(insert(self._into(entity.name), STORED, ("key",) if replace else (), whole))
        for child, embed in holders(self.layout, entity.name) if replace else ():
            self._fanned_out += session.execute(DIALECT.fan_out(child, embed, came)).rowcount

    def _parts_found(self, statement: str, keys: list[Key]) -> list[Row]:
        found: list[Row] = self._connection.execute(statement.format(_keys(keys)), (keys,)).fetchall()
        return found

    def _insert_documents(self, entity: Entity, rows: list[Row], replace: bool) -> None:
        kinds = [*(ARRAYS[entity.schema[name]] for name in META), "text[]"]
        lists = ", ".join(f"?::{kind}" for kind in kinds)
        source = f"SELECT {sql.columns(META)}, lab_body::jsonb FROM unnest({lists}) AS i({sql.columns(STORED)})"
        statement = insert(self._into(entity.name), STORED, ("key",) if replace else (), source)
        self._connection.execute(statement, [list(column) for column in zip(*rows, strict=True)])

    def _fan_out(self, child: Entity, embed: Embed, keys: list[Key]) -> None:
        changed = f"(SELECT * FROM {sql.quoted(embed.entity)} WHERE key IN {_keys(keys)})"
        statement = DIALECT.fan_out(child, embed, changed)
        self._fanned_out += self._connection.execute(statement, (keys,)).rowcount


def _keys(keys: list[Key]) -> str:
    """A list of keys that is bound as one parameter."""
    return f"(SELECT unnest(?::{ARRAYS[pl.String() if isinstance(keys[0], str) else pl.Int64()]}))"

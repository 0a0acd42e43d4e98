"""How the PostgreSQL stores keep a projection: tables in a schema of its own, and batches written to them.

A batch travels as lists that the server unnests, or by COPY once it is larger, and lands with its checkpoint in one
transaction.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import polars as pl
import psycopg

from lab.base import Batch, Entity, Key
from lab.engines.postgres import ARRAYS, NAME_BYTES, TYPES, Session
from lab.queries import sql
from lab.stores.postgres_reading import INCOMING, PostgresReading
from lab.stores.server_store import PARKED
from lab.stores.slices import fitting

# Up to so many rows with so many bytes of text are bound as lists; more are copied into a temporary table first.
FEW, FEW_BYTES = 100, 65_536


@lru_cache(maxsize=1024)
def insert(table: str, names: tuple[str, ...], identity: tuple[str, ...], source: str) -> str:
    """An insert of what `source` gives, in SQL; rows of the same identity are replaced."""
    statement = f"INSERT INTO {sql.quoted(table)} ({sql.columns(names)}) {source}"
    rest = [name for name in names if name not in identity]
    if not identity:
        return statement
    if not rest:
        return f"{statement} ON CONFLICT DO NOTHING"
    changes = ", ".join(f"{sql.quoted(name)} = excluded.{sql.quoted(name)}" for name in rest)
    return f"{statement} ON CONFLICT ({sql.columns(identity)}) DO UPDATE SET {changes}"


class PostgresSchema(PostgresReading):
    """A projection in one schema of a PostgreSQL server."""

    # The tables for which the rows of this batch have been copied already.
    _sent: frozenset[str] = frozenset()

    def reset(self) -> None:
        """Drop the tables and make them anew, in one transaction."""
        with self._transaction() as session:
            for (table,) in session.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
            ).fetchall():
                session.execute(f"DROP TABLE {sql.quoted(table)} CASCADE")
            self._make_tables()

    def _make_table(self, name: str, schema: dict[str, pl.DataType], key: Any, computed: Sequence[str] = ()) -> None:
        if name.startswith(PARKED):
            # A key that the server can't hold is among what is parked.
            schema = schema | {"key": pl.Binary()}
        defined = [f"{sql.quoted(column)} {TYPES[dtype]}" for column, dtype in schema.items()]
        if key is not None:
            columns = list(key) if isinstance(key, tuple) else [key]
            defined.append(f"CONSTRAINT {_key_of(name)} PRIMARY KEY ({sql.columns(columns)})")
        self._connection.execute(f"CREATE TABLE IF NOT EXISTS {sql.quoted(name)} ({', '.join([*defined, *computed])})")

    def _indexes(self, entity: Entity) -> list[str]:
        """Of live records, in the order of answers."""
        return [f"({sql.columns([*columns, 'key'])}) WHERE NOT deleted" for columns in self._sought(entity)]

    # -- writing -------------------------------------------------------------------------------------------------------

    def _undo(self, session: Session) -> None:
        session.temporary.clear()
        try:
            session.execute("ROLLBACK")
        except psycopg.Error:
            session.close()

    def _number(self, session: Session) -> str:
        return str(session.execute("SELECT pg_current_xact_id()::text").fetchone()[0])

    def _committed(self, number: str) -> bool:
        found = self._connection.execute("SELECT pg_xact_status(?::xid8)", (number,)).fetchone()[0]
        return bool(found == "committed")

    def bulk(self, entity: str, frames: Iterable[Batch]) -> None:
        """One transaction for all: plain copies into an empty table, then its key and indexes over what is there."""
        with self._transaction() as session:
            whole = self.layout.totals is None
            if whole:
                into = self._into(entity)
                table, key = sql.quoted(into), _key_of(into)
                for (index,) in session.execute(
                    "SELECT indexname FROM pg_indexes WHERE schemaname = current_schema() AND tablename = ? "
                    f"AND indexname <> {session.literal(key.strip(chr(34)))}",
                    (into,),
                ).fetchall():
                    session.execute(f"DROP INDEX {sql.quoted(index)}")
                session.execute(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {key}")
                # Rows of a table that was emptied in the same transaction can be written as if they were old.
                session.execute(f"TRUNCATE {table}")
            for batch in frames:
                self._write(batch, replace=False)
                if batch.memory is not None and not few(batch.memory):
                    # Emptied at the end of a transaction, and here there are several batches in one.
                    session.execute(f"TRUNCATE {_incoming(f'lab_memory_{entity}')}")
            if whole:
                identity = sql.columns(list(self.layout.identity))
                session.execute(f"ALTER TABLE {table} ADD CONSTRAINT {key} PRIMARY KEY ({identity})")
                self._make_indexes(self.layout.entities[entity])
                session.execute(f"ANALYZE {table}")
            self._settle(entity)

    def _keep(self, table: str, names: tuple[str, ...], identity: tuple[str, ...], row: Sequence[object]) -> None:
        marks = f"VALUES ({', '.join('?' * len(names))}){'' if identity else ' ON CONFLICT DO NOTHING'}"
        self._connection.execute(insert(table, names, identity, marks), row)

    def _remove(self, table: str, keys: Sequence[bytes]) -> None:
        self._connection.execute(f"DELETE FROM {sql.quoted(table)} WHERE key = ANY(?::bytea[])", (list(keys),))

    def _delete(self, table: str, keys: Sequence[Key]) -> None:
        kind = ARRAYS[pl.String() if isinstance(keys[0], str) else pl.Int64()]
        self._connection.execute(f"DELETE FROM {sql.quoted(table)} WHERE key = ANY(?::{kind})", (list(keys),))

    def _reason(self, reason: str) -> str:
        return reason.replace("\x00", "\\x00")

    def _fill(self, table: str, schema: dict[str, pl.DataType], rows: pl.DataFrame) -> None:
        """By COPY, into a table that was emptied in this transaction."""
        self._connection.copy_in(sql.quoted(table), list(schema), fitting(rows, schema), frozen=True)

    def _send(self, batch: Batch) -> None:
        """By COPY: while the server waits for more of it, neither of the session's time limits ends that."""
        self._sent = frozenset()
        if not self.layout.kept.adds and not few(batch.rows):
            self._copy(batch.entity, self._stored(batch.entity), self._rows(batch))
            self._sent |= {batch.entity}
        if batch.memory is not None and not few(batch.memory):
            table = f"lab_memory_{batch.entity}"
            self._copy(table, self.layout.memory, batch.memory)
            self._sent |= {table}

    def _upsert(
        self, table: str, schema: dict[str, pl.DataType], rows: pl.DataFrame, identity: tuple[str, ...]
    ) -> None:
        """Write rows with these columns; those of the same identity are replaced."""
        names, session = tuple(schema), self._connection
        if table not in self._sent and few(rows):
            lists = ", ".join(f"?::{ARRAYS[dtype]}" for dtype in schema.values())
            columns = [list(column) for column in zip(*fitting(rows, dict(schema)).rows(), strict=True)]
            session.execute(insert(table, names, identity, f"SELECT * FROM unnest({lists})"), columns)
            return
        if table not in self._sent:
            self._copy(table, schema, rows)
        self._sent -= {table}
        session.execute(insert(table, names, identity, f"SELECT {sql.columns(names)} FROM {_incoming(table)}"))

    def _copy(self, table: str, schema: dict[str, pl.DataType], rows: pl.DataFrame) -> None:
        """Copy rows to the temporary table from which this one is written; the end of the transaction empties it."""
        incoming, session = _incoming(table), self._connection
        defined = ", ".join(f"{sql.quoted(name)} {TYPES[dtype]}" for name, dtype in schema.items())
        if incoming not in session.temporary:
            session.execute(f"CREATE TEMP TABLE IF NOT EXISTS {incoming} ({defined}) ON COMMIT DELETE ROWS")
            session.temporary.add(incoming)
        session.copy_in(incoming, list(schema), fitting(rows, dict(schema)))


def few(rows: pl.DataFrame) -> bool:
    """Whether rows are sent as parameters: they fit into what is sent at once, so the server isn't left in their midst.

    An owner of a partition may be frozen while it sends, and has its row locked by then.
    """
    if rows.height > FEW:
        return False
    texts = [rows[name].str.len_bytes().sum() for name, dtype in rows.schema.items() if dtype == pl.String()]
    return sum(texts) <= FEW_BYTES


def _incoming(table: str) -> str:
    return sql.quoted(f"{INCOMING}{table.removeprefix('lab_memory_')}" + (".m" if table.startswith("lab_") else ""))


def _key_of(table: str) -> str:
    name = f"lab_key_{table}"
    # What the server would cut off is what tells long names apart.
    short = name if len(name.encode()) <= NAME_BYTES else f"lab_key_{zlib.crc32(table.encode()):08x}"
    return sql.quoted(short)

"""How the MariaDB stores keep a projection: tables in a database of its own, and batches written to them.

A batch travels as an INSERT of many rows, or by LOAD DATA once it is larger, and lands with its checkpoint in one
transaction. A statement that makes or changes a table commits what is open, so what is built as a whole is built beside
and put in its place by one RENAME of all its tables, the checkpoint's among them.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any

import polars as pl
import pymysql

from lab.base import Batch, Entity, Key
from lab.engines.mariadb import KEY_CHARACTERS, KEY_TEXT, TYPES, MariadbSession
from lab.queries import sql
from lab.stores.fenced_tables import PLACES
from lab.stores.mariadb_reading import FORMER, NEW, MariadbReading
from lab.stores.server_store import PARKED
from lab.stores.slices import fitting, in_lists

# Up to so many rows are values of a statement; more are loaded from a file.
FEW = 256


@lru_cache(maxsize=1024)
def _insert(table: str, names: tuple[str, ...], identity: tuple[str, ...]) -> tuple[str, str]:
    """The beginning and the end of an insert; rows of the same identity are replaced, without one they stay."""
    rest = [name for name in names if identity and name not in identity]
    # Each assignment sees those before it: none refers to a column of the row that is there. IGNORE would let values
    # be cut off that don't fit.
    changes = [f"{sql.quoted(name)} = VALUES({sql.quoted(name)})" for name in rest]
    stays = f"{sql.quoted(names[0])} = {sql.quoted(table)}.{sql.quoted(names[0])}"
    end = f" ON DUPLICATE KEY UPDATE {', '.join(changes) or stays}"
    return f"INSERT INTO {sql.quoted(table)} ({sql.columns(names)}) ", end


class MariadbDatabase(MariadbReading):
    """A projection in one database of a MariaDB server."""

    # The tables that are being built beside those that are there; None for all.
    _built: Sequence[str] | None = ()
    # What the last batch of increments is known by.
    _given = ""

    def _undo(self, session: MariadbSession) -> None:
        try:
            session.execute("ROLLBACK")
        except pymysql.Error:
            session.close()

    def _write(self, batch: Batch, replace: bool) -> None:
        super()._write(batch, replace)
        if self.layout.kept.adds:
            # Written with the batch: it is there if the batch is.
            self._given = secrets.token_hex(8)
            self._connection.execute("REPLACE INTO lab_batch VALUES (1, ?)", (self._given,))

    def _number(self, session: MariadbSession) -> str:
        return self._given

    def _committed(self, number: str) -> bool:
        found = self._connection.execute("SELECT id FROM lab_batch").fetchall()
        return found == [(number,)]

    # -- tables --------------------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Make the tables anew beside those that are there, and put them in place by one RENAME."""
        with self._mapped(self.name):
            session = self._connection
            there = self._tables()
            self._drop([name for name in there if name.startswith((NEW, FORMER))])
            try:
                self._built = None
                self._make_tables()
                made = [name.removeprefix(NEW) for name in self._tables() if name.startswith(NEW)]
                self._put_in_place([name for name in there if not name.startswith((NEW, FORMER))], made)
            finally:
                self._end_building(session)

    def _tables(self) -> list[str]:
        return [name for (name,) in self._connection.execute("SHOW TABLES").fetchall()]

    def _drop(self, tables: Sequence[str]) -> None:
        if tables:
            self._connection.execute(f"DROP TABLE IF EXISTS {', '.join(map(sql.quoted, tables))}")

    def _put_in_place(self, there: Sequence[str], made: Sequence[str]) -> None:
        """Rename all at once: those that are there out of the way, those that were made into their place."""
        pairs = [(name, FORMER + name) for name in there] + [(NEW + name, name) for name in made]
        self._connection.execute("RENAME TABLE " + ", ".join(f"{sql.quoted(a)} TO {sql.quoted(b)}" for a, b in pairs))

    def _make_tables(self) -> None:
        super()._make_tables()
        if self.layout.kept.adds:
            self._make_table("lab_batch", {"one": pl.Int64(), "id": pl.String()}, "one")

    def _make_table(self, name: str, schema: dict[str, pl.DataType], key: Any, computed: Sequence[str] = ()) -> None:
        if name.startswith(PARKED):
            # A key that is too long for an index, or no text at all, is among what is parked.
            schema = schema | {"key": pl.Binary()}
        columns = [] if key is None else list(key) if isinstance(key, tuple) else [key]
        short = {*columns, *(one for found in self._short(name) for one in found)}
        defined = [f"{sql.quoted(column)} {_type(dtype, column in short)}" for column, dtype in schema.items()]
        if columns:
            defined.append(f"PRIMARY KEY ({sql.columns(columns)})")
        listed = ", ".join([*defined, *computed])
        self._connection.execute(
            f"CREATE TABLE IF NOT EXISTS {sql.quoted(self._into(name))} ({listed}) ENGINE=InnoDB ROW_FORMAT=DYNAMIC"
        )

    def _short(self, table: str) -> list[tuple[str, ...]]:
        """The columns of an entity's table that stand in an index."""
        return self._sought(self.layout.entities[table]) if table in self.layout.entities else []

    def _indexes(self, entity: Entity) -> list[str]:
        """Last, the column that every query looks at: it is no row to fetch."""
        return [f"({self._parts(entity, [*columns, 'deleted'])})" for columns in self._sought(entity)]

    def _parts(self, entity: Entity, columns: Sequence[str]) -> str:
        """The columns of an index; of several texts only the beginnings, since its entries have a largest size."""
        texts = [name for name in columns if self.layout.schema(entity.name)[name] == pl.String()]
        cut = f"({KEY_CHARACTERS // len(texts)})" if len(texts) > 1 else ""
        return ", ".join(f"{sql.quoted(name)}{cut if name in texts else ''}" for name in columns)

    def _into(self, table: str) -> str:
        return NEW + table if self._built is None or table in self._built else table

    def bulk(self, entity: str, frames: Iterable[Batch]) -> None:
        """Load tables beside those that are there, make the indexes last, and put all in place by one RENAME."""
        if self.layout.totals is not None:
            with self._transaction():
                for batch in frames:
                    self._write(batch, replace=False)
                self._settle(entity)
            return
        with self._mapped(self.name):
            session = self._connection
            tables = [entity, PLACES if self.layout.partitions else "lab_checkpoint", f"{PARKED}{entity}"]
            tables += [f"lab_memory_{entity}"] if self.layout.memory else []
            try:
                self._begin_building(entity, tables)
                for batch in frames:
                    session.execute("BEGIN")
                    self._write(batch, replace=False)
                    session.execute("COMMIT")
                self._settle(entity)
                self._make_indexes(self.layout.entities[entity])
                self._put_in_place(tables, tables)
            finally:
                self._end_building(session)
            session.execute(f"ANALYZE TABLE {sql.quoted(entity)}")

    def _begin_building(self, entity: str, tables: Sequence[str]) -> None:
        session = self._connection
        self._drop([name for name in self._tables() if name.startswith((NEW, FORMER))])
        for name in tables:
            session.execute(f"CREATE TABLE {sql.quoted(NEW + name)} LIKE {sql.quoted(name)}")
            if name != entity:
                session.execute(f"INSERT INTO {sql.quoted(NEW + name)} SELECT * FROM {sql.quoted(name)}")
        for index in self._named_indexes(NEW + entity):
            session.execute(f"DROP INDEX {sql.quoted(index)} ON {sql.quoted(NEW + entity)}")
        self._built = tables

    def _named_indexes(self, table: str) -> list[str]:
        """The indexes of a table beside its primary key."""
        found = self._connection.execute(
            "SELECT DISTINCT index_name FROM information_schema.statistics "
            "WHERE table_schema = DATABASE() AND table_name = ? AND index_name <> 'PRIMARY'",
            (table,),
        )
        return [name for (name,) in found.fetchall()]

    def _end_building(self, session: MariadbSession) -> None:
        """Drop what is in no place; of a session that was lost, the next building does so."""
        self._built = ()
        if session.alive:
            with suppress(pymysql.Error):
                session.execute("ROLLBACK")
                self._drop([name for name in self._tables() if name.startswith((NEW, FORMER))])

    # -- writing -------------------------------------------------------------------------------------------------------

    def _upsert(
        self, table: str, schema: dict[str, pl.DataType], rows: pl.DataFrame, identity: tuple[str, ...]
    ) -> None:
        self._bring(table, schema, rows, identity)

    def _fill(self, table: str, schema: dict[str, pl.DataType], rows: pl.DataFrame) -> None:
        """By LOAD DATA, straight into the table."""
        session = self._connection
        if session.loads:
            session.load(sql.quoted(self._into(table)), list(schema), fitting(rows, schema))
        else:
            self._bring(table, schema, rows, self.layout.identity)

    def _bring(self, table: str, schema: dict[str, pl.DataType], rows: pl.DataFrame, identity: tuple[str, ...]) -> None:
        names, session = tuple(schema), self._connection
        start, end = _insert(self._into(table), names, identity)
        fitted = fitting(rows, dict(schema))
        if rows.height > FEW and session.loads:
            defined = ", ".join(f"{sql.quoted(name)} {_type(one, name in identity)}" for name, one in schema.items())
            drop = ("DROP TEMPORARY TABLE IF EXISTS lab_incoming", ())
            # It takes no part in the transaction, so that it is filled at once and dropped at once.
            session.together([drop, (f"CREATE TEMPORARY TABLE lab_incoming ({defined}) ENGINE=MyISAM", ())])
            session.load("lab_incoming", names, fitted)
            session.together([(f"{start}SELECT {sql.columns(names)} FROM lab_incoming{end}", ()), drop])
            return
        session.insert(start, end, fitted.iter_rows())

    def _keep(self, table: str, names: tuple[str, ...], identity: tuple[str, ...], row: Sequence[object]) -> None:
        start, end = _insert(self._into(table), names, identity)
        self._connection.execute(f"{start}VALUES ({', '.join('?' * len(names))}){end}", row)

    def _remove(self, table: str, keys: Sequence[bytes]) -> None:
        marks = ", ".join("?" * len(keys))
        self._connection.execute(f'DELETE FROM {sql.quoted(self._into(table))} WHERE "key" IN ({marks})', keys)

    def _delete(self, table: str, keys: Sequence[Key]) -> None:
        for some, marks in in_lists(list(keys)):
            self._connection.execute(f'DELETE FROM {sql.quoted(self._into(table))} WHERE "key" IN {marks}', some)


def _type(dtype: pl.DataType, short: bool) -> str:
    """The type of a column; a text in an index is `short`."""
    return KEY_TEXT if short and dtype == pl.String() else TYPES[dtype]

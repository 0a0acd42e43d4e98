"""`sqlite.table`: one relational table for each entity, indexed for its readers.

sqlite-utils makes the tables and indexes; writing goes below it, in transactions of a whole batch.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from types import MappingProxyType
from typing import Any

import polars as pl
import sqlite_utils

from lab.base import Batch, CannotTake, ReadOnly
from lab.engines import sqlite
from lab.queries import sql
from lab.queries.answers import Row
from lab.queries.model import KINDS, Query
from lab.stores.port import Store

PYTHON_TYPES = {"INTEGER": int, "REAL": float, "TEXT": str}


class SqliteTable(Store):
    """A projection in one SQLite file in WAL mode, read on a connection that can't write."""

    name = "sqlite.table"
    shape = "relational table"
    family = "relational"
    answers = frozenset(KINDS) - {"search"}
    gaps = MappingProxyType({"search": "never: SQL finds letters with LIKE, not words; see sqlite.search"})
    durability = "full or normal; data and checkpoint in one transaction"

    _writer: sqlite3.Connection | None = None
    _reader: sqlite3.Connection | None = None

    def open(self) -> None:
        """Open for writing; tables and indexes are made where they are missing."""
        if self._writer is None:
            self.path.mkdir(parents=True, exist_ok=True)
            self._writer = sqlite.connect(self._file, self.layout.durability)
            # A projection is written in large batches: a longer log lets pages that are written twice be folded once.
            self._writer.execute("PRAGMA wal_autocheckpoint = 16000")
            self._statements: dict[str, str] = {}
            self._make_tables()
            self._make_indexes()

    @property
    def _file(self) -> Any:
        return self.path / "projection.sqlite"

    @property
    def _connection(self) -> sqlite3.Connection:
        assert self._writer is not None, "the store is not open"
        return self._writer

    def close(self) -> None:
        """Close both connections; the log is folded into the file."""
        self._close_reader()
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _close_reader(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def reset(self) -> None:
        """Drop the tables and make them anew."""
        database = sqlite_utils.Database(self._connection)
        for table in database.table_names():
            database.table(table).drop()
        self._make_tables()
        self._make_indexes()

    def _make_tables(self) -> None:
        database = sqlite_utils.Database(self._connection)
        layout = self.layout
        database.table("lab_checkpoint").create({"entity": str, "position": int}, pk="entity", if_not_exists=True)
        for name in layout.entities:
            key = None if layout.keeps == "totals" else (layout.identity if len(layout.identity) > 1 else "key")
            table = "totals" if layout.keeps == "totals" else name
            self._make_table(database, table, layout.schema(name), key)
            if layout.memory:
                self._make_table(database, f"lab_memory_{name}", layout.memory, "id")

    def _make_table(self, database: sqlite_utils.Database, name: str, schema: dict[str, pl.DataType], key: Any) -> None:
        """A table whose key is not a lone integer is its own index: one tree to write instead of two."""
        statement = database.create_table_sql(name, _types(schema), pk=key, if_not_exists=True)
        clustered = key is not None and (isinstance(key, tuple) or schema[key] == pl.String())
        self._connection.execute(statement.rstrip().rstrip(";") + (" WITHOUT ROWID" if clustered else ""))

    def _make_indexes(self) -> None:
        database = sqlite_utils.Database(self._connection)
        for name, columns in self._indexes():
            database.table(name).create_index(columns, index_name=_index_name(name, columns), if_not_exists=True)

    def _indexes(self) -> list[tuple[str, list[str]]]:
        if self.layout.keeps != "records":
            return []
        entities = self.layout.entities.values()
        wanted = [(entity.name, list(index)) for entity in entities for index in entity.indexes]
        return wanted + [(entity.name, [entity.parent]) for entity in entities if entity.parent]

    def checkpoint(self, entity: str) -> int:
        """The position kept with the data."""
        found = self._connection.execute("SELECT position FROM lab_checkpoint WHERE entity = ?", (entity,)).fetchone()
        return int(found[0]) if found else 0

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")

    def apply(self, batch: Batch) -> None:
        """One transaction: rows, the guard's memory, the checkpoint."""
        try:
            with self._transaction():
                self._write(batch, replace=True)
        except (sqlite3.IntegrityError, sqlite3.DataError, OverflowError) as error:
            raise CannotTake(f"{self.name}: {error}") from None

    def bulk(self, entity: str, frames: Iterable[Batch]) -> None:
        """One transaction for all: plain inserts, then the indexes over what is there."""
        with self._transaction():
            self._before_bulk(entity)
            for batch in frames:
                self._write(batch, replace=False)
            self._after_bulk(entity)

    def _write(self, batch: Batch, replace: bool) -> None:
        layout, connection = self.layout, self._connection
        if layout.keeps == "totals":
            self._add(batch.rows)
        elif batch.rows.height:
            names = self._columns(batch.entity)
            statement = self._insert(batch.entity, names, layout.identity if replace else ())
            connection.executemany(statement, self._rows(batch))
        if batch.memory is not None and batch.memory.height:
            statement = self._insert(f"lab_memory_{batch.entity}", list(layout.memory), ("id",))
            connection.executemany(statement, batch.memory.select(list(layout.memory)).rows())
        if batch.checkpoint is not None:
            connection.execute(
                self._insert("lab_checkpoint", ["entity", "position"], ("entity",)),
                (batch.entity, batch.checkpoint),
            )

    def _columns(self, entity: str) -> list[str]:
        """The columns of a row as it is stored."""
        return list(self.layout.schema(entity))

    def _rows(self, batch: Batch) -> list[Row]:
        return batch.rows.select(self._columns(batch.entity)).rows()

    def _before_bulk(self, entity: str) -> None:
        """What would slow an insert down is taken away."""
        for columns in self._indexes_of(entity):
            self._connection.execute(f"DROP INDEX IF EXISTS {sql.quoted(_index_name(entity, columns))}")

    def _after_bulk(self, entity: str) -> None:
        for columns in self._indexes_of(entity):
            name = sql.quoted(_index_name(entity, columns))
            self._connection.execute(f"CREATE INDEX {name} ON {sql.quoted(entity)} ({sql.columns(columns)})")

    def _indexes_of(self, entity: str) -> list[list[str]]:
        return [columns for table, columns in self._indexes() if table == entity]

    def _insert(self, table: str, names: list[str], identity: Sequence[str]) -> str:
        statement = f"INSERT INTO {sql.quoted(table)} ({sql.columns(names)}) VALUES ({', '.join('?' * len(names))})"
        rest = [name for name in names if name not in identity]
        if not identity:
            return statement
        if not rest:
            return f"{statement} ON CONFLICT DO NOTHING"
        changes = ", ".join(f"{sql.quoted(name)} = excluded.{sql.quoted(name)}" for name in rest)
        return f"{statement} ON CONFLICT ({sql.columns(list(identity))}) DO UPDATE SET {changes}"

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

    def query(self, query: Query, parameters: Row) -> list[Row]:
        """Answered on a read-only connection, opened by the first query."""
        self.refuse(query)
        statement, arguments = sql.translate(query, self.layout.keeps, "sqlite")
        return self.read(statement, sql.bind(arguments, parameters))

    def read(self, statement: str, arguments: Sequence[Any] = ()) -> list[Row]:
        """The rows of any statement that only reads. Raises ReadOnly for one that tries to write."""
        if self._reader is None:
            self._reader = sqlite.connect_read_only(self._file)
        try:
            return self._reader.execute(statement, arguments).fetchall()
        except sqlite3.OperationalError as error:
            if "readonly" in str(error):
                raise ReadOnly(f"{self.name}: a query may not change a projection: {statement[:80]}") from None
            raise

    def dump(self, entity: str) -> pl.DataFrame:
        """Everything, straight into Arrow."""
        schema = self.layout.schema(entity)
        table = "totals" if self.layout.keeps == "totals" else entity
        count = self._connection.execute(f"SELECT COUNT(*) FROM {sql.quoted(table)}").fetchone()[0]
        keys = self.layout.totals.group_by if self.layout.totals else ("key", "revision")
        statement = f"SELECT {sql.columns(list(schema))} FROM {sql.quoted(table)}"
        return sqlite.frame(self._connection, statement, (), schema, count).sort(keys, nulls_last=True)

    def memory(self, entity: str) -> pl.DataFrame:
        """What the guard asked to have kept."""
        if not self.layout.memory:
            return pl.DataFrame()
        table = sql.quoted(f"lab_memory_{entity}")
        count = self._connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]
        statement = f"SELECT {sql.columns(list(self.layout.memory))} FROM {table}"
        return sqlite.frame(self._connection, statement, (), self.layout.memory, count)

    def size_bytes(self) -> int:
        """The file and its log; a log that is being written is folded in first, since its length says nothing."""
        if self._writer is not None:
            self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return sqlite.size_bytes(self._file)

    def settings(self) -> dict[str, Any]:
        """The PRAGMAs that matter, read back."""
        return sqlite.settings(self._connection)


def _types(schema: dict[str, pl.DataType]) -> dict[str, Any]:
    return {name: PYTHON_TYPES[sqlite.TYPES[dtype]] for name, dtype in schema.items()}


def _index_name(table: str, columns: list[str]) -> str:
    return f"{table}_by_{'_'.join(columns)}"

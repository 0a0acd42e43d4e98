"""What the SQLite stores have in common: one file in WAL mode, with indexes for its readers."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import polars as pl
import sqlite_utils

from lab.base import Batch, Entity, Key, ReadOnly
from lab.engines import budget, sqlite
from lab.ports import Capabilities
from lab.queries import sql, wide
from lab.queries.answers import Row
from lab.queries.kinds.traversal import BOTH, lines, meeting
from lab.queries.model import Query
from lab.stores.parked import ParkedRow, encoded
from lab.stores.prepared import Answering
from lab.stores.slices import in_lists
from lab.stores.sql_file import SqlFile

PYTHON_TYPES = {"INTEGER": int, "REAL": float, "TEXT": str, "BLOB": bytes}


@lru_cache(maxsize=1024)
def _insert(table: str, names: tuple[str, ...], identity: tuple[str, ...], source: str) -> str:
    # Kept: to write the statement takes as long as to apply a change by itself.
    values = source or f"VALUES ({', '.join('?' * len(names))})"
    statement = f"INSERT INTO {sql.quoted(table)} ({sql.columns(names)}) {values}"
    rest = [name for name in names if name not in identity]
    if not identity:
        return statement
    if not rest:
        return f"{statement} ON CONFLICT DO NOTHING"
    changes = ", ".join(f"{sql.quoted(name)} = excluded.{sql.quoted(name)}" for name in rest)
    return f"{statement} ON CONFLICT ({sql.columns(identity)}) DO UPDATE SET {changes}"


class SqliteFile(SqlFile[sqlite3.Connection]):
    """A projection in one SQLite file in WAL mode."""

    dialect = "sqlite"
    begins = "BEGIN IMMEDIATE"
    refuses = (sqlite3.IntegrityError, sqlite3.DataError, OverflowError)
    durability = "full or normal; data and checkpoint in one transaction"
    capabilities = Capabilities(concurrent_readers=True, signed_zero=False)
    files = tuple(f"projection.sqlite{end}" for end in ("", "-wal", "-shm", "-journal"))

    def damaged(self, error: BaseException) -> bool:
        """By the engine's code; what another driver of it says is found out by reading."""
        if isinstance(error, sqlite3.Error):
            return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
        return super().damaged(error)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite.connect(self._file, self.layout.durability)
        if self.layout.durability == "normal":
            # Written in large batches, it has pages that are written twice folded once by a longer log. With a sync
            # at each commit a short one is quicker: once it comes round, no sync waits for the file to grow.
            connection.execute("PRAGMA wal_autocheckpoint = 16000")
        return connection

    def rest(self) -> None:
        """Shrink the caches of both connections."""
        sqlite.rest(self._writer, self._reader)

    def reset(self) -> None:
        """Drop the tables and make them anew, in one transaction."""
        with self._transaction() as connection:
            # A virtual table takes those along that it keeps its content in.
            for chosen in ("sql LIKE 'CREATE VIRTUAL%'", "name NOT LIKE 'sqlite~_%' ESCAPE '~'"):
                found = f"SELECT name FROM main.sqlite_master WHERE type = 'table' AND {chosen}"
                for (name,) in connection.execute(found).fetchall():
                    connection.execute(f"DROP TABLE main.{sql.quoted(name)}")
            self._make_tables()

    def _make_tables(self) -> None:
        database = sqlite_utils.Database(self._connection)
        database.table("lab_checkpoint").create({"entity": str, "position": int}, pk="entity", if_not_exists=True)
        super()._make_tables()
        self._make_indexes()

    def _make_table(self, name: str, schema: dict[str, pl.DataType], key: Any, computed: Sequence[str] = ()) -> None:
        """A table whose key is not a lone integer is its own index: one tree to write instead of two.

        `computed` are the definitions of more columns, which the engine works out from the others, and of constraints.
        """
        types = {column: PYTHON_TYPES[sqlite.TYPES[dtype]] for column, dtype in schema.items()}
        made = sqlite_utils.Database(self._connection).create_table_sql(name, types, pk=key, if_not_exists=True)
        statement = made.rstrip().rstrip(";").rstrip().removesuffix(")").rstrip() + "".join(
            f", {one}" for one in computed
        )
        clustered = key is not None and (isinstance(key, tuple) or schema[key] == pl.String())
        self._connection.execute(f"{statement})" + (" WITHOUT ROWID" if clustered else ""))

    def _make_indexes(self) -> None:
        found = "SELECT name FROM main.sqlite_master WHERE type = 'index' AND tbl_name = ?"
        for entity in self.layout.entities.values():
            for (name,) in self._connection.execute(found, (entity.name,)).fetchall():
                # Of an earlier version, which had other columns, and other names.
                if name.startswith(f"{entity.name}_by_"):
                    self._connection.execute(f"DROP INDEX {sql.quoted(name)}")
            for columns in self._indexes(entity):
                self._make_index(entity.name, columns)

    def _make_index(self, table: str, columns: tuple[str, ...]) -> None:
        name = sql.quoted(_index_name(table, columns))
        self._connection.execute(f"CREATE INDEX IF NOT EXISTS {name} ON {sql.quoted(table)} ({sql.columns(columns)})")

    def _indexes(self, entity: Entity) -> list[tuple[str, ...]]:
        """The columns that readers look for together; last, the one that every query looks at: it is no row to fetch.

        An index of live records alone would be smaller. But the planner takes one for half of the table, and so goes
        through it row by row where nothing but a scan of the table is right.
        """
        if not self.layout.kept.replaces:
            return []
        return [(*columns, "deleted") for columns in self._sought(entity)]

    def _sought(self, entity: Entity) -> list[tuple[str, ...]]:
        """The columns that readers of an entity look for together."""
        return [*entity.indexes, *([(entity.parent,)] if entity.parent else [])]

    def bulk(self, entity: str, frames: Iterable[Batch]) -> None:
        """One transaction for all: plain inserts, then the indexes over what is there."""
        with self._transaction():
            self._prepare(entity)
            for batch in frames:
                self._write(batch, replace=False)
            self._settle(entity)
            for columns in self._indexes(self.layout.entities[entity]):
                self._make_index(entity, columns)

    def _prepare(self, entity: str) -> None:
        """What would slow an insert down is taken away, before an entity comes as a whole."""
        for columns in self._indexes(self.layout.entities[entity]):
            self._connection.execute(f"DROP INDEX IF EXISTS {sql.quoted(_index_name(entity, columns))}")

    def _write(self, batch: Batch, replace: bool) -> None:
        layout, connection = self.layout, self._connection
        self._put(batch, replace)
        if batch.memory is not None and batch.memory.height:
            statement = self._insert(f"lab_memory_{batch.entity}", list(layout.memory), ("id",))
            connection.executemany(statement, batch.memory.select(list(layout.memory)).rows())
        if batch.checkpoint is not None:
            statement = self._insert("lab_checkpoint", ["entity", "position"], ("entity",))
            connection.execute(statement, (batch.entity, batch.checkpoint))
        parked = sql.quoted(f"lab_parked_{batch.entity}")
        if batch.release:
            connection.executemany(f"DELETE FROM {parked} WHERE key = ?", [(key,) for key in batch.release])
        if rows := encoded(batch.park):
            insert = f"INSERT INTO {parked} ({sql.columns(ParkedRow._fields)}) VALUES (?, ?, ?, ?)"
            connection.executemany(f"{insert} ON CONFLICT DO NOTHING", rows)

    def _insert(self, table: str, names: Sequence[str], identity: Sequence[str], source: str = "") -> str:
        """An insert of values, or of what `source` selects, that replaces rows of the same identity."""
        return _insert(table, tuple(names), tuple(identity), source)

    def _answering(self, query: Query) -> Answering:
        """As every SQL store; a sum is exact, however large."""
        if query.kind == "traverse" and query.walk == "path":
            both = self._selecting(f"{self._lines(query)} {BOTH}")
            return lambda keys: meeting(both(keys))
        run = super()._answering(query)
        if query.kind != "aggregate":
            return run
        asked, keeps = self._asked(query), self._reads

        def exactly(parameters: Row) -> list[Row]:
            try:
                return run(parameters)
            except sqlite3.OperationalError as error:
                return wide.in_halves(error, asked, parameters, keeps, self.read)

        return exactly

    def _lines(self, query: Query) -> str:
        """The definitions of the two lines upwards of a path."""
        return lines(query, self._reads)

    @property
    def _reads(self) -> str:
        """Revisions have an index by key and revision, which finds the last ones without looking through all."""
        return "log" if self.layout.kept.every_revision else self.layout.keeps

    def _selecting(self, statement: str) -> Answering:
        # The connection keeps the statement compiled, and finds it by its text.
        execute = self._reading().execute
        return lambda values: execute(statement, values).fetchall()

    def _reading(self) -> sqlite3.Connection:
        if self._reader is None:
            self._reader = sqlite.connect_read_only(self._file)
        return self._reader

    def read(self, statement: str, arguments: Sequence[Any] = (), bounded: bool = False) -> list[Row]:
        """The rows of any statement that only reads. Raises ReadOnly for one that tries to write."""
        reader = self._reading()
        if bounded:
            return budget.answer(reader, statement, arguments)
        try:
            return reader.execute(statement, arguments).fetchall()
        except sqlite3.OperationalError as error:
            if "readonly" in str(error):
                raise ReadOnly(f"{self.name}: a query may not change a projection: {statement[:80]}") from None
            raise

    def pages(self, entity: str) -> Iterator[pl.DataFrame]:
        """Straight into Arrow, each page found by the last key of the page before it."""
        schema = self.layout.schema(entity)
        if self.layout.totals:
            yield from self.sliced(self._whole("totals", schema))
            return
        identity, last = self.layout.identity, tuple[Any, ...]()
        left = self._count(entity)
        while left > 0:
            after = f"WHERE ({sql.columns(identity)}) > ({', '.join('?' * len(last))})" if last else ""
            source = f"{sql.quoted(entity)} {after} ORDER BY {sql.columns(identity)} LIMIT {self.page_rows}"
            statement = f"SELECT {sql.columns(list(schema))} FROM {source}"
            page = sqlite.frame(self._connection, statement, last, schema, min(left, self.page_rows))
            yield page
            left -= self.page_rows
            last = page.select(identity).row(-1)

    def _whole(self, table: str, schema: dict[str, pl.DataType]) -> pl.DataFrame:
        statement = f"SELECT {sql.columns(list(schema))} FROM {sql.quoted(table)}"
        return sqlite.frame(self._connection, statement, (), schema, self._count(table))

    def _count(self, table: str) -> int:
        return int(self._connection.execute(f"SELECT COUNT(*) FROM {sql.quoted(table)}").fetchone()[0])

    def revisions(self, entity: str, keys: Sequence[Key]) -> dict[Key, int]:
        """By the primary key, some thousands of keys at a time."""
        match self.layout.revisions_in_memory:
            case None:
                return {}
            case True:
                chosen = f"id, revision FROM {sql.quoted(f'lab_memory_{entity}')} WHERE id IN {{}}"
            case False if self.layout.kept.replaces:
                chosen = f"key, revision FROM {sql.quoted(entity)} WHERE key IN {{}}"
            case False:
                chosen = f"key, MAX(revision) FROM {sql.quoted(entity)} WHERE key IN {{}} GROUP BY key"
        return dict(self._found(f"SELECT {chosen}", keys))

    def _found(self, statement: str, keys: Sequence[Key]) -> Iterator[Row]:
        """The rows of a statement that asks for a list of keys, which it has in the place of `{}`."""
        for some, marks in in_lists(keys):
            yield from self._connection.execute(statement.format(marks), some)

    def memory(self, entity: str, keys: Sequence[Key] | None = None) -> pl.DataFrame:
        """What the guard asked to have kept."""
        schema, table = self.layout.memory, f"lab_memory_{entity}"
        if not schema:
            return pl.DataFrame()
        if keys is None:
            return self._whole(table, schema)
        statement = f"SELECT {sql.columns(list(schema))} FROM {sql.quoted(table)} WHERE id IN {{}}"
        return sqlite.as_frame(list(self._found(statement, list(dict.fromkeys(keys)))), schema)

    def size_bytes(self) -> int:
        """The file and its log; a log that is being written is folded in first, since its length says nothing."""
        if self._writer is not None:
            self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return sqlite.size_bytes(self._file)

    def settings(self) -> dict[str, Any]:
        """The PRAGMAs that matter, read back."""
        return sqlite.settings(self._connection)


def _index_name(table: str, columns: tuple[str, ...]) -> str:
    """A name that no other columns of any table have."""
    return f"{sql.quoted(table)} by {sql.columns(columns)}"

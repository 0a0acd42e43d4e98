"""What the DuckDB stores have in common: whole batches straight from Arrow, one transaction a batch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import duckdb
import polars as pl

from lab.base import Batch, Key, NoAnswer, ReadOnly
from lab.engines import budget
from lab.engines import duckdb as engine
from lab.queries import sql
from lab.queries.answers import Row
from lab.queries.model import Query
from lab.stores.parked import ParkedRow, encoded
from lab.stores.prepared import Answering
from lab.stores.sql_file import SqlFile

# A list of keys up to this length is bound as one parameter; a longer one is joined from Arrow.
KEYS_BOUND = 1_000
KEYS = "(SELECT unnest(?))"


class DuckdbFile(SqlFile[duckdb.DuckDBPyConnection]):
    """A projection in one DuckDB file: one open database, which is written by one connection and read by two.

    The lab's own statements are parsed once, and each sees the last commit. Any other statement is read in a read-only
    transaction, which the first one after a write begins: a statement's kind alone doesn't say that it only reads.
    """

    dialect = "duckdb"
    refuses = (duckdb.ConstraintException, duckdb.ConversionException, duckdb.OutOfRangeException)
    durability = "full; data and checkpoint in one transaction"
    files = tuple(f"projection.duckdb{end}" for end in ("", ".wal", ".wal.checkpoint", ".wal.recovery", ".tmp"))

    # Whether there is a thread for each core, and how many rows were written since that was looked into.
    _several, _unseen = False, 0
    # Runs the lab's own statements.
    _selects: engine.Selects | None = None

    def _connect(self) -> duckdb.DuckDBPyConnection:
        self._read = set[str]()
        self._several, self._unseen = False, 0
        return engine.connect(self._file, threads=1)

    def open(self) -> None:
        """Open for writing; tables are made where they are missing. Large ones are read by several threads."""
        if self._writer is None:
            super().open()
            self._spread()

    def _spread(self) -> None:
        """Use a thread for each core once a table is large enough for several."""
        self._unseen = 0
        if not self._several:
            (most,) = self._connection.execute("SELECT MAX(estimated_size) FROM duckdb_tables()").fetchall()[0]
            if most is not None and most > engine.ROW_GROUP:
                self._connection.execute("RESET threads")
                self._several = True

    def close(self) -> None:
        """Close the connections; the log is folded into the file."""
        if self._selects is not None:
            self._selects.close()
            self._selects = None
        super().close()

    def rest(self) -> None:
        """Evict the blocks that have been read."""
        if self._writer is not None:
            engine.rest(self._writer)

    def reset(self) -> None:
        """Drop the tables and make them anew, in one transaction."""
        with self._transaction() as connection:
            for (table,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall():
                connection.execute(f"DROP TABLE {sql.quoted(table)}")
            self._make_tables()
        self._connection.execute("SET threads = 1")
        self._several, self._unseen = False, 0

    def _make_tables(self) -> None:
        self._make_table("lab_checkpoint", {"entity": pl.String(), "position": pl.Int64()}, "entity")
        super()._make_tables()

    def _make_table(self, name: str, schema: dict[str, pl.DataType], key: Any, computed: Sequence[str] = ()) -> None:
        """Without the key: no index is kept."""
        plain = [f"{sql.quoted(column)} {engine.TYPES[dtype]}" for column, dtype in schema.items()]
        self._connection.execute(f"CREATE TABLE IF NOT EXISTS {sql.quoted(name)} ({', '.join([*plain, *computed])})")

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[duckdb.DuckDBPyConnection]:
        # The next query sees what is written now.
        self._end_reading()
        with super()._transaction() as connection:
            yield connection

    def bulk(self, entity: str, frames: Iterable[Batch]) -> None:
        """Insert all batches in one transaction."""
        with self._transaction():
            for batch in frames:
                self._write(batch, replace=False)
            self._settle(entity)
        self._spread()

    def apply(self, batch: Batch) -> None:
        """Write rows, the guard's memory and the checkpoint in one transaction."""
        super().apply(batch)
        self._unseen += batch.rows.height
        # What is asked of the catalogue takes as long as a point read.
        if self._unseen >= engine.ROW_GROUP:
            self._spread()

    def _write(self, batch: Batch, replace: bool) -> None:
        connection = self._connection
        self._put(batch, replace)
        if batch.memory is not None and batch.memory.height:
            self._replace(f"lab_memory_{batch.entity}", batch.memory.select(list(self.layout.memory)), ("id",))
        if batch.checkpoint is not None:
            row = (batch.checkpoint, batch.entity)
            moved = connection.execute("UPDATE lab_checkpoint SET position = ? WHERE entity = ?", row).fetchall()
            if not moved[0][0]:
                connection.execute("INSERT INTO lab_checkpoint (position, entity) VALUES (?, ?)", row)
        parked = sql.quoted(f"lab_parked_{batch.entity}")
        if batch.release:
            connection.execute(f"DELETE FROM {parked} WHERE key IN (SELECT unnest(?))", [list(batch.release)])
        if rows := encoded(batch.park):
            with self._incoming(pl.DataFrame(rows, schema=list(ParkedRow._fields), orient="row")):
                there = f"FROM {parked} AS t WHERE t.position = i.position"
                connection.execute(f"INSERT INTO {parked} SELECT * FROM lab_incoming AS i WHERE NOT EXISTS ({there})")

    @contextlib.contextmanager
    def _incoming(self, rows: pl.DataFrame) -> Iterator[duckdb.DuckDBPyConnection]:
        connection = self._connection
        # In a transaction that has failed nothing can be unregistered; the next one's frame replaces this one.
        connection.register("lab_incoming", rows.to_arrow())
        yield connection
        connection.unregister("lab_incoming")

    def _replace(self, table: str, rows: pl.DataFrame, identity: Sequence[str]) -> None:
        if not identity:
            # What is registered under a name is kept until the transaction ends, which may be that of a whole rebuild.
            self._connection.from_arrow(rows.to_arrow()).insert_into(sql.quoted(table))
            return
        with self._incoming(rows) as connection:
            # A revision has one position, and the engine knows the positions of each group of rows: it looks at few.
            at = rows["position"] if "revision" in identity and rows.height else None
            self._remove(table, identity, None if at is None else (at.min(), at.max()))
            connection.execute(f"INSERT INTO {sql.quoted(table)} SELECT * FROM lab_incoming")

    def _replace_few(self, table: str, names: Sequence[str], rows: Sequence[Row], identity: Sequence[str]) -> None:
        """The same of a few rows as tuples, whose columns are bound as lists: a frame costs more than it saves."""
        columns, name = [list(column) for column in zip(*rows, strict=True)], sql.quoted(table)
        if identity:
            (one,) = identity
            gone = f"DELETE FROM {name} WHERE {sql.quoted(one)} IN {KEYS}"
            self._connection.execute(gone, [columns[list(names).index(one)]])
        values = ", ".join("unnest(?)" for _ in names)
        self._connection.execute(f"INSERT INTO {name} ({sql.columns(list(names))}) SELECT {values}", columns)

    def _remove(self, table: str, identity: Sequence[str], within: tuple[Any, Any] | None = None) -> None:
        """Delete the rows whose identity is among what comes in, of those with positions `within`, if that is known."""
        same = " AND ".join(f"t.{sql.quoted(name)} = i.{sql.quoted(name)}" for name in identity)
        if within is not None:
            same += " AND t.position BETWEEN {} AND {}".format(*within)
        self._connection.execute(f"DELETE FROM {sql.quoted(table)} AS t USING lab_incoming AS i WHERE {same}")

    def _selecting(self, statement: str) -> Answering:
        if self._selects is None:
            self._selects = engine.Selects(self._connection)
        return self._selects.prepared(statement)

    def query(self, query: Query, parameters: Row) -> list[Row]:
        """Return the rows, read on a connection that can't write. Raises NotAnswered for a value out of range."""
        with engine.answering(query.name):
            return super().query(query, parameters)

    def read(self, statement: str, arguments: Sequence[Any] = (), bounded: bool = False) -> list[Row]:
        """The rows of any statement that only reads the projection. Raises ReadOnly for any other."""
        if self._reader is None:
            self._reader = engine.begin_reading(self._connection)
        try:
            if statement not in self._read and not engine.only_reads(self._reader, statement):
                raise ReadOnly(f"{self.name}: a query may not change a projection: {statement[:80]}")
            found = budget.answer(self._reader, statement, arguments) if bounded else self._all(statement, arguments)
        except NoAnswer:
            self._end_reading()
            raise
        except duckdb.Error as error:
            # The engine has given its transaction up.
            self._end_reading()
            if "read-only" in str(error) or isinstance(error, duckdb.PermissionException):
                raise ReadOnly(f"{self.name}: a query may not change a projection: {statement[:80]}") from None
            raise
        self._read.add(statement)
        return found

    def _all(self, statement: str, arguments: Sequence[Any]) -> list[Row]:
        assert self._reader is not None
        return self._reader.execute(statement, list(arguments)).fetchall()

    def pages(self, entity: str) -> Iterator[pl.DataFrame]:
        """Yield pages that the engine sorts and streams as Arrow."""
        schema = self.layout.schema(entity)
        connection = self._connection
        source = "totals" if self.layout.totals else f"{sql.quoted(entity)} ORDER BY key, revision"
        found = connection.cursor().sql(f"SELECT {sql.columns(list(schema))} FROM {source}")
        if self.layout.totals:
            yield from self.sliced(engine.as_frame(found.to_arrow_table(), schema))
            return
        (rows,) = connection.execute(f"SELECT count(*) FROM {sql.quoted(entity)}").fetchall()[0]
        with engine.sorting(connection, rows * len(schema)):
            for batch in found.to_arrow_reader(self.page_rows):
                yield engine.as_frame(batch, schema)

    def revisions(self, entity: str, keys: Sequence[Key]) -> dict[Key, int]:
        """Return the highest revisions by a join of the keys with the table."""
        match self.layout.revisions_in_memory:
            case None:
                return {}
            case True:
                return dict(self._among("id, revision", f"lab_memory_{entity}", "id", keys).fetchall())
            case False if self.layout.kept.replaces:
                return dict(self._among("key, revision", entity, "key", keys).fetchall())
            case False:
                return dict(self._among("key, MAX(revision)", entity, "key", keys, "GROUP BY key").fetchall())

    def _among(
        self, columns: str, table: str, key: str, keys: Sequence[Key], more: str = ""
    ) -> duckdb.DuckDBPyConnection:
        """Select the rows of a table whose key is among these."""
        connection = self._connection
        start = f"SELECT {columns} FROM {sql.quoted(table)} WHERE {key} IN"
        if len(keys) <= KEYS_BOUND:
            return connection.execute(f"{start} (SELECT unnest(?)) {more}", [list(keys)])
        connection.register("lab_keys", pl.DataFrame({"key": keys}).to_arrow())
        return connection.execute(f"{start} (SELECT key FROM lab_keys) {more}")

    def memory(self, entity: str, keys: Sequence[Key] | None = None) -> pl.DataFrame:
        """Return the guard's memory."""
        schema, table = self.layout.memory, f"lab_memory_{entity}"
        if not schema:
            return pl.DataFrame()
        if keys is None:
            return engine.frame(self._connection, f"SELECT * FROM {sql.quoted(table)}", schema)
        rows = self._among(sql.columns(list(schema)), table, "id", keys).fetchall()
        return pl.DataFrame(rows, schema=schema, orient="row")

    def size_bytes(self) -> int:
        """The file and its log, which is folded in first, since its length says nothing."""
        if self._writer is not None:
            self._end_reading()
            self._writer.execute("CHECKPOINT")
        return engine.size_bytes(self._file)

    def settings(self) -> dict[str, Any]:
        """The settings that matter, read back; a commit is synced to disk, and the engine offers no other class."""
        return engine.settings(self._connection) | {"durability": "full"}

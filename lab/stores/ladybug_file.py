"""Shared by the shapes in Ladybug: one file, open for writing or for reading, and tables of nodes written to by key."""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import ladybug
import polars as pl

from lab.engines import ladybug as engine
from lab.queries.answers import Row
from lab.stores import cypher
from lab.stores.cypher import quoted
from lab.stores.prepared import PreparedQueries

# Versions of overwritten rows fill the engine's buffer: it is looked at after so many transactions (a transaction
# counts once more for each thousand rows), and a checkpoint frees them once they take so many bytes.
LOOKED_AT, VERSIONS_BYTES = 32, 2**26
# A batch of up to so many rows is written row by row: a few milliseconds a row, however large the table is.
FEW_ROWS = 16


class LadybugFile(PreparedQueries):
    """A projection in one file of the engine: one open database, which one connection writes and another one reads.

    The reading connection is in a read-only transaction, which is begun by the first query after a write.
    """

    durability = "full; data and checkpoint in one transaction; a rebuild that is killed begins again from position 0"

    _database: ladybug.Database | None = None
    _connection: ladybug.Connection | None = None
    _reader: ladybug.Connection | None = None
    # Whether the reading connection is in a transaction.
    _reading = False
    # Transactions since the buffer was looked at, and how full it was after the last checkpoint.
    _unseen = _settled = 0

    def open(self) -> None:
        """Open for writing; tables are made where they are missing."""
        if self._connection is None:
            self.path.mkdir(parents=True, exist_ok=True)
            self._database, self._connection = engine.connect(self.path / "projection.lbug")
            self._make_tables()

    def close(self) -> None:
        """Close the connections and the file."""
        if self._connection is not None and self._database is not None:
            self._end_reading()
            if self._reader is not None:
                self._reader.close()
            self._connection.close()
            self._database.close()
            self._connection = self._reader = self._database = None
            self._unseen = self._settled = 0

    def _read(self, statement: str, parameters: Mapping[str, Any]) -> list[Row]:
        """Run a query where the engine refuses every write."""
        if self._reader is None:
            self._opened()
            assert self._database is not None
            self._reader = ladybug.Connection(self._database)
            engine.rows(self._reader, f"CALL var_length_extend_max_depth = {2 * cypher.DEPTH_MAX}", {})
        if not self._reading:
            engine.rows(self._reader, "BEGIN TRANSACTION READ ONLY", {})
            self._reading = True
        try:
            return engine.rows(self._reader, statement, parameters)
        except BaseException:
            self._end_reading()
            raise

    def _end_reading(self) -> None:
        """End the reader's transaction: a checkpoint waits for it, and it keeps overwritten versions alive."""
        if self._reading and self._reader is not None:
            # A statement that failed has ended the transaction already.
            with contextlib.suppress(RuntimeError):
                engine.rows(self._reader, "ROLLBACK", {})
        self._reading = False

    def _opened(self) -> ladybug.Connection:
        if self._connection is None:
            self.open()
        assert self._connection is not None
        return self._connection

    def _rows(self, statement: str, parameters: Mapping[str, Any] | None = None) -> list[Row]:
        return engine.rows(self._opened(), statement, parameters or {})

    @abstractmethod
    def _make_tables(self) -> None:
        """Make the tables, where they are missing."""

    def _make_table(self, table: str, schema: Mapping[str, pl.DataType], key: str) -> None:
        columns = ", ".join(f"{cypher.column(name)} {engine.TYPES[kind]}" for name, kind in schema.items())
        self._rows(f"CREATE NODE TABLE IF NOT EXISTS {quoted(table)} ({columns}, PRIMARY KEY ({quoted(key)}))")

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self.open()
        self._end_reading()
        self._rows("BEGIN TRANSACTION")
        try:
            yield
        except BaseException:
            # A statement that fails has ended the transaction already.
            with contextlib.suppress(RuntimeError):
                self._rows("ROLLBACK")
            raise
        self._rows("COMMIT")

    def _free_versions(self, rows: int) -> None:
        """Settle what was written in the file, once the versions of overwritten rows take too much of the buffer."""
        self._unseen += 1 + rows // 1_000
        if self._unseen < LOOKED_AT:
            return
        self._unseen = 0
        if engine.used_bytes(self._opened()) - self._settled > VERSIONS_BYTES:
            self._rows("CHECKPOINT")
            self._settled = engine.used_bytes(self._opened())

    def _merge(self, table: str, rows: pl.DataFrame, key: str) -> None:
        """Nodes of these keys with these values, whether they are there or not."""

        def merge(value: str) -> str:
            sets = [
                f"n.{cypher.column(name)} = {value}{place}" for place, name in enumerate(rows.columns) if name != key
            ]
            node = f"MERGE (n:{quoted(table)} {{{quoted(key)}: {value}{rows.columns.index(key)}}})"
            return f"{node}{' SET ' + ', '.join(sets) if sets else ''}"

        self._each(merge("$c"), merge("c"), rows)

    def _each(self, one: str, every: str, rows: pl.DataFrame) -> None:
        """Run the statement `one` for each of a few rows, whose values are `$c0` and so on, or `every` for all."""
        if rows.height > FEW_ROWS:
            self._load(f"LOAD FROM $incoming {every}", rows)
            return
        for row in rows.iter_rows():
            engine.once(self._opened(), one, {f"c{place}": value for place, value in enumerate(row)})

    def _load(self, statement: str, rows: pl.DataFrame) -> None:
        """Run a statement over rows, whose columns it calls `c0`, `c1` and so on."""
        named = rows.rename({name: f"c{place}" for place, name in enumerate(rows.columns)})
        engine.once(self._opened(), statement, {"incoming": named.to_arrow()})

    def _frame(
        self, table: str, schema: Mapping[str, pl.DataType], where: str, parameters: Mapping[str, Any] | None = None
    ) -> pl.DataFrame:
        chosen = ", ".join(f"n.{cypher.column(name)} AS c{place}" for place, name in enumerate(schema))
        statement = f"MATCH (n:{quoted(table)}) {where} RETURN {chosen}"
        frame = engine.frame(self._opened(), statement, parameters or {})
        return frame.rename({f"c{place}": name for place, name in enumerate(schema)}).cast(dict(schema))  # type: ignore[arg-type]

    def size_bytes(self) -> int:
        """Return the size of the file in bytes; its log is folded in first, since its length says nothing."""
        if self._connection is not None:
            self._end_reading()
            self._rows("CHECKPOINT")
        return sum(file.stat().st_size for file in self.path.glob("projection.lbug*"))

    def settings(self) -> dict[str, Any]:
        """The settings that matter, read back."""
        return engine.settings(self._opened()) | {"durability": "full"}

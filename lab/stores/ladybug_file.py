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
from lab.stores.port import Store

# Versions of overwritten rows fill the engine's buffer: it is looked at after so many transactions (a transaction
# counts once more for each thousand rows), and a checkpoint frees them once they take so many bytes.
LOOKED_AT, VERSIONS_BYTES = 32, 2**26
# A batch of up to so many rows is written row by row: a few milliseconds a row, however large the table is.
FEW_ROWS = 16


class LadybugFile(Store):
    """A projection in one file of the engine; open for writing or for reading, never for both."""

    durability = "full; data and checkpoint in one transaction; a rebuild that is killed begins again from position 0"

    _database: ladybug.Database | None = None
    _connection: ladybug.Connection | None = None
    _read_only = False
    # Transactions since the buffer was looked at, and how full it was after the last checkpoint.
    _unseen = _settled = 0

    def open(self) -> None:
        """Open for writing; tables are made where they are missing."""
        if self._connection is None or self._read_only:
            self.close()
            self.path.mkdir(parents=True, exist_ok=True)
            self._connect(read_only=False)
            self._make_tables()

    def _connect(self, read_only: bool) -> None:
        self._database, self._connection = engine.connect(self.path / "projection.lbug", read_only)
        self._read_only = read_only
        self._rows(f"CALL var_length_extend_max_depth = {2 * cypher.DEPTH_MAX}")

    def close(self) -> None:
        """Close the connection and the file."""
        if self._connection is not None and self._database is not None:
            self._connection.close()
            self._database.close()
            self._connection = self._database = None
            self._unseen = self._settled = 0

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
        """Return the size of the file and its log in bytes."""
        return sum(file.stat().st_size for file in self.path.glob("projection.lbug*"))

    def settings(self) -> dict[str, Any]:
        """The settings that matter, read back."""
        return engine.settings(self._opened()) | {"durability": "full"}

"""Shared by the shapes in Ladybug: one open file, which one connection writes and another reads; nodes by key."""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
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
# A batch of up to so many rows is written row by row: it takes as long however large the table is.
FEW_ROWS = 16
# A value of each type of which a row's values are bound as one list.
FILLED: Mapping[pl.DataType, Any] = {pl.Int64(): 0, pl.Float64(): 0.0, pl.String(): "", pl.Boolean(): False}


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
        super().close()
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
        others = [name for name in rows.columns if name != key]
        if rows.height <= FEW_ROWS:
            few = rows.select(key, *others)
            self._merge_few(table, few.schema, few.rows())
            return

        def value(name: str) -> str:
            return f"c{rows.columns.index(name)}"

        sets = ", ".join(f"n.{cypher.column(name)} = {value(name)}" for name in others)
        node = f"MERGE (n:{quoted(table)} {{{quoted(key)}: {value(key)}}})"
        self._load(f"LOAD FROM $incoming {node}{' SET ' + sets if sets else ''}", rows)

    def _merge_few(self, table: str, schema: Mapping[str, pl.DataType], rows: Sequence[Row]) -> None:
        """Row by row, by the key, which comes first.

        The connection keeps one compiled statement for each combination of types of its parameters, and takes those of
        a number from its size, of a null from nothing. A list has the type of its items: so all values of a kind are in
        one list, with a last item that is no null.
        """
        (key, _), *others = schema.items()
        kinds = {kind: place for place, kind in enumerate(FILLED)}
        places: dict[pl.DataType, list[int]] = {}
        sets = []
        for place, (name, kind) in enumerate(others, 1):
            if kind in kinds:
                places.setdefault(kind, []).append(place)
                value = f"$v{kinds[kind]}[{len(places[kind])}]"
            else:
                value = f"$c{place}"
            sets.append(f"n.{cypher.column(name)} = {value}")
        plain = [place for place, (_, kind) in enumerate(others, 1) if kind not in kinds]
        node = f"MERGE (n:{quoted(table)} {{{quoted(key)}: $c0}})"
        statement, connection = f"{node}{' SET ' + ', '.join(sets) if sets else ''}", self._opened()
        for row in rows:
            values = {
                f"v{kinds[kind]}": [*(row[place] for place in found), FILLED[kind]] for kind, found in places.items()
            }
            engine.rows(connection, statement, {"c0": row[0], **values, **{f"c{place}": row[place] for place in plain}})

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

"""The source of truth in DuckDB: the same three write models in a columnar engine, to show what that costs.

A command comes with one row, and a columnar engine makes ready for millions: each statement costs about as much as it
would for thousands of rows. Commits are always synced; the engine offers no weaker class.

A file has one process, which opens it once: queries are read on other connections to the same database.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from lab.base import BadInput, Problem
from lab.engines import budget
from lab.engines import duckdb as driver
from lab.queries.answers import Row
from lab.queries.model import Query
from lab.truth.dialect import SqlDialect
from lab.truth.files import Watch, present
from lab.truth.models import Events, History, Snapshot
from lab.truth.port import Truth
from lab.truth.relational import Relational


class Duckdb(Relational):
    """The file, the transaction, and how results are read. A result is always fetched whole: one that isn't finished
    owns its connection."""

    engine = "duckdb"
    files = tuple(f"truth.duckdb{end}" for end in ("", ".wal", ".wal.checkpoint", ".wal.recovery", ".tmp"))
    shared = False
    dialect = SqlDialect(driver.TYPES)

    _connection: duckdb.DuckDBPyConnection | None = None
    _selects: driver.Selects | None = None
    _watch: Watch

    @property
    def _file(self) -> Path:
        return self.place.path / "truth.duckdb"

    def open(self) -> None:
        """Open the file for writing, and make the tables."""
        present(self._file, self.identity)
        self.place.path.mkdir(parents=True, exist_ok=True)
        self._connect()
        try:
            self._make_tables()
        except BaseException:
            self.close()
            raise
        self._watch = Watch(self._file)

    def lost(self) -> str | None:
        """Look at the file and its log; that is removed by a checkpoint too, after which the engine knows of none."""
        log = self._file.with_name(f"{self._file.name}.wal")
        found = self._watch.lost()
        if found is None and not log.exists():
            (logged,) = self._execute("SELECT wal_size FROM pragma_database_size()").fetchall()[0]
            found = None if logged == "0 bytes" else f"{log.name} was deleted"
        return found

    def open_shared(self) -> bool:
        """Refused: raises NotImplementedError. The process that has the file open serves its feed to others."""
        raise NotImplementedError(f"a file of `{self.engine}` has one process at a time: read its feed instead")

    def join(self) -> None:
        """Refused: raises BadInput. Its writers would have to be threads of the one process."""
        what = f"a file of `{self.engine}` has one process at a time, and writers are processes of their own"
        raise BadInput([Problem("truth.engine", what, 'set truth.engine to "sqlite" or "postgres"')])

    def beside(self) -> Truth:
        """Open a second connection to the database that is open here: each statement sees what is committed by then."""
        other = type(self)(self.place, self.domain, self.durability)
        other._connection = self._open.cursor()
        other._execute = other._connection.execute
        return other

    def _connect(self) -> None:
        self.close()
        self._connection = driver.connect(self._file)
        self._execute = self._connection.execute

    @property
    def _open(self) -> duckdb.DuckDBPyConnection:
        assert self._connection is not None, "the source of truth is not open"
        return self._connection

    def close(self) -> None:
        """Close the connections; the log is folded into the file."""
        if self._selects is not None:
            self._selects.close()
            self._selects = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def rest(self) -> None:
        """Evict the blocks that have been read."""
        driver.rest(self._open)

    def settings(self) -> dict[str, Any]:
        """The settings that matter, read back. Commits are synced, whatever the scenario asked for."""
        return driver.settings(self._open) | {"durability": "full"}

    def size_bytes(self) -> int:
        """Return the size of the file and its log in bytes."""
        return driver.size_bytes(self._file)

    def load(self, entity: str, frame: pl.DataFrame) -> None:
        """One transaction. The rows' name outlives it, since in one that failed nothing can be unregistered."""
        try:
            super().load(entity, frame)
        finally:
            self._open.unregister("lab_incoming")

    def _fill(self, entity: str, rows: pl.DataFrame) -> None:
        self._open.register("lab_incoming", rows.to_arrow())
        self._execute(self._insert(entity, "SELECT * FROM lab_incoming"))

    def _frame(self, statement: str, arguments: Row, schema: dict[str, pl.DataType], rows: int) -> pl.DataFrame:
        return driver.frame(self._open, statement, schema, arguments)

    def _answered(self, query: Query, parameters: Row) -> list[Row]:
        with driver.answering(query.name):
            return super()._answered(query, parameters)

    def _ask(self, statement: str, arguments: Row, bounded: bool = False) -> list[Row]:
        """On a connection of its own; what isn't the lab's own query, in a transaction in which nothing is written."""
        if self._selects is None:
            self._selects = driver.Selects(self._open)
        if not bounded and self._selects.only_selects(statement):
            return self._selects.prepared(statement)(arguments)
        reader = driver.begin_reading(self._open)
        try:
            if bounded:
                return budget.answer(reader, statement, arguments)
            return reader.execute(statement, list(arguments)).fetchall()
        finally:
            reader.close()


class DuckdbSnapshot(Duckdb, Snapshot):
    """The last state of each record, in DuckDB."""


class DuckdbHistory(Duckdb, History):
    """Every revision, in DuckDB."""


class DuckdbEvents(Duckdb, Events):
    """What happened, in DuckDB."""


MODELS: dict[str, type[Truth]] = {"snapshot": DuckdbSnapshot, "history": DuckdbHistory, "events": DuckdbEvents}

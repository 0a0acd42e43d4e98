"""Shared by the stores in one file of an SQL engine: a connection that writes, and one that can't.

A shape says which tables there are (`_make_shape`) and how rows get into them (`_put`). Every entity's table has the
entity's columns, stored or computed, so that all shapes are asked and read in the same SQL.
"""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import polars as pl

from lab.base import Batch, CannotTake
from lab.queries import sql
from lab.queries.answers import Row
from lab.queries.kinds import KINDS, translate
from lab.queries.model import Query
from lab.stores.parked import decoded, parked_table
from lab.stores.prepared import Answering, PreparedQueries, binding


class SqlConnection(Protocol):
    """What the drivers of both engines have."""

    def execute(self, statement: str, arguments: Any = ..., /) -> Any:
        """Execute one statement; the result has `fetchall()`."""

    def close(self) -> None:
        """Close the connection."""


Connection = TypeVar("Connection", bound=SqlConnection)


class SqlFile(PreparedQueries, Generic[Connection]):
    """A projection in one file; opened for writing by `open`, or by the first use after `close`."""

    # The engine, in the words of `lab.queries.sql`, and the end of the file's name.
    dialect: ClassVar[str]
    # How a transaction begins that will write, and what the engine raises for a value that it can't take.
    begins: ClassVar[str] = "BEGIN"
    refuses: ClassVar[tuple[type[Exception], ...]]

    _writer: Connection | None = None
    _reader: Connection | None = None

    @property
    def _file(self) -> Path:
        return self.path / f"projection.{self.dialect}"

    @property
    def _connection(self) -> Connection:
        if self._writer is None:
            self.open()
        assert self._writer is not None
        return self._writer

    def open(self) -> None:
        """Open for writing; tables and indexes are made where they are missing."""
        if self._writer is None:
            self.path.mkdir(parents=True, exist_ok=True)
            self._writer = self._connect()
            try:
                with self._transaction():
                    self._make_tables()
            except BaseException:
                self.close()
                raise

    @abstractmethod
    def _connect(self) -> Connection:
        """Connect for writing."""

    def close(self) -> None:
        """Close both connections; the log is folded into the file."""
        super().close()
        self._end_reading()
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _end_reading(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _make_tables(self) -> None:
        for name in self.layout.entities if self.layout.memory else ():
            self._make_table(f"lab_memory_{name}", self.layout.memory, "id")
        for name, entity in self.layout.entities.items():
            self._make_table(f"lab_parked_{name}", parked_table(entity), "position")
        self._make_shape()

    @abstractmethod
    def _make_table(self, name: str, schema: dict[str, pl.DataType], key: Any, computed: Sequence[str] = ()) -> None:
        """Make a table, where it is missing; `computed` are definitions in SQL of columns that the engine works out."""

    @abstractmethod
    def _make_shape(self) -> None:
        """Make the tables of the entities, where they are missing."""

    def checkpoint(self, entity: str) -> int:
        """Return the position that is stored with the data."""
        found = self._connection.execute("SELECT position FROM lab_checkpoint WHERE entity = ?", (entity,)).fetchall()
        return int(found[0][0]) if found else 0

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[Connection]:
        connection = self._connection
        connection.execute(self.begins)
        try:
            yield connection
        except BaseException as error:
            connection.execute("ROLLBACK")
            if isinstance(error, self.refuses):
                raise CannotTake(f"{self.name}: {error}") from None
            raise
        connection.execute("COMMIT")

    def apply(self, batch: Batch) -> None:
        """Write rows, the guard's memory and the checkpoint in one transaction."""
        with self._transaction():
            self._write(batch, replace=True)

    def _settle(self, entity: str) -> None:
        """What is to be done once an entity is in as a whole, within the same transaction."""

    @abstractmethod
    def _write(self, batch: Batch, replace: bool) -> None:
        """Write all that a batch brings, within a transaction."""

    @abstractmethod
    def _put(self, batch: Batch, replace: bool) -> None:
        """Write the batch's rows; those that are there already are replaced, if there can be any."""

    def _answering(self, query: Query) -> Answering:
        """Translate it to this engine's SQL. A statement of the user's own is read within bounds."""
        statement, arguments = translate(self._asked(query), self._reads, self.dialect)
        if KINDS[query.kind].own:
            return binding(arguments, lambda values: self.read(statement, values, bounded=True))
        return binding(arguments, self._selecting(statement))

    @property
    def _reads(self) -> str:
        """What a query takes the rows for, in the words of `lab.queries.sql`."""
        return self.layout.keeps

    @abstractmethod
    def _selecting(self, statement: str) -> Answering:
        """Return what runs a statement of the lab's own on the connection that can't write, until it is closed."""

    def _asked(self, query: Query) -> Query:
        """The query as this shape's tables are asked."""
        return query

    @abstractmethod
    def read(self, statement: str, arguments: Sequence[Any] = (), bounded: bool = False) -> list[Row]:
        """The rows of any statement that only reads the projection. Raises ReadOnly for any other.

        Bounded in time and rows, it raises NoAnswer for whatever the engine doesn't answer.
        """

    def parked(self, entity: str) -> pl.DataFrame:
        """Return the parked changes, decoded from their table."""
        found = self._connection.execute(f'SELECT "change" FROM {sql.quoted(f"lab_parked_{entity}")}').fetchall()
        return decoded((change for (change,) in found), self.layout.entities[entity])

"""How stores on a server of SQL reach their place there, and read it: one session that writes, others that only read.

A session that is lost is opened anew by the next use, so a server that comes back is gone on with.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Protocol, TypeVar

import polars as pl

from lab.base import CannotTake, Damaged, Key, LabError, NotAnswered, ReadOnly
from lab.engines import budget
from lab.formatting import first_line
from lab.place import FolderPlace
from lab.queries import sql
from lab.queries.answers import Row
from lab.queries.model import Query
from lab.servers.ledger import NAMED
from lab.servers.place import ServerPlace
from lab.stores.layout import Layout
from lab.stores.sql_file import SqlFile

# Before the name of an entity: the table of its parked changes.
PARKED = "lab_parked_"


class StoreSession(Protocol):
    """A connection to a server."""

    @property
    def alive(self) -> bool:
        """Whether it is open, as far as this side knows."""

    def execute(self, statement: str, arguments: Any = ..., /) -> Any:
        """Execute one statement; the result has `fetchall()`."""

    def close(self) -> None:
        """Close the connection."""


SessionT = TypeVar("SessionT", bound=StoreSession)


class ServerStore(SqlFile[SessionT]):
    """Base of the stores in a place on a server: sessions, queries, look-ups and pages."""

    durability = "full or normal (no wait for the disk); data and checkpoint in one transaction"
    files = (NAMED,)

    # The kind of place, and what the driver raises.
    home: ClassVar[type[ServerPlace]]
    errors: ClassVar[tuple[type[Exception], ...]]

    # Runs statements of a user's own: with a limit of time.
    _bounded: SessionT | None = None
    # What this store has opened. Another one in its place is empty, and nobody would know.
    _known = ""

    def __init__(self, place: FolderPlace, layout: Layout) -> None:
        self._on = self.home.of(place)
        super().__init__(self._on, layout)

    @classmethod
    def placed(cls, place: FolderPlace) -> FolderPlace:
        """What belongs to a folder on the server."""
        return cls.home.of(place)

    # -- of each kind of server ----------------------------------------------------------------------------------------

    @abstractmethod
    def _session(self, name: str, *, read_only: bool = False, seconds: float = 0.0) -> SessionT:
        """Connect to the place of this name. Raises Unavailable."""

    @abstractmethod
    def _take_lock(self, session: SessionT, name: str) -> None:
        """Wait for the lock of the session that writes: one for each place."""

    @abstractmethod
    def _mapped(self, what: str) -> AbstractContextManager[None]:
        """Translate what the driver raises in the block."""

    @abstractmethod
    def _told(self, error: Exception) -> LabError | None:
        """The lab's error for one of the driver's; None for a mistake in a statement."""

    @abstractmethod
    def _timed_out(self, error: Exception) -> bool:
        """Whether the server ended a statement that took too long."""

    def _limited(self, statement: str) -> str:
        """A statement that gives no more rows than are looked at."""
        return f"SELECT * FROM ({statement}) AS lab_answer LIMIT {budget.ANSWER_ROWS + 1}"

    @abstractmethod
    def _frame(self, statement: str, schema: dict[str, pl.DataType]) -> pl.DataFrame:
        """What a statement without parameters gives."""

    @abstractmethod
    def _after(self, names: Sequence[str], last: Row) -> str:
        """A condition, in SQL without parameters, for the rows that follow one in the order of these columns."""

    @abstractmethod
    def _among(self, columns: str, table: str, key: str, keys: Sequence[Key], more: str = "") -> list[Row]:
        """The rows of a table whose key is among these; `more` follows the condition."""

    # -- sessions ------------------------------------------------------------------------------------------------------

    def _connect(self) -> SessionT:
        name = self._on.claim()
        if self._known not in ("", name):
            raise Damaged(f"{self.name}: {self.home.kind} {self._known} is gone from the server")
        self._known = name
        session = self._session(name)
        try:
            with self._mapped(f"{self.name}, whose projection another process may be writing"):
                # A process that was killed is waited for: its last statement may still be at work.
                self._take_lock(session, name)
        except BaseException:
            session.close()
            raise
        return session

    @property
    def _connection(self) -> SessionT:
        if self._writer is not None and not self._writer.alive:
            self._writer = None
        return super()._connection

    def _reading(self, bounded: bool = False) -> SessionT:
        found = self._bounded if bounded else self._reader
        if found is not None and found.alive:
            return found
        if not (name := self._on.named):
            raise Damaged(f"{self.name}: no {self.home.kind} is named in {self.path}")
        found = self._session(name, read_only=True, seconds=budget.ANSWER_SECONDS if bounded else 0.0)
        if bounded:
            self._bounded = found
        else:
            self._reader = found
        return found

    def _end_reading(self) -> None:
        super()._end_reading()
        if self._bounded is not None:
            self._bounded.close()
            self._bounded = None

    # -- reading -------------------------------------------------------------------------------------------------------

    def checkpoint(self, entity: str) -> int:
        """Return the position that is stored with the data."""
        with self._mapped(self.name):
            return super().checkpoint(entity)

    @property
    def _reads(self) -> str:
        """Revisions have an index by key and revision, which finds the last ones without looking through all."""
        return "log" if self.layout.kept.every_revision else self.layout.keeps

    def query(self, query: Query, parameters: Row) -> list[Row]:
        """Return the rows, read by a session that can't write. Raises NotAnswered for a value out of range."""
        try:
            return super().query(query, parameters)
        except CannotTake as error:
            raise NotAnswered(f"{query.name}: {first_line(error)}") from None
        except self.errors as error:
            found = self._told(error)
            if isinstance(found, CannotTake):
                raise NotAnswered(f"{query.name}: {first_line(error)}") from None
            if found is None:
                raise
            raise found from None

    def read(self, statement: str, arguments: Sequence[Any] = (), bounded: bool = False) -> list[Row]:
        """The rows of any statement that only reads. Raises ReadOnly for one that tries to write."""
        if bounded:
            return self._within_bounds(statement, arguments)
        try:
            with self._mapped(self.name):
                found: list[Row] = self._reading().execute(statement, arguments).fetchall()
                return found
        except ReadOnly:
            raise ReadOnly(f"{self.name}: a query may not change a projection: {statement[:80]}") from None

    def _within_bounds(self, statement: str, arguments: Sequence[Any]) -> list[Row]:
        def ask() -> list[Row]:
            found: list[Row] = self._reading(bounded=True).execute(self._limited(statement), arguments).fetchall()
            return found

        return budget.within(ask, self.errors, self._timed_out, self._told)

    def pages(self, entity: str) -> Iterator[pl.DataFrame]:
        """Each page is found by the last key of the page before it."""
        schema = self.layout.schema(entity)
        if self.layout.totals:
            yield from self.sliced(self._frame("SELECT * FROM totals", schema))
            return
        names, after, height = self.layout.identity, "", self.page_rows
        while height == self.page_rows:
            chosen = f"SELECT {sql.columns(list(schema))} FROM {sql.quoted(entity)} {after}"
            page = self._frame(f"{chosen} ORDER BY {sql.columns(names)} LIMIT {self.page_rows}", schema)
            height = page.height
            if height:
                after = f"WHERE {self._after(names, page.select(names).row(-1))}"
                yield page

    def revisions(self, entity: str, keys: Sequence[Key]) -> dict[Key, int]:
        """By the primary key."""
        match self.layout.revisions_in_memory:
            case None:
                return {}
            case True:
                chosen = self._among("id, revision", f"lab_memory_{entity}", "id", keys)
            case False if self.layout.kept.replaces:
                chosen = self._among('"key", revision', entity, '"key"', keys)
            case False:
                chosen = self._among('"key", MAX(revision)', entity, '"key"', keys, ' GROUP BY "key"')
        return dict(chosen)

    def memory(self, entity: str, keys: Sequence[Key] | None = None) -> pl.DataFrame:
        """What the guard asked to have kept."""
        schema, table = self.layout.memory, f"lab_memory_{entity}"
        if not schema:
            return pl.DataFrame()
        if keys is None:
            return self._frame(f"SELECT {sql.columns(list(schema))} FROM {sql.quoted(table)}", schema)
        rows = self._among(sql.columns(list(schema)), table, "id", keys)
        return pl.DataFrame(rows, schema=schema, orient="row")

    def parked(self, entity: str) -> pl.DataFrame:
        """Return the parked changes, decoded from their table."""
        with self._mapped(self.name):
            return super().parked(entity)

    def damaged(self, error: BaseException) -> bool:
        """By what the server said: damaged pages, or tables that are gone."""
        return isinstance(error, Damaged)

    def size_bytes(self) -> int:
        """Tables and indexes of the place."""
        return self._on.size_bytes()

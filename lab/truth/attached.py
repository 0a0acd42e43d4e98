"""The place of a source of truth on a server, as one process has it open: its connections, and its loss.

A connection that the server has closed is opened anew at its next use, so a server that was away is gone on with. What
is there must still be what was opened.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import polars as pl

from lab.base import SourceLost, Unavailable
from lab.engines import budget
from lab.queries.answers import Row

TIMELINE = "lab_timeline"
Step = tuple[str, Sequence[Any]]


class TruthSession(Protocol):
    """A connection to a server."""

    @property
    def alive(self) -> bool:
        """Whether it is open, as far as this side knows."""

    def close(self) -> None:
        """Close it."""


SessionT = TypeVar("SessionT", bound=TruthSession)


class AttachedPlace(ABC, Generic[SessionT]):
    """One place and its connections: for the feed and for commands, for queries, for statements of a user's own."""

    # What the server calls it, and what its driver raises.
    called: ClassVar[str]
    errors: ClassVar[tuple[type[Exception], ...]]

    def __init__(self, named: str, writes: bool, durability: str) -> None:
        self.named, self._writes, self._durability = named, writes, durability
        self._sessions: dict[str, SessionT] = {}
        # What tells it from another one that was put in its place; None before it is opened.
        self._opened: Any = None
        # How often the connection for commands was opened.
        self.connections = 0

    # -- of each kind of server ----------------------------------------------------------------------------------------

    @abstractmethod
    def _connected(self, does: str, read_only: bool, seconds: float) -> SessionT:
        """Connect; `does` says what for. `seconds` limits each statement; 0 doesn't."""

    @abstractmethod
    def mapped(self) -> AbstractContextManager[None]:
        """Translate what the driver raises in the block."""

    @abstractmethod
    def told(self, error: Exception) -> Exception:
        """The lab's error for one of the driver's; itself where there is none."""

    @abstractmethod
    def timed_out(self, error: Exception) -> bool:
        """Whether the server ended a statement that took too long."""

    @abstractmethod
    def _rows(self, session: SessionT, statement: str, arguments: Row) -> Any:
        """The result of a statement, which has `fetchall()` and `fetchone()`."""

    @abstractmethod
    def together(self, session: SessionT, steps: Sequence[Step]) -> list[list[Row]]:
        """Send statements as one text, with their values in it, and return the rows of each."""

    @abstractmethod
    def roll_back(self) -> None:
        """Roll back, unless the connection is lost: then the server has done so."""

    @abstractmethod
    def has(self, tables: Sequence[str]) -> bool:
        """Whether all these tables are there."""

    @abstractmethod
    def _mark(self) -> Any:
        """What tells this place from another one that was put in its place; None where it is gone."""

    @abstractmethod
    def frame(self, statement: str, numbers: Sequence[Any], schema: dict[str, pl.DataType]) -> pl.DataFrame:
        """The rows of a statement whose parameters are whole numbers."""

    def prepared(self, what: str, statement: str, values: int) -> str:
        """Return how this statement of so many values is called; `what` names it."""
        return statement

    def held(self, rows: Sequence[Row]) -> None:
        """Look at what a statement gave that takes a lock. Raises Unavailable for a lock that was not given."""

    def _limited(self, statement: str) -> str:
        """A statement that gives no more rows than are looked at."""
        return f"SELECT * FROM ({statement}) AS lab_answer LIMIT {budget.ANSWER_ROWS + 1}"

    def _renewed(self) -> None:
        """Called when the connection for commands was opened."""

    # -- of all --------------------------------------------------------------------------------------------------------

    @property
    def session(self) -> SessionT:
        """The connection for commands, or for the feed. Raises Unavailable, and SourceLost where it must be renewed."""
        found = self._sessions.get("feed")
        if found is not None and found.alive:
            return found
        made = self._connect("feed", "writes" if self._writes else "reads", not self._writes)
        self.connections += 1
        self._renewed()
        if self._opened is not None:
            try:
                if (what := self._changed()) is not None:
                    raise SourceLost(what)
            except BaseException:
                made.close()
                raise
        return made

    @property
    def alive(self) -> bool:
        """Whether the connection for commands is open, as far as this side knows."""
        found = self._sessions.get("feed")
        return found is not None and found.alive

    def execute(self, statement: str, arguments: Row = ()) -> Any:
        """Execute a statement on the connection for commands. Raises the lab's errors."""
        with self.mapped():
            return self._rows(self.session, statement, arguments)

    @property
    def name(self) -> str:
        """What it is called in errors."""
        return f"source of truth {self.named}"

    def ask(self, statement: str, arguments: Row, bounded: bool) -> list[Row]:
        """The rows of a query, on a connection that can't write; bounded, they may raise NoAnswer."""
        if bounded:
            return self._within_bounds(statement, arguments)
        with self.mapped():
            found: list[Row] = self._rows(self._reader("queries"), statement, arguments).fetchall()
            return found

    def _within_bounds(self, statement: str, arguments: Row) -> list[Row]:
        session = self._reader("statements", budget.ANSWER_SECONDS)

        def ask() -> list[Row]:
            found: list[Row] = self._rows(session, self._limited(statement), arguments).fetchall()
            return found

        return budget.within(ask, self.errors, self.timed_out, self.told)

    def _reader(self, purpose: str, seconds: float = 0.0) -> SessionT:
        found = self._sessions.get(purpose)
        return found if found is not None and found.alive else self._connect(purpose, "asks", True, seconds)

    def _connect(self, purpose: str, does: str, read_only: bool, seconds: float = 0.0) -> SessionT:
        if purpose in self._sessions:
            # The server has closed it, and this side has not.
            self._sessions[purpose].close()
        made = self._sessions[purpose] = self._connected(f"lab {does} {self.named}", read_only, seconds)
        return made

    def remember(self) -> None:
        """Note what was opened: from now on another one in its place is a loss."""
        self._opened = self._mark()

    def _changed(self) -> str | None:
        found = self._mark()
        if found == self._opened:
            return None
        return f"{self.called} {self.named} was {'dropped' if found is None else 'replaced by another one'}"

    def lost(self) -> str | None:
        """Return what became of the place; None if it is there, and while the server is away."""
        try:
            return self._changed()
        except Unavailable:
            return None
        except SourceLost as error:
            return str(error)

    def close(self) -> None:
        """Close the connections."""
        for session in self._sessions.values():
            session.close()
        self._sessions.clear()

"""The schema of a source of truth on a PostgreSQL server, as one process has it open: its connections, and its loss.

A connection that the server has closed is opened anew at its next use, so a server that was away is gone on with. The
schema must still be the one that was opened.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import polars as pl
import psycopg

from lab.base import Damaged, NoAnswer, SourceLost, Unavailable
from lab.engines import budget
from lab.engines import postgres as driver
from lab.engines.postgres import Session
from lab.formatting import first_line
from lab.queries.answers import Row
from lab.servers.postgres import SERVER

TIMELINE = "lab_timeline"
# A quoted name, in which a question mark is none, or a mark.
_MARKS = re.compile(r'"(?:[^"]|"")*"|\?')


def there(schema: str) -> bool:
    """Return whether the server has a schema of this name. Raises Unavailable."""
    if not schema:
        return False
    connection = SERVER.connect()
    try:
        found = Session(connection).execute("SELECT to_regnamespace(?)::oid IS NOT NULL", (schema,))
        return bool(found.fetchone()[0])
    finally:
        connection.close()


class AttachedSchema:
    """One schema and its connections: for the feed and for commands, for queries, for statements of a user's own."""

    def __init__(self, schema: str, writes: bool, durability: str) -> None:
        self.schema, self._writes, self._durability = schema, writes, durability
        self._sessions: dict[str, Session] = {}
        self._opened = 0
        # What the server has been told to keep planned on the connection for commands, by the text of the statement.
        self._prepared: dict[str, str] = {}

    @property
    def session(self) -> Session:
        """The connection for commands, or for the feed. Raises Unavailable, and SourceLost where it must be renewed."""
        found = self._sessions.get("feed")
        if found is not None and not found.connection.closed:
            return found
        does = "writes" if self._writes else "reads"
        made = self._connect("feed", does, read_only=not self._writes, durability=self._durability)
        self._prepared.clear()
        if self._opened:
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
        return found is not None and not found.connection.closed

    def execute(self, statement: str, arguments: Row = ()) -> Any:
        """Execute a statement on the connection for commands, prepared. Raises the lab's errors."""
        with driver.mapped(self.name):
            return self.session.execute(statement, arguments, prepare=True)

    def prepared(self, what: str, statement: str, values: int) -> str:
        """Return how this statement of so many values is called once the server has planned it; `what` names it."""
        if statement not in self._prepared:
            name = f"lab_{what}_{len(self._prepared)}"
            self.session.connection.execute(b"PREPARE %s AS %s" % (name.encode(), driver.numbered(statement)))
            self._prepared[statement] = f"EXECUTE {name}({', '.join('?' * values)})"
        return self._prepared[statement]

    def roll_back(self) -> None:
        """Roll back, unless the connection is lost: then the server has done so. The driver forgets what is planned."""
        if self.alive:
            self._prepared.clear()
            connection = self.session.connection
            try:
                connection.execute("ROLLBACK")
                connection.execute("DEALLOCATE ALL")
            except psycopg.Error:
                connection.close()

    @property
    def name(self) -> str:
        """What it is called in errors."""
        return f"source of truth {self.schema}"

    def told(self, error: Exception) -> Exception:
        """The lab's error for one of the driver's; itself where there is none."""
        return driver.translated(self.name, error) or error

    def frame(self, statement: str, numbers: Sequence[Any], schema: dict[str, pl.DataType]) -> pl.DataFrame:
        """The rows of a statement whose parameters are whole numbers, by COPY, which takes no parameters."""
        rest = iter(numbers)
        text = _MARKS.sub(lambda found: str(int(next(rest))) if found[0] == "?" else found[0], statement)
        with driver.mapped(self.name):
            return self.session.frame(text, schema)

    def ask(self, statement: str, arguments: Row, bounded: bool) -> list[Row]:
        """The rows of a query, on a connection that can't write; bounded, they may raise NoAnswer."""
        if bounded:
            return self._within_bounds(statement, arguments)
        with driver.mapped(self.name):
            found: list[Row] = self._reader("queries").execute(statement, arguments, prepare=True).fetchall()
            return found

    def _within_bounds(self, statement: str, arguments: Row) -> list[Row]:
        limited = f"SELECT * FROM ({statement}) AS lab_answer LIMIT {budget.ANSWER_ROWS + 1}"
        session = self._reader("statements", budget.ANSWER_SECONDS)
        try:
            found: list[Row] = session.execute(limited, arguments, prepare=True).fetchall()
        except psycopg.errors.QueryCanceled:
            raise NoAnswer(f"no answer within {budget.ANSWER_SECONDS:g} s") from None
        except (psycopg.Error, OverflowError) as error:
            if isinstance(lost := self.told(error), Unavailable | Damaged):
                raise lost from None
            raise NoAnswer(f"the engine refuses it: {first_line(error)}") from None
        if len(found) > budget.ANSWER_ROWS:
            raise NoAnswer(f"an answer of more than {budget.ANSWER_ROWS:,} rows")
        return found

    def _reader(self, purpose: str, seconds: float = 0.0) -> Session:
        found = self._sessions.get(purpose)
        if found is not None and not found.connection.closed:
            return found
        return self._connect(purpose, "asks", read_only=True, statement_seconds=seconds)

    def _connect(self, purpose: str, does: str, **options: Any) -> Session:
        made = Session(SERVER.connect(self.schema, application_name=f"lab {does} {self.schema}", **options))
        self._sessions[purpose] = made
        return made

    def number(self, table: str) -> int:
        """What the server knows a table by; 0 for one that isn't there."""
        found = self.execute("SELECT COALESCE(to_regclass(?)::oid::bigint, 0)", (table,))
        return int(found.fetchone()[0])

    def remember(self) -> None:
        """Note which schema was opened: from now on another one in its place is a loss."""
        self._opened = self.number(TIMELINE)

    def _changed(self) -> str | None:
        found = self.number(TIMELINE)
        if found == self._opened:
            return None
        return f"schema {self.schema} was {'replaced by another one' if found else 'dropped'}"

    def lost(self) -> str | None:
        """Return what became of the schema; None if it is there, and while the server is away."""
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

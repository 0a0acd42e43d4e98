"""The schema of a source of truth on a PostgreSQL server, as one process has it open."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any

import polars as pl
import psycopg

from lab.engines import postgres as driver
from lab.engines.postgres import Session
from lab.queries.answers import Row
from lab.queries.sql import quoted
from lab.servers.postgres import SERVER
from lab.truth.attached import TIMELINE, AttachedPlace, Step

# A quoted name or text, in which a question mark is none; a mark; and what the driver takes for the start of one.
_MARKS = re.compile(r""""(?:[^"]|"")*"|'(?:[^']|'')*'|\?|%""")


class AttachedSchema(AttachedPlace[Session]):
    """One schema and its connections; statements for commands are planned once by the server."""

    called = "schema"
    errors = (psycopg.Error, OverflowError)

    def __init__(self, named: str, writes: bool, durability: str) -> None:
        super().__init__(named, writes, durability)
        # What the server has been told to keep planned on the connection for commands, by the text of the statement.
        self._prepared: dict[str, str] = {}

    @property
    def schema(self) -> str:
        """The name of the schema."""
        return self.named

    def _connected(self, does: str, read_only: bool, seconds: float) -> Session:
        options: dict[str, Any] = {"application_name": does, "read_only": read_only, "statement_seconds": seconds}
        if does.startswith(("lab writes", "lab reads")):
            options["durability"] = self._durability
        return Session(SERVER.connect(self.named, **options))

    def mapped(self) -> AbstractContextManager[None]:
        """As the engine translates."""
        return driver.mapped(self.name)

    def told(self, error: Exception) -> Exception:
        """By its SQLSTATE."""
        return driver.translated(self.name, error) or error

    def timed_out(self, error: Exception) -> bool:
        """By its class."""
        return isinstance(error, psycopg.errors.QueryCanceled)

    def _rows(self, session: Session, statement: str, arguments: Row) -> Any:
        return session.execute(statement, arguments, prepare=True)

    def prepared(self, what: str, statement: str, values: int) -> str:
        """Return how this statement of so many values is called once the server has planned it; `what` names it."""
        if statement not in self._prepared:
            name = f"lab_{what}_{len(self._prepared)}"
            self.session.connection.execute(b"PREPARE %s AS %s" % (name.encode(), driver.numbered(statement)))
            self._prepared[statement] = f"EXECUTE {name}({', '.join('?' * values)})"
        return self._prepared[statement]

    def _renewed(self) -> None:
        self._prepared.clear()

    def roll_back(self) -> None:
        """Roll back. The driver forgets what is planned."""
        if self.alive:
            self._prepared.clear()
            connection = self.session.connection
            try:
                connection.execute("ROLLBACK")
                connection.execute("DEALLOCATE ALL")
            except psycopg.Error:
                connection.close()

    def together(self, session: Session, steps: Sequence[Step]) -> list[list[Row]]:
        """The server executes each after the one before it, with a snapshot of its own.

        It is one message there and one back; the driver's pipeline has as few round trips, but sends each statement by
        itself.
        """
        cursor = psycopg.ClientCursor(session.connection)
        cursor.execute(_joined(*[statement for statement, _ in steps]), [one for _, values in steps for one in values])
        found: list[list[Row]] = []
        while True:
            gives = cursor.pgresult is not None and cursor.pgresult.nfields
            found.append(cursor.fetchall() if gives else [])
            if not cursor.nextset():
                return found

    def frame(self, statement: str, numbers: Sequence[Any], schema: dict[str, pl.DataType]) -> pl.DataFrame:
        """By COPY, which takes no parameters."""
        rest = iter(numbers)
        text = _MARKS.sub(lambda found: str(int(next(rest))) if found[0] == "?" else found[0], statement)
        with self.mapped():
            return self.session.frame(text, schema)

    def has(self, tables: Sequence[str]) -> bool:
        """By the server's own numbers of tables."""
        return all(self._number(quoted(table)) for table in tables)

    def _number(self, table: str) -> int:
        """What the server knows a table by; 0 for one that isn't there."""
        return int(self.execute("SELECT COALESCE(to_regclass(?)::oid::bigint, 0)", (table,)).fetchone()[0])

    def _mark(self) -> int | None:
        return self._number(TIMELINE) or None


@lru_cache(maxsize=1_024)
def _joined(*statements: str) -> bytes:
    """The statements one after the other, with the driver's mark in the place of each `?` outside of quotes."""
    text = ";".join(statements)
    return _MARKS.sub(lambda found: "%s" if found[0] == "?" else found[0].replace("%", "%%"), text).encode()

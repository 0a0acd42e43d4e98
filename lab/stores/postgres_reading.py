"""How the PostgreSQL stores reach their schema, and read it."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import polars as pl
import psycopg

from lab.base import Key, LabError
from lab.engines import postgres as engine
from lab.engines.postgres import ARRAYS, NAME_BYTES, Session
from lab.ports import Capabilities
from lab.queries import sql
from lab.queries.answers import Row
from lab.queries.kinds import KINDS, translate
from lab.queries.model import Query
from lab.servers.postgres import SERVER
from lab.servers.postgres_place import PostgresPlace
from lab.stores.fenced_tables import IDLE_SECONDS, WAITS_SECONDS, FencedTables
from lab.stores.prepared import Answering, binding

# The first number of the advisory locks of the sessions that write: one for each schema.
WRITERS = 0x6C61_6203
# Seconds after which the server ends a statement of a partition's owner.
STATEMENT_SECONDS = 60
# Before the name of an entity: the table of a batch that comes in.
INCOMING = "lab_incoming_"


class PostgresReading(FencedTables[Session]):
    """Base of the stores in a schema of a PostgreSQL server."""

    dialect = "postgres"
    home = PostgresPlace
    errors = (psycopg.Error, OverflowError)
    hashed = engine.HASHED
    capabilities = Capabilities(fences=True, concurrent_readers=True, nul=False)
    reserves = frozenset({"ctid", "tableoid", "xmin", "xmax", "cmin", "cmax"})
    # With the longest of the names before it, the server cuts nothing off an entity's.
    entity_bytes, column_bytes = NAME_BYTES - len(INCOMING) - 2, NAME_BYTES

    @classmethod
    def begin(cls) -> None:
        """Become the owner of what this process and those that it starts make on the server."""
        SERVER.begin()

    def _session(self, name: str, *, read_only: bool = False, seconds: float = 0.0) -> Session:
        durability = "full" if read_only else self.layout.durability
        return Session(SERVER.connect(name, read_only=read_only, durability=durability, statement_seconds=seconds))

    def _take_writers_lock(self, session: Session, name: str) -> None:
        numbers = WRITERS, zlib.crc32(name.encode()) - 2**31
        session.execute("SELECT pg_advisory_lock(?::integer, ?::integer)", numbers)

    def _bound(self, session: Session) -> None:
        session.execute(f"SET idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'")
        session.execute(f"SET statement_timeout = '{STATEMENT_SECONDS}s'")
        session.execute(f"SET lock_timeout = '{WAITS_SECONDS}s'")

    def _waited(self, error: Exception) -> bool:
        return isinstance(error, psycopg.errors.LockNotAvailable)

    def _mapped(self, what: str) -> AbstractContextManager[None]:
        return engine.mapped(what)

    def _told(self, error: Exception) -> LabError | None:
        return engine.translated(self.name, error)

    def _timed_out(self, error: Exception) -> bool:
        return isinstance(error, psycopg.errors.QueryCanceled)

    def _answering(self, query: Query) -> Answering:
        """Translate it, as every SQL store; a value with a NUL, which no text here has, is compared as such."""
        statement, arguments = translate(self._asked(query), self._reads, self.dialect)
        if KINDS[query.kind].own:
            return binding(arguments, lambda values: self.read(statement, values, bounded=True))
        operators, run = [one.operator for one in query.where], self._selecting(statement)
        return binding(arguments, lambda values: run(without_nul(values, operators)))

    def _selecting(self, statement: str) -> Answering:
        marked = engine.numbered(statement)

        def run(values: Row) -> list[Row]:
            cursor = self._reading().connection.cursor(binary=True)
            return cursor.execute(marked, values, prepare=True).fetchall()

        return run

    def _frame(self, statement: str, schema: dict[str, pl.DataType]) -> pl.DataFrame:
        """By COPY."""
        with engine.mapped(self.name):
            return self._connection.frame(statement, schema)

    def _after(self, names: Sequence[str], last: Row) -> str:
        return f"({sql.columns(list(names))}) > ({', '.join(self._connection.literal(one) for one in last)})"

    def _among(self, columns: str, table: str, key: str, keys: Sequence[Key], more: str = "") -> list[Row]:
        """All keys in one statement; a key that can't be there is not asked for."""
        wanted = [one for one in dict.fromkeys(keys) if not isinstance(one, str) or "\x00" not in one]
        if not wanted:
            return []
        kind = ARRAYS[pl.String() if isinstance(wanted[0], str) else pl.Int64()]
        statement = f"SELECT {columns} FROM {sql.quoted(table)} WHERE {key} = ANY(?::{kind}){more}"
        with engine.mapped(self.name):
            found: list[Row] = self._connection.execute(statement, (wanted,)).fetchall()
            return found

    def settings(self) -> dict[str, Any]:
        """The settings that matter, as the server reports them for the session that writes."""
        with engine.mapped(self.name):
            return engine.settings(self._connection)


def without_nul(values: Row, operators: Sequence[str]) -> Row:
    """The values of a statement as the server can take them: no text there has a NUL, so nothing equals one that has.

    A text is at least, or less than, `a NUL b` if it is so of `a` and the least character that there is.
    """
    if not any(isinstance(one, str) and "\x00" in one for one in values):
        return values
    return tuple(
        one
        if not isinstance(one, str) or "\x00" not in one
        else f"{one.partition(chr(0))[0]}\x01"
        if number < len(operators) and operators[number] != "="
        else None
        for number, one in enumerate(values)
    )

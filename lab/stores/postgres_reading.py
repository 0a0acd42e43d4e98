"""How the PostgreSQL stores reach their schema, and read it: one session that writes, others that only read.

A session that is lost is opened anew by the next use, so a server that comes back is gone on with.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl
import psycopg

from lab.base import CannotTake, Damaged, Key, NoAnswer, NotAnswered, ReadOnly, Unavailable
from lab.engines import budget
from lab.engines import postgres as engine
from lab.engines.postgres import ARRAYS, NAME_BYTES, Session
from lab.formatting import first_line
from lab.place import FolderPlace
from lab.ports import Capabilities
from lab.queries import sql
from lab.queries.answers import Row
from lab.queries.kinds import KINDS, translate
from lab.queries.model import Query
from lab.servers.ledger import NAMED
from lab.servers.postgres import SERVER
from lab.servers.postgres_place import PostgresPlace
from lab.stores.port import Layout
from lab.stores.prepared import Answering, binding
from lab.stores.sql_file import SqlFile

# The first number of the advisory locks of the sessions that write: one for each schema.
WRITERS = 0x6C61_6203
# Before the name of an entity: the tables of its parked changes, and of a batch that comes in.
PARKED, INCOMING = "lab_parked_", "lab_incoming_"


class PostgresReading(SqlFile[Session]):
    """Base of the stores in a schema of a PostgreSQL server: sessions, queries, look-ups and pages."""

    dialect = "postgres"
    durability = "full or normal (no wait for the disk); data and checkpoint in one transaction"
    capabilities = Capabilities(concurrent_readers=True, nul=False)
    files = (NAMED,)
    reserves = frozenset({"ctid", "tableoid", "xmin", "xmax", "cmin", "cmax"})
    # With the longest of the names before it, the server cuts nothing off an entity's.
    entity_bytes, column_bytes = NAME_BYTES - len(INCOMING) - 2, NAME_BYTES

    # Runs statements of a user's own: with a limit of time.
    _bounded: Session | None = None

    def __init__(self, place: FolderPlace, layout: Layout) -> None:
        self._on = PostgresPlace.of(place)
        super().__init__(self._on, layout)

    @classmethod
    def placed(cls, place: FolderPlace) -> FolderPlace:
        """The schema that belongs to a folder."""
        return PostgresPlace.of(place)

    @classmethod
    def begin(cls) -> None:
        """Become the owner of what this process and those that it starts make on the server."""
        SERVER.begin()

    # -- sessions ------------------------------------------------------------------------------------------------------

    # The schema that this store has opened. Another one in its place is empty, and nobody would know.
    _known = ""

    def _connect(self) -> Session:
        schema = self._on.claim()
        if self._known not in ("", schema):
            raise Damaged(f"{self.name}: schema {self._known} is gone from the server")
        self._known = schema
        session = Session(SERVER.connect(schema, durability=self.layout.durability))
        try:
            with engine.mapped(f"{self.name}, whose projection another process may be writing"):
                # A process that was killed is waited for: its last statement may still be at work.
                numbers = WRITERS, zlib.crc32(schema.encode()) - 2**31
                session.execute("SELECT pg_advisory_lock(?::integer, ?::integer)", numbers)
        except BaseException:
            session.close()
            raise
        return session

    @property
    def _connection(self) -> Session:
        if self._writer is not None and self._writer.connection.closed:
            self._writer = None
        return super()._connection

    def _reading(self, bounded: bool = False) -> Session:
        found = self._bounded if bounded else self._reader
        if found is not None and not found.connection.closed:
            return found
        if not (schema := self._on.named):
            raise Damaged(f"{self.name}: no schema is named in {self.path}")
        seconds = budget.ANSWER_SECONDS if bounded else 0.0
        found = Session(SERVER.connect(schema, read_only=True, statement_seconds=seconds))
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
        with engine.mapped(self.name):
            return super().checkpoint(entity)

    def _answering(self, query: Query) -> Answering:
        """Translate it, as every SQL store; a value with a NUL, which no text here has, is compared as such."""
        statement, arguments = translate(self._asked(query), self._reads, self.dialect)
        if KINDS[query.kind].own:
            return binding(arguments, lambda values: self.read(statement, values, bounded=True))
        operators, run = [one.operator for one in query.where], self._selecting(statement)
        return binding(arguments, lambda values: run(without_nul(values, operators)))

    @property
    def _reads(self) -> str:
        """Revisions have an index by key and revision, which finds the last ones without looking through all."""
        return "log" if self.layout.kept.every_revision else self.layout.keeps

    def _selecting(self, statement: str) -> Answering:
        marked = engine.numbered(statement)

        def run(values: Row) -> list[Row]:
            cursor = self._reading().connection.cursor(binary=True)
            return cursor.execute(marked, values, prepare=True).fetchall()

        return run

    def query(self, query: Query, parameters: Row) -> list[Row]:
        """Return the rows, read by a session that can't write. Raises NotAnswered for a value out of range."""
        try:
            return super().query(query, parameters)
        except (psycopg.Error, OverflowError) as error:
            found = engine.translated(self.name, error)
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
            with engine.mapped(self.name):
                found: list[Row] = self._reading().execute(statement, arguments).fetchall()
                return found
        except ReadOnly:
            raise ReadOnly(f"{self.name}: a query may not change a projection: {statement[:80]}") from None

    def _within_bounds(self, statement: str, arguments: Sequence[Any]) -> list[Row]:
        limited = f"SELECT * FROM ({statement}) AS lab_answer LIMIT {budget.ANSWER_ROWS + 1}"
        try:
            found: list[Row] = self._reading(bounded=True).execute(limited, arguments, prepare=True).fetchall()
        except psycopg.errors.QueryCanceled:
            raise NoAnswer(f"no answer within {budget.ANSWER_SECONDS:g} s") from None
        except (psycopg.Error, OverflowError) as error:
            if isinstance(lost := engine.translated(self.name, error), Unavailable | Damaged):
                raise lost from None
            raise NoAnswer(f"the engine refuses it: {first_line(error)}") from None
        if len(found) > budget.ANSWER_ROWS:
            raise NoAnswer(f"an answer of more than {budget.ANSWER_ROWS:,} rows")
        return found

    def pages(self, entity: str) -> Iterator[pl.DataFrame]:
        """By COPY, each page found by the last key of the page before it."""
        schema = self.layout.schema(entity)
        if self.layout.totals:
            yield from self.sliced(self._frame("SELECT * FROM totals", schema))
            return
        identity, after, height = sql.columns(self.layout.identity), "", self.page_rows
        while height == self.page_rows:
            source = f"{sql.quoted(entity)} {after} ORDER BY {identity} LIMIT {self.page_rows}"
            page = self._frame(f"SELECT * FROM {source}", schema)
            height = page.height
            if height:
                last = ", ".join(self._connection.literal(one) for one in page.select(self.layout.identity).row(-1))
                after = f"WHERE ({identity}) > ({last})"
                yield page

    def _frame(self, statement: str, schema: dict[str, pl.DataType]) -> pl.DataFrame:
        with engine.mapped(self.name):
            return self._connection.frame(statement, schema)

    def revisions(self, entity: str, keys: Sequence[Key]) -> dict[Key, int]:
        """By the primary key, all keys in one statement."""
        match self.layout.revisions_in_memory:
            case None:
                return {}
            case True:
                chosen = self._among("id, revision", f"lab_memory_{entity}", "id", keys)
            case False if self.layout.kept.replaces:
                chosen = self._among("key, revision", entity, "key", keys)
            case False:
                chosen = self._among("key, MAX(revision)", entity, "key", keys, " GROUP BY key")
        return dict(chosen)

    def _among(self, columns: str, table: str, key: str, keys: Sequence[Key], more: str = "") -> list[Row]:
        """The rows of a table whose key is among these; a key that can't be there is not asked for."""
        wanted = [one for one in dict.fromkeys(keys) if not isinstance(one, str) or "\x00" not in one]
        if not wanted:
            return []
        kind = ARRAYS[pl.String() if isinstance(wanted[0], str) else pl.Int64()]
        statement = f"SELECT {columns} FROM {sql.quoted(table)} WHERE {key} = ANY(?::{kind}){more}"
        with engine.mapped(self.name):
            found: list[Row] = self._connection.execute(statement, (wanted,)).fetchall()
            return found

    def memory(self, entity: str, keys: Sequence[Key] | None = None) -> pl.DataFrame:
        """What the guard asked to have kept."""
        schema, table = self.layout.memory, f"lab_memory_{entity}"
        if not schema:
            return pl.DataFrame()
        if keys is None:
            return self._frame(f"SELECT * FROM {sql.quoted(table)}", schema)
        rows = self._among(sql.columns(list(schema)), table, "id", keys)
        return pl.DataFrame(rows, schema=schema, orient="row")

    def parked(self, entity: str) -> pl.DataFrame:
        """Return the parked changes, decoded from their table."""
        with engine.mapped(self.name):
            return super().parked(entity)

    def damaged(self, error: BaseException) -> bool:
        """By what the server said: damaged pages, or tables that are gone."""
        return isinstance(error, Damaged)

    def size_bytes(self) -> int:
        """Tables and indexes of the schema."""
        return self._on.size_bytes()

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

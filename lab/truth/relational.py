"""The source of truth in SQL: what the three write models share, over a connection, whatever the engine behind it."""

from __future__ import annotations

import json
import secrets
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any, ClassVar

import polars as pl

from lab.base import Key, NotAnswered
from lab.domain.model import Event, Outcome, Record
from lab.ports import KeySlice
from lab.queries.answers import Row
from lab.queries.kinds import KINDS, translate
from lab.queries.model import Query
from lab.queries.sql import bind, quoted
from lab.queries.sql import columns as listed
from lab.truth.deciding import Answered
from lab.truth.dialect import SqlDialect
from lab.truth.files import belonging
from lab.truth.port import Truth
from lab.truth.timeline import Opening


class Relational(Truth):
    """The tables, positions, requests, and how a page is read.

    An engine gives its `dialect`, `_execute` (statement, arguments; its result has `fetchall()`) and the methods that
    are abstract here; a model gives its tables, what it writes, and how it finds a record.
    """

    dialect: ClassVar[SqlDialect]
    # What a query takes the rows for, in the words of `lab.queries.sql`; and of a projection's `keeps`.
    reads: ClassVar[str]
    keeps: ClassVar[str]

    _execute: Callable[..., Any]
    # The records whose changes a page has; None for those of all. See `lab.feed.sliced`.
    wanted: KeySlice | None = None

    @abstractmethod
    def _fill(self, entity: str, rows: pl.DataFrame) -> None:
        """Write the rows of a slice, within a transaction."""

    @abstractmethod
    def _frame(self, statement: str, arguments: Row, schema: dict[str, pl.DataType], rows: int) -> pl.DataFrame:
        """The result as a frame, in order; at most so many rows are expected, 0 if the number is unknown."""

    @abstractmethod
    def _ask(self, statement: str, arguments: Row, bounded: bool = False) -> list[Row]:
        """Return the rows of a query, on a connection that can't write; bounded, they may raise NoAnswer."""

    def _make_tables(self) -> None:
        """Make what is missing and note this opening in the timeline: all of it, or nothing. Raises SourceLost."""
        self.begin()
        try:
            columns = f"number INTEGER PRIMARY KEY, id {self.dialect.text} NOT NULL, head BIGINT NOT NULL"
            self._execute(f"CREATE TABLE IF NOT EXISTS lab_timeline ({columns})")
            text = self.dialect.text
            columns = f"id {self.dialect.key_text} PRIMARY KEY, digest {text} NOT NULL, outcome {text} NOT NULL"
            self._execute(f"CREATE TABLE IF NOT EXISTS lab_requests ({columns}) {self.dialect.clustered}")
            for name in self.domain.entities:
                self._execute(self._table(name))
                self._index(name)
            openings = self.timeline()
            belonging(openings, self.identity, self.place)
            # The first opening's id is the folder's epoch; it ties the file to its folder.
            first = self.identity.epoch if self.identity is not None and not openings else secrets.token_hex(8)
            head = max(self.head(name) for name in self.domain.entities)
            row = (len(openings) + 1, first, head)
            self._execute(f"INSERT INTO lab_timeline VALUES ({self.dialect.marks(3)})", row)
        except BaseException:
            self.rollback()
            raise
        self.commit()

    def _index(self, entity: str) -> None:
        """Make the indexes for readers, or drop those of an earlier opening."""
        found = self.domain.entities[entity]
        for number, columns in enumerate([*found.indexes, *([(found.parent,)] if found.parent else [])], 1):
            name = quoted(f"lab_{entity}_{number}")
            if self.indexed:
                self._execute(
                    f"CREATE INDEX IF NOT EXISTS {name} ON {quoted(entity)} ({listed([*columns, 'deleted'])})"
                )
            elif self.indexable:
                self._execute(f"DROP INDEX IF EXISTS {name}")

    def timeline(self) -> list[Opening]:
        """Read the table of openings."""
        rows = self._execute("SELECT id, head FROM lab_timeline ORDER BY number").fetchall()
        return [Opening(*row) for row in rows]

    def newest_commit(self) -> float:
        """Read all rows, since no column of time is indexed: once, when a service starts."""
        newest = [
            self._execute(f"SELECT MAX(committed_at) FROM {quoted(name)}").fetchall()[0][0]
            for name in self.domain.entities
        ]
        return max((float(at) for at in newest if at is not None), default=0.0)

    def begin(self) -> None:
        """Start a transaction that no other writer can be in."""
        self._execute(self.dialect.begin)

    def commit(self) -> None:
        """Commit; in class `full`, to disk."""
        self._execute("COMMIT")

    def rollback(self) -> None:
        """Roll back; the positions that were taken are free again."""
        self._execute("ROLLBACK")

    def head(self, entity: str) -> int:
        """Return the newest position of the entity."""
        found = self._execute(f"SELECT MAX(position) FROM {quoted(entity)}").fetchall()[0][0]
        return int(found or 0)

    @property
    def looks_up(self) -> str:
        """The statement that finds what is kept of a request, by its id."""
        return f"SELECT digest, outcome FROM lab_requests WHERE id = {self.dialect.mark}"

    @property
    def keeps_answer(self) -> str:
        """The statement that keeps the row of `kept`."""
        return f"INSERT INTO lab_requests VALUES ({self.dialect.marks(3)})"

    @staticmethod
    def former(rows: list[Row]) -> Answered | None:
        """What the rows say that are kept of a request."""
        if not rows:
            return None
        kept = json.loads(rows[0][1])
        return Answered(rows[0][0], Outcome(**kept | {"reasons": tuple(kept["reasons"])}))

    @staticmethod
    def kept(request: str, answered: Answered) -> Row:
        """The row that is kept of a request: its id, the digest of its command, and the outcome as JSON."""
        return request, answered.digest, json.dumps(answered.outcome._asdict())

    def answered(self, request: str) -> Answered | None:
        """Look the request up by its id."""
        return self.former(self._execute(self.looks_up, (request,)).fetchall())

    def answer(self, request: str, answered: Answered) -> None:
        """Insert the outcome as JSON."""
        self._execute(self.keeps_answer, self.kept(request, answered))

    def append(self, entity: str, key: Key, record: Record, event: Event, at: float) -> int:
        """Write the revision; the engine gives it the next position within the INSERT."""
        values = self._values(entity, record, event)
        return self._write(entity, (key, record.revision, record.deleted, at, *values))

    @cached_property
    def _appends(self) -> dict[str, str]:
        """The statements that write a row at the next position, made once."""
        position, found = self.dialect.next_position(self.domain.entities), dict[str, str]()
        for name in self.domain.entities:
            marks = self.dialect.marks(len(self._columns(name)) - 1)
            found[name] = self._insert(name, f"VALUES ({position}, {marks})") + self.dialect.returning
        return found

    def _write(self, entity: str, row: Row) -> int:
        """Insert a row that lacks its first column, and return the position that the engine gave to it."""
        return int(self._execute(self._appends[entity], row).fetchall()[0][0])

    def load(self, entity: str, frame: pl.DataFrame) -> None:
        """Load the whole slice in one transaction."""
        if not frame.height:
            return
        rows = self._loaded(entity, frame).select(self._columns(entity))
        self.begin()
        try:
            self._fill(entity, rows)
        except BaseException:
            self.rollback()
            raise
        self.commit()

    def get(self, entity: str, key: Key) -> Record | None:
        """Find the rows of the record by its key, and read it from them."""
        return self._read(entity, self._execute(self._gets[entity], (key,)).fetchall())

    def changes_since(
        self,
        entity: str,
        position: int,
        limit: int,
        before: Sequence[str] = (),
        columns: Sequence[str] | None = None,
    ) -> pl.DataFrame:
        """Return one page, read straight into Arrow."""
        assert not before, f"{self.model} can't give before-images"
        schema = self._chosen(entity, columns)
        page = self._page(entity, list(schema))
        return self._frame(page, (position, limit), schema, self._at_most(entity, position, limit))

    def answers(self, query: Query) -> bool:
        """Whether the rows of this model are rows that the query is about.

        They aren't for an entity with a contract, whose published columns differ from the write model's.
        """
        if query.entities & self.domain.contracts.keys():
            return False
        kind = KINDS[query.kind]
        return not kind.texts and kind.answered_from(query, self.keeps, self.domain.entities, None)

    def query(self, query: Query, parameters: Row) -> list[Row]:
        """Return the rows from the model's own tables, on a connection that can't write."""
        if not self.answers(query):
            raise NotAnswered(f"{query.name}: the source of truth, {self.name}, can't answer `{query.kind}`")
        return self._answered(query, parameters)

    def _answered(self, query: Query, parameters: Row) -> list[Row]:
        statement, arguments = translate(query, self.reads, self.dialect.name or self.engine)
        return self._ask(statement, bind(arguments, parameters), KINDS[query.kind].own)

    def _at_most(self, entity: str, position: int, limit: int) -> int:
        """How many rows a page can have: positions are shared by all entities, so there may be fewer."""
        return min(limit, max(0, self.head(entity) - position))

    def _page(self, entity: str, names: list[str]) -> str:
        mark = self.dialect.mark
        rows = f"{quoted(entity)} WHERE position > {mark}{self._seen}{self._cut(entity)}"
        return f"SELECT {listed(names)} FROM {rows} ORDER BY position LIMIT {mark}"

    def _cut(self, entity: str) -> str:
        """A condition, after an AND, for the rows of the records that the reader wants."""
        if self.wanted is None:
            return ""
        text = self.domain.entities[entity].key == "str"
        return f" AND {self.dialect.remainder(self.wanted.partitions, text)} = {self.wanted.partition}"

    @property
    def _seen(self) -> str:
        """A condition, after an AND, for the rows that a page shows of what is committed."""
        return ""

    def _schema(self, entity: str) -> dict[str, pl.DataType]:
        return self.domain.entities[entity].schema

    def _chosen(self, entity: str, chosen: Sequence[str] | None) -> dict[str, pl.DataType]:
        """The whole schema, or of the entity's own columns only the chosen ones."""
        own = self.domain.entities[entity].columns
        return {
            name: dtype
            for name, dtype in self._schema(entity).items()
            if chosen is None or name in chosen or name not in own
        }

    def _columns(self, entity: str) -> list[str]:
        return list(self._schema(entity))

    def _declared(self, entity: str, first: str = "") -> str:
        """The columns with their types; the first one is the position, and `first` is what else is said of it."""
        columns = [f"{quoted(name)} {self.dialect.types[dtype]}" for name, dtype in self._schema(entity).items()]
        return ", ".join([columns[0] + first, *columns[1:]])

    def _insert(self, entity: str, values: str) -> str:
        return f"INSERT INTO {quoted(entity)} ({listed(self._columns(entity))}) {values}"

    def _values(self, entity: str, record: Record, event: Event) -> Iterable[Any]:
        return map(record.state.__getitem__, self.domain.entities[entity].columns)

    def _loaded(self, entity: str, frame: pl.DataFrame) -> pl.DataFrame:
        return frame

    @abstractmethod
    def _get(self, entity: str) -> str:
        """The statement that finds a record by its key."""

    @cached_property
    def _gets(self) -> dict[str, str]:
        """Those statements, made once: commands are too quick for them to be made anew."""
        return {name: self._get(name) for name in self.domain.entities}

    @abstractmethod
    def _table(self, entity: str) -> str:
        """The statement that makes an entity's table, if there is none yet."""

    def _read(self, entity: str, rows: list[Row]) -> Record | None:
        """The record from the rows that its statement finds: those of a record that is kept as a whole."""
        if not rows:
            return None
        revision, deleted, *values = rows[0]
        names = self.domain.entities[entity].columns
        return Record(dict(zip(names, values, strict=True)), revision, bool(deleted))

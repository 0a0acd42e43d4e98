"""The source of truth in SQL: three write models over a connection, whatever the engine behind it.

A model's tables are the change frames themselves: a row of **snapshot** is a record, one of **history** a revision, one
of **events** an event. They have the keys that writing needs, and no index for a reader's sake: this is the write
model, and what a query costs here is part of what the lab shows.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

import polars as pl

from lab.base import BEFORE, Key, NotAnswered
from lab.domain.model import Event, Outcome, Record
from lab.queries.answers import Row
from lab.queries.kinds import KINDS, translate
from lab.queries.model import Query
from lab.queries.sql import bind, quoted
from lab.queries.sql import columns as listed
from lab.truth.port import Truth


class Relational(Truth):
    """What the models share: the tables, the sequence of positions, requests, and how a page is read.

    An engine gives `_execute` (statement, arguments; its result has `fetchall()`) and the methods that are abstract
    here; a model gives its tables, what it writes, and how it finds a record.
    """

    TYPES: ClassVar[Mapping[Any, str]]
    # What the engine wants to hear after the declaration of a table that is looked up by its key alone.
    CLUSTERED: ClassVar[str] = ""
    # What a query takes the rows for, in the words of `lab.queries.sql`; and of a projection's `keeps`.
    reads: ClassVar[str]
    keeps: ClassVar[str]

    _execute: Callable[..., Any]
    # The last position of this transaction, and the first, which was taken from the sequence at once.
    _last: int | None = None
    _taken: int | None = None

    @abstractmethod
    def _fill(self, entity: str, rows: pl.DataFrame) -> None:
        """Write the rows of a slice, within a transaction."""

    @abstractmethod
    def _frame(self, statement: str, arguments: Row, schema: dict[str, pl.DataType], rows: int) -> pl.DataFrame:
        """The result as a frame, in order; at most so many rows are expected, 0 if nobody knows."""

    @abstractmethod
    def _ask(self, statement: str, arguments: Row) -> list[Row]:
        """The rows of a query, on a connection that can't write."""

    def _make_tables(self) -> None:
        self._execute("CREATE TABLE IF NOT EXISTS lab_sequence (position BIGINT NOT NULL)")
        if not self._execute("SELECT COUNT(*) FROM lab_sequence").fetchall()[0][0]:
            self._execute("INSERT INTO lab_sequence VALUES (0)")
        requests = "CREATE TABLE IF NOT EXISTS lab_requests (id TEXT PRIMARY KEY, outcome TEXT NOT NULL)"
        self._execute(f"{requests} {self.CLUSTERED}")
        self._statements: dict[str, str] = {}
        for name in self.domain.entities:
            self._execute(self._table(name))
            marks = ", ".join("?" * len(self._columns(name)))
            self._statements[name] = self._insert(name, f"VALUES ({marks})")

    def commit(self) -> None:
        """Commit; in class `full`, to disk."""
        if self._last != self._taken:
            self._execute("UPDATE lab_sequence SET position = ?", (self._last,))
        self._last = self._taken = None
        self._execute("COMMIT")

    def rollback(self) -> None:
        """Undo; the positions that were taken are free again."""
        self._last = self._taken = None
        self._execute("ROLLBACK")

    def head(self, entity: str) -> int:
        """The newest position of the entity."""
        found = self._execute(f"SELECT MAX(position) FROM {quoted(entity)}").fetchall()[0][0]
        return int(found or 0)

    def answered(self, request: str) -> Outcome | None:
        """One look-up."""
        found = self._execute("SELECT outcome FROM lab_requests WHERE id = ?", (request,)).fetchall()
        if not found:
            return None
        kept = json.loads(found[0][0])
        return Outcome(**kept | {"reasons": tuple(kept["reasons"])})

    def answer(self, request: str, outcome: Outcome) -> None:
        """One row, as JSON."""
        self._execute("INSERT INTO lab_requests VALUES (?, ?)", (request, json.dumps(outcome._asdict())))

    def append(self, entity: str, key: Key, record: Record, event: Event, at: float) -> int:
        """Take the next position and write the revision."""
        if self._last is None:
            taken = self._execute("UPDATE lab_sequence SET position = position + 1 RETURNING position").fetchall()
            position = self._taken = int(taken[0][0])
        else:
            # No other writer can be in this transaction: the sequence is told of the rest when it ends.
            position = self._last + 1
        self._last = position
        values = self._values(entity, record, event)
        self._execute(self._statements[entity], (position, key, record.revision, record.deleted, at, *values))
        return position

    def load(self, entity: str, frame: pl.DataFrame) -> None:
        """One transaction for the whole slice."""
        if not frame.height:
            return
        rows = self._loaded(entity, frame).select(self._columns(entity))
        last = frame["position"].max()
        self.begin()
        try:
            self._fill(entity, rows)
            self._execute("UPDATE lab_sequence SET position = ? WHERE position < ?", (last, last))
        except BaseException:
            self.rollback()
            raise
        self.commit()

    def changes_since(
        self,
        entity: str,
        position: int,
        limit: int,
        before: Sequence[str] = (),
        columns: Sequence[str] | None = None,
    ) -> pl.DataFrame:
        """One page, straight into Arrow."""
        assert not before, f"{self.model} can't give before-images"
        schema = self._chosen(entity, columns)
        page = self._page(entity, list(schema))
        return self._frame(page, (position, limit), schema, self._at_most(entity, position, limit))

    def answers(self, query: Query) -> bool:
        """Whether the rows of this model are rows that the query is about.

        Of an entity with a contract they aren't: a reader is promised what is published, not what the model holds.
        """
        if query.entities & self.domain.contracts.keys():
            return False
        kind = KINDS[query.kind]
        return not kind.texts and kind.answered_from(query, self.keeps, self.domain.entities, None)

    def query(self, query: Query, parameters: Row) -> list[Row]:
        """Answered from the model's own tables, on a connection that can't write."""
        if not self.answers(query):
            raise NotAnswered(f"{query.name}: the source of truth, {self.name}, can't answer `{query.kind}`")
        statement, arguments = translate(query, self.reads, self.engine)
        return self._ask(statement, bind(arguments, parameters))

    def _at_most(self, entity: str, position: int, limit: int) -> int:
        """How many rows a page can have: positions are shared by all entities, so there may be fewer."""
        return min(limit, max(0, self.head(entity) - position))

    def _page(self, entity: str, names: list[str]) -> str:
        return f"SELECT {listed(names)} FROM {quoted(entity)} WHERE position > ? ORDER BY position LIMIT ?"

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
        columns = [f"{quoted(name)} {self.TYPES[dtype]}" for name, dtype in self._schema(entity).items()]
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

    def _record(self, entity: str, rows: list[Row]) -> Record | None:
        if not rows:
            return None
        revision, deleted, *values = rows[0]
        names = self.domain.entities[entity].columns
        return Record(dict(zip(names, values, strict=True)), revision, bool(deleted))


class Snapshot(Relational):
    """The last state of each record. What it was before is gone, and its feed can't tell."""

    model = "snapshot"
    publishes_every_revision = False
    reads = keeps = "records"

    def _table(self, entity: str) -> str:
        return (
            f"CREATE TABLE IF NOT EXISTS {quoted(entity)} ({self._declared(entity)}, "
            "PRIMARY KEY (key), UNIQUE (position))"
        )

    def _insert(self, entity: str, values: str) -> str:
        changes = ", ".join(f"{quoted(name)} = excluded.{quoted(name)}" for name in self._columns(entity))
        return f"{super()._insert(entity, values)} ON CONFLICT (key) DO UPDATE SET {changes}"

    def _loaded(self, entity: str, frame: pl.DataFrame) -> pl.DataFrame:
        # What is overwritten within the slice was never seen from outside its transaction.
        return frame.sort("position").unique("key", keep="last", maintain_order=True)

    def get(self, entity: str, key: Key) -> Record | None:
        """One look-up."""
        return self._record(entity, self._execute(self._gets[entity], (key,)).fetchall())

    def _get(self, entity: str) -> str:
        names = listed(["revision", "deleted", *self.domain.entities[entity].columns])
        return f"SELECT {names} FROM {quoted(entity)} WHERE key = ?"


class _Log(Relational):
    """A table that only grows: one row for each change."""

    publishes_every_revision = True

    def _table(self, entity: str) -> str:
        declared = self._declared(entity, " PRIMARY KEY")
        return f"CREATE TABLE IF NOT EXISTS {quoted(entity)} ({declared}, UNIQUE (key, revision))"


class History(_Log):
    """Every revision of each record, whole. A query about records as they are must first find the last revisions."""

    model = "history"
    reads = keeps = "revisions"

    def get(self, entity: str, key: Key) -> Record | None:
        """The newest revision."""
        return self._record(entity, self._execute(self._gets[entity], (key,)).fetchall())

    def _get(self, entity: str) -> str:
        names = listed(["revision", "deleted", *self.domain.entities[entity].columns])
        return f"SELECT {names} FROM {quoted(entity)} WHERE key = ? ORDER BY revision DESC LIMIT 1"

    def changes_since(
        self,
        entity: str,
        position: int,
        limit: int,
        before: Sequence[str] = (),
        columns: Sequence[str] | None = None,
    ) -> pl.DataFrame:
        """One page; a before-image is the revision before, found by its number."""
        if not before:
            return super().changes_since(entity, position, limit, before, columns)
        schema = self._chosen(entity, columns)
        images = {"live": pl.Boolean()} | {name: self._schema(entity)[name] for name in before}
        chosen = ", ".join(f"p.{quoted(name)} AS {quoted(BEFORE + name)}" for name in before)
        statement = (
            f"SELECT {listed(list(schema), 'c')}, COALESCE(NOT p.deleted, FALSE) AS {quoted(BEFORE + 'live')}, {chosen}"
            f" FROM ({self._page(entity, list(schema))}) AS c "
            f"LEFT JOIN {quoted(entity)} AS p ON p.key = c.key AND p.revision = c.revision - 1 ORDER BY c.position"
        )
        whole = schema | {f"{BEFORE}{name}": dtype for name, dtype in images.items()}
        return self._frame(statement, (position, limit), whole, self._at_most(entity, position, limit))


class Events(_Log):
    """What happened, and only that: an event's row holds the columns that the event sets, and no others."""

    model = "events"

    def answers(self, query: Query) -> bool:
        """Never: no row is a record. What a record is follows from a fold of its events, which no query can do.

        Whoever asks an event-sourced model more than one record's events needs a projection.
        """
        return False

    def _schema(self, entity: str) -> dict[str, pl.DataType]:
        return super()._schema(entity) | {"event": pl.String()}

    def _values(self, entity: str, record: Record, event: Event) -> Iterable[Any]:
        return [*(event.fields.get(name) for name in self.domain.entities[entity].columns), event.name]

    def _loaded(self, entity: str, frame: pl.DataFrame) -> pl.DataFrame:
        types = self.domain.events[entity]
        setting = {
            column: [name for name, event in types.items() if column in event.sets]
            for column in self.domain.entities[entity].columns
        }
        return frame.with_columns(
            pl.when(pl.col("event").is_in(names)).then(pl.col(column)).alias(column)
            for column, names in setting.items()
        )

    def get(self, entity: str, key: Key) -> Record | None:
        """The fold of all the record's events: the price of a read in an event-sourced model."""
        names = list(self.domain.entities[entity].columns)
        types = self.domain.events[entity]
        record: Record | None = None
        for event, deleted, revision, *values in self._execute(self._gets[entity], (key,)).fetchall():
            row = dict(zip(names, values, strict=True))
            fields = {name: row[name] for name in types[event].sets}
            state = self.domain.evolve(record.state if record else None, Event(event, fields))
            record = Record(state, revision, bool(deleted))
        return record

    def _get(self, entity: str) -> str:
        names = listed(list(self.domain.entities[entity].columns))
        return f"SELECT event, deleted, revision, {names} FROM {quoted(entity)} WHERE key = ? ORDER BY revision"

    def earlier(self, entity: str, position: int, limit: int, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """From each record's first event on: what a fold of the page needs."""
        table, schema = quoted(entity), self._chosen(entity, columns)
        keys = f"SELECT key FROM {table} WHERE position > ? ORDER BY position LIMIT ?"
        chosen = listed(list(schema))
        statement = f"SELECT {chosen} FROM {table} WHERE position <= ? AND key IN ({keys})"
        return self._frame(statement, (position, position, limit), schema, position)

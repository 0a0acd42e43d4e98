"""The three write models in SQL, whatever the engine.

A model's tables are the change frames themselves: a row of **snapshot** is a record, one of **history** a revision, one
of **events** an event. They have the keys that writing needs, and indexes for readers only if these are asked for: this
is the write model, and what a query costs here is part of what the lab shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import polars as pl

from lab.base import BEFORE
from lab.domain.model import Event, Record
from lab.queries.answers import Row
from lab.queries.model import Query
from lab.queries.sql import columns as listed
from lab.queries.sql import quoted
from lab.truth.relational import Relational


class Snapshot(Relational):
    """Keeps the last state of each record; earlier states are neither kept nor published."""

    model = "snapshot"
    publishes_every_revision = False
    reads = keeps = "records"

    def _table(self, entity: str) -> str:
        return (
            f"CREATE TABLE IF NOT EXISTS {quoted(entity)} ({self._declared(entity)}, "
            "PRIMARY KEY (key), UNIQUE (position))"
        )

    def _insert(self, entity: str, values: str) -> str:
        return self.dialect.upsert(super()._insert(entity, values), self._columns(entity))

    def _loaded(self, entity: str, frame: pl.DataFrame) -> pl.DataFrame:
        # What is overwritten within the slice was never seen from outside its transaction.
        return frame.sort("position").unique("key", keep="last", maintain_order=True)

    def _get(self, entity: str) -> str:
        names = listed(["revision", "deleted", *self.domain.entities[entity].columns])
        return f"SELECT {names} FROM {quoted(entity)} WHERE key = {self.dialect.mark}"


class _Log(Relational):
    """Base of the models that append a row for each change."""

    publishes_every_revision = True
    # What the table says of revisions, unless an index of its own does.
    _unique = ", UNIQUE (key, revision)"

    def _table(self, entity: str) -> str:
        declared = self._declared(entity, " PRIMARY KEY")
        return f"CREATE TABLE IF NOT EXISTS {quoted(entity)} ({declared}{self._unique})"


class History(_Log):
    """Keeps every revision of each record as a whole. Queries of current records must find the last revisions first."""

    model = "history"
    reads = keeps = "revisions"

    def _get(self, entity: str) -> str:
        names, mark = listed(["revision", "deleted", *self.domain.entities[entity].columns]), self.dialect.mark
        return f"SELECT {names} FROM {quoted(entity)} WHERE key = {mark} ORDER BY revision DESC LIMIT 1"

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
    """Keeps events: a row holds the columns that its event sets, and no others."""

    model = "events"

    def answers(self, query: Query) -> bool:
        """Return False: no row is a record. A record is a fold of its events, which no query can do.

        Reading more than one record's events of an event-sourced model needs a projection.
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

    def _read(self, entity: str, rows: list[Row]) -> Record | None:
        """Fold all of the record's events, which is what a read costs in an event-sourced model."""
        names = list(self.domain.entities[entity].columns)
        types = self.domain.events[entity]
        record: Record | None = None
        for event, deleted, revision, *values in rows:
            row = dict(zip(names, values, strict=True))
            fields = {name: row[name] for name in types[event].sets}
            state = self.domain.evolve(record.state if record else None, Event(event, fields))
            record = Record(state, revision, bool(deleted))
        return record

    def _get(self, entity: str) -> str:
        names, mark = listed(list(self.domain.entities[entity].columns)), self.dialect.mark
        return f"SELECT event, deleted, revision, {names} FROM {quoted(entity)} WHERE key = {mark} ORDER BY revision"

    def earlier(self, entity: str, position: int, limit: int, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """From each record's first event on: what a fold of the page needs."""
        table, mark, schema = quoted(entity), self.dialect.mark, self._chosen(entity, columns)
        page = f"SELECT key FROM {table} WHERE position > {mark}{self._cut(entity)} ORDER BY position LIMIT {mark}"
        # Not every engine takes a LIMIT in what IN looks at.
        keys = f"SELECT key FROM ({page}) AS page"
        chosen = listed(list(schema))
        statement = f"SELECT {chosen} FROM {table} WHERE position <= {mark} AND key IN ({keys})"
        return self._frame(statement, (position, position, limit), schema, position)

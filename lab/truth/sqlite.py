"""The source of truth in SQLite: three write models, one file, one sequence of positions for all entities.

A transaction takes the write lock before it takes its position, so writers queue and commit order is position
order: a reader of the feed can't be overtaken by a late commit.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import polars as pl

from lab.base import BEFORE, Key
from lab.domain.model import Event, Outcome, Record
from lab.engines import sqlite
from lab.queries.sql import columns as listed
from lab.queries.sql import quoted
from lab.truth.port import Truth


class SqliteTruth(Truth):
    """What the three models share: the file, the transaction, the sequence, and how a page is read."""

    _shared = False

    def open(self) -> None:
        """Open the file in its durability class, and make the tables."""
        self.path.mkdir(parents=True, exist_ok=True)
        self._file = self.path / "truth.sqlite"
        self._connection: sqlite3.Connection = sqlite.connect(self._file, self.durability)
        self._execute = self._connection.execute
        self._execute("CREATE TABLE IF NOT EXISTS lab_sequence (position INTEGER NOT NULL)")
        if not self._execute("SELECT COUNT(*) FROM lab_sequence").fetchone()[0]:
            self._execute("INSERT INTO lab_sequence VALUES (0)")
        self._execute(
            "CREATE TABLE IF NOT EXISTS lab_requests (id TEXT PRIMARY KEY, outcome TEXT NOT NULL) WITHOUT ROWID"
        )
        self._statements: dict[str, str] = {}
        for name in self.domain.entities:
            self._execute(self._table(name))
            marks = ", ".join("?" * len(self._columns(name)))
            self._statements[name] = self._insert(name, f"VALUES ({marks})")

    def open_shared(self) -> bool:
        """A connection that can't write. Another process does, so nothing is folded and every row is read by itself."""
        self._file = self.path / "truth.sqlite"
        if not self._file.exists():
            return False
        self._connection = sqlite.connect_beside(self._file)
        self._execute, self._shared = self._connection.execute, True
        found = {name for (name,) in self._execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if found.issuperset(self.domain.entities):
            return True
        self._connection.close()
        return False

    def close(self) -> None:
        """Close the connection; the log is folded into the file."""
        self._connection.close()

    def begin(self) -> None:
        """Take the write lock."""
        self._execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Commit; in class `full`, to disk."""
        self._execute("COMMIT")

    def rollback(self) -> None:
        """Undo."""
        self._execute("ROLLBACK")

    def head(self, entity: str) -> int:
        """The newest position of the entity."""
        found = self._execute(f"SELECT MAX(position) FROM {quoted(entity)}").fetchone()[0]
        return int(found or 0)

    def settings(self) -> dict[str, Any]:
        """The PRAGMAs that matter, read back; `durability` is what they amount to."""
        found = sqlite.settings(self._connection)
        durable = found["synchronous"] in ("full", "extra")
        return found | {"durability": "full" if durable else "normal" if found["synchronous"] == "normal" else "none"}

    def size_bytes(self) -> int:
        """The file and its log."""
        return sqlite.size_bytes(self._file)

    def answered(self, request: str) -> Outcome | None:
        """One look-up."""
        found = self._execute("SELECT outcome FROM lab_requests WHERE id = ?", (request,)).fetchone()
        if found is None:
            return None
        kept = json.loads(found[0])
        return Outcome(**kept | {"reasons": tuple(kept["reasons"])})

    def answer(self, request: str, outcome: Outcome) -> None:
        """One row, as JSON."""
        self._execute("INSERT INTO lab_requests VALUES (?, ?)", (request, json.dumps(asdict(outcome))))

    def append(self, entity: str, key: Key, record: Record, event: Event, at: float) -> int:
        """Take the next position and write the revision."""
        taken = self._execute("UPDATE lab_sequence SET position = position + 1 RETURNING position").fetchall()
        position = int(taken[0][0])
        meta = (position, key, record.revision, record.deleted, at)
        self._execute(self._statements[entity], (*meta, *self._values(entity, record, event)))
        return position

    def load(self, entity: str, frame: pl.DataFrame) -> None:
        """One transaction for the whole slice."""
        if not frame.height:
            return
        rows = self._loaded(entity, frame).select(self._columns(entity))
        self.begin()
        try:
            self._connection.executemany(self._statements[entity], rows.rows())
            self._execute("UPDATE lab_sequence SET position = MAX(position, ?)", (frame["position"].max(),))
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
        return sqlite.frame(self._connection, page, (position, limit), schema, self._at_most(entity, position, limit))

    def _at_most(self, entity: str, position: int, limit: int) -> int:
        """How many rows a page can have: positions are shared by all entities, so there may be fewer.

        0 beside another process: a page of any size is then read row by row, which is right while the file changes.
        """
        if self._shared:
            return 0
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

    def _declared(self, entity: str) -> str:
        return ", ".join(f"{quoted(name)} {sqlite.TYPES[dtype]}" for name, dtype in self._schema(entity).items())

    def _insert(self, entity: str, values: str) -> str:
        return f"INSERT INTO {quoted(entity)} ({listed(self._columns(entity))}) {values}"

    def _values(self, entity: str, record: Record, event: Event) -> list[Any]:
        return [record.state[name] for name in self.domain.entities[entity].columns]

    def _loaded(self, entity: str, frame: pl.DataFrame) -> pl.DataFrame:
        return frame

    def _table(self, entity: str) -> str:
        raise NotImplementedError

    def _record(self, entity: str, row: tuple[Any, ...] | None) -> Record | None:
        if row is None:
            return None
        names = self.domain.entities[entity].columns
        return Record(dict(zip(names, row[2:], strict=True)), row[0], bool(row[1]))


class Snapshot(SqliteTruth):
    """The last state of each record. What it was before is gone, and its feed can't tell."""

    model = "snapshot"
    publishes_every_revision = False

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
        names = listed(["revision", "deleted", *self.domain.entities[entity].columns])
        return self._record(
            entity, self._execute(f"SELECT {names} FROM {quoted(entity)} WHERE key = ?", (key,)).fetchone()
        )


class History(SqliteTruth):
    """Every revision of each record, whole."""

    model = "history"
    publishes_every_revision = True

    def _table(self, entity: str) -> str:
        declared = self._declared(entity).replace('"position" INTEGER', '"position" INTEGER PRIMARY KEY', 1)
        return f"CREATE TABLE IF NOT EXISTS {quoted(entity)} ({declared}, UNIQUE (key, revision))"

    def get(self, entity: str, key: Key) -> Record | None:
        """The newest revision."""
        names = listed(["revision", "deleted", *self.domain.entities[entity].columns])
        statement = f"SELECT {names} FROM {quoted(entity)} WHERE key = ? ORDER BY revision DESC LIMIT 1"
        return self._record(entity, self._execute(statement, (key,)).fetchone())

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
            f"SELECT {listed(list(schema), 'c')}, COALESCE(NOT p.deleted, 0) AS live, {chosen} "
            f"FROM ({self._page(entity, list(schema))}) AS c "
            f"LEFT JOIN {quoted(entity)} AS p ON p.key = c.key AND p.revision = c.revision - 1 ORDER BY c.position"
        )
        whole = schema | {f"{BEFORE}{name}": dtype for name, dtype in images.items()}
        most = self._at_most(entity, position, limit)
        return sqlite.frame(self._connection, statement, (position, limit), whole, most)


class Events(SqliteTruth):
    """What happened, and only that: an event's row holds the columns that the event sets, and no others."""

    model = "events"
    publishes_every_revision = True

    def _schema(self, entity: str) -> dict[str, pl.DataType]:
        return super()._schema(entity) | {"event": pl.String()}

    def _table(self, entity: str) -> str:
        declared = self._declared(entity).replace('"position" INTEGER', '"position" INTEGER PRIMARY KEY', 1)
        return f"CREATE TABLE IF NOT EXISTS {quoted(entity)} ({declared}, UNIQUE (key, revision))"

    def _values(self, entity: str, record: Record, event: Event) -> list[Any]:
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
        statement = (
            f"SELECT event, deleted, revision, {listed(names)} FROM {quoted(entity)} WHERE key = ? ORDER BY revision"
        )
        types = self.domain.events[entity]
        record: Record | None = None
        for event, deleted, revision, *values in self._execute(statement, (key,)):
            row = dict(zip(names, values, strict=True))
            fields = {name: row[name] for name in types[event].sets}
            state = self.domain.evolve(record.state if record else None, Event(event, fields))
            record = Record(state, revision, bool(deleted))
        return record

    def earlier(self, entity: str, position: int, limit: int, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """From each record's first event on: what a fold of the page needs."""
        table, schema = quoted(entity), self._chosen(entity, columns)
        keys = f"SELECT key FROM {table} WHERE position > ? ORDER BY position LIMIT ?"
        chosen = listed(list(schema))
        statement = f"SELECT {chosen} FROM {table} WHERE position <= ? AND key IN ({keys})"
        rows = 0 if self._shared else position
        return sqlite.frame(self._connection, statement, (position, position, limit), schema, rows)


MODELS: dict[str, type[Truth]] = {"snapshot": Snapshot, "history": History, "events": Events}

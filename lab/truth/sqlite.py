"""The source of truth in SQLite: three write models, one file, one sequence of positions for all entities.

A transaction takes the write lock before it takes its position, so writers queue and commit order is position
order: a reader of the feed can't be overtaken by a late commit.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from lab.base import SourceLost
from lab.engines import budget, sqlite
from lab.queries import wide
from lab.queries.answers import Row
from lab.queries.model import Query
from lab.queries.sql import quoted
from lab.truth.dialect import SqlDialect
from lab.truth.files import Watch, belonging, present
from lab.truth.models import Events, History, Snapshot
from lab.truth.port import Truth
from lab.truth.relational import Relational

# Rows that are made Python objects at once.
ROWS_AT_ONCE = 20_000


class Sqlite(Relational):
    """The file, the transaction, and how results are read."""

    engine = "sqlite"
    files = tuple(f"truth.sqlite{end}" for end in ("", "-wal", "-shm", "-journal"))
    dialect = SqlDialect(sqlite.TYPES, begin="BEGIN IMMEDIATE", clustered="WITHOUT ROWID", greatest="MAX", returning="")

    indexable = True

    # Whether a row takes the place of one with the same key. If not, an index says that revisions are unique: unlike a
    # constraint of the table, it can be built last.
    _replaces = False
    _unique = ""
    _shared = False
    _reader: sqlite3.Connection | None = None
    _watch: Watch

    @property
    def _file(self) -> Path:
        return self.place.path / "truth.sqlite"

    def open(self) -> None:
        """Open the file, make the tables, note the opening durably, and go on in the durability class."""
        present(self._file, self.identity)
        self.place.path.mkdir(parents=True, exist_ok=True)
        self._connect("full")
        try:
            self._make_tables()
            self._execute(f"PRAGMA synchronous = {sqlite.SYNCHRONOUS[self.durability]}")
        except BaseException:
            self.close()
            raise
        self._watch = Watch(self._file, self._file.with_name(f"{self._file.name}-wal"))

    def _connect(self, durability: str) -> None:
        self._connection: sqlite3.Connection = sqlite.connect(self._file, durability)
        self._execute = self._connection.execute

    def lost(self) -> str | None:
        """Look at the file and its log: a commit is in one of the two."""
        return self._watch.lost()

    def open_shared(self) -> bool:
        """A connection that can't write. Another process does, so nothing is folded and every row is read by itself."""
        present(self._file, self.identity)
        if not self._file.exists():
            return False
        self._connection = sqlite.connect_beside(self._file)
        self._execute, self._shared = self._connection.execute, True
        return self._has_tables()

    def join(self) -> None:
        """Open a second writer's connection. Writers take turns: each waits for the write lock, 30 seconds at most."""
        present(self._file, self.identity)
        if self._file.exists():
            self._connect(self.durability)
            self._shared = True
            if self._has_tables():
                self._watch = Watch(self._file, self._file.with_name(f"{self._file.name}-wal"))
                return
        raise SourceLost(f"{self.place.shown()}: there is no source of truth to join")

    def _has_tables(self) -> bool:
        """Whether the tables are there, and are this place's own; if not, or if that raises, the connection is closed.

        From now on other processes write, too.
        """
        try:
            found = {name for (name,) in self._execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if found.issuperset({"lab_timeline", *self.domain.entities}):
                belonging(self.timeline(), self.identity, self.place)
                return True
        except BaseException:
            self.close()
            raise
        self.close()
        return False

    def close(self) -> None:
        """Close the connections; the log is folded into the file."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        self._connection.close()

    def rest(self) -> None:
        """Shrink the caches of both connections."""
        sqlite.rest(self._connection, self._reader)

    def settings(self) -> dict[str, Any]:
        """The PRAGMAs that matter, read back; `durability` is what they amount to."""
        found = sqlite.settings(self._connection)
        durable = found["synchronous"] in ("full", "extra")
        return found | {"durability": "full" if durable else "normal" if found["synchronous"] == "normal" else "none"}

    def size_bytes(self) -> int:
        """Return the size of the file and its log in bytes."""
        return sqlite.size_bytes(self._file)

    def load(self, entity: str, frame: pl.DataFrame) -> None:
        """One transaction for the whole slice; a large one, where no row replaces another, straight from Arrow."""
        if frame.height < sqlite.ROWS_FOR_INGEST or self._replaces or self._shared:
            super().load(entity, frame)
            return
        rows = self._loaded(entity, frame).select(self._columns(entity))
        self.close()
        try:
            sqlite.ingest(self._file, self.durability, entity, rows)
        finally:
            self._connect(self.durability)
            self._execute("SELECT 1 FROM lab_timeline").fetchall()
            self._watch = Watch(*self._watch.opened)

    def fill(self, entity: str, slices: Iterable[pl.DataFrame]) -> None:
        """The index of revisions is built last: row by row, it would be written again and again as a whole."""
        if self._replaces or self._shared or self.head(entity):
            super().fill(entity, slices)
            return
        self._execute(f"DROP INDEX IF EXISTS {self._revisions(entity)}")
        try:
            super().fill(entity, slices)
        finally:
            with sqlite.sorting(self._connection):
                self._index(entity)

    def copy(self, other: Truth, without: Mapping[str, Sequence[int]]) -> bool:
        """The file is copied. Its timeline stays that of this place."""
        if self._replaces or not isinstance(other, type(self)) or not sqlite.folded(other._connection):
            return False
        openings = self._execute("SELECT * FROM lab_timeline").fetchall()
        self.close()
        try:
            shutil.copyfile(other._file, self._file)
        finally:
            self._connect(self.durability)
        self.begin()
        self._execute("DELETE FROM lab_timeline")
        self._connection.executemany(f"INSERT INTO lab_timeline VALUES ({self.dialect.marks(3)})", openings)
        for entity, positions in without.items():
            self._connection.executemany(
                f"DELETE FROM {quoted(entity)} WHERE position = ?", [(one,) for one in positions]
            )
        self.commit()
        self._watch = Watch(*self._watch.opened)
        return True

    def _index(self, entity: str) -> None:
        """Those for readers, and the one of revisions, unless the table of an earlier version declares it."""
        super()._index(entity)
        declared = self._execute(f"SELECT 1 FROM pragma_index_list({quoted(entity)}) WHERE origin = 'u'").fetchall()
        if not self._replaces and not declared:
            self._order(entity)

    def _order(self, entity: str) -> None:
        name = self._revisions(entity)
        self._execute(f"CREATE UNIQUE INDEX IF NOT EXISTS {name} ON {quoted(entity)} (key, revision)")

    @staticmethod
    def _revisions(entity: str) -> str:
        return quoted(f"lab_{entity}_revisions")

    def _write(self, entity: str, row: Row) -> int:
        # RETURNING would cost as much as the INSERT itself.
        written = self._execute(self._appends[entity], row)
        if self._replaces:
            return int(self._execute(self._found[entity], row[:1]).fetchall()[0][0])
        return int(written.lastrowid)

    @cached_property
    def _found(self) -> dict[str, str]:
        return {name: f"SELECT position FROM {quoted(name)} WHERE key = ?" for name in self.domain.entities}

    def _fill(self, entity: str, rows: pl.DataFrame) -> None:
        statement = self._insert(entity, f"VALUES ({self.dialect.marks(rows.width)})")
        for some in rows.iter_slices(ROWS_AT_ONCE):
            self._connection.executemany(statement, some.rows())

    def _frame(self, statement: str, arguments: Row, schema: dict[str, pl.DataType], rows: int) -> pl.DataFrame:
        """Beside another process a page of any size is read row by row, which is right while the file changes."""
        return sqlite.frame(self._connection, statement, arguments, schema, 0 if self._shared else rows)

    def _answered(self, query: Query, parameters: Row) -> list[Row]:
        """A sum is exact, however large."""
        try:
            return super()._answered(query, parameters)
        except sqlite3.OperationalError as error:
            return wide.in_halves(error, query, parameters, self.reads, self._ask)

    def _ask(self, statement: str, arguments: Row, bounded: bool = False) -> list[Row]:
        if self._reader is None:
            self._reader = sqlite.connect_read_only(self._file)
        if bounded:
            return budget.answer(self._reader, statement, arguments)
        return self._reader.execute(statement, arguments).fetchall()


class SqliteSnapshot(Sqlite, Snapshot):
    """The last state of each record, in SQLite."""

    _replaces = True


class SqliteHistory(Sqlite, History):
    """Every revision, in SQLite. Its own key finds the last ones, ten times as quickly as a window over all."""

    reads = "history"


class SqliteEvents(Sqlite, Events):
    """What happened, in SQLite. It answers no query, so an index would help nobody."""

    indexable = False


MODELS: dict[str, type[Truth]] = {"snapshot": SqliteSnapshot, "history": SqliteHistory, "events": SqliteEvents}

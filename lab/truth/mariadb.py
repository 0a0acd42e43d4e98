"""The source of truth in MariaDB: the same three write models in a database of a server, for concurrent writers.

A record's lock is a named one (GET_LOCK), there whether the record is or not, and is given up after the commit; and its
first row, which those that only read the record share.
Positions come from a sequence, which MySQL has none of: there a source of truth is refused.

Nothing in the server says below which position no transaction will write any more. Its list of open transactions is a
cache, which is not renewed while anybody reads it often; a named lock has one holder, so writers can't share one that a
reader would look at. So a reader can go by what it sees (`naive`), wait for missing positions (`hold`), or have the
writers take turns (`serialise`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
import polars as pl
import pymysql

from lab.base import BadInput, CannotTake, Key, Problem, Unavailable
from lab.domain.model import Command
from lab.engines import mariadb as driver
from lab.engines.mariadb import KEY_TEXT, LOCK_SECONDS, NAME_BYTES, is_mysql
from lab.engines.mariadb_errors import DEADLOCK, DUPLICATE, mapped, number
from lab.engines.mariadb_text import literal, pieces
from lab.ports import Blocker
from lab.queries.answers import Row
from lab.queries.sql import columns as listed
from lab.queries.sql import quoted
from lab.servers.ledger import NAMED
from lab.servers.mariadb_place import MariadbPlace
from lab.truth import mariadb_outbox as outbox
from lab.truth.attached import Step
from lab.truth.deciding import Draft
from lab.truth.dialect import SqlDialect
from lab.truth.evidence import LiveEvidence
from lab.truth.mariadb_attached import AttachedDatabase
from lab.truth.models import Events, History, Snapshot
from lab.truth.outlets import LOG, OUTBOX, POLL
from lab.truth.port import Truth
from lab.truth.server_truth import ServerTruth
from lab.truth.transaction import SEQUENCE

# Rows that come as values of one statement: a larger slice is loaded from a file.
FEW = 256
# How many characters of a text are in an index.
BEGINNING = 190


class MariadbDialect(SqlDialect):
    """What MariaDB says in other words."""

    def next_position(self, entities: Iterable[str]) -> str:
        """From the sequence."""
        return f"NEXTVAL({self.sequence})"

    def upsert(self, insert: str, columns: Iterable[str]) -> str:
        """`insert`, but a row whose `key` is there already is overwritten."""
        changes = ", ".join(f"{quoted(name)} = VALUES({quoted(name)})" for name in columns)
        return f"{insert} ON DUPLICATE KEY UPDATE {changes}"


class Mariadb(ServerTruth):
    """The database, the transaction, and how results are read."""

    engine = server = "mariadb"
    files = (NAMED,)
    strategies = ("naive", "serialise", "hold")
    feeds = (POLL, OUTBOX, LOG)
    refusals = MappingProxyType(
        {
            "horizon": "`horizon` stops below what open transactions may still write, and MariaDB doesn't tell: its "
            "list of transactions is a cache, and its named locks have one holder each"
        }
    )
    name_bytes = NAME_BYTES
    plain_names = True
    dialect = MariadbDialect(
        driver.TYPES, sequence=SEQUENCE, name="mysql", text="LONGTEXT", key_text=KEY_TEXT,
        hashed=driver.HASHED,
    )  # fmt: skip
    home = MariadbPlace
    commits = (("COMMIT", ()), ("DO RELEASE_ALL_LOCKS()", ()))

    # Given when it is opened.
    on: AttachedDatabase

    def _attach(self, named: str, writes: bool) -> None:
        self.on = AttachedDatabase(named, writes, self.durability)
        self._execute = self.on.execute

    def _make_tables(self) -> None:
        """One after the other where several open it. Raises BadInput for a server that can't be a source of truth."""
        self._refuse()
        self.on.held(self._execute("SELECT GET_LOCK(?, ?)", (self._named("opening"), LOCK_SECONDS)).rows)
        try:
            self._execute(f"CREATE SEQUENCE IF NOT EXISTS {SEQUENCE} ENGINE=InnoDB")
            # Each of these statements commits by itself: so each is made where it is missing.
            super()._make_tables()
            for statement, values in outbox.declared(self.outlets.outboxes):
                self._execute(statement, values)
        finally:
            if self.on.alive:
                self._execute("DO RELEASE_ALL_LOCKS()")

    def _refuse(self) -> None:
        session = self.on.session
        version, durable = str(session.connection.server_version), self.settings()["durability"]
        if is_mysql(version):
            what = f"the server is MySQL {version}, which has no sequences: positions can't be taken from one"
            raise BadInput([Problem("truth.engine", what, 'take MariaDB, or set truth.engine to "postgres"')])
        if self.durability == "full" and durable != "full":
            what = "the server doesn't wait for the disk at each commit, which is a setting for all that write to it"
            way_out = "SET GLOBAL innodb_flush_log_at_trx_commit = 1 (and sync_binlog = 1 with a binary log), or normal"
            raise BadInput([Problem("truth.durability", what, way_out)])

    # -- commands -----------------------------------------------------------------------------------------------------

    def _named(self, *names: str) -> str:
        """The name of a lock: 64 characters at the most, for the whole server."""
        told = "\0".join((self.on.named, *names)).encode()
        return f"lab_{hashlib.blake2b(told, digest_size=16).hexdigest()}"

    def locks(self, names: Sequence[tuple[str, Key]]) -> list[Step]:
        """By named locks, there before the record is; then, against those that read it, by its first row."""
        named = sorted(self._named("record", entity, repr(key)) for entity, key in names)
        taken: list[Step] = [("SELECT GET_LOCK(?, ?)", (name, LOCK_SECONDS)) for name in named]
        # No row is locked before all names are: the server sees no circle of both kinds.
        return taken + [(f"{self._first(entity)} FOR UPDATE", (key,)) for entity, key in sorted(names, key=repr)]

    def shared_lock(self, entity: str, key: Key) -> Step:
        """By its first row: others may read it too, and its writer waits."""
        return f"{self._first(entity)} LOCK IN SHARE MODE", (key,)

    def _first(self, entity: str) -> str:
        """The row of a record that is there as long as it is: its only one, or that of its first revision."""
        return f"SELECT 1 FROM {quoted(entity)} WHERE key = ?{'' if self.model == 'snapshot' else ' AND revision = 1'}"

    def came_second(self, error: Exception) -> bool:
        """By its number: a deadlock, of rows or of named locks; a row that another one inserted."""
        return number(error) in (DEADLOCK, DUPLICATE)

    def check(self, entity: str, key: Key, values: Iterable[tuple[str, Any]]) -> None:
        """Raise CannotTake for a value that there is no literal of."""
        for name, value in values:
            try:
                literal(value)
            except CannotTake as error:
                raise CannotTake(f"{entity} {key!r}: `{name}`: {error}") from None
        if isinstance(key, str) and len(key) > driver.KEY_CHARACTERS:
            what = f"a key of more than {driver.KEY_CHARACTERS} characters, which no index there takes"
            raise CannotTake(f"{entity} {key[:40]!r}...: {what}")

    def delivered(self, command: Command, draft: Draft) -> list[Step]:
        """What writes it into the outbox, if there is one."""
        columns = list(self.domain.entities[draft.entity].columns)
        return outbox.steps(command, draft, columns, self.outlets.outboxes, SEQUENCE) if self.outlets.outboxes else []

    @cached_property
    def _appends(self) -> dict[str, str]:
        """Under `serialise` the writers' lock is taken first; without it, no row is written."""
        if self.gaps != "serialise":
            return super()._appends
        position, found = self.dialect.next_position(()), dict[str, str]()
        turn = f"(SELECT GET_LOCK({literal(self._named('turn'))}, {LOCK_SECONDS}) AS taken) AS turn"
        for name in self.domain.entities:
            marks = self.dialect.marks(len(self._columns(name)) - 1)
            selected = f"SELECT {position}, {marks} FROM {turn} WHERE taken = 1"
            found[name] = self._insert(name, selected) + self.dialect.returning
        return found

    def position(self, rows: Sequence[Row]) -> int:
        """The position that a row got; where the turn was not given, there is none."""
        if not rows:
            raise Unavailable(f"{self.on.name}: the turn to write was not given within {LOCK_SECONDS} s")
        return int(rows[0][0])

    # -- rows ---------------------------------------------------------------------------------------------------------

    def _declared(self, entity: str, first: str = "") -> str:
        """A text that is a key has a largest length."""
        columns = [
            f"{quoted(name)} {KEY_TEXT if name == 'key' and dtype == pl.String() else self.dialect.types[dtype]}"
            for name, dtype in self._schema(entity).items()
        ]
        return ", ".join([columns[0] + first, *columns[1:]])

    def _index(self, entity: str) -> None:
        """Make the indexes for readers, of the beginnings of texts, or drop those of an earlier opening."""
        found, schema = self.domain.entities[entity], self._schema(entity)
        for at, columns in enumerate([*found.indexes, *([(found.parent,)] if found.parent else [])], 1):
            name, table = quoted(f"lab_{entity}_{at}"), quoted(entity)
            if self.indexed:
                cut = f"({BEGINNING})"
                parts = (f"{quoted(one)}{cut if schema[one] == pl.String() else ''}" for one in (*columns, "deleted"))
                self._execute(f"CREATE INDEX IF NOT EXISTS {name} ON {table} ({', '.join(parts)})")
            elif self.indexable:
                self._execute(f"DROP INDEX IF EXISTS {name} ON {table}")

    def _fill(self, entity: str, rows: pl.DataFrame) -> None:
        """By LOAD DATA into a temporary table, where the server takes files; the sequence goes on above it."""
        names, session = self._columns(entity), self.on.session
        with mapped(self.on.name):
            if rows.height > FEW and session.loads:
                defined = self._declared(entity)
                session.execute("DROP TEMPORARY TABLE IF EXISTS lab_incoming")
                session.execute(f"CREATE TEMPORARY TABLE lab_incoming ({defined}) ENGINE=MyISAM")
                session.load("lab_incoming", names, rows)
                chosen = f"SELECT {listed(names)} FROM lab_incoming ORDER BY position"
                session.execute(self._insert(entity, chosen))
                session.execute("DROP TEMPORARY TABLE lab_incoming")
            else:
                start, end = pieces(self._insert(entity, "?"))
                session.insert(start, end, rows.iter_rows())
            # It is never set to less than it has given.
            session.execute(f"SELECT SETVAL({SEQUENCE}, ?)", (int(rows["position"].to_numpy().max()),))

    def _frame(self, statement: str, arguments: Row, schema: dict[str, pl.DataType], rows: int) -> pl.DataFrame:
        return self.on.frame(statement, arguments, schema)

    def evidence(self) -> LiveEvidence:
        """What is committed; who still writes can't be known."""
        return SeenEvidence(self)

    def settings(self) -> dict[str, Any]:
        """The server's settings that matter, read back; `durability` is what they amount to."""
        with mapped(self.on.name):
            return driver.settings(self.on.session)


class SeenEvidence:
    """What a reader of MariaDB knows of its writers: what they have committed, and nothing else."""

    def __init__(self, truth: Mariadb) -> None:
        self._on = truth.on
        tops = (f"COALESCE((SELECT MAX(position) FROM {quoted(name)}), 0)" for name in truth.domain.entities)
        self._newest = f"SELECT GREATEST(0, {', '.join(tops)})"
        parts = (f"SELECT position FROM {quoted(name)} WHERE position > ?" for name in truth.domain.entities)
        self._shown, self._marks = f"{' UNION ALL '.join(parts)} ORDER BY 1", len(truth.domain.entities)

    def newest(self) -> int:
        """Return the newest position that is committed."""
        return int(self._on.execute(self._newest).fetchone()[0])

    def settled(self) -> int:
        """Return 0: nothing is known to be settled."""
        return 0

    def shown(self, after: int) -> np.ndarray:
        """Return the committed positions above `after`."""
        rows = self._on.execute(self._shown, (after,) * self._marks).fetchall()
        return np.array([position for (position,) in rows], np.int64)

    def blockers(self, at: float) -> list[Blocker]:
        """The transactions that have been open for a second, the oldest first, if this user may look at them."""
        try:
            rows = self._on.execute(
                # When they began is told in the zone of the server's machine, whatever that of the session is.
                "SELECT p.user, p.id, COALESCE(p.db, ''), TIMESTAMPDIFF(SECOND, "
                "CONVERT_TZ(t.trx_started, 'SYSTEM', '+00:00'), UTC_TIMESTAMP()) AS age "
                "FROM information_schema.innodb_trx AS t JOIN information_schema.processlist AS p "
                "ON p.id = t.trx_mysql_thread_id HAVING age > 1 ORDER BY age DESC"
            ).fetchall()
        except pymysql.Error:
            return []
        newest = self.newest()
        return [
            Blocker(f"{user} (thread {thread}, database {name})", at - float(age), newest)
            for user, thread, name, age in rows
        ]


class MariadbSnapshot(Mariadb, Snapshot):
    """The last state of each record, in MariaDB."""


class MariadbHistory(Mariadb, History):
    """Every revision, in MariaDB. Its own key finds the last ones."""

    reads = "history"


class MariadbEvents(Mariadb, Events):
    """What happened, in MariaDB. It answers no query, so an index would help nobody."""

    indexable = False


MODELS: dict[str, type[Truth]] = {"snapshot": MariadbSnapshot, "history": MariadbHistory, "events": MariadbEvents}

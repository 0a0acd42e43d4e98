"""The source of truth in PostgreSQL: the same three write models in a schema of a server, for concurrent writers.

A command locks its record, reads it, is decided, takes the gate lock, and only then takes its position within the
INSERT: so the revisions of one record have their positions in order, and a reader can find out through the gate whether
anything may still be written below a position (`lab.truth.gate`). Which of several commands on one record comes first
is decided by the lock; what a command reads of other records is locked too, so that it holds when it is committed.

A position that was taken by a transaction that rolled back stays unused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import polars as pl
from psycopg import errors

from lab.base import CannotTake, Key
from lab.domain.model import Command
from lab.engines import postgres as driver
from lab.queries.answers import Row
from lab.queries.sql import columns as listed
from lab.queries.sql import quoted
from lab.servers.ledger import NAMED
from lab.servers.postgres_place import PostgresPlace
from lab.truth import postgres_outbox as outbox
from lab.truth.attached import Step
from lab.truth.deciding import Draft
from lab.truth.dialect import SqlDialect
from lab.truth.evidence import LiveEvidence
from lab.truth.gate import DrainEvidence, GateLocks, XminEvidence
from lab.truth.models import Events, History, Snapshot
from lab.truth.outlets import LOG, NOTIFY, OUTBOX, POLL
from lab.truth.port import Truth
from lab.truth.postgres_attached import AttachedSchema
from lab.truth.server_truth import ServerTruth
from lab.truth.transaction import SEQUENCE

# A smaller page is read by a prepared statement: to plan a COPY takes longer than it saves.
ROWS_FOR_COPY = 500
# What another transaction did first: a deadlock, a row that is being changed, a request that it has answered.
_LOST_TO_ANOTHER = (errors.DeadlockDetected, errors.SerializationFailure, errors.UniqueViolation)


class Postgres(ServerTruth):
    """The schema, the transaction, and how results are read."""

    engine = server = "postgres"
    files = (NAMED,)
    strategies = (*Truth.strategies, "xmin")
    feeds = (POLL, NOTIFY, OUTBOX, LOG)
    name_bytes = driver.NAME_BYTES
    reserves = frozenset(("tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"))
    dialect = SqlDialect(driver.TYPES, sequence=SEQUENCE, hashed=driver.HASHED)

    home = PostgresPlace
    commits = (("COMMIT", ()),)

    # Given when it is opened.
    on: AttachedSchema
    gate: GateLocks

    def _attach(self, named: str, writes: bool) -> None:
        self.on, self.gate = AttachedSchema(named, writes, self.durability), GateLocks(named)
        self._execute = self.on.execute

    def _make_tables(self) -> None:
        """One after the other where several open it, and durably."""
        lock = (self.gate.opening,)
        self._execute("SELECT pg_advisory_lock(?)", lock)
        try:
            self._execute("SET synchronous_commit = on")
            self._execute(f"CREATE SEQUENCE IF NOT EXISTS {SEQUENCE}")
            super()._make_tables()
            for statement, values in outbox.declared(self.outlets.outboxes):
                self._execute(statement, values)
            self._execute(f"SET synchronous_commit = {driver.SYNCHRONOUS[self.durability]}")
        finally:
            if self.on.alive:
                self._execute("SELECT pg_advisory_unlock(?)", lock)

    # -- commands -----------------------------------------------------------------------------------------------------

    @cached_property
    def _appends(self) -> dict[str, str]:
        """As in every engine, but the gate lock is taken before the position: what is materialised comes first."""
        gate = f"WITH gate AS MATERIALIZED (SELECT {self.gate.lock(self.gaps)}) "
        position, found = self.dialect.next_position(self.domain.entities), dict[str, str]()
        for name in self.domain.entities:
            marks = self.dialect.marks(len(self._columns(name)) - 1)
            found[name] = gate + self._insert(name, f"SELECT {position}, {marks} FROM gate") + self.dialect.returning
        return found

    @cached_property
    def placed(self) -> dict[str, str]:
        """The statements that write a row at a position which has been taken before: for writers under `xmin`."""
        inserts = {name: f"VALUES ({self.dialect.marks(len(self._columns(name)))})" for name in self.domain.entities}
        return {name: self._insert(name, values) + self.dialect.returning for name, values in inserts.items()}

    def came_second(self, error: Exception) -> bool:
        """By the class of what the driver raised."""
        return isinstance(error, _LOST_TO_ANOTHER)

    def locks(self, names: Sequence[tuple[str, Key]]) -> list[Step]:
        """By advisory locks, in the order of their numbers."""
        return [
            ("SELECT pg_advisory_xact_lock(?)", (one,)) for one in sorted({self.gate.record(*one) for one in names})
        ]

    def shared_lock(self, entity: str, key: Key) -> Step:
        """By the same lock, shared."""
        return "SELECT pg_advisory_xact_lock_shared(?)", (self.gate.record(entity, key),)

    @property
    def gated(self) -> Step:
        """What takes the gate lock before a position."""
        return f"SELECT {self.gate.lock(self.gaps)}", ()

    def check(self, entity: str, key: Key, values: Iterable[tuple[str, Any]]) -> None:
        """Raise CannotTake, with the place and the way out, for a text that the engine can't hold."""
        for name, value in values:
            if isinstance(value, str) and "\0" in value:
                what = f'{driver.NUL}; take it out, or set truth.engine to "sqlite"'
                raise CannotTake(f"{entity} {key!r}: `{name}`: {what}")

    def delivered(self, command: Command, draft: Draft) -> list[Step]:
        """What writes it into the outbox, if there is one."""
        readers = self.outlets.outboxes
        columns = list(self.domain.entities[draft.entity].columns)
        return [outbox.step(command, draft, columns, readers, SEQUENCE)] if readers else []

    @property
    def notification(self) -> list[Step]:
        """What sends a notification with the commit, if readers wait for one; its channel is the schema's name."""
        return [("SELECT pg_notify(?, '')", (self.on.schema,))] if self.outlets.notifies else []

    # -- rows ---------------------------------------------------------------------------------------------------------

    def _fill(self, entity: str, rows: pl.DataFrame) -> None:
        """By COPY; the sequence goes on above what was loaded."""
        names = self._columns(entity)
        with driver.mapped(self.on.name):
            if self.model == "snapshot":
                self._execute(f"CREATE TEMP TABLE lab_incoming (LIKE {quoted(entity)}) ON COMMIT DROP")
                self.on.session.copy_in("lab_incoming", names, rows)
                self._execute(self._insert(entity, f"SELECT {listed(names)} FROM lab_incoming"))
            else:
                self.on.session.copy_in(quoted(entity), names, rows)
            taken = f"SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {SEQUENCE}"
            newest = int(rows["position"].to_numpy().max())
            self._execute(f"SELECT setval('{SEQUENCE}', GREATEST(?, ({taken})))", (newest,))
        for statement, values in self.notification:
            self._execute(statement, values)

    @property
    def _seen(self) -> str:
        return f" AND {XminEvidence.BELOW}" if self.gaps == "xmin" else ""

    def _frame(self, statement: str, arguments: Row, schema: dict[str, pl.DataType], rows: int) -> pl.DataFrame:
        if rows >= ROWS_FOR_COPY:
            return self.on.frame(statement, arguments, schema)
        return pl.DataFrame(self._execute(statement, arguments).fetchall(), schema=schema, orient="row")

    def evidence(self) -> LiveEvidence:
        """What the engine knows: who holds the gate lock; for `xmin`, which transactions have written anywhere."""
        kind = XminEvidence if self.gaps == "xmin" else DrainEvidence
        return kind(self.on, self.gate, list(self.domain.entities), SEQUENCE)

    # -- what there is ------------------------------------------------------------------------------------------------

    def settings(self) -> dict[str, Any]:
        """The server's settings that matter, read back; `durability` is what they amount to."""
        with driver.mapped(self.on.name):
            return driver.settings(self.on.session)


class PostgresSnapshot(Postgres, Snapshot):
    """The last state of each record, in PostgreSQL."""


class PostgresHistory(Postgres, History):
    """Every revision, in PostgreSQL. Its own key finds the last ones."""

    reads = "history"


class PostgresEvents(Postgres, Events):
    """What happened, in PostgreSQL. It answers no query, so an index would help nobody."""

    indexable = False


MODELS: dict[str, type[Truth]] = {"snapshot": PostgresSnapshot, "history": PostgresHistory, "events": PostgresEvents}

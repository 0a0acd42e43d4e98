"""The source of truth in PostgreSQL: the same three write models in a schema of a server, for concurrent writers.

A command locks its record, reads it, is decided, takes the gate lock, and only then takes its position within the
INSERT: so the revisions of one record have their positions in order, and a reader can find out through the gate whether
anything may still be written below a position (`lab.truth.gate`). Which of several commands on one record comes first
is decided by the lock; what a command reads of other records is locked too, so that it holds when it is committed.

A position that was taken by a transaction that rolled back stays unused.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import polars as pl
import psycopg
from psycopg import errors

from lab.base import SourceLost, Unavailable
from lab.domain.model import Command, Outcome
from lab.engines import postgres as driver
from lab.queries.answers import Row
from lab.queries.sql import columns as listed
from lab.queries.sql import quoted
from lab.servers.ledger import NAMED
from lab.servers.postgres_place import PostgresPlace
from lab.truth import outbox
from lab.truth.attached import TIMELINE, AttachedSchema, there
from lab.truth.dialect import SqlDialect
from lab.truth.evidence import LiveEvidence
from lab.truth.files import belonging
from lab.truth.gate import DrainEvidence, GateLocks, XminEvidence
from lab.truth.models import Events, History, Snapshot
from lab.truth.outlets import LOG, NOTIFY, OUTBOX, POLL
from lab.truth.port import Truth
from lab.truth.relational import Relational
from lab.truth.transaction import SEQUENCE, CommitUnknown, Step, Transaction, UnknownCommit

# How often a transaction is tried again that lost to another one: a deadlock, or two of one request.
TRIES = 20
# How long a writer tries to reach a server that has gone away, in seconds.
AWAY_SECONDS = 10.0
# A smaller page is read by a prepared statement: to plan a COPY takes longer than it saves.
ROWS_FOR_COPY = 500
# What another transaction did first: a deadlock, a row that is being changed, a request that it has answered.
_LOST_TO_ANOTHER = (errors.DeadlockDetected, errors.SerializationFailure, errors.UniqueViolation)


class Postgres(Relational):
    """The schema, the transaction, and how results are read."""

    engine = server = "postgres"
    files = (NAMED,)
    concurrent = True
    strategies = (*Truth.strategies, "xmin")
    feeds = (POLL, NOTIFY, OUTBOX, LOG)
    indexable = True
    name_bytes = driver.NAME_BYTES
    reserves = frozenset(("tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"))
    dialect = SqlDialect(driver.TYPES, sequence=SEQUENCE)

    # Given when it is opened.
    on: AttachedSchema
    gate: GateLocks

    @property
    def _home(self) -> PostgresPlace:
        return PostgresPlace.of(self.place)

    def open(self) -> None:
        """Make the schema and its tables, note the opening durably, and go on in the durability class."""
        home = self._home
        if self.identity is not None and self.identity.begun and not there(home.named):
            raise SourceLost(f"{home.shown()}: the source of truth was here, and its schema is gone")
        self._attach(home.claim(), writes=True)
        try:
            self._make_tables()
            self.on.remember()
        except BaseException:
            self.close()
            raise

    def open_shared(self) -> bool:
        """A connection that can't write."""
        return self._attached(writes=False)

    def join(self) -> None:
        """Open a second writer's connection. Writers wait for each other only where they have a record in common."""
        if not self._attached(writes=True):
            raise SourceLost(f"{self.place.shown()}: there is no source of truth to join")

    def _attach(self, schema: str, writes: bool) -> None:
        self.on, self.gate = AttachedSchema(schema, writes, self.durability), GateLocks(schema)
        self._execute = self.on.execute

    def _attached(self, writes: bool) -> bool:
        """Connect to what another one has opened; false, and not connected, where that has made no tables yet."""
        home = self._home
        schema = home.named
        if not there(schema):
            if self.identity is not None and self.identity.begun:
                raise SourceLost(f"{home.shown()}: the source of truth was here, and its schema is gone")
            return False
        self._attach(schema, writes)
        try:
            if all(self.on.number(quoted(table)) for table in (TIMELINE, *self.domain.entities)):
                belonging(self.timeline(), self.identity, self.place)
                self.on.remember()
                return True
        except BaseException:
            self.close()
            raise
        self.close()
        return False

    def _make_tables(self) -> None:
        """One after the other where several open it, and durably."""
        lock = (self.gate.opening,)
        self._execute("SELECT pg_advisory_lock(?)", lock)
        try:
            self._execute("SET synchronous_commit = on")
            self._execute(f"CREATE SEQUENCE IF NOT EXISTS {SEQUENCE}")
            super()._make_tables()
            if self.outlets.outboxes:
                self._execute(outbox.DECLARED)
            self._execute(f"SET synchronous_commit = {driver.SYNCHRONOUS[self.durability]}")
        finally:
            if self.on.alive:
                self._execute("SELECT pg_advisory_unlock(?)", lock)

    # -- commands -----------------------------------------------------------------------------------------------------

    def execute_together(self, orders: Sequence[tuple[Command, str | None]]) -> list[Outcome]:
        """Group commit, as in `Truth`, in three round trips: locks and reads, writes, commit.

        A transaction that loses to another one is tried again. So is one whose connection was lost before the commit,
        and one of which it isn't known whether it was committed, if each command has the id of a request: under it the
        first outcome is found. Raises Unavailable where that can't be known, and while the server stays away.
        """
        until, unknown = time.monotonic() + AWAY_SECONDS, UnknownCommit()
        for tried in range(TRIES):
            transaction = Transaction(self, self._reached(until))
            try:
                outcomes, changes = transaction.run(orders)
            except _LOST_TO_ANOTHER as error:
                if tried == TRIES - 1:
                    raise Unavailable(f"{self.on.name}: lost {TRIES} times to other transactions: {error}") from None
                time.sleep(random.random() * 0.001 * 2 ** min(tried, 7))
            except (psycopg.Error, OverflowError) as error:
                if self.on.alive:
                    raise self.on.told(error) from None
                if isinstance(error, CommitUnknown) and any(request is None for _, request in orders):
                    raise Unavailable(f"{self.on.name}: {UNKNOWN}") from None
                if tried == TRIES - 1:
                    raise self.on.told(error) from None
                if isinstance(error, CommitUnknown):
                    unknown = UnknownCommit(*transaction.drafted)
            else:
                if self.publish is not None:
                    for change in changes or unknown.committed(outcomes):
                        self.publish(change)
                return outcomes
            self.tried_again += 1
        raise AssertionError("the last try returns or raises")

    def _reached(self, until: float) -> driver.Session:
        """The connection for commands, once the server can be reached. Raises Unavailable, and SourceLost."""
        while True:
            try:
                return self.on.session
            except Unavailable:
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)

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

    @property
    def notification(self) -> list[Step]:
        """What sends a notification with the commit, if readers wait for one; its channel is the schema's name."""
        return [("SELECT pg_notify(?, '')", (self.on.schema,))] if self.outlets.notifies else []

    def rollback(self) -> None:
        """Roll back; of a connection that was lost the server has done so."""
        self.on.roll_back()

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

    def _ask(self, statement: str, arguments: Row, bounded: bool = False) -> list[Row]:
        return self.on.ask(statement, arguments, bounded)

    def evidence(self) -> LiveEvidence:
        """What the engine knows: who holds the gate lock; for `xmin`, which transactions have written anywhere."""
        kind = XminEvidence if self.gaps == "xmin" else DrainEvidence
        return kind(self.on, self.gate, list(self.domain.entities), SEQUENCE)

    # -- what there is ------------------------------------------------------------------------------------------------

    def lost(self) -> str | None:
        """Ask for the table of the timeline; while the server is away nothing is known, and nothing is lost."""
        return self.on.lost()

    def close(self) -> None:
        """Close the connections."""
        if hasattr(self, "on"):
            self.on.close()

    def drop(self) -> None:
        """Close, drop the schema, and remove the folder that names it."""
        self.close()
        replace(self._home, files=self.files).drop()

    def settings(self) -> dict[str, Any]:
        """The server's settings that matter, read back; `durability` is what they amount to."""
        with driver.mapped(self.on.name):
            return driver.settings(self.on.session)

    def size_bytes(self) -> int:
        """Return the size of the schema's tables and indexes in bytes."""
        return self._home.size_bytes()


UNKNOWN = (
    "the connection was lost at the commit, and without the id of a request it can't be found out whether the "
    "commands were executed"
)


class PostgresSnapshot(Postgres, Snapshot):
    """The last state of each record, in PostgreSQL."""


class PostgresHistory(Postgres, History):
    """Every revision, in PostgreSQL. Its own key finds the last ones."""

    reads = "history"


class PostgresEvents(Postgres, Events):
    """What happened, in PostgreSQL. It answers no query, so an index would help nobody."""

    indexable = False


MODELS: dict[str, type[Truth]] = {"snapshot": PostgresSnapshot, "history": PostgresHistory, "events": PostgresEvents}

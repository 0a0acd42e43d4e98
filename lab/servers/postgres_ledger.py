"""The ledger of a PostgreSQL server: a table in a schema of its own, and an advisory lock for each owner that lives."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ClassVar

from lab.engines import postgres as engine
from lab.engines.postgres import Connection, Session
from lab.servers.ledger import Held, Ledger, Line

SCHEMA = "lab_ledger"
# The first of the two numbers of the advisory locks: of owners, and of the ledger while it is made.
OWNERS, MAKING = 0x6C61_6201, 0x6C61_6202
# Seconds in which a slot's reader must have ended.
ACTIVE_SECONDS = 5.0
# How each kind of thing is dropped. A slot holds back the server's log, so it goes first.
_DROPS = {
    "slot": "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = ?",
    "publication": "DROP PUBLICATION IF EXISTS {}",
    "schema": "DROP SCHEMA IF EXISTS {} CASCADE",
    "database": "DROP DATABASE IF EXISTS {}",
}


class PostgresLedger(Ledger[Session]):
    """The ledger on the server that `connect` connects to."""

    variable: ClassVar[str] = "LAB_POSTGRES_OWNER"
    kinds: ClassVar[tuple[str, ...]] = tuple(_DROPS)

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A connection for a few statements. Raises Unavailable."""
        connection = self._connect()
        try:
            with engine.mapped("what the lab has on the server"):
                yield Session(connection)
        finally:
            connection.close()

    def hold(self, number: int) -> Held:
        """A session with the lock on the owner's number."""
        held = AdvisoryLock(self._connect())
        with engine.mapped("the lab's lock on the server"):
            Session(held.connection).execute(
                "SELECT pg_advisory_lock(?::integer, ?::integer)", (_signed(OWNERS), number)
            )
        return held

    @contextmanager
    def dead(self, session: Session, number: int) -> Iterator[bool]:
        """A lock that is free is that of a dead owner; it is held meanwhile."""
        arguments = (_signed(OWNERS), number)
        (free,) = session.execute("SELECT pg_try_advisory_lock(?::integer, ?::integer)", arguments).fetchone()
        try:
            yield bool(free)
        finally:
            if free:
                session.execute("SELECT pg_advisory_unlock(?::integer, ?::integer)", arguments)

    def lines(self, session: Session) -> list[Line]:
        """Everything that is written down, the oldest first."""
        if not _there(session):
            return []
        found = session.execute(f"SELECT {', '.join(Line._fields)} FROM {SCHEMA}.things ORDER BY made_at, name")
        return [Line(*row) for row in found.fetchall()]

    def write(self, session: Session, line: Line) -> None:
        """Write one line, in a transaction of its own."""
        _prepare(session)
        session.execute(
            f"INSERT INTO {SCHEMA}.things (kind, name, owner, host, folder, kept) VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (kind, name) DO UPDATE SET owner = excluded.owner, host = excluded.host, "
            "folder = excluded.folder, kept = excluded.kept",
            line,
        )

    def strike(self, session: Session, kind: str, name: str) -> None:
        """Strike a line out."""
        if _there(session):
            session.execute(f"DELETE FROM {SCHEMA}.things WHERE kind = ? AND name = ?", (kind, name))

    def remove(self, session: Session, kind: str, name: str) -> None:
        """Drop a slot, a publication, a schema or a database."""
        statement = _DROPS[kind]
        with engine.mapped(name):
            if kind == "slot":
                _hang_up(session, name)
            if "{}" in statement:
                session.execute(statement.format('"' + name.replace('"', '""') + '"'))
            else:
                session.execute(statement, (name,))


def _hang_up(session: Session, slot: str) -> None:
    """End the session that reads a slot: its process has ended, or is about to."""
    until = time.monotonic() + ACTIVE_SECONDS
    asked = "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = ? AND active"
    while session.execute(asked, (slot,)).fetchall() and time.monotonic() < until:
        time.sleep(0.02)


class AdvisoryLock:
    """A session that holds an advisory lock."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def alive(self) -> bool:
        """Whether the session is there."""
        if self.connection.closed:
            return False
        try:
            self.connection.execute("SELECT 1")
        except Exception:
            self.connection.close()
            return False
        return True

    def close(self) -> None:
        """End the session, and with it the lock."""
        self.connection.close()


def _signed(number: int) -> int:
    return number - 2**32 if number >= 2**31 else number


def _there(session: Session) -> bool:
    return session.execute("SELECT to_regclass(?)", (f"{SCHEMA}.things",)).fetchone()[0] is not None


def _prepare(session: Session) -> None:
    """Make the ledger where there is none."""
    if _there(session):
        return
    session.execute("BEGIN")
    try:
        session.execute("SELECT pg_advisory_xact_lock(?::integer, 0)", (_signed(MAKING),))
        session.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
        session.execute(
            f"CREATE TABLE IF NOT EXISTS {SCHEMA}.things (kind text NOT NULL, name text NOT NULL, "
            "owner bigint NOT NULL, host text NOT NULL, folder text NOT NULL, kept boolean NOT NULL, "
            "made_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (kind, name))"
        )
    except BaseException:
        session.execute("ROLLBACK")
        raise
    session.execute("COMMIT")

"""The ledger of a MariaDB server: a table in a database of its own, and a named lock for each owner that lives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import pymysql

from lab.base import Unavailable
from lab.engines import mariadb as engine
from lab.engines.mariadb import MariadbSession, alive
from lab.engines.mariadb_errors import mapped
from lab.servers.ledger import Held, Ledger, Line

DATABASE = "lab_ledger"
_MAKE = (
    f"CREATE DATABASE IF NOT EXISTS {DATABASE} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    f"CREATE TABLE IF NOT EXISTS {DATABASE}.things (kind varchar(32) NOT NULL, name varchar(64) NOT NULL, "
    "owner bigint NOT NULL, host varchar(255) NOT NULL, folder longtext NOT NULL, kept boolean NOT NULL, "
    "made_at timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6), PRIMARY KEY (kind, name))",
)


class MariadbLedger(Ledger[MariadbSession]):
    """The ledger on the server that `connect` connects to."""

    variable: ClassVar[str] = "LAB_MARIADB_OWNER"
    kinds: ClassVar[tuple[str, ...]] = ("database",)

    def __init__(self, connect: Callable[[], MariadbSession]) -> None:
        self._connect = connect

    @contextmanager
    def session(self) -> Iterator[MariadbSession]:
        """A connection for a few statements. Raises Unavailable."""
        session = self._connect()
        try:
            with mapped("what the lab has on the server"):
                yield session
        finally:
            session.close()

    def hold(self, number: int) -> Held:
        """A session with the lock that is named after the owner; without the lock, a sweep would take it for dead."""
        held = NamedLock(self._connect())
        with mapped("the lab's lock on the server"):
            wait = engine.LOCK_SECONDS
            if held.session.execute("SELECT GET_LOCK(?, ?)", (_lock(number), wait)).fetchone() != (1,):
                held.close()
                what = f"another session holds the lock {_lock(number)}, by which the lab tells that this process lives"
                raise Unavailable(f"MariaDB: {what}: it was not given within {wait} s")
            # Idle sessions are ended by the server after a time, and this one is idle until the process ends.
            held.session.execute("SET SESSION wait_timeout = 2147483")
        return held

    @contextmanager
    def dead(self, session: MariadbSession, number: int) -> Iterator[bool]:
        """A lock that is free is that of a dead owner; it is held meanwhile."""
        (free,) = session.execute("SELECT GET_LOCK(?, 0)", (_lock(number),)).fetchone()
        try:
            yield bool(free)
        finally:
            if free:
                session.execute("DO RELEASE_LOCK(?)", (_lock(number),))

    def lines(self, session: MariadbSession) -> list[Line]:
        """Everything that is written down, the oldest first."""
        if not _there(session):
            return []
        found = session.execute(f"SELECT {', '.join(Line._fields)} FROM {DATABASE}.things ORDER BY made_at, name")
        return [Line(*row)._replace(kept=bool(row[-1])) for row in found.fetchall()]

    def write(self, session: MariadbSession, line: Line) -> None:
        """Write one line, in a transaction of its own."""
        if not _there(session):
            for statement in _MAKE:
                session.execute(statement)
        session.execute(
            f"INSERT INTO {DATABASE}.things (kind, name, owner, host, folder, kept) VALUES (?, ?, ?, ?, ?, ?) "
            "ON DUPLICATE KEY UPDATE owner = VALUES(owner), host = VALUES(host), folder = VALUES(folder), "
            "kept = VALUES(kept)",
            line,
        )

    def strike(self, session: MariadbSession, kind: str, name: str) -> None:
        """Strike a line out."""
        if _there(session):
            session.execute(f"DELETE FROM {DATABASE}.things WHERE kind = ? AND name = ?", (kind, name))

    def remove(self, session: MariadbSession, kind: str, name: str) -> None:
        """Drop a database."""
        with mapped(name):
            session.execute('DROP DATABASE IF EXISTS "' + name.replace('"', '""') + '"')


class NamedLock:
    """A session that holds a named lock."""

    def __init__(self, session: MariadbSession) -> None:
        self.session = session

    def alive(self) -> bool:
        """Whether the session is there."""
        if not alive(self.session.connection):
            return False
        try:
            self.session.execute("SELECT 1")
        except pymysql.Error:
            self.session.close()
            return False
        return True

    def close(self) -> None:
        """End the session, and with it the lock."""
        self.session.close()


def _lock(number: int) -> str:
    return f"lab_owner_{number}"


def _there(session: MariadbSession) -> Any:
    found = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = ? AND table_name = 'things'"
    return session.execute(found, (DATABASE,)).fetchone()[0]

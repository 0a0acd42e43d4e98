"""A place on a MariaDB server: a database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pymysql

from lab.engines.mariadb import MariadbSession, collation, is_mysql
from lab.servers.mariadb import LEDGER, SERVER
from lab.servers.mariadb_ledger import MariadbLedger
from lab.servers.place import ServerPlace


@dataclass(frozen=True)
class MariadbPlace(ServerPlace):
    """One generation of data in a database."""

    kind: ClassVar[str] = "database"
    at = SERVER

    @property
    def book(self) -> MariadbLedger:
        """The ledger of the server that the environment names."""
        return LEDGER

    def where(self) -> str:
        """The server's URL without a password."""
        return str(SERVER.configured() or "this machine")

    def is_made(self, session: MariadbSession, name: str) -> bool:
        """Return whether there is a database of this name."""
        found = "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = ?"
        return bool(session.execute(found, (name,)).fetchone()[0])

    def make(self, session: MariadbSession, name: str) -> None:
        """Create the database, with the collation in which all texts differ that have other bytes."""
        binary = collation(session.connection.server_version)
        session.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE {binary}")

    def bytes_of(self, session: MariadbSession, name: str) -> int:
        """The size of its files, where this user may look at them; else what the engine has noted of its tables."""
        files = "innodb_tablespaces" if is_mysql(session.connection.server_version) else "innodb_sys_tablespaces"
        sizes = f"SELECT COALESCE(SUM(file_size), 0) FROM information_schema.{files} WHERE name LIKE ?"
        noted = (
            "SELECT COALESCE(SUM(data_length + index_length), 0) FROM information_schema.tables WHERE table_schema = ?"
        )
        try:
            return int(session.execute(sizes, (f"{name.replace('_', chr(92) + '_')}/%",)).fetchone()[0])
        except pymysql.OperationalError:
            return int(session.execute(noted, (name,)).fetchone()[0])

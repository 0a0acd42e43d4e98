"""PostgreSQL: found by the variable LAB_POSTGRES, by the file that LAB_POSTGRES_FILE names, or where it usually is."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lab.base import LabError, Unavailable
from lab.engines import postgres as engine
from lab.engines.dsn import Dsn
from lab.engines.postgres import Connection, Session
from lab.servers.postgres_ledger import PostgresLedger
from lab.servers.sql import SqlServer, this_user

PORT = 5432
SOCKETS = ("/var/run/postgresql", "/tmp")
# Set by a user of libpq, they say where the server is: nothing is guessed then.
LIBPQ = ("PGHOST", "PGHOSTADDR", "PGPORT", "PGSERVICE")


# Who replicates has connections of its own, beside `max_connections`. Those that are reserved are for superusers; those
# of `reserved_connections`, from PostgreSQL 16 on, for members of a role, too. A user without `pg_read_all_stats` sees
# connections of others without their kind.
_CONNECTIONS = (
    "SELECT current_setting('max_connections')::int, "
    "CASE WHEN current_setting('is_superuser') = 'on' THEN 0 "
    "ELSE current_setting('superuser_reserved_connections')::int + CASE "
    "WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = 'pg_use_reserved_connections' AND pg_has_role(oid, 'USAGE')) "
    "THEN 0 ELSE COALESCE(current_setting('reserved_connections', true)::int, 0) END END, "
    "(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' OR (backend_type IS NULL "
    "AND usesysid IS NOT NULL AND datid IS NOT NULL AND pid NOT IN (SELECT pid FROM pg_stat_replication)))"
)


class PostgresServer(SqlServer[Dsn]):
    """The PostgreSQL server that the environment names, or the one on this machine."""

    called, name, variable = "PostgreSQL", "postgres", "LAB_POSTGRES"
    variables = (*LIBPQ, "PGUSER", "PGDATABASE")
    start = (
        "start one: apt-get install postgresql && lab servers start postgres, or service postgresql start, "
        "or docker run --rm -e POSTGRES_PASSWORD=lab -p 127.0.0.1:5432:5432 postgres:17; "
        f"say where it is: export {variable}=postgresql://user@127.0.0.1:5432/database"
    )

    @property
    def book(self) -> PostgresLedger:
        """A table in a schema of its own."""
        return LEDGER

    def parsed(self, text: str, where: str) -> Dsn:
        """As libpq understands it."""
        return Dsn(text, where)

    def elsewhere(self) -> bool:
        """Whether libpq is told where to look."""
        return any(os.environ.get(name) for name in LIBPQ)

    def usual(self) -> Iterator[Dsn]:
        """Where libpq is told to look, or else the usual port and sockets, as this user and as `postgres`."""
        if self.elsewhere():
            yield Dsn("")
            return
        database = os.environ.get("PGDATABASE", "postgres")
        users = [os.environ["PGUSER"]] if "PGUSER" in os.environ else ["postgres", this_user("postgres")]
        for host in ("127.0.0.1", *(one for one in SOCKETS if Path(one, f".s.PGSQL.{PORT}").exists())):
            for user in dict.fromkeys(users):
                yield Dsn(f"postgresql://{user}@/{database}?host={host}&port={PORT}")

    def open(self, dsn: Dsn) -> Connection:
        """Connect to the database that the string names."""
        return engine.connect(dsn)

    def connect(self, schema: str = "", **options: Any) -> Connection:
        """Connect as `lab.engines.postgres.connect` does. Raises Unavailable."""
        return engine.connect(self.dsn(), schema, **options)

    def connections(self) -> tuple[int, int, int]:
        """How many it takes, how many of them are reserved for others, how many there are. Raises Unavailable."""
        connection = self.connect()
        try:
            with engine.mapped(str(self.dsn()), self.dsn()):
                most, reserved, there = Session(connection).execute(_CONNECTIONS).fetchone()
        finally:
            connection.close()
        # This one is gone by now.
        return int(most), int(reserved), int(there) - 1

    def settings(self) -> Mapping[str, Any]:
        """Those of durability, memory and the log."""
        connection = engine.connect(self.dsn())
        try:
            return engine.settings(Session(connection))
        finally:
            connection.close()

    def version(self, dsn: Dsn) -> str:
        """The version of the server, which must hold texts as UTF-8."""
        connection = engine.connect(dsn)
        try:
            with engine.mapped(str(dsn), dsn):
                (version, encoding) = (
                    Session(connection)
                    .execute("SELECT current_setting('server_version'), current_setting('server_encoding')")
                    .fetchone()
                )
        except LabError as error:
            raise Unavailable(str(error)) from None
        finally:
            connection.close()
        if encoding != "UTF8":
            raise Unavailable(f"{dsn}: the database's encoding is {encoding}; create one with ENCODING 'UTF8'")
        return str(version)


SERVER = PostgresServer()
LEDGER = PostgresLedger(SERVER.connect)

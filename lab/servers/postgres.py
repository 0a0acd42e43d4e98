"""PostgreSQL: found by the variable LAB_POSTGRES, by the file that LAB_POSTGRES_FILE names, or where it usually is.

Only the connection string has a password, if there is one. It is read anew by each process and kept in no file, no
argument and no message.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from lab.base import BadInput, LabError, Unavailable
from lab.engines import postgres as engine
from lab.engines.dsn import Dsn
from lab.engines.postgres import Connection, Session
from lab.ports import Endpoint, Missing
from lab.servers.environment import said
from lab.servers.postgres_ledger import PostgresLedger

VARIABLE, FILE = "LAB_POSTGRES", "LAB_POSTGRES_FILE"
PORT = 5432
SOCKETS = ("/var/run/postgresql", "/tmp")
# Set by a user of libpq, they say where the server is: nothing is guessed then.
LIBPQ = ("PGHOST", "PGHOSTADDR", "PGPORT", "PGSERVICE")
START = (
    "start one: apt-get install postgresql && service postgresql start, "
    "or docker run --rm -e POSTGRES_PASSWORD=lab -p 127.0.0.1:5432:5432 postgres:17; "
    f"say where it is: export {VARIABLE}=postgresql://user@127.0.0.1:5432/database"
)


class PostgresServer:
    """The PostgreSQL server that the environment names, or the one on this machine."""

    def find(self) -> Endpoint | Missing:
        """Connect once to each place where it may be; the first that answers is it."""
        try:
            match _look():
                case (Dsn() as dsn, str() as version):
                    return Endpoint(str(dsn), version, lambda: engine.connect(dsn))
                case reason:
                    return Missing(str(reason), START)
        except BadInput as error:
            return Missing(str(error.problems[0]), START)

    def dsn(self) -> Dsn:
        """The connection string of the server that answers, found once for each environment. Raises Unavailable."""
        return _found(tuple(os.environ.get(name, "") for name in (VARIABLE, FILE, *LIBPQ, "PGUSER", "PGDATABASE")))

    def settings(self) -> Mapping[str, Any]:
        """The settings that matter, as read back from it. Raises Unavailable."""
        connection = engine.connect(self.dsn())
        try:
            return engine.settings(Session(connection))
        finally:
            connection.close()

    def connect(self, schema: str = "", **options: Any) -> Connection:
        """Connect as `lab.engines.postgres.connect` does. Raises Unavailable."""
        return engine.connect(self.dsn(), schema, **options)

    def forget(self, folder: Path) -> None:
        """Drop what this process made for folders below one, unless it is kept. A server that is away is left alone."""
        with suppress(LabError):
            LEDGER.forget(folder)

    def begin(self) -> None:
        """Take this process's lock on the server: until it ends, what it makes there is its own. Raises Unavailable."""
        LEDGER.owner()

    def clean(self) -> list[str]:
        """Drop what ended processes of the lab left on the server; returns the names. Raises Unavailable."""
        return LEDGER.sweep()


SERVER = PostgresServer()
LEDGER = PostgresLedger(SERVER.connect)


def configured() -> Dsn | None:
    """The connection string that the environment gives, without asking whether it is right; None if it gives none.

    Raises BadInput for a file that can't be read, and for a string that is none.
    """
    if (found := said(VARIABLE, "a connection string")) is None:
        return None
    return Dsn(*found)


def _candidates() -> Iterator[Dsn]:
    """Where a server may be: where it was said, or else the usual port and sockets, as this user and as `postgres`."""
    said = configured()
    if said is not None:
        yield said
        return
    if any(os.environ.get(name) for name in LIBPQ):
        yield Dsn("")
        return
    database = os.environ.get("PGDATABASE", "postgres")
    users = [os.environ["PGUSER"]] if "PGUSER" in os.environ else ["postgres", _user()]
    for host in ("127.0.0.1", *(one for one in SOCKETS if Path(one, f".s.PGSQL.{PORT}").exists())):
        for user in dict.fromkeys(users):
            yield Dsn(f"postgresql://{user}@/{database}?host={host}&port={PORT}")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "postgres"


@lru_cache(maxsize=8)
def _found(environment: tuple[str, ...]) -> Dsn:
    """As `PostgresServer.dsn`; what is found is kept, a failure isn't."""
    match _look():
        case (Dsn() as dsn, _):
            return dsn
        case reason:
            raise Unavailable(f"{reason}; {START}")


def _look() -> tuple[Dsn, str] | str:
    """The first server that answers, and its version; or why none does."""
    why = ""
    for dsn in _candidates():
        try:
            return dsn, _version(dsn)
        except Unavailable as error:
            # Of several places, the first is where most people look.
            why = why or str(error)
    return f"no PostgreSQL server is reached: {why}"


def _version(dsn: Dsn) -> str:
    """The version of the server, which must hold texts as UTF-8. Raises Unavailable."""
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

"""MariaDB or MySQL: found by LAB_MARIADB, by the file that LAB_MARIADB_FILE names, or where it usually is.

Which of the two it is, is said with its version: the lab is tested on MariaDB.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lab.base import LabError, Unavailable
from lab.engines import mariadb as engine
from lab.engines.mariadb import MariadbSession
from lab.engines.mariadb_errors import mapped
from lab.engines.mariadb_url import PORT, MariadbUrl
from lab.servers.mariadb_ledger import MariadbLedger
from lab.servers.sql import SqlServer, this_user

SOCKETS = ("/run/mysqld/mysqld.sock", "/var/run/mysqld/mysqld.sock", "/tmp/mysql.sock")
# Before these, MySQL has no collation in which blanks at the end count, and MariaDB no recursive statements.
LEAST = {"MySQL": (8, 0, 17), "MariaDB": (10, 5)}


class MariadbServer(SqlServer[MariadbUrl]):
    """The MariaDB or MySQL server that the environment names, or the one on this machine."""

    called, name, variable = "MariaDB", "mariadb", "LAB_MARIADB"
    variables = ("MYSQL_PWD",)
    start = (
        "start one: apt-get install mariadb-server && lab servers start mariadb, or service mariadb start, "
        "or docker run --rm -e MARIADB_ROOT_PASSWORD=lab -p 127.0.0.1:3306:3306 mariadb:11; "
        f"say where it is: export {variable}=mariadb://user@127.0.0.1:3306/"
    )

    @property
    def book(self) -> MariadbLedger:
        """A table in a database of its own."""
        return LEDGER

    def parsed(self, text: str, where: str) -> MariadbUrl:
        """A URL."""
        return MariadbUrl(text, where)

    def usual(self) -> Iterator[MariadbUrl]:
        """The usual port and sockets, as `root` and as this user; with the password of MYSQL_PWD, if it is set."""
        password = f":{quote(os.environ['MYSQL_PWD'], safe='')}" if os.environ.get("MYSQL_PWD") else ""
        sockets = (f"localhost/?unix_socket={quote(one)}" for one in SOCKETS if Path(one).exists())
        for where in (f"127.0.0.1:{PORT}/", *sockets):
            for user in dict.fromkeys(("root", this_user("root"))):
                yield MariadbUrl(f"mariadb://{quote(user, safe='')}{password}@{where}")

    def open(self, dsn: MariadbUrl) -> MariadbSession:
        """Connect to no database in particular."""
        return MariadbSession(engine.connect(dsn))

    def connect(self, database: str = "", **options: Any) -> MariadbSession:
        """Connect as `lab.engines.mariadb.connect` does. Raises Unavailable."""
        return MariadbSession(engine.connect(self.dsn(), database, **options))

    def connections(self) -> tuple[int, int, int]:
        """How many it takes, how many of them are reserved for others, how many there are. Raises Unavailable."""
        session = self.connect()
        try:
            with mapped(str(self.dsn()), self.dsn()):
                (most,) = session.execute("SELECT @@GLOBAL.max_connections").fetchone()
                _, there = session.execute("SHOW GLOBAL STATUS LIKE 'Threads_connected'").fetchone()
        finally:
            session.close()
        # This one is gone by now.
        return int(most), 0, int(there) - 1

    def settings(self) -> Mapping[str, Any]:
        """Those of durability, of counters and of the logs."""
        session = self.connect()
        try:
            with mapped(str(self.dsn()), self.dsn()):
                return engine.settings(session)
        finally:
            session.close()

    def version(self, dsn: MariadbUrl) -> str:
        """Its version, with the name of the product. One that is too old is no server that can be used."""
        try:
            session = self.open(dsn)
        except LabError as error:
            raise Unavailable(str(error)) from None
        found = str(session.connection.server_version).removeprefix("5.5.5-")
        session.close()
        product = "MySQL" if engine.is_mysql(found) else "MariaDB"
        least = LEAST[product]
        numbers = tuple(int(one) for one in found.split("-")[0].split(".") if one.isdigit())
        if numbers < least:
            raise Unavailable(f"{dsn}: {product} {found} is older than {'.'.join(map(str, least))}")
        return found if product in found else f"{found} ({product})"


SERVER = MariadbServer()
LEDGER = MariadbLedger(SERVER.connect)

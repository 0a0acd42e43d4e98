"""How the MariaDB stores reach their database, and read it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import polars as pl
import pymysql

from lab.base import Key, LabError
from lab.engines import budget
from lab.engines import mariadb as engine
from lab.engines.mariadb import NAME_BYTES, MariadbSession
from lab.engines.mariadb_errors import TIMED_OUT, mapped, number, translated
from lab.engines.mariadb_text import literal
from lab.ports import Capabilities
from lab.queries import sql
from lab.queries.answers import Row
from lab.queries.mysql import as_mysql
from lab.servers.mariadb import SERVER
from lab.servers.mariadb_place import MariadbPlace
from lab.stores.fenced_tables import IDLE_SECONDS, WAITS_SECONDS, FencedTables
from lab.stores.prepared import Answering
from lab.stores.server_store import PARKED
from lab.stores.slices import in_lists

# Before the name of a table: one that is built to take its place, and one whose place was taken.
NEW, FORMER = "lab_new_", "lab_old_"


class MariadbReading(FencedTables[MariadbSession]):
    """Base of the stores in a database of a MariaDB server."""

    dialect = "mysql"
    home = MariadbPlace
    errors = (pymysql.Error,)
    hashed = engine.HASHED
    durability = "full or normal, as the server is set for all that write to it; data and checkpoint in one transaction"
    capabilities = Capabilities(fences=True, concurrent_readers=True, signed_zero=False)
    plain_names = True
    entity_bytes, column_bytes = NAME_BYTES - max(len(PARKED), len("lab_memory_")) - len(NEW), NAME_BYTES

    @classmethod
    def begin(cls) -> None:
        """Become the owner of what this process and those that it starts make on the server."""
        SERVER.begin()

    # -- sessions ------------------------------------------------------------------------------------------------------

    def _session(self, name: str, *, read_only: bool = False, seconds: float = 0.0) -> MariadbSession:
        made = SERVER.connect(name, read_only=read_only, statement_seconds=seconds, bulk=not read_only)
        if seconds:
            made.execute(f"SET SESSION sql_select_limit = {budget.ANSWER_ROWS + 1}")
        return made

    def _limited(self, statement: str) -> str:
        """As it is: two columns of one name can't be selected from, and the session has a limit."""
        return statement

    def _take_writers_lock(self, session: MariadbSession, name: str) -> None:
        (taken,) = session.execute("SELECT GET_LOCK(?, ?)", (f"w{name}"[:64], engine.LOCK_SECONDS)).fetchone()
        if not taken:
            raise pymysql.OperationalError(1205, "the lock of the writer is not given")

    def _bound(self, session: MariadbSession) -> None:
        session.execute(f"SET SESSION idle_transaction_timeout = {IDLE_SECONDS}")
        # Within a statement, as while it waits for more of a LOAD DATA.
        session.execute(f"SET SESSION net_read_timeout = {IDLE_SECONDS}")
        session.execute(f"SET SESSION innodb_lock_wait_timeout = {WAITS_SECONDS}")

    def _waited(self, error: Exception) -> bool:
        return number(error) == 1205

    def _mapped(self, what: str) -> AbstractContextManager[None]:
        return mapped(what)

    def _told(self, error: Exception) -> LabError | None:
        return translated(self.name, error)

    def _timed_out(self, error: Exception) -> bool:
        return number(error) in TIMED_OUT

    def _selecting(self, statement: str) -> Answering:
        plain = as_mysql(statement)
        return lambda values: self._reading().execute(plain, values).fetchall()

    def read(self, statement: str, arguments: Sequence[Any] = (), bounded: bool = False) -> list[Row]:
        """The rows of any statement that only reads. Raises ReadOnly for one that tries to write."""
        return super().read(as_mysql(statement), arguments, bounded)

    def _frame(self, statement: str, schema: dict[str, pl.DataType]) -> pl.DataFrame:
        with mapped(self.name):
            found = self._connection.execute(as_mysql(statement)).fetchall()
        return pl.DataFrame(found, schema=schema, orient="row")

    def _after(self, names: Sequence[str], last: Row) -> str:
        """Spelt out: of rows that are compared as such, the engine looks through the whole index."""
        parts = list[str]()
        for place, name in enumerate(names):
            same = [f"{sql.quoted(one)} = {literal(last[at])}" for at, one in enumerate(names[:place])]
            parts.append(" AND ".join([*same, f"{sql.quoted(name)} > {literal(last[place])}"]))
        return " OR ".join(f"({one})" for one in parts)

    def _among(self, columns: str, table: str, key: str, keys: Sequence[Key], more: str = "") -> list[Row]:
        """Some thousands of keys at a time."""
        found: list[Row] = []
        with mapped(self.name):
            for some, marks in in_lists(list(dict.fromkeys(keys))):
                statement = f"SELECT {columns} FROM {sql.quoted(table)} WHERE {key} IN {marks}{more}"
                found += self._connection.execute(statement, some).fetchall()
        return found

    def settings(self) -> dict[str, Any]:
        """The settings that matter, as the server reports them."""
        with mapped(self.name):
            return engine.settings(self._connection)

"""The database of a source of truth on a MariaDB server, as one process has it open."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any

import polars as pl
import pymysql

from lab.base import Damaged, SourceLost
from lab.engines import budget
from lab.engines.mariadb import LOCK_SECONDS, MariadbSession
from lab.engines.mariadb_errors import TIMED_OUT, mapped, number, translated
from lab.queries.answers import Row
from lab.queries.mysql import as_mysql
from lab.servers.mariadb import SERVER
from lab.truth.attached import TIMELINE, AttachedPlace, Step


class AttachedDatabase(AttachedPlace[MariadbSession]):
    """One database and its connections."""

    called = "database"
    errors = (pymysql.Error,)

    def _connected(self, does: str, read_only: bool, seconds: float) -> MariadbSession:
        session = SERVER.connect(self.named, read_only=read_only, statement_seconds=seconds, bulk=not read_only)
        if seconds:
            session.execute(f"SET SESSION sql_select_limit = {budget.ANSWER_ROWS + 1}")
        return session

    def mapped(self) -> AbstractContextManager[None]:
        """As the engine translates."""
        return mapped(self.name)

    def told(self, error: Exception) -> Exception:
        """By its number."""
        return translated(self.name, error) or error

    def timed_out(self, error: Exception) -> bool:
        """By its number."""
        return number(error) in TIMED_OUT

    def _limited(self, statement: str) -> str:
        """As it is: two columns of one name can't be selected from, and the session has a limit."""
        return statement

    def _rows(self, session: MariadbSession, statement: str, arguments: Row) -> Any:
        return session.execute(as_mysql(statement), arguments)

    def together(self, session: MariadbSession, steps: Sequence[Step]) -> list[list[Row]]:
        """The server executes each after the one before it; under READ COMMITTED each has a snapshot of its own."""
        return [one.rows for one in session.together([(as_mysql(statement), values) for statement, values in steps])]

    def held(self, rows: Sequence[Row]) -> None:
        """A lock is given if the answer is 1; a row that isn't there has none."""
        if rows not in ([], [(1,)]):
            raise pymysql.OperationalError(1205, f"a record's lock was not given within {LOCK_SECONDS} s")

    def roll_back(self) -> None:
        """Roll back, and give up the locks."""
        if self.alive:
            session = self.session
            try:
                session.together([("ROLLBACK", ()), ("DO RELEASE_ALL_LOCKS()", ())])
            except pymysql.Error:
                with suppress(pymysql.Error):
                    session.close()

    def has(self, tables: Sequence[str]) -> bool:
        """By the server's list of tables."""
        found = {name for (name,) in self.execute("SHOW TABLES").fetchall()}
        return found.issuperset(tables)

    def _mark(self) -> Any:
        """The id of the first opening: a random one."""
        try:
            found = self.execute(f"SELECT id FROM {TIMELINE} ORDER BY number LIMIT 1").fetchall()
        except Damaged:
            return None
        return found[0][0] if found else None

    def frame(self, statement: str, numbers: Sequence[Any], schema: dict[str, pl.DataType]) -> pl.DataFrame:
        """Row by row."""
        return pl.DataFrame(self.execute(statement, tuple(numbers)).fetchall(), schema=schema, orient="row")

    @property
    def session(self) -> MariadbSession:
        """The connection for commands, or for the feed; of a database that is gone, there is none to be had."""
        try:
            return super().session
        except Damaged:
            if self._opened is None:
                raise
            raise SourceLost(f"database {self.named} was dropped") from None

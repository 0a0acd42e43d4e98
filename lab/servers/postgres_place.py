"""A place on a PostgreSQL server: a schema."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lab.engines.postgres import NAME_BYTES, Session
from lab.servers.place import ServerPlace
from lab.servers.postgres import LEDGER, SERVER
from lab.servers.postgres_ledger import PostgresLedger


@dataclass(frozen=True)
class PostgresPlace(ServerPlace):
    """One generation of data in a schema."""

    kind: ClassVar[str] = "schema"
    at = SERVER
    name_bytes: ClassVar[int] = NAME_BYTES

    @property
    def book(self) -> PostgresLedger:
        """The ledger of the server that the environment names."""
        return LEDGER

    def where(self) -> str:
        """The server's URL without a password."""
        return str(SERVER.configured() or "this machine")

    def is_made(self, session: Session, name: str) -> bool:
        """Return whether there is a schema of this name."""
        return session.execute("SELECT to_regnamespace(?)", (name,)).fetchone()[0] is not None

    def make(self, session: Session, name: str) -> None:
        """Create the schema."""
        session.execute(f"CREATE SCHEMA {name}")

    def bytes_of(self, session: Session, name: str) -> int:
        """The size of all tables and indexes of the schema."""
        found = session.execute(
            "SELECT COALESCE(SUM(pg_total_relation_size(oid)), 0)::bigint FROM pg_class "
            "WHERE relnamespace = to_regnamespace(?) AND relkind IN ('r', 'm')",
            (name,),
        )
        return int(found.fetchone()[0])

"""A place on a server: a schema that a folder names.

The folder is as it is for stores on disk: it says whose data they are, which generation is the current one, and what
was set aside. The data themselves are in a schema of their own, whose name a hidden file of the folder holds. So a copy
of the folder at another place names the same schema, which only one process at a time can write.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Self

from lab.base import LabError
from lab.engines import postgres as engine
from lab.engines.postgres import NAME_BYTES, Session
from lab.place import IDENTITY, FolderPlace, read_file, replace_file
from lab.ports import Endpoint
from lab.servers import ledger
from lab.servers.postgres import SERVER, configured

# Bytes of a random name: two places never share one.
RANDOM_BYTES = 6
_NAME = re.compile(r"lab_[a-z0-9_]{1,58}")


@dataclass(frozen=True)
class ServerPlace(FolderPlace):
    """One generation of data in a schema on a PostgreSQL server; `folder` names the schema, and goes with it."""

    @classmethod
    def of(cls, place: FolderPlace) -> Self:
        """Return the place on the server that belongs to a folder."""
        return place if isinstance(place, cls) else cls(place.folder, place.generation, place.files)

    @property
    def schema(self) -> str:
        """The schema's name; "" where none was made yet, or where what names it was altered. Raises OSError."""
        found = (read_file(self.path / ledger.NAMED) or "").strip()
        return found if _NAME.fullmatch(found) else ""

    def claim(self) -> str:
        """Return the name of the schema, which is made if need be, once it is written down. Raises Unavailable.

        A schema is kept as long as its folder if the folder says whose it is. All others end with this process.
        """
        number = ledger.owner(SERVER.connect)
        with self._session() as session:
            name = self.schema
            kept = (self.path / IDENTITY).is_file()
            if name and session.execute("SELECT to_regnamespace(?)", (name,)).fetchone()[0] is not None:
                # The folder may have been renamed, and its former owner has ended.
                ledger.note(session, "schema", name, number, self.path, kept)
                return name
            name = self._fresh_name()
            if kept:
                # First: what the folder doesn't name is dropped.
                replace_file(self.path / ledger.NAMED, name)
            ledger.note(session, "schema", name, number, self.path, kept)
            session.execute(f"CREATE SCHEMA {name}")
            if not kept:
                self.path.mkdir(parents=True, exist_ok=True)
                (self.path / ledger.NAMED).write_text(name, encoding="utf-8")
            return name

    def _fresh_name(self) -> str:
        ending = f"_{self.generation}_{secrets.token_hex(RANDOM_BYTES)}"
        plain = re.sub("[^a-z0-9]+", "_", self.namespace.lower()).strip("_") or "place"
        return f"lab_{plain}"[: NAME_BYTES - len(ending)] + ending

    def shown(self) -> str:
        """The folder, with the schema and its server's URL without a password."""
        with suppress(LabError):
            return f"{self.path} (schema {self.schema or 'not made yet'} at {configured() or 'this machine'})"
        return str(self.path)

    def drop(self) -> None:
        """Drop the schema and remove the folder; a server that is away is swept later: the folder is gone then."""
        with suppress(LabError, OSError):
            if name := self.schema:
                with self._session() as session:
                    ledger.drop(session, "schema", name)
        super().drop()

    def put_aside(self, reason: str) -> str:
        """Rename the folder, which keeps its schema; returns the folder's new name. Raises OSError."""
        schema, name = self.schema, super().put_aside(reason)
        with suppress(LabError):
            if schema:
                with self._session() as session:
                    ledger.move(session, schema, self.folder.with_name(name))
        return name

    def size_bytes(self) -> int:
        """The size of all tables and indexes of the schema; 0 where there is none. Raises Unavailable."""
        if not (name := self.schema):
            return 0
        with self._session() as session:
            found = session.execute(
                "SELECT COALESCE(SUM(pg_total_relation_size(oid)), 0)::bigint FROM pg_class "
                "WHERE relnamespace = to_regnamespace(?) AND relkind IN ('r', 'm')",
                (name,),
            )
            return int(found.fetchone()[0])

    def within_reach(self) -> bool:
        """Return whether the server answers now."""
        return isinstance(SERVER.find(), Endpoint)

    @contextmanager
    def _session(self) -> Iterator[Session]:
        connection = SERVER.connect()
        try:
            with engine.mapped(str(self.path)):
                yield Session(connection)
        finally:
            connection.close()

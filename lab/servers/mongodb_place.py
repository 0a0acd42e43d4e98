"""A place on a MongoDB server: a database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lab.servers.disk_ledger import DiskLedger
from lab.servers.mongodb import SERVER
from lab.servers.place import ServerPlace

# Each database has it from the beginning: one without any collection isn't there.
OWNER = "owner"


@dataclass(frozen=True)
class MongodbPlace(ServerPlace):
    """One generation of data in a database of its own."""

    kind: ClassVar[str] = "database"
    at = SERVER

    @property
    def book(self) -> DiskLedger:
        """What processes of this machine have made on the server that the environment names."""
        return SERVER.book

    def is_made(self, session: None, name: str) -> bool:
        """Return whether there is such a database. Raises Unavailable."""
        with SERVER.session() as client:
            return OWNER in client[name].list_collection_names()

    def make(self, session: None, name: str) -> None:
        """Make it, with the collection that will name its writer."""
        with SERVER.session() as client:
            client[name].create_collection(OWNER)

    def bytes_of(self, session: None, name: str) -> int:
        """What documents and indexes take, before the server compresses them."""
        with SERVER.session() as client:
            found = client[name].command("dbStats")
        return int(found["dataSize"] + found["indexSize"])

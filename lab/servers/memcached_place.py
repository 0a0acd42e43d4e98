"""A place on a Memcached server: a prefix of names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lab.servers.disk_ledger import DiskLedger
from lab.servers.memcached import SERVER
from lab.servers.place import ServerPlace


@dataclass(frozen=True)
class MemcachedPlace(ServerPlace):
    """One generation of data in all entries whose names begin with a name and a colon."""

    kind: ClassVar[str] = "prefix"
    at = SERVER

    @property
    def book(self) -> DiskLedger:
        """What processes of this machine have made on the server that the environment names."""
        return SERVER.book

    def is_made(self, session: None, name: str) -> bool:
        """Return True: there is nothing to make, and each entry may be evicted at any time."""
        return True

    def make(self, session: None, name: str) -> None:
        """Nothing: entries are made by being written."""

    def bytes_of(self, session: None, name: str) -> int:
        """What the entries take that the server lists."""
        with SERVER.session() as client:
            return sum(size for _, size in client.listed(f"{name}:".encode()))

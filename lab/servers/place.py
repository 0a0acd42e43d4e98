"""A place on a server: a schema, a database or a prefix of keys, that a folder names.

The folder is as it is for stores on disk: it says whose data they are, which generation is the current one, and what
was set aside. The data themselves are on the server, in something of their own, whose name a hidden file of the folder
holds. So a copy of the folder at another place names the same data, which only one process at a time can write.
"""

from __future__ import annotations

import re
import secrets
from abc import abstractmethod
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from lab.base import LabError
from lab.place import IDENTITY, FolderPlace, read_file, replace_file
from lab.ports import Endpoint
from lab.servers.ledger import NAMED, Ledger

# Bytes of a random name: two places never share one.
RANDOM_BYTES = 6
_NAME = re.compile(r"lab_[a-z0-9_]{1,58}")


@dataclass(frozen=True)
class ServerPlace(FolderPlace):
    """One generation of data on a server; `folder` names where they are, and goes with them."""

    # What a name is of, in the words of the ledger; and the most bytes of one.
    kind: ClassVar[str]
    # The server that the environment names: it has `url` and `find`.
    at: ClassVar[Any]
    name_bytes: ClassVar[int] = 63

    @classmethod
    def of(cls, place: FolderPlace) -> Self:
        """Return the place on the server that belongs to a folder."""
        return place if isinstance(place, cls) else cls(place.folder, place.generation, place.files)

    # -- of each kind of server ----------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def book(self) -> Ledger[Any]:
        """Where what is made on this server is written down."""

    def where(self) -> str:
        """The server's URL without a password, without asking it. Raises BadInput."""
        return str(self.at.url())

    def within_reach(self) -> bool:
        """Return whether the server answers now."""
        return isinstance(self.at.find(), Endpoint)

    @abstractmethod
    def is_made(self, session: Any, name: str) -> bool:
        """Return whether there is something of this name on the server."""

    @abstractmethod
    def make(self, session: Any, name: str) -> None:
        """Make it, empty."""

    @abstractmethod
    def bytes_of(self, session: Any, name: str) -> int:
        """What it takes on the server, in bytes."""

    # -- of all --------------------------------------------------------------------------------------------------------

    @property
    def named(self) -> str:
        """The name on the server; "" where none was made yet, or where what names it was altered. Raises OSError."""
        found = (read_file(self.path / NAMED) or "").strip()
        return found if _NAME.fullmatch(found) else ""

    def exists(self) -> bool:
        """Return whether what the folder names is on the server. Raises Unavailable."""
        if not (name := self.named):
            return False
        with self.book.session() as session:
            return self.is_made(session, name)

    def claim(self) -> str:
        """Return the name on the server, where it is made if need be, once it is written down. Raises Unavailable.

        It is kept as long as its folder if the folder says whose it is. All others end with this process.
        """
        number = self.book.owner()
        with self.book.session() as session:
            name = self.named
            kept = (self.path / IDENTITY).is_file()
            if name and self.is_made(session, name):
                # The folder may have been renamed, and its former owner has ended.
                self.book.note(session, self.kind, name, number, self.path, kept)
                return name
            name = self._fresh_name()
            if kept:
                # First: what the folder doesn't name is dropped.
                replace_file(self.path / NAMED, name)
            self.book.note(session, self.kind, name, number, self.path, kept)
            self.make(session, name)
            if not kept:
                self.path.mkdir(parents=True, exist_ok=True)
                (self.path / NAMED).write_text(name, encoding="utf-8")
            return name

    def _fresh_name(self) -> str:
        ending = f"_{self.generation}_{secrets.token_hex(RANDOM_BYTES)}"
        plain = re.sub("[^a-z0-9]+", "_", self.namespace.lower()).strip("_") or "place"
        return f"lab_{plain}"[: self.name_bytes - len(ending)] + ending

    def shown(self) -> str:
        """The folder, with the name on the server and the server's URL without a password."""
        with suppress(LabError):
            return f"{self.path} ({self.kind} {self.named or 'not made yet'} at {self.where()})"
        return str(self.path)

    def drop(self) -> None:
        """Drop the data and remove the folder; a server that is away is swept later: the folder is gone then."""
        with suppress(LabError, OSError):
            if name := self.named:
                with self.book.session() as session:
                    self.book.drop(session, self.kind, name)
        super().drop()

    def put_aside(self, reason: str) -> str:
        """Rename the folder, which keeps its data; returns the folder's new name. Raises OSError."""
        former, name = self.named, super().put_aside(reason)
        with suppress(LabError):
            if former:
                with self.book.session() as session:
                    self.book.move(session, self.kind, former, self.folder.with_name(name))
        return name

    def size_bytes(self) -> int:
        """What the data take on the server; 0 where there are none. Raises Unavailable."""
        if not (name := self.named):
            return 0
        with self.book.session() as session:
            return self.bytes_of(session, name)

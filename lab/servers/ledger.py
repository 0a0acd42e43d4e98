"""What the lab made on a server, written down there before it is made; and what of it is nobody's any more.

Each process of the lab, with those that it starts, is one owner: a number, and a session on the server that says that
it lives, for as long as the process does. An owner without one is dead, however it died. What only its run needed is
dropped by the next run, or by `lab servers --clean`. What belongs to a folder that is kept, as a service's are, is
dropped once the folder is gone or names something else. Nothing is dropped that is not written down.

Each kind of server keeps its ledger in its own way: a subclass of `Ledger`.
"""

from __future__ import annotations

import atexit
import os
import secrets
import socket
import threading
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Generic, NamedTuple, Protocol, TypeVar

from lab.base import LabError
from lab.place import read_file

# Beside the data of a place: the name of what holds them on the server.
NAMED = ".lab-on-server"

_OWNING = threading.RLock()

# What statements go through: a session or a client of this kind of server.
SessionT = TypeVar("SessionT")


class Line(NamedTuple):
    """One thing on the server: what kind and name, whose, of which machine and folder, and whether it outlives it."""

    kind: str
    name: str
    owner: int
    host: str
    folder: str
    kept: bool


class Held(Protocol):
    """A session that says that an owner lives."""

    def alive(self) -> bool:
        """Whether it is there; after a restart of the server it isn't."""

    def close(self) -> None:
        """End it."""


@dataclass
class _Owner:
    """This process: its number, and the session that speaks for it; none where another process holds it."""

    number: int
    process: int
    held: Held | None = None


class Ledger(ABC, Generic[SessionT]):
    """The ledger of one kind of server, which it finds through `session`."""

    # Tells the processes that this one starts whose work they do: the name of an environment variable.
    variable: ClassVar[str]
    # The kinds of things, in the order in which they are dropped.
    kinds: ClassVar[tuple[str, ...]]

    _owner: _Owner | None = None

    # -- of each kind of server ----------------------------------------------------------------------------------------

    @abstractmethod
    def session(self) -> AbstractContextManager[SessionT]:
        """Connect for a few statements, the lab's errors in place of the driver's. Raises Unavailable."""

    @abstractmethod
    def hold(self, number: int) -> Held:
        """Open the session that says that this owner lives. Raises Unavailable."""

    @abstractmethod
    def dead(self, session: SessionT, number: int) -> AbstractContextManager[bool]:
        """Whether no session speaks for an owner; while it lasts, nobody else drops what that one left."""

    @abstractmethod
    def lines(self, session: SessionT) -> list[Line]:
        """Everything that is written down, the oldest first."""

    @abstractmethod
    def write(self, session: SessionT, line: Line) -> None:
        """Write one line, durably where the server can, in place of the one of this kind and name."""

    @abstractmethod
    def strike(self, session: SessionT, kind: str, name: str) -> None:
        """Strike a line out, if it is there."""

    @abstractmethod
    def remove(self, session: SessionT, kind: str, name: str) -> None:
        """Drop the thing itself, if it is there."""

    # -- of all --------------------------------------------------------------------------------------------------------

    def owner(self) -> int:
        """Return the number of the owner that this process works for; the first call opens its session.

        Raises Unavailable.
        """
        # Threads would ask one session at the same time, and each wait for the lock that another has just taken.
        with _OWNING:
            return self._found()

    def _found(self) -> int:
        mine = self._owner if self._owner is not None and self._owner.process == os.getpid() else None
        if mine is not None and (mine.held is None or mine.held.alive()):
            return mine.number
        if mine is None and (inherited := os.environ.get(self.variable, "")):
            self._owner = _Owner(int(inherited), os.getpid())
            return self._owner.number
        number = mine.number if mine is not None else secrets.randbelow(2**31)
        held = self.hold(number)
        if self._owner is None:
            atexit.register(self.leave)
        self._owner = _Owner(number, os.getpid(), held)
        os.environ[self.variable] = str(number)
        return number

    def leave(self) -> None:
        """Drop what this process made and what isn't kept, then end its session. Of a server that is away, nothing."""
        mine = self._owner
        if mine is not None and mine.process == os.getpid() and mine.held is not None:
            with suppress(LabError):
                self.forget()
            mine.held.close()
            os.environ.pop(self.variable, None)
            self._owner = None

    def note(self, session: SessionT, kind: str, name: str, owned_by: int, folder: Path, kept: bool = False) -> None:
        """Write down what is about to be made.

        `kind` is one of `kinds`, `folder` the one that it belongs to. If `kept`, it outlives this process: it is there
        as long as the file `NAMED` in the folder has its name.
        """
        assert kind in self.kinds, kind
        self.write(session, Line(kind, name, owned_by, socket.gethostname(), str(folder.absolute()), kept))

    def drop(self, session: SessionT, kind: str, name: str) -> None:
        """Drop one thing, then strike its line out. Dropping it twice is allowed."""
        self.remove(session, kind, name)
        self.strike(session, kind, name)

    def move(self, session: SessionT, kind: str, name: str, folder: Path) -> None:
        """Write down that a thing belongs to another folder now."""
        for line in self.lines(session):
            if (line.kind, line.name) == (kind, name):
                self.write(session, line._replace(folder=str(folder.absolute())))

    def sweep(self) -> list[str]:
        """Drop what belongs to dead owners; returns the names. What a living owner has, or a kept folder, stays.

        Raises Unavailable.
        """
        dropped: list[str] = []
        with self.session() as session:
            written = self._ordered(session)
            for number in dict.fromkeys(line.owner for line in written):
                with self.dead(session, number) as dead:
                    for line in written if dead else ():
                        # What is another user's, or locked, keeps nothing else from being dropped.
                        if line.owner == number and not _stays(line):
                            with suppress(LabError):
                                self._drop(session, line)
                                dropped.append(line.name)
        return dropped

    def forget(self, folder: Path | None = None) -> list[str]:
        """Drop what this process made and what isn't kept; only what belongs to folders below one, if one is given.

        Raises Unavailable.
        """
        if self._owner is None:
            return []
        dropped: list[str] = []
        with self.session() as session:
            for line in self._ordered(session):
                below = folder is None or Path(line.folder).is_relative_to(folder.absolute())
                if line.owner == self._owner.number and not _stays(line) and below:
                    self._drop(session, line)
                    dropped.append(line.name)
        return dropped

    def _drop(self, session: SessionT, line: Line) -> None:
        self.drop(session, line.kind, line.name)

    def _ordered(self, session: SessionT) -> list[Line]:
        """What is written down of the kinds that this version knows, in the order in which it is dropped."""
        known = [line for line in self.lines(session) if line.kind in self.kinds]
        return sorted(known, key=lambda line: self.kinds.index(line.kind))


def _stays(line: Line) -> bool:
    """Return whether a kept thing's folder still names it; of one on another machine that can't be told: it stays."""
    if not line.kept:
        return False
    if line.host != socket.gethostname():
        return True
    try:
        found = read_file(Path(line.folder) / NAMED)
    except OSError:
        return True
    return found is not None and found.strip() == line.name

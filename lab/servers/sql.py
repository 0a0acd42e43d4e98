"""What servers of SQL have in common: a connection string that the environment gives, or a look at the usual places.

Only the connection string has a password, if there is one. It is read anew by each process and kept in no file, no
argument and no message.
"""

from __future__ import annotations

import getpass
import os
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, ClassVar, Generic, TypeVar

from lab.base import BadInput, Unavailable
from lab.ports import Endpoint, Missing
from lab.servers.environment import said, way_out
from lab.servers.listed import Listed
from lab.servers.starting import own

DsnT = TypeVar("DsnT")


class SqlServer(Listed, Generic[DsnT]):
    """The server of one kind that the environment names, or the one on this machine."""

    # What it is called, its name in `lab servers`, the variable that says where it is, and how to start one.
    called: ClassVar[str]
    name: ClassVar[str]
    variable: ClassVar[str]
    start: ClassVar[str]
    # Further variables by which another place is looked at.
    variables: ClassVar[tuple[str, ...]] = ()

    def __init__(self) -> None:
        self._found = lru_cache(maxsize=8)(self._find)

    # -- of each kind of server ----------------------------------------------------------------------------------------

    @abstractmethod
    def parsed(self, text: str, where: str) -> DsnT:
        """A connection string; `where` is the variable that has it. Raises BadInput."""

    def elsewhere(self) -> bool:
        """Whether the environment says by variables of the client's own where the server is."""
        return False

    @abstractmethod
    def usual(self) -> Iterator[DsnT]:
        """Where a server may be where nothing was said."""

    @abstractmethod
    def version(self, dsn: DsnT) -> str:
        """Connect, and return the version. Raises Unavailable, also for a server that can't be used."""

    @abstractmethod
    def open(self, dsn: DsnT) -> Any:
        """Connect to one server. Raises Unavailable."""

    @abstractmethod
    def settings(self) -> Mapping[str, Any]:
        """The settings that matter, as read back from it. Raises Unavailable."""

    # -- of all --------------------------------------------------------------------------------------------------------

    def configured(self) -> DsnT | None:
        """The connection string that the environment gives, without asking whether it is right; None if it gives none.

        An instance of the lab's own that runs in the usual folder is meant where the environment says nothing.

        Raises BadInput for a file that can't be read, and for a string that is none.
        """
        found = said(self.variable, "a connection string") or (None if self.elsewhere() else own(self.name))
        return None if found is None else self.parsed(*found)

    def find(self) -> Endpoint | Missing:
        """Connect once to each place where it may be; the first that answers is it."""
        try:
            match self._look():
                case (dsn, str() as version):
                    return Endpoint(str(dsn), version, lambda: self.open(dsn))
                case reason:
                    return Missing(str(reason), way_out(str(reason), self.variable, self.start))
        except BadInput as error:
            return Missing(str(error.problems[0]), self.start)

    def dsn(self) -> DsnT:
        """The connection string of the server that answers, found once for each environment. Raises Unavailable."""
        names = (self.variable, f"{self.variable}_FILE", *self.variables)
        url, _ = own(self.name) or ("", "")
        return self._found((*(os.environ.get(name, "") for name in names), url))

    def _find(self, environment: tuple[str, ...]) -> DsnT:
        """What is found is kept, a failure isn't."""
        match self._look():
            case (dsn, _):
                return dsn
            case reason:
                raise Unavailable(f"{reason}; {way_out(reason, self.variable, self.start)}")

    def _look(self) -> tuple[DsnT, str] | str:
        """The first server that answers, and its version; or why none does."""
        why, given = "", self.configured()
        for dsn in self.usual() if given is None else (given,):
            try:
                return dsn, self.version(dsn)
            except Unavailable as error:
                # Of several places, the first is where most people look.
                why = why or str(error)
        return f"no {self.called} server is reached: {why}"


def this_user(otherwise: str) -> str:
    """The name of the user of this process; `otherwise` for one without a name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return otherwise

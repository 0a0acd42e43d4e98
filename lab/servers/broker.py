"""What brokers have in common: found by a URL, and cleaned by a ledger on disk."""

from __future__ import annotations

import secrets
from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from lab.base import BadInput, LabError, Unavailable
from lab.engines.urls import ServerUrl
from lab.ports import Endpoint, Missing
from lab.servers.disk_ledger import DiskLedger
from lab.servers.environment import said, way_out
from lab.servers.listed import Listed
from lab.servers.starting import own

# Seconds to connect, and of silence after which a call fails.
CONNECTS, SILENCE = 3.0, 5.0
# What a run makes belongs to no folder: it is dropped with the process.
_NOWHERE = Path("/")


class Broker(Listed):
    """One kind of broker. A subclass says how to ask one for its version and settings, and how to drop a thing."""

    name: ClassVar[str]
    title: ClassVar[str]
    variable: ClassVar[str]
    schemes: ClassVar[tuple[str, ...]]
    usual: ClassVar[str]
    start: ClassVar[str]
    ledger_class: ClassVar[type[DiskLedger]]

    @abstractmethod
    def ask(self, url: ServerUrl) -> dict[str, Any]:
        """Connect once: its `version`, and the settings that matter. Raises Unavailable."""

    @abstractmethod
    def remove(self, thing: str) -> None:
        """Remove a stream or queue with all that is in it; nothing if it is gone. Raises Unavailable."""

    @cached_property
    def book(self) -> DiskLedger:
        """What processes of this machine have made there."""
        return self.ledger_class(self.name, lambda: str(self.url()), self.remove)

    def url(self) -> ServerUrl:
        """Return where it is: as the environment says, or where it usually is. Raises BadInput."""
        return self.parsed(*(said(self.variable, "a URL") or own(self.name) or (self.usual, self.variable)))

    def parsed(self, text: str, where: str) -> ServerUrl:
        """Return a URL of this kind of server; `where` is the variable that has it. Raises BadInput."""
        return ServerUrl(text, where, self.schemes, self.usual)

    def find(self) -> Endpoint | Missing:
        """Connect once to where it must be."""
        start = f"start one: {self.start}; say where it is: export {self.variable}={self.usual}"
        try:
            url = self.url()
            return Endpoint(str(url), str(self.ask(url)["version"]), self.url)
        except BadInput as error:
            return Missing(str(error.problems[0]), start)
        except LabError as error:
            return Missing(f"no {self.title} server is reached: {error}", way_out(str(error), self.variable, start))

    def settings(self) -> Mapping[str, Any]:
        """The settings that matter, as read back from it. Raises Unavailable."""
        return {name: value for name, value in self.ask(self.url()).items() if name != "version"}

    def fresh(self) -> str:
        """Return the name of a stream that is to be made, once it is written down. Raises Unavailable."""
        return self.note("stream", channel_name())

    def note(self, kind: str, thing: str) -> str:
        """Write down what is about to be made; returns its name. Raises Unavailable."""
        self.book.note(None, kind, thing, self.book.owner(), _NOWHERE)
        return thing

    def drop(self, kind: str, thing: str) -> None:
        """Remove a stream or queue, and strike it out. Raises Unavailable."""
        self.book.drop(None, kind, thing)

    def failed(self, error: object, asked: ServerUrl | None = None) -> Unavailable:
        """Return the lab's error for one of the driver's, with the URL that was asked: as a rule the server's own."""
        if isinstance(error, ConnectionRefusedError):
            # asyncio's own words for it are others.
            error = "Connection refused"
        url = asked or self.url()
        words = url.without_secrets(" ".join(f"{error}".split())) or type(error).__name__
        return Unavailable(f"{self.title} at {url}: {words}")


def channel_name() -> str:
    """Return a name for a channel that nothing else on any server has."""
    return f"lab_channel_{secrets.token_hex(6)}"

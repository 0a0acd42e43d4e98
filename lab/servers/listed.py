"""What all kinds of servers have in common: what the lab made on one is listed in a ledger, and dropped by it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import Any

from lab.base import LabError
from lab.servers.ledger import Ledger


class Listed(ABC):
    """A server with a ledger."""

    @property
    @abstractmethod
    def book(self) -> Ledger[Any]:
        """The ledger of the server that the environment names."""

    def begin(self) -> None:
        """Say that this process lives: until it ends, what it makes there is its own. Raises Unavailable."""
        self.book.owner()

    def forget(self, folder: Path) -> None:
        """Drop what this process made for folders below one, unless it is kept. Of a server that is away, nothing."""
        with suppress(LabError):
            self.book.forget(folder)

    def clean(self) -> list[str]:
        """Drop what ended processes of the lab left on the server; returns the names. Raises Unavailable."""
        return self.book.sweep()

"""The ports of servers: one that answers, one that doesn't, and what starts and stops one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol


@dataclass(frozen=True)
class Endpoint:
    """A server that answers: its URL without credentials, its version, and how to connect to it."""

    url: str
    version: str
    connect: Callable[[], Any]


@dataclass(frozen=True)
class Missing:
    """No server: the reason, and the command that would start one."""

    reason: str
    way_out: str


class ServerManager(Protocol):
    """One instance of a server with its data in one folder; never touches an instance that it didn't start."""

    def find(self) -> Endpoint | Missing:
        """Return where it answers, or why it doesn't and how it is started."""

    def start(self, settings: Mapping[str, str] | None = None) -> Endpoint:
        """Start it and wait until it answers; one that runs is left as it is. Raises MissingDriver, Unavailable."""

    def stop(self, how: Literal["clean", "kill"]) -> None:
        """Stop it, politely or as a crash would, and wait until it has ended."""

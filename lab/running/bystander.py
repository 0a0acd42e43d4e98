"""Protocols that a worker depends on: the inbox's backlog, and an observer of its projection."""

from __future__ import annotations

from typing import Any, Protocol

from lab.running.journal import Recorder
from lab.stores.port import Store


class Backlog(Protocol):
    """What a worker needs of a lane's inbox."""

    def first(self, count: int) -> Any:
        """The first `count` messages that wait."""


class Bystander(Protocol):
    """Looks at a projection from outside while it is fed. Between two pieces of work, so none is timed with it."""

    # The next moment to look at, in seconds of the runner's clock; infinity for none.
    due_at: float

    def look(self, store: Store, journal: Recorder, at: float, event: str) -> None:
        """Look at what readers see at `at` seconds, all that was planned having been carried out.

        `event` says what has just happened, if it was no ordinary work: `crash`, `reset` or `swap`.
        """

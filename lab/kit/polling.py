"""A poller: it reads a source of truth for itself, by SQL or by a function, and keeps its own cursor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lab.kit.driver import Died
from lab.kit.feed import TrialFeed
from lab.kit.history import Change, Row, Shape
from lab.kit.polled import PolledSource
from lab.kit.rows import listed
from lab.kit.styles import Settled


def _source(projector: Any) -> type[PolledSource]:
    """Return what a poller is handed: `lab_source` says in which engine its table is."""
    if getattr(projector, "lab_source", "sqlite") == "sqlite":
        return PolledSource
    # Its driver is no part of the core.
    from lab.kit.polling_postgres import PostgresSource

    return PostgresSource


class Poller:
    """Makes a consumer of a projector that has `poll(source)` and `rows()`: nothing is delivered to it."""

    # A trial polls a fixed number of times at its end: what the poller reads by SQL is not seen.
    polls = True

    def __init__(self, projector: Any, shape: Shape) -> None:
        self.projector, self.shape = projector, shape
        self.armed: str | None = None
        self.notes: set[str] = set()
        self.said: Callable[[str], None] = lambda _: None
        self._settled = Settled()
        self._source: PolledSource | None = None

    def receive(self, changes: list[Change]) -> None:
        """Do nothing: a poller takes no messages."""

    def poll(self, feed: TrialFeed, limit: int) -> None:
        """Let the projector read the source."""
        if self._source is None or not self._source.goes_on(feed):
            self._close()
            self._source = _source(self.projector)(feed, self.said)
        self._source.armed = self.armed
        self._settled(self.projector.poll(self._source))
        if self.armed:
            raise Died

    def restart(self) -> None:
        """Call the projector's `reopen()`."""
        if hasattr(self.projector, "reopen"):
            self._settled(self.projector.reopen())

    def rows(self) -> list[Row]:
        """Return the projector's live records."""
        return listed(self._settled.content(self.projector.rows()), self.shape, self.notes)

    def checkpoint(self) -> int:
        """Return the projector's cursor if it tells it; 0 promises nothing."""
        return int(self.projector.checkpoint()) if hasattr(self.projector, "checkpoint") else 0

    def _close(self) -> None:
        if self._source is not None:
            self._source.close()

    def close(self) -> None:
        """Close the projector's files, if it has any."""
        self._close()
        if hasattr(self.projector, "close"):
            self._settled(self.projector.close())
        self._settled.close()

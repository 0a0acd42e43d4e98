"""What a reader needs of the source of truth: `lab.truth.Truth` meets it, and so does a feed of another process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import polars as pl

from lab.domain.model import Domain
from lab.truth.timeline import Opening


class TruthReader(Protocol):
    """The committed changes of a write model, as a process reads them.

    In the process that has the write model open, beside it where its files can be shared, or over a connection to it.
    Every method raises Unavailable while the source of truth is away; asked again later it may be there.
    """

    @property
    def model(self) -> str:
        """The write model: `snapshot`, `history` or `events`."""

    @property
    def publishes_every_revision(self) -> bool:
        """Whether overwritten revisions are shown too."""

    @property
    def domain(self) -> Domain:
        """The business whose entities it holds."""

    def changes_since(
        self, entity: str, position: int, limit: int, before: Sequence[str] = (), columns: Sequence[str] | None = None
    ) -> pl.DataFrame:
        """The next changes after `position`, at most `limit`, by position; with before-images of `before`."""

    def earlier(self, entity: str, position: int, limit: int, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Of an event-sourced model: the events up to `position` of the records of the page after it."""

    def head(self, entity: str) -> int:
        """The position of the entity's newest change; 0 if there is none."""

    def timeline(self) -> list[Opening]:
        """The openings for writing, the first one first; see `lab.truth.timeline`."""

    def close(self) -> None:
        """Release the connection. Closing twice is allowed."""

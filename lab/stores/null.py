"""`null`: takes everything, keeps nothing. What it costs is what the harness costs."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from lab.base import Batch
from lab.queries.answers import Row
from lab.queries.model import KINDS, Query
from lab.stores.port import Store


class Null(Store):
    """Does nothing, and remembers only how far it was told that it is."""

    name = "null"
    shape = "nothing"
    family = "harness"
    answers = frozenset(KINDS)
    durability = "keeps nothing"

    def open(self) -> None:
        """Nothing to open."""
        self._checkpoints: dict[str, int] = getattr(self, "_checkpoints", {})

    def close(self) -> None:
        """Nothing to close."""

    def reset(self) -> None:
        """Forget the checkpoints."""
        self._checkpoints = {}

    def checkpoint(self, entity: str) -> int:
        """The last checkpoint it was told."""
        return self._checkpoints.get(entity, 0)

    def apply(self, batch: Batch) -> None:
        """Drop the rows."""
        if batch.checkpoint is not None:
            self._checkpoints[batch.entity] = batch.checkpoint

    def bulk(self, entity: str, frames: Iterable[Batch]) -> None:
        """Drop the rows."""
        for batch in frames:
            self.apply(batch)

    def query(self, query: Query, parameters: Row) -> list[Row]:
        """No rows, at once."""
        return []

    def dump(self, entity: str) -> pl.DataFrame:
        """An empty frame."""
        return pl.DataFrame(schema=self.layout.schema(entity))

    def memory(self, entity: str) -> pl.DataFrame:
        """An empty frame."""
        return pl.DataFrame(schema=self.layout.memory)

    def size_bytes(self) -> int:
        """Nothing takes nothing."""
        return 0

"""`null`: discards all rows, so that its times are the cost of the harness."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from lab.base import Batch, Key
from lab.ports import Capabilities
from lab.queries.answers import Row
from lab.queries.model import Query
from lab.stores.memory import Memory
from lab.stores.parked import with_parked


class Null(Memory):
    """Keeps no rows: only the checkpoints that it was told, and what is parked, so that a projector can go on."""

    name = "null"
    durability = "keeps nothing"
    capabilities = Capabilities(durability="memory")

    def apply(self, batch: Batch) -> None:
        """Drop the rows."""
        if batch.checkpoint is not None:
            self._checkpoints[batch.entity] = batch.checkpoint
        self._parked[batch.entity] = with_parked(self._parked[batch.entity], batch)

    def query(self, query: Query, parameters: Row) -> list[Row]:
        """Return no rows."""
        return []

    def pages(self, entity: str) -> Iterator[pl.DataFrame]:
        """Yield no page."""
        return iter(())

    def revisions(self, entity: str, keys: Sequence[Key]) -> dict[Key, int]:
        """Return no revision."""
        return {}

    def memory(self, entity: str, keys: Sequence[Key] | None = None) -> pl.DataFrame:
        """Return an empty frame."""
        return pl.DataFrame(schema=self.layout.memory)

    def size_bytes(self) -> int:
        """Always 0: the null store keeps no rows."""
        return 0

"""`null`: discards all rows, so that its times are the cost of the harness."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import polars as pl

from lab.base import Batch, Key
from lab.ports import Capabilities
from lab.queries.answers import Row
from lab.queries.kinds import KINDS
from lab.queries.model import Query
from lab.stores.parked import parked_frame, with_parked
from lab.stores.port import Store


class Null(Store):
    """Keeps no rows: only the checkpoints that it was told, and what is parked, so that a projector can go on."""

    name = "null"
    answers = frozenset(KINDS)
    durability = "keeps nothing"
    capabilities = Capabilities(durability="memory", evicts=True)

    def open(self) -> None:
        """Do nothing."""
        if not hasattr(self, "_checkpoints"):
            self.reset()

    def close(self) -> None:
        """Do nothing."""

    def reset(self) -> None:
        """Forget the checkpoints and what is parked."""
        self._checkpoints: dict[str, int] = {}
        self._parked = {name: parked_frame(entity) for name, entity in self.layout.entities.items()}

    def checkpoint(self, entity: str) -> int:
        """Return the last checkpoint that it was given."""
        return self._checkpoints.get(entity, 0)

    def apply(self, batch: Batch) -> None:
        """Drop the rows."""
        if batch.checkpoint is not None:
            self._checkpoints[batch.entity] = batch.checkpoint
        self._parked[batch.entity] = with_parked(self._parked[batch.entity], batch)

    def bulk(self, entity: str, frames: Iterable[Batch]) -> None:
        """Drop the rows."""
        for batch in frames:
            self.apply(batch)

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

    def parked(self, entity: str) -> pl.DataFrame:
        """What was parked since the object was made."""
        return self._parked[entity]

    def size_bytes(self) -> int:
        """Always 0: the null store keeps no rows."""
        return 0

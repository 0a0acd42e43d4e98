"""The guard `dedupe`: no message is applied twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from lab.base import Key
from lab.projection.guard import Admission, Guard, Lookup, Schema
from lab.stores.layout import Layout

# At least so many ids accumulate before those below the checkpoint are forgotten.
PILE = 1_000


class Dedupe(Guard):
    """`dedupe`: remembers the ids of messages. A change's position is its id; below the checkpoint all are known.

    So only ids above the checkpoint are remembered: of messages that arrived before catch-up.
    """

    goes_by_checkpoint = True

    def __init__(self, layout: Layout, projected: Lookup, hold: int = 0) -> None:
        super().__init__(layout, projected, hold)
        self._checkpoint: dict[str, int] = {}
        self._ahead: dict[str, set[int]] = {}
        self._parked: dict[str, frozenset[int]] = {}
        # Ids of changes that may or may not be in the store.
        self._doubtful: dict[str, set[int]] = {}
        # The number of ids at which those below the checkpoint are forgotten.
        self._pile = dict.fromkeys(layout.entities, PILE)
        for entity in layout.entities:
            checkpoint = self._checkpoint[entity] = projected.checkpoint(entity)
            self._ahead[entity] = {one for ids in self._ids(entity) for one in ids.filter(ids > checkpoint).to_list()}

    @classmethod
    def memory_schema(cls, layout: Layout) -> Schema:
        """The ids; where each revision has a row of its own they are the rows' positions."""
        return {} if layout.kept.every_revision else {"id": pl.Int64()}

    def _ids(self, entity: str, among: Sequence[int] | None = None) -> Iterator[pl.Series]:
        """The ids in the projection, a page at a time; at least those that are `among` these."""
        if self.layout.kept.every_revision:
            yield from (page["position"] for page in self.projected.pages(entity))
        else:
            yield self.projected.memory(entity, among)["id"]

    def _settle(self, entity: str) -> None:
        """Look up in the store which of the uncertain changes are in."""
        doubtful = sorted(self._doubtful[entity])
        self._checkpoint[entity] = self.projected.checkpoint(entity)
        for ids in self._ids(entity, doubtful):
            self._ahead[entity].update(ids.filter(ids.is_in(doubtful)).to_list())
        del self._doubtful[entity]

    def admit(self, entity: str, keys: pl.Series, revisions: pl.Series, positions: pl.Series) -> Admission:
        """Refuse ids that have been seen."""
        arrived = positions.to_list()
        known = self.known(entity, arrived, positions.to_numpy(), positions.to_numpy())
        seen: dict[Key, int] = {}
        take: list[int] = []
        refused: list[int] = []
        for row, position in enumerate(arrived):
            if known[row] or position in seen:
                refused.append(row)
            else:
                seen[position] = row
                take.append(row)
        return Admission(take, take, refused, known=seen.items())

    def known(self, entity: str, keys: Sequence[Key], revisions: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Return which ids have been seen."""
        if entity in self._doubtful:
            self._settle(entity)
        ahead, parked, checkpoint = self._ahead[entity], self._parked.get(entity, ()), self._checkpoint[entity]
        return np.fromiter(
            (one in ahead or (one <= checkpoint and one not in parked) for one in positions.tolist()),
            bool,
            len(positions),
        )

    def memory(self, taken: pl.DataFrame) -> pl.DataFrame | None:
        """Return the ids of the changes."""
        return taken.select(pl.col("position").alias("id")) if self.layout.memory else None

    def memory_of(self, last: pl.DataFrame) -> pl.DataFrame | None:
        """Return an empty memory: everything is below the checkpoint."""
        return None

    def landed(self, entity: str, admission: Admission, checkpoint: int | None, memory: pl.DataFrame | None) -> None:
        """Remember the new ids, and forget those below the checkpoint once enough have accumulated."""
        ahead = self._ahead[entity]
        ahead.update(int(position) for position, _ in admission.known)
        if checkpoint is not None:
            self._checkpoint[entity] = checkpoint
            if len(ahead) > self._pile[entity]:
                parked = self._parked.get(entity, ())
                ahead = self._ahead[entity] = {one for one in ahead if one > checkpoint or one in parked}
                self._pile[entity] = max(PILE, 2 * len(ahead))

    def forget(self, entity: str, keys: pl.Series, positions: pl.Series) -> None:
        """Look the ids up in the store when the next message arrives."""
        self._doubtful.setdefault(entity, set()).update(positions.to_list())

    def awaits(self, entity: str, positions: Sequence[int]) -> None:
        """An id below the checkpoint is known, unless its change is parked."""
        former, ahead = self._parked.get(entity, frozenset()), self._ahead[entity]
        # A copy of a change that is in may be parked with its record. Where the checkpoint no longer tells, the ids do.
        fresh = [one for one in positions if one not in former and one not in ahead]
        if fresh:
            self._doubtful.setdefault(entity, set()).update(fresh)
        self._parked[entity] = frozenset(positions)

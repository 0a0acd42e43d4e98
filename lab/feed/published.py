"""All changes of a run as they are published, with the arrays that find any of them by its position."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl

from lab.mapped import breathe
from lab.spill import ROWS, Spill
from lab.statistics.grouped import blocks, by_blocks, by_keys, in_order


@dataclass(frozen=True)
class Published:
    """All changes of a run as they are published: for each entity a frame sorted by position.

    The arrays are indexed by position less 1: `entity_of` and `row_of` find the change in its frame, `record`
    numbers the records of all entities together. `committed_at` is when the change was really committed: with
    concurrent writers it is later than the time that its row was stamped with, and does not rise with the position.
    A position that no change has, since its transaction was rolled back, is of entity -1 and a record of its own.
    `transaction` is the position of the first change of each change's transaction; None where every change has its own.
    """

    frames: dict[str, pl.DataFrame]
    entities: tuple[str, ...]
    entity_of: np.ndarray
    row_of: np.ndarray
    record: np.ndarray
    revision: np.ndarray
    deleted: np.ndarray
    committed_at: np.ndarray
    transaction: np.ndarray | None = None
    spill: Spill = field(default_factory=Spill, compare=False, repr=False)
    _chosen: dict[tuple[str, ...], np.ndarray] = field(default_factory=dict, compare=False, repr=False)
    _positions: dict[str, np.ndarray] = field(default_factory=dict, compare=False, repr=False)
    _earliest: dict[str, np.ndarray] = field(default_factory=dict, compare=False, repr=False)

    def has(self, positions: np.ndarray) -> np.ndarray:
        """Return which of these positions have a change."""
        within = (positions >= 1) & (positions <= self.entity_of.size)
        known: np.ndarray = within.copy()
        known[within] = self.entity_of[positions[within] - 1] >= 0
        return known

    @classmethod
    def of(
        cls, frames: dict[str, pl.DataFrame], spill: Spill | None = None, transaction: np.ndarray | None = None
    ) -> Published:
        """Index the frames, whose positions run from 1 over all entities together.

        What there is for each change is kept in `spill`.
        """
        spill = spill or Spill()
        count = max((int(frame["position"][-1]) for frame in frames.values() if frame.height), default=0)
        entity_of, row_of = spill.empty(count, np.int8), spill.empty(count, np.int64)
        record, revision = spill.empty(count, np.int64), spill.empty(count, np.int64)
        deleted, committed_at = spill.empty(count, np.bool_), spill.empty(count, np.float64)
        if count > sum(frame.height for frame in frames.values()):
            entity_of[:], record[:] = -1, np.arange(1, count + 1)
        for number, frame in enumerate(frames.values()):
            for some in by_keys(frame.select("key", "position"), spill):
                # A record is numbered by the position of its first change.
                first = some.select(pl.col("position").first().over("key")).to_series()
                record[some["position"].to_numpy() - 1] = first.to_numpy()
            for begin in range(0, frame.height, ROWS):
                breathe()
                some = frame[begin : begin + ROWS]
                places = some["position"].to_numpy() - 1
                entity_of[places], row_of[places] = number, np.arange(begin, begin + some.height)
                revision[places] = some["revision"].to_numpy()
                deleted[places] = some["deleted"].to_numpy()
                committed_at[places] = some["committed_at"].to_numpy()
        arrays = (entity_of, row_of, record, revision, deleted, committed_at, transaction)
        return cls(frames, tuple(frames), *arrays, spill)

    def committed(self, committed_at: np.ndarray) -> Published:
        """Return the same changes with other commit times, as concurrent or queued writers have them."""
        return replace(self, committed_at=committed_at, _earliest={})

    @property
    def end(self) -> float:
        """Return when the last change is committed, in seconds."""
        return float(self.committed_at.max(initial=0.0))

    @property
    def changes(self) -> int:
        """Return how many changes there are."""
        return sum(frame.height for frame in self.frames.values())

    def positions(self, entity: str) -> np.ndarray:
        """Return the position of each row of an entity's frame."""
        if entity not in self._positions:
            column = self.frames[entity]["position"]
            found = by_blocks(self.spill, column.len(), np.int64, lambda block: column[block].to_numpy())
            self._positions[entity] = found
        return self._positions[entity]

    def times(self, entity: str) -> np.ndarray:
        """Return the actual commit time of each row of an entity's frame."""
        if self._alone:
            return self.committed_at
        times: np.ndarray = self.committed_at[self.positions(entity) - 1]
        return times

    @property
    def _alone(self) -> bool:
        """Whether there is one entity, and every position has a change: the row of a change is its index."""
        return len(self.entities) == 1 and self.changes == self.committed_at.size

    def next_commit(self, entity: str, position: int) -> float:
        """When the first change of an entity after the position is committed, in seconds; infinity if there is none.

        With concurrent writers that need not be the change that comes next.
        """
        if entity not in self._earliest:
            times = self.times(entity)
            falls = not in_order(times)
            times = self.spill.array(np.minimum.accumulate(times[::-1])[::-1]) if falls else times
            self._earliest[entity] = times
        earliest = self._earliest[entity]
        place = int(np.searchsorted(self.positions(entity), position, side="right"))
        return float(earliest[place]) if place < earliest.size else np.inf

    def of_entities(self, names: tuple[str, ...]) -> np.ndarray:
        """Return the indices of the changes of these entities, in commit order."""
        if names not in self._chosen:
            self._chosen[names] = self._indices(names)
        return self._chosen[names]

    def _indices(self, names: tuple[str, ...]) -> np.ndarray:
        if self._alone and self.entities[0] in names:
            return self.row_of
        numbers = [self.entities.index(name) for name in names]
        found, size = self.spill.empty(sum(self.frames[name].height for name in set(names)), np.int64), 0
        for block in blocks(self.entity_of.size):
            some = np.flatnonzero(np.isin(self.entity_of[block], numbers))
            found[size : size + some.size] = some + block.start
            size += some.size
        return found

    def change(self, index: int) -> tuple[str, dict[str, object]]:
        """Return one change: its entity and its row as a dict."""
        name = self.entities[int(self.entity_of[index])]
        return name, self.frames[name].row(int(self.row_of[index]), named=True)

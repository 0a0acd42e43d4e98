"""Replay a few deliveries through a new projector of the same kind, to see whether the check still fails.

The history is reduced to a few records with new positions, so the result is a complete small run that is judged by the
same checks as the large one.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from lab.base import Batch, CannotTake
from lab.feed.published import Published
from lab.measure import lag
from lab.place import FolderPlace
from lab.projection.projector import BEHIND, Projector
from lab.running.journal import Journal
from lab.running.trouble import Crashed, StoreFaults, faulty
from lab.stores.memory import Memory
from lab.stores.whole import dump
from lab.verdict.evidence import Evidence
from lab.verdict.oracle import Oracle


@dataclass(frozen=True)
class Handover:
    """One change handed to the projector. Those with one `batch` were handed over together, at the same time.

    `index` is the change's; `checkpoint` the position that the batch moved the checkpoint to, None if it didn't;
    `crash` the step at which the process died over the batch.
    """

    batch: int
    entity: str
    index: int
    source: int
    began_at: float
    visible_at: float
    checkpoint: int | None
    crash: str


def deliveries(evidence: Evidence, wanted: np.ndarray, epoch: int | None = None) -> list[Handover]:
    """What was handed over of the changes that `wanted` marks (by index), in order, in the last or another epoch."""
    journal = evidence.journal
    epoch = journal.epoch if epoch is None else epoch
    moved = {(at, entity): position for at, entity, position in journal.checkpoints}
    found: list[Handover] = []
    batch = 0
    for note in journal.notes:
        if note.epoch != epoch:
            continue
        mine = np.flatnonzero(wanted[note.handed - 1])
        if not mine.size:
            continue
        former: float | None = None
        begun, shown, sources = note.began_at, note.visible_at, note.source
        for row in mine.tolist():
            visible_at = _at(shown, row)
            if visible_at != former:
                batch, former = batch + 1, visible_at
            index = int(note.handed[row]) - 1
            checkpoint, source = note.checkpoint, sources
            if isinstance(sources, np.ndarray):
                # Several batches that were carried out together.
                checkpoint, source = moved.get((visible_at, note.entity)), int(sources[row])
            began_at = _at(begun, row)
            found.append(Handover(batch, note.entity, index, source, began_at, visible_at, checkpoint, note.crash))
    return found


def _at(times: np.ndarray | float, row: int) -> float:
    return float(times[row]) if isinstance(times, np.ndarray) else times


class _Poison(StoreFaults):
    """Changes, by position, that the store can't take."""

    def __init__(self, positions: np.ndarray) -> None:
        super().__init__()
        self._positions = positions

    def inspect(self, batch: Batch) -> None:
        """Raise CannotTake for a batch with one of them."""
        if np.isin(batch.positions, self._positions).any():
            raise CannotTake("the store can't take it")


@dataclass
class Rerun:
    """A cut-down history, and what its deliveries lead to. `indices` are its changes, in the large run's numbers."""

    evidence: Evidence
    indices: np.ndarray

    def __post_init__(self) -> None:
        published = self.evidence.published
        frames, places = {}, np.zeros(published.committed_at.size, np.int64)
        places[self.indices] = np.arange(1, self.indices.size + 1)
        self.place = places
        for entity in self.evidence.layout.entities:
            frames[entity] = self._cut(published.frames[entity])
        self.published = Published.of(frames).committed(published.committed_at[self.indices])
        oracle = self.evidence.oracle
        # Not what was published, but what must have been: the two can differ.
        revisions = {name: self._cut(oracle.revisions[name]) for name in frames}
        self.oracle = Oracle(oracle.domain, revisions, {})

        # The store can't take the same changes as in the large run.
        parked = self.evidence.parked
        bad = [position for position, reason in parked.items() if reason != BEHIND and places[position - 1]]
        self._poison = places[np.array(bad, np.int64) - 1]

    def _cut(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The rows of the chosen changes, with their new positions."""
        mine = self.place[frame["position"].to_numpy() - 1]
        return frame.with_columns(position=pl.Series(mine)).filter(pl.col("position") > 0)

    def after(self, chosen: Sequence[Handover]) -> Evidence:
        """Return the evidence after these deliveries."""
        # Times are those of the large run: what was committed while a page was being applied is not in it here either.
        journal = Journal(polled_at=self.evidence.journal.polled_at)
        with tempfile.TemporaryDirectory() as folder:
            faults = _Poison(self._poison)
            store = faulty(Memory(FolderPlace(Path(folder)), self.evidence.layout), faults, self.evidence.order)
            projector = Projector(store, self.evidence.policy, 1_000_000)
            for batch in _batches(chosen):
                faults.arm(batch[0].crash or None)
                projector = self._deliver(projector, faults, batch, journal)
            names = tuple(self.evidence.layout.entities)
            dumps = {name: dump(projector.store, name) for name in names}
            checkpoints = {name: projector.checkpoint(name) for name in names}
        return replace(
            self.evidence,
            oracle=self.oracle,
            published=self.published,
            journal=journal,
            chosen=np.arange(self.indices.size),
            visible=lag.visible_at(self.published, journal, self.evidence.subsumes),
            dumps=dumps,
            rebuilt=None,
            checkpoints=checkpoints,
            accounting={},
            asked=(),
            looks=(),
            parked={},
            given_up={},
        )

    def _deliver(self, projector: Projector, faults: StoreFaults, batch: list[Handover], journal: Journal) -> Projector:
        """Hand a batch over and note what became of it; returns the projector that the next one is for."""
        first = batch[0]
        rows = self.published.row_of[self.place[[item.index for item in batch]] - 1]
        frame = self.published.frames[first.entity][rows]
        checkpoint = None
        if first.checkpoint is not None:
            checkpoint = int(np.searchsorted(self.indices + 1, first.checkpoint, side="right"))
        handed = frame["position"].to_numpy()
        try:
            applied, moved = projector.apply(first.entity, frame, checkpoint), True
            faults.end()
        except Crashed as crashed:
            applied, moved = projector.attempt.applied(crashed.landed), crashed.moved
            projector = projector.reopened()
        if moved and checkpoint is not None:
            journal.checkpoints.append((first.visible_at, first.entity, checkpoint))
        journal.note(first.entity, applied, handed, first.source, first.began_at, first.visible_at, first.crash)
        return projector


def _batches(chosen: Sequence[Handover]) -> list[list[Handover]]:
    found: list[list[Handover]] = []
    for item in chosen:
        if found and found[-1][0].batch == item.batch:
            found[-1].append(item)
        else:
            found.append([item])
    return found

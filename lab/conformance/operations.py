"""What is done to a store that is to die in the midst of it: batches in order, and what it must hold after each.

A projector of the same kind hands them to a reference store, which notes them: applies with and without a checkpoint,
a checkpoint alone, parking, release. A reset comes last.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl

from lab.base import Batch, CannotTake
from lab.conformance.history import awkward_history
from lab.place import FolderPlace
from lab.projection.guards import former_columns
from lab.projection.projector import Projector
from lab.stores.layout import Layout
from lab.stores.memory import Memory
from lab.stores.port import Store
from lab.stores.whole import dump

# Where the changes are cut into batches; the numbers of the one that moves no checkpoint, as a message doesn't, and of
# the one whose last change is parked.
CUTS = (40, 70, 75, 76)
WITHOUT_CHECKPOINT, PARKS = 2, 3

Content = dict[str, Any]


def content(store: Store) -> Content:
    """Everything that a store holds: rows, the guard's memory, checkpoints, parked changes."""
    entities = list(store.layout.entities)
    memory = [store.memory(name).sort("id").rows() for name in entities] if store.layout.memory else []
    return {
        "rows": [dump(store, name).rows() for name in entities],
        "memory": memory,
        "checkpoints": [store.checkpoint(name) for name in entities],
        "parked": [store.parked(name).rows() for name in entities],
    }


@dataclass(frozen=True)
class Operation:
    """One thing to do to a store: apply a batch, or reset it if there is none. `after` is what it then holds."""

    name: str
    batch: Batch | None
    after: Content

    def on(self, store: Store) -> None:
        """Apply the batch to the store, or reset it."""
        if self.batch is None:
            store.reset()
        else:
            store.apply(self.batch)


@dataclass
class Script:
    """Operations on one entity. `frame` has all its changes as a projector takes them, `final` is its last dump."""

    layout: Layout
    policy: str
    hold: int
    entity: str
    empty: Content
    operations: list[Operation] = field(default_factory=list)
    frame: pl.DataFrame = field(default_factory=pl.DataFrame)
    final: pl.DataFrame = field(default_factory=pl.DataFrame)

    def before(self, number: int) -> Content:
        """What the store holds when an operation begins, by its number."""
        return self.operations[number - 1].after if number else self.empty


class _Noting(Memory):
    """A reference store that notes the batches it took, and can't take the changes in `poison`."""

    def __init__(self, place: FolderPlace, layout: Layout) -> None:
        super().__init__(place, layout)
        self.noted: list[tuple[Batch, Content]] = []
        self.poison: set[int] = set()

    def apply(self, batch: Batch) -> None:
        """Apply and note a batch."""
        if batch.park is None and self.poison & set(batch.positions.tolist()):
            raise CannotTake("it is to be parked")
        super().apply(batch)
        self.noted.append((batch, content(self)))


def script(layout: Layout, policy: str, hold: int, seed: int) -> Script:
    """Make the operations for a layout and a guard."""
    entity = next(iter(layout.entities))
    history = awkward_history(layout, (), seed)
    frame = history.handed(entity, _usual(history.changes(entity)), former_columns(policy, layout))
    store = _Noting(FolderPlace(Path()), layout)
    projector = Projector(store, policy, hold)
    found = Script(layout, policy, hold, entity, content(store), frame=frame)
    # Where nothing recognises a change that comes again, each batch moves the checkpoint.
    counts_twice = layout.kept.adds and policy == "none"
    for number, (start, end) in enumerate(pairwise((0, *CUTS, frame.height))):
        piece = frame[start:end]
        last = int(piece["position"][-1])
        store.poison = {last} if number == PARKS else set()
        projector.apply(entity, piece, None if number == WITHOUT_CHECKPOINT and not counts_twice else last)
    store.poison = set()
    projector.retry(entity)
    found.operations = [Operation(_name(batch), batch, after) for batch, after in store.noted]
    found.final = dump(store, entity)
    found.operations.append(Operation("a reset", None, found.empty))
    return found


def _usual(frame: pl.DataFrame) -> pl.DataFrame:
    """The changes of records with usual values, but for those of the record with many revisions."""
    return frame.filter(pl.col("revision").max().over("key") <= 2).tail(CUTS[-1] + 8)


def _name(batch: Batch) -> str:
    if batch.park is not None:
        return "parking"
    if batch.release:
        return "a release"
    if not batch.rows.height and batch.checkpoint is not None:
        return "moving the checkpoint"
    return "an apply" if batch.checkpoint is not None else "an apply without a checkpoint"

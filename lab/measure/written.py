"""When each write of a projection began and ended, from its journal: a row for each, in their order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lab.running.journal import Journal, Note


@dataclass(frozen=True)
class WriteTimes:
    """Writes by row: the position, the handed position that caused it, its source, and when its work began and ended.

    `seen` is when readers could see it; `beside` whether the lane of a projection did it that was built beside.
    """

    position: np.ndarray
    cause: np.ndarray
    source: np.ndarray
    began: np.ndarray
    landed: np.ndarray
    seen: np.ndarray
    beside: np.ndarray

    @classmethod
    def of(cls, journal: Journal) -> WriteTimes:
        """All writes of a journal, in order."""
        size, kinds = sum(note.applied.positions.size for note in journal.notes), (int, int, np.int8)
        columns = [journal.spill.empty(size, kind) for kind in (*kinds, float, float, float, bool)]
        first = 0
        for note in journal.notes:
            last = first + note.applied.positions.size
            for column, values in zip(columns, _written(note), strict=True):
                column[first:last] = values
            first = last
        return cls(*columns)


def _written(note: Note) -> tuple[Any, ...]:
    """The columns of `WriteTimes` for the changes of one note."""
    applied = note.applied
    known = applied.trigger.size == applied.positions.size
    cause = note.handed[applied.trigger] if known and note.handed.size else applied.positions

    def each(values: np.ndarray | float) -> np.ndarray | float:
        return values[applied.trigger] if isinstance(values, np.ndarray) else values

    landed = note.visible_at if note.landed_at is None else note.landed_at
    times = (each(note.began_at), each(landed), each(note.visible_at))
    return (applied.positions, cause, each(note.source), *times, note.landed_at is not None)

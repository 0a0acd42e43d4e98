"""When each write of a projection began and ended, from its journal: a row for each, in their order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lab.projection.applied import Applied
from lab.running.journal import Journal


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
        size = sum(note.applied.positions.size for note in journal.notes)
        position, cause, source, began, seen = (
            journal.spill.empty(size, kind) for kind in (int, int, np.int8, float, float)
        )
        # What was built beside, or is seen after a refresh, was written before readers could see it.
        apart = any(note.landed_at is not None for note in journal.notes)
        landed = journal.spill.empty(size, float) if apart else seen
        beside = journal.spill.empty(size, bool) if apart else np.broadcast_to(False, size)
        first = 0
        for note in journal.notes:
            applied, last = note.applied, first + note.applied.positions.size
            mine, first = slice(first, last), last
            known = applied.trigger.size == applied.positions.size
            position[mine] = applied.positions
            cause[mine] = note.handed[applied.trigger] if known and note.handed.size else applied.positions
            source[mine], began[mine], seen[mine] = (
                _each(values, applied) for values in (note.source, note.began_at, note.visible_at)
            )
            if apart:
                at = note.landed_at
                landed[mine], beside[mine] = seen[mine] if at is None else _each(at, applied), note.beside
        return cls(position, cause, source, began, landed, seen, beside)


def _each(values: np.ndarray | float, applied: Applied) -> np.ndarray | float:
    return values[applied.trigger] if isinstance(values, np.ndarray) else values

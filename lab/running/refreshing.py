"""Refreshes of a store: what is written becomes visible to queries at the next one, all of it together.

They are due at the multiples of an interval on the runner's clock. Nothing but its worker changes a store between two
of them. So one is made before the next write or the next look, which shows the same as if it had been on time. One that
is due while a batch is being written comes right after it, and shows it, too.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from lab.projection.applied import Applied
from lab.projection.projector import Projector
from lab.running.journal import Recorder


class Refreshed(Protocol):
    """What refreshes need of a worker. Both change when another one takes over."""

    projector: Projector
    journal: Recorder


class Refreshes:
    """The refreshes of a worker's store, `every` so many seconds; 0: queries see each batch at once."""

    def __init__(self, of: Refreshed, every: float) -> None:
        self._of, self.every = of, every
        # When what was written since the last refresh becomes visible; infinity without any. And the last look.
        self.due_at, self._looked_at = math.inf, 0.0

    def after(self, landed_at: float) -> float:
        """When the first refresh is due after `landed_at` seconds."""
        at = (math.floor(landed_at / self.every) + 1) * self.every
        # Rounding may give the moment itself.
        return at if at > landed_at else at + self.every

    def seen(self, now: float) -> float:
        """When queries see all that was written by `now`, the present time."""
        return max(now, self.due_at) if self.due_at < math.inf else now

    def look(self, at: float) -> None:
        """Make the refresh that was due by `at` seconds, if there was one."""
        self._looked_at = at
        if self.due_at <= at:
            self._now()

    def show(self, at: float) -> float:
        """Refresh at `at` seconds, whatever is due: what is opened anew, thrown away or taken over shows all it has.

        Returns when it does: a write that a crash cut off may end later.
        """
        if not self.every:
            return at
        self._now()
        return self._of.journal.shown(at, at)

    def end(self) -> None:
        """Refresh when nothing more will be written: what was is seen at the next refresh, as it was noted."""
        if self.every:
            self._now()

    def _now(self) -> None:
        self._of.projector.store.refresh()
        self.due_at = math.inf

    def note(
        self,
        entity: str,
        applied: Applied,
        handed: np.ndarray,
        source: int,
        began_at: float,
        landed_at: float,
        crash: str = "",
        checkpoint: int | None = None,
        committed_at: np.ndarray | None = None,
    ) -> None:
        """Note what was written at `landed_at`: readers see it then, or at the next refresh."""
        due_at, journal = self.due_at, self._of.journal
        if self.every:
            self.due_at = self.after(landed_at)
        rest = crash, checkpoint, committed_at, landed_at if self.every else None
        journal.note(entity, applied, handed, source, began_at, self.seen(landed_at), *rest)
        if due_at <= landed_at:
            self._now()
            journal.shown(landed_at, self._looked_at)

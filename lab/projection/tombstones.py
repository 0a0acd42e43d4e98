"""A guard whose tombstones expire: what it has forgotten to be deleted, a late message brings back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from lab.base import Key
from lab.projection.guard import Admission, Lookup
from lab.projection.revisions import HighestRevision
from lab.scenario.tables import TombstonesTable
from lab.stores.layout import Layout


@dataclass(frozen=True)
class Retention:
    """For how long tombstones are kept: for so many seconds after the delete, or so many of them; None: no limit."""

    seconds: float | None = None
    rows: int | None = None


def retained(table: TombstonesTable | None) -> Retention | None:
    """Return what a scenario says of a projection's tombstones; None for ever."""
    return None if table is None else Retention(table.seconds, table.rows)


class ForgetfulRevision(HighestRevision):
    """`revision`, with tombstones that expire. Time is that of the latest commit that it has seen.

    The row stays in the store, so that its content can be compared with the source of truth; the guard acts as if it
    were gone. `kept` are the tombstones that are left, by entity and key, with the times of their commits.
    """

    expires = True

    def __init__(self, layout: Layout, projected: Lookup, hold: int = 0, retention: Retention = Retention()) -> None:
        super().__init__(layout, projected, hold)
        self.retention = retention
        self.kept: dict[str, dict[Key, float]] = {name: {} for name in layout.entities}
        self._gone: dict[str, set[Key]] = {name: set() for name in layout.entities}
        self._now = 0.0
        # What the rows that are being written say, until they have landed.
        self._written = pl.DataFrame()
        self.kept_most = self.expired = 0
        for name in layout.entities:
            self._find(name)

    def _find(self, entity: str) -> None:
        """Find the tombstones in the store, after a restart: those that had expired are forgotten again."""
        if not self.projected.capabilities.lists:
            return
        for page in self.projected.pages(entity):
            self._note(entity, page)
        self._expire(entity)

    def _revisions(self, entity: str, keys: Sequence[Key]) -> dict[Key, int]:
        gone = self._gone[entity]
        return {key: revision for key, revision in super()._revisions(entity, keys).items() if key not in gone}

    def memory(self, taken: pl.DataFrame) -> pl.DataFrame | None:
        """Look at the rows that are about to be written; nothing is kept with them."""
        self._written = taken
        return None

    def landed(self, entity: str, admission: Admission, checkpoint: int | None, memory: pl.DataFrame | None) -> None:
        """Record the revisions and tombstones that were written, and forget the tombstones that have expired."""
        super().landed(entity, admission, checkpoint, memory)
        self._note(entity, self._written)
        self._written = pl.DataFrame()
        self._expire(entity)

    def _note(self, entity: str, rows: pl.DataFrame) -> None:
        kept, gone = self.kept[entity], self._gone[entity]
        if not rows.height:
            return
        self._now = max(self._now, float(np.max(rows["committed_at"].to_numpy())))
        for key, deleted, at in rows.select("key", "deleted", "committed_at").iter_rows():
            gone.discard(key)
            kept.pop(key, None)
            if deleted:
                kept[key] = at

    def _expire(self, entity: str) -> None:
        kept, seconds, rows = self.kept[entity], self.retention.seconds, self.retention.rows
        over = [key for key, at in kept.items() if seconds is not None and at < self._now - seconds]
        if rows is not None and len(kept) - len(over) > rows:
            # The oldest delete goes first; of those that were written late, too.
            rest = sorted((at, place) for place, at in enumerate(kept.values()))
            keys = list(kept)
            over = [keys[place] for _, place in rest[: len(kept) - rows]]
        for key in over:
            del kept[key]
            self._gone[entity].add(key)
            self.expired += 1
        self._highest[entity].update((key, 0) for key in over)
        self.kept_most = max(self.kept_most, sum(map(len, self.kept.values())))

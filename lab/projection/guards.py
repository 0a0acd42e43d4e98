"""The registry of guards by their names in a scenario, and the guard `none`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from lab.base import Entity, Totals
from lab.projection.dedupe import Dedupe
from lab.projection.guard import Admission, Guard
from lab.projection.revisions import HighestRevision, Ordered
from lab.stores.kept import Kept
from lab.stores.layout import Layout


class NoGuard(Guard):
    """`none`: apply everything, so the last arrival wins."""

    def admit(self, entity: str, keys: pl.Series, revisions: pl.Series, positions: pl.Series) -> Admission:
        """Admit every row."""
        rows = np.arange(len(positions))
        return Admission(rows, rows)


GUARDS: dict[str, type[Guard]] = {
    "none": NoGuard,
    "dedupe": Dedupe,
    "revision": HighestRevision,
    "ordered": Ordered,
}


def guard_class(policy: str, kept: Kept) -> type[Guard]:
    """Return the guard of that name for a projection that keeps changes in this way."""
    return GUARDS[policy].over(kept)


def guarded_layout(
    policy: str, keeps: str, entities: dict[str, Entity], totals: Totals | None = None, durability: str = "normal"
) -> Layout:
    """Return the layout of a projection with the memory that this guard needs."""
    bare = Layout(keeps, entities, totals, durability=durability)
    return replace(bare, memory=guard_class(policy, bare.kept).memory_schema(bare))


def former_columns(policy: str, layout: Layout) -> tuple[str, ...]:
    """Return the columns whose before-images are needed: those of an aggregate that doesn't remember records."""
    if layout.totals is None or guard_class(policy, layout.kept).remembers_contributions:
        return ()
    return tuple(dict.fromkeys(layout.totals.columns))

"""A projection in an emulator is judged, and has no times: those of an emulator say nothing of the system."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import polars as pl

from lab.stores import store_class
from lab.wiring import Plan, ProjectionPlan

# Tables of what happened, whatever it took: all others with a row for a projection have times, or follow from them.
_KEPT = frozenset({"accounting", "deliveries", "faults", "verdicts", "witnesses"})


def level(item: ProjectionPlan) -> str:
    """Return how far a projection's store is the system that it is named after: `real`, or `emulated`."""
    return store_class(item.table.store).capabilities.level


def emulated(plan: Plan) -> frozenset[str]:
    """Return the names of the projections whose stores are emulated."""
    return frozenset(item.name for item in plan.projections if level(item) == "emulated")


def without_times(frames: Mapping[str, pl.DataFrame], names: Collection[str]) -> dict[str, pl.DataFrame]:
    """Return the tables without the times of these projections: without their rows, but where these have none."""
    if not names:
        return dict(frames)
    return {
        name: frame
        if name in _KEPT or "projection" not in frame.columns
        else frame.filter(~pl.col("projection").is_in(list(names)))
        for name, frame in frames.items()
    }

"""Make the rows of the table `tombstones`: how many were kept, what they take, and what came back for want of them."""

from __future__ import annotations

from typing import Any

import polars as pl

from lab.experiment.project import Live
from lab.projection.tombstones import ForgetfulRevision
from lab.verdict.evidence import Evidence
from lab.wiring import Plan


def tombstone_rows(plan: Plan, live: Live, evidence: Evidence) -> list[dict[str, Any]]:
    """Return the row of a projection whose guard knows what was deleted, if any projection forgets that in time."""
    guard, table, dumps = live.projector.guard, live.plan.table, evidence.dumps
    if all(item.table.tombstones is None for item in plan.projections):
        return []
    if table.guard != "revision" or not live.plan.layout.kept.replaces or dumps is None:
        return []
    deleted = sum(int(frame["deleted"].sum()) for frame in dumps.values())
    kept, expired = (guard.kept_most, guard.expired) if isinstance(guard, ForgetfulRevision) else (deleted, 0)
    back = 0
    if not evidence.in_order:
        back = evidence.writes.filter(~pl.col("deleted") & (pl.col("tombstone") > pl.col("revision"))).height
    rows = sum(frame.height for frame in dumps.values())
    return [
        {
            "projection": live.plan.name,
            "retention_seconds": None if table.tombstones is None else table.tombstones.seconds,
            "retention_rows": None if table.tombstones is None else table.tombstones.rows,
            "kept": kept,
            "kept_bytes": round(kept * live.projector.store.size_bytes() / rows) if rows else 0,
            "expired": expired,
            "resurrected": back,
        }
    ]

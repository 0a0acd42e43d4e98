"""Estimate how much disk a run of a recorded history takes at its peak, and compare it with what is free.

What there is for each change is on disk while a run lasts. How much that is depends on the width of the rows and on the
projections; the factors were counted on runs of one million rows.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from lab.base import Problem
from lab.wiring.plan import Plan

# Bytes of a change that any run keeps beside its rows; of one delivery to a projection; of what is worked out while a
# projection is judged, which is one at a time.
_RUN, _DELIVERY, _JUDGED = 60, 45, 140
# Of the bytes of a row, what the source of truth takes with its index, and a store.
_TRUTH, _STORE = 1.0, 0.5
# A run that needs more than so many times what is free is refused.
_HOPELESS = 3


def needed_bytes(plan: Plan, changes: int, row_bytes: float) -> int:
    """Return about how much is needed beside the rows themselves: so many changes, with so many bytes in each row."""
    channel = plan.scenario.channel
    each, judged = _RUN + _TRUTH * row_bytes, 0.0
    for item in plan.projections:
        heard = 1.0 + channel.duplicate if channel is not None and item.by_messages else 0.0
        each += _STORE * row_bytes + _DELIVERY * (1.0 + 2 * heard) / 2
        # What a store of revisions must hold is sorted for that.
        judged = max(judged, _JUDGED, row_bytes * (item.layout.keeps == "revisions") + _JUDGED / 2)
    return int(changes * (each + judged))


def disk_problem(plan: Plan, changes: int, row_bytes: float, place: Path) -> tuple[Problem | None, str]:
    """Return the problem of a run that can't end since `place` has too little room; else a warning, or nothing."""
    needed, free = needed_bytes(plan, changes, row_bytes), shutil.disk_usage(place).free
    if needed <= free:
        return None, ""
    takes = f"the run takes about {_gigabytes(needed)} GB of disk for {changes:,} changes"
    what = f"{takes}, and {_gigabytes(free)} GB are free"
    way_out = "make room, put the runs on a larger disk (--runs), or set domain.days or domain.records to replay a part"
    where = f"{plan.source.path.name}: domain"
    if needed > _HOPELESS * free:
        return Problem(where, what, way_out), ""
    return None, f"{where}: {what}: it may not come to its end ({way_out})"


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:.1f}" if size < 1e10 else f"{size / 1e9:,.0f}"

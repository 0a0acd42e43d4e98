"""What the store itself took for each piece of work of a measured run, for scenarios that draw their times from it."""

from __future__ import annotations

import polars as pl

from lab.experiment.project import Live
from lab.running.journal import SOURCES
from lab.running.trouble import slowed
from lab.tables import TABLES


def own_work(live: Live) -> pl.DataFrame:
    """Return a row for each piece of work (table `work`): its source, rows, and the store's own seconds.

    Planted slowness is divided out. What faults cut off, divided or repeated is left out: crashes, refused batches,
    batches with a change that was parked, and retries. So is what was going on while a rebuild took over.
    """
    journal, faults = live.journal, live.plan.faults
    refused = {fault.at for fault in journal.faults if fault.kind == "refused_apply"}
    swapped_at = journal.swapped_at
    took = []
    for note in journal.notes:
        # A measured run notes one time for all rows of a piece.
        began, source = float(note.began_at), SOURCES.get(int(note.source))
        ended = float(note.visible_at if note.landed_at is None else note.landed_at)
        swapped = swapped_at is not None and began < swapped_at <= ended
        cut_off = note.crash or note.applied.parked.size or began in refused
        if source is not None and note.handed.size and not cut_off and not swapped:
            took.append((source, note.handed.size, (ended - began) / slowed(faults, began)))
    frame = pl.DataFrame(took, schema=["source", "rows", "seconds"], orient="row") if took else TABLES["work"].frame()
    return TABLES["work"].typed(frame.with_columns(projection=pl.lit(live.plan.name)))

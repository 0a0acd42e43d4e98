"""What a simulation of the same load foretells of the lag, from the times that each piece of work took under load.

Given are the times at which changes were committed, messages arrived and requests were answered; what follows is the
simulation's own: when batches and polls start, what waits for what, and how long each takes.
"""

from __future__ import annotations

import gc
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from lab.base import stream
from lab.experiment.write import Written
from lab.feed.arrays import FeedArrays
from lab.feed.published import Published
from lab.live.sharing import work_of
from lab.measure import lag
from lab.place import FolderPlace
from lab.running.empirical import Empirical
from lab.running.journal import Journal
from lab.running.lane import Lane
from lab.running.readers import BesideReaders
from lab.running.simulated import Arrivals, drive
from lab.running.worker import Worker
from lab.running.worklog import ANSWERED, CAUGHT_UP, HEARD, READ, TAKEN, WORK_SUFFIX, lateness, read_work
from lab.tables import TABLES
from lab.truth.outlets import POLL
from lab.wiring import Plan, ProjectionPlan

# The simulation is run with so many seeds, and the lags of all are taken together.
REPETITIONS = 5
# How far the lag under load may be from what is foretold.
WITHIN = {"p50": 0.15, "p99": 0.25}


def foretell(
    plan: Plan, written: Written, every_revision: bool, loaded: pl.DataFrame, folder: Path, began: float
) -> pl.DataFrame:
    """The table `foretold`. `folder` has the service's files, `began` is when the load began (seconds since 1970).

    `loaded` is the summary of the lag under load; `every_revision` says what the source of truth publishes.
    """
    measured = {row["projection"]: row for row in loaded.to_dicts()}
    rows = []
    for item in plan.projections:
        if item.feed != POLL or item.layout.partitions:
            # The simulation knows polls and messages only, and one process for each projection.
            continue
        records = read_work((folder / item.name).with_suffix(WORK_SUFFIX), began)
        lags = []
        for repetition in range(REPETITIONS):
            rng = stream(plan.scenario.seed, "foretold", item.name, str(repetition))
            lags.append(_simulated(item, written.published, every_revision, records, plan.scenario.catch_up.page, rng))
            # A simulation's parts refer to each other, and a run has no collector by itself.
            gc.collect()
        told = lag.summary(item.name, pl.concat(lags))
        rows.append(_row(item.name, told, measured[item.name], _busy(records, written.published.end)))
    return TABLES["foretold"].frame(rows)


def worked(plan: Plan, folder: Path, began: float) -> pl.DataFrame:
    """The table `work` of a load: what each piece of work took in the projections' processes since `began`."""
    parts = [TABLES["work"].frame()]
    for item in plan.projections:
        name, records = item.name, work_of(item, folder, began)
        mine = records[(records["kind"] == TAKEN) | (records["kind"] == CAUGHT_UP)]
        source = np.where(mine["kind"] == TAKEN, "channel", "catch-up")
        taken = pl.DataFrame({"source": source, "rows": mine["rows"], "seconds": mine["seconds"]})
        parts.append(TABLES["work"].typed(taken.filter(pl.col("rows") > 0).with_columns(projection=pl.lit(name))))
    return pl.concat(parts)


def _row(name: str, told: Mapping[str, Any], had: Mapping[str, Any], busy: float) -> dict[str, Any]:
    row: dict[str, Any] = {"projection": name, "busy_share": busy, "holds": True}
    for share, within in WITHIN.items():
        simulated, loaded = told[f"{share}_seconds"], had[f"{share}_seconds"]
        error = loaded / simulated - 1 if simulated and loaded is not None else None
        row |= {f"simulated_{share}_seconds": simulated, f"loaded_{share}_seconds": loaded, f"{share}_error": error}
        row["holds"] = row["holds"] and error is not None and abs(error) <= within
    return row


def _busy(records: np.ndarray, end: float) -> float:
    return float(records["seconds"][records["began"] < end].sum() / end) if end else 0.0


def _simulated(
    item: ProjectionPlan,
    published: Published,
    every_revision: bool,
    records: np.ndarray,
    page: int,
    rng: np.random.Generator,
) -> pl.DataFrame:
    """The lags of one projection in one simulation, of the changes that were committed under load."""
    journal = Journal()
    feeds = {
        name: FeedArrays(published.frames[name], every_revision, published.times(name)) for name in item.layout.entities
    }
    # What becomes of a change is the guard's business, whatever the store; this one takes no time of anyone.
    in_memory = replace(item, table=item.table.model_copy(update={"store": "memory", "checkpoint": "with-data"}))
    projector = in_memory.projector(FolderPlace(Path("never-made")))
    service = Empirical(published, feeds, records, rng)
    heard = np.sort(records[records["kind"] == HEARD], order="due", kind="stable")
    inbox = Arrivals(
        heard["rows"] - 1, heard["due"], item.pace.capacity, lambda messages: journal.overflow(messages + 1)
    )
    for name, feed in feeds.items():
        before = feed.page(0, feed.positions.size, 0.0)
        if before.size:
            # What was there before the load had been read by then.
            projector.apply(name, service.frame(name, before), int(feed.positions[before].max()))
    worker = Worker(projector, service, inbox, journal, page, item.pace.batch)
    lane = Lane(item.pace, inbox, published.end, worker)
    reads = records["due"][(records["kind"] == READ) & (records["due"] >= 0.0)]
    if item.pace.polls and reads.size:
        lane.due_at = float(reads.min())
    beside, late = records[records["kind"] > TAKEN], lateness(records)
    came_at = np.where(beside["kind"] == ANSWERED, beside["due"], beside["began"])
    order = np.argsort(came_at, kind="stable")
    drive([BesideReaders(lane, came_at[order], beside["seconds"][order], lambda: _drawn(late, rng))])
    worker.finish(lane.free_at)
    visible = lag.visible_at(published, journal, item.subsumes)
    chosen = published.of_entities(tuple(item.layout.entities))
    fresh = chosen[published.committed_at[chosen] > 0.0]
    return lag.lags(item.name, published, visible, fresh)


def _drawn(values: np.ndarray, rng: np.random.Generator) -> float:
    return float(values[rng.integers(len(values))]) if len(values) else 0.0

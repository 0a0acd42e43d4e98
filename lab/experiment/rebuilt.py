"""Rebuild a projection beside the live one, and time it."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import polars as pl

from lab.base import CannotTake
from lab.experiment.dumped import dumped
from lab.experiment.progress import Stretch
from lab.experiment.project import Live
from lab.measure import machine
from lab.place import FolderPlace
from lab.projection.rebuild import follow, rebuild
from lab.spill import Spill, spilling
from lab.truth import Truth
from lab.verdict.oracle import Oracle


def _begin() -> float:
    machine.forget_peak()
    return perf_counter()


def rebuilt_beside(
    live: Live, truth: Truth, place: FolderPlace, oracle: Oracle, stretch: Stretch
) -> tuple[dict[str, Any], dict[str, pl.DataFrame]]:
    """Fill a new store beside the live one from position 0: its row of `rebuild`, and its content by entity.

    The time includes closing the store, and opening it unless the rebuild had to begin again.
    """
    store, spill = live.plan.store(place), Spill(live.journal.spill.folder)

    changes, reading = max(live.chosen.size, 1), stretch.part(0.0, 0.5)

    def told(read: int) -> None:
        # Most of it is read before anything is written.
        reading.done(read / changes)

    began = _begin()
    store.open()
    try:
        with spilling(spill):
            read = rebuild(store, live.plan.subscription(truth, before=False), live.plan.table.guard, told)
    except CannotTake:
        # The rebuild begins again by following the feed; the time of the first attempt doesn't count.
        began = _begin()
        read = follow(store, live.plan.subscription(truth, before=True), live.plan.table.guard, told)
    store.close()
    seconds = perf_counter() - began
    peak = machine.peak_rss_bytes()
    size = store.size_bytes()
    stretch.done(0.8)
    store.open()
    dumps = dumped(store, oracle, live.journal.spill)
    store.drop()
    row = {
        "projection": live.plan.name,
        "store": store.name,
        "changes": read,
        "seconds": seconds,
        "changes_per_second": read / seconds,
        "size_bytes": size,
        "peak_rss_bytes": peak,
    }
    return row, dumps

"""Rebuild a projection beside the live one, and time it."""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter
from typing import Any

import polars as pl

from lab.base import CannotTake
from lab.experiment.dumped import dumped
from lab.experiment.progress import Stretch
from lab.experiment.project import Live
from lab.feed.reader import ChangeReader
from lab.measure import machine
from lab.place import FolderPlace
from lab.projection.rebuild import follow, rebuild
from lab.spill import Spill, spilling
from lab.truth import Truth
from lab.verdict.oracle import Oracle


def _begin() -> float:
    machine.forget_peak()
    return perf_counter()


class _TellsProgress(ChangeReader):
    """The same reader, which tells how many changes it has read."""

    def __init__(self, reader: ChangeReader, changes: int, stretch: Stretch) -> None:
        super().__init__(reader.truth, reader.before, reader.columns)
        self._read, self._changes, self._stretch = 0, max(changes, 1), stretch

    def pages(self, entity: str, limit: int) -> Iterator[pl.DataFrame]:
        """The same pages."""
        for page in super().pages(entity, limit):
            self._read += page.height
            self._stretch.done(self._read / self._changes)
            yield page


def rebuilt_beside(
    live: Live, truth: Truth, place: FolderPlace, oracle: Oracle, stretch: Stretch
) -> tuple[dict[str, Any], dict[str, pl.DataFrame]]:
    """Fill a new store beside the live one from position 0: its row of `rebuild`, and its content by entity.

    The time includes closing the store, and opening it unless the rebuild had to begin again.
    """
    store, spill = live.plan.store(place), Spill(live.journal.spill.folder)

    def feed(before: bool) -> ChangeReader:
        # Most of it is read before anything is written.
        return _TellsProgress(live.plan.subscription(truth, before=before), live.chosen.size, stretch.part(0.0, 0.5))

    began = _begin()
    store.open()
    try:
        with spilling(spill):
            changes = rebuild(store, feed(False), live.plan.table.guard)
    except CannotTake:
        # The rebuild begins again by following the feed; the time of the first attempt doesn't count.
        began = _begin()
        changes = follow(store, feed(True), live.plan.table.guard)
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
        "changes": changes,
        "seconds": seconds,
        "changes_per_second": changes / seconds,
        "size_bytes": size,
        "peak_rss_bytes": peak,
    }
    return row, dumps

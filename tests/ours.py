"""The lab's own projector as a consumer, so that the kit's trials can be run against it."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import polars as pl

from lab.base import Entity
from lab.kit.feed import TrialFeed
from lab.kit.history import Change, Row, Shape
from lab.place import FolderPlace
from lab.projection.guards import guarded_layout
from lab.projection.projector import Projector
from lab.running.trouble import StoreFaults, faulty
from lab.stores import dump, store_class

# More than any history here has.
HOLD = 10_000


class Ours:
    """A projector of the lab on one of its stores. Each trial has a folder of its own."""

    def __init__(self, policy: str, store: str = "memory", shape: Shape | None = None) -> None:
        self.armed: str | None = None
        shape = shape or Shape()
        self._entity = Entity("record", "str" if shape.key == "str" else "int", dict(shape.columns))
        self._folder = Path(tempfile.mkdtemp(prefix="lab-check-"))
        layout = guarded_layout(policy, "records", {"record": self._entity})
        self._faults = StoreFaults()
        made = store_class(store)(FolderPlace(self._folder / "store"), layout)
        self._projector = Projector(faulty(made, self._faults), policy, HOLD)

    def receive(self, changes: list[Change]) -> None:
        """Apply messages, which don't move the checkpoint."""
        self._apply(changes, None)

    def poll(self, feed: TrialFeed, limit: int) -> None:
        """Apply the next page, up to the oldest open transaction."""
        horizon = feed.horizon()
        page = [item for item in feed.changes_since(self.checkpoint(), limit) if item["position"] <= horizon]
        if page:
            self._apply(page, page[-1]["position"])

    def _apply(self, changes: list[Change], checkpoint: int | None) -> None:
        frame = pl.DataFrame([change | {"committed_at": 0.0} for change in changes], schema=self._entity.schema)
        self._faults.arm(self.armed)
        self._projector.apply("record", frame, checkpoint)
        self._faults.end()

    def restart(self) -> None:
        """Drop what is only in memory and read the store again, as after a crash."""
        self._projector = self._projector.reopened()

    def rows(self) -> list[Row]:
        """Return the store's rows without tombstones."""
        frame: Any = dump(self._projector.store, "record").filter(~pl.col("deleted")).drop("committed_at")
        rows: list[Row] = frame.to_dicts()
        return rows

    def checkpoint(self) -> int:
        """Return the store's checkpoint."""
        return self._projector.checkpoint("record")

    def close(self) -> None:
        """Close the store, and remove its folder."""
        self._projector.store.close()
        shutil.rmtree(self._folder, ignore_errors=True)

"""Parking: where changes wait that a projection can't take, with all later changes of their records.

Kept in a file beside the store, which is replaced before the checkpoint passes what is parked: a crash in between
leaves a change both parked and to be read again, and it is recognised by its position. Like the store, it survives a
power cut in the durability class `full` only.
"""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl

from lab.base import Key

REASON = "lab_reason"


class Parking:
    """The parked changes of one projection: for each entity a change frame, with the reason as its last column."""

    def __init__(self, path: Path, durability: str) -> None:
        self.path = path
        self.durability = durability
        self._frames: dict[str, pl.DataFrame] = {}
        self._keys: dict[str, set[Key]] = {}
        for file in sorted(path.glob("parked-*.arrow")) if path.is_dir() else ():
            self._keep(file.stem.removeprefix("parked-"), pl.read_ipc(file))

    def _keep(self, entity: str, frame: pl.DataFrame) -> None:
        self._frames[entity] = frame
        self._keys[entity] = set(frame["key"])

    def _file(self, entity: str) -> Path:
        return self.path / f"parked-{entity}.arrow"

    def keys(self, entity: str) -> set[Key]:
        """The records that have changes here: whatever comes of them comes here too."""
        return self._keys.get(entity, set())

    def frame(self, entity: str) -> pl.DataFrame | None:
        """What is parked, by position; None if nothing ever was."""
        return self._frames.get(entity)

    def add(self, entity: str, frame: pl.DataFrame, reason: str) -> None:
        """Park these changes; those that are parked already are known by their positions."""
        frame = frame.with_columns(pl.lit(reason, pl.String).alias(REASON))
        former = self._frames.get(entity)
        if former is not None:
            frame = pl.concat([former, frame.select(former.columns)])
        self._write(entity, frame.unique("position", keep="first").sort("position"))

    def release(self, entity: str, key: Key) -> None:
        """The changes of this record have been applied."""
        self._write(entity, self._frames[entity].filter(pl.col("key") != key))

    def _write(self, entity: str, frame: pl.DataFrame) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        partial = self.path / f".parked-{entity}.{os.getpid()}.partial"
        with partial.open("wb") as file:
            frame.write_ipc(file)
            if self.durability == "full":
                file.flush()
                os.fsync(file.fileno())
        partial.replace(self._file(entity))
        self._keep(entity, frame)

    def clear(self) -> None:
        """Forget everything: the projection is to be built anew."""
        for entity in self._frames:
            self._file(entity).unlink(missing_ok=True)
        self._frames.clear()
        self._keys.clear()

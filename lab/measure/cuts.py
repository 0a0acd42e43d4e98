"""What one projection shows at moments of its run, as a cut: up to where all is there, and what is there beyond.

A cut is a position: everything up to it, and nothing beyond. A projection that is fed by catch-up alone always shows
one; messages that run ahead, or faults, leave it with changes beyond some that are missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from lab.base import stream
from lab.feed.published import Published
from lab.measure.windows import Window
from lab.running.journal import Journal

# No change: nothing is shown, or nothing is missing.
NOTHING = -1


class ShownCut:
    """The changes that a projection shows; `chosen` are those that it subscribes to, by index.

    `backward`: the frame `shown` of `lab.measure.lag`, of a projection that may show an older revision again. While it
    does, it shows no cut.
    """

    def __init__(self, windows: Sequence[Window], chosen: np.ndarray, backward: pl.DataFrame | None = None) -> None:
        self.begins = np.array([window.since for window in windows])
        self.chosen, self.size = chosen, 0 if not windows else windows[0].visible.size
        self._missing = [np.maximum.accumulate(window.visible[chosen]) for window in windows]
        self._shown = []
        for window in windows:
            visible = window.visible[chosen]
            order = np.argsort(visible, kind="stable")
            self._shown.append((visible[order], np.maximum.accumulate(chosen[order])))
        self._back_at, self._back = _backwards(backward)

    def highest(self, at: np.ndarray) -> np.ndarray:
        """Return the last change that is shown at each time, by index; `NOTHING` for none."""
        found = np.full(at.size, NOTHING, np.int64)
        for number, mine in self._windows(at):
            times, highest = self._shown[number]
            place = np.searchsorted(times, at[mine], side="right") - 1
            found[mine] = np.where(place >= 0, np.append(highest, NOTHING)[place], NOTHING)
        return found

    def missing(self, at: np.ndarray) -> np.ndarray:
        """Return the first change that is not shown at each time, by index; how many there are if all are.

        0 while an older revision is shown again.
        """
        found = np.full(at.size, self.size, np.int64)
        for number, mine in self._windows(at):
            place = np.searchsorted(self._missing[number], at[mine], side="right")
            found[mine] = np.append(self.chosen, self.size)[place]
        if self._back_at.size:
            back = np.append(self._back, 0)[np.searchsorted(self._back_at, at, side="right") - 1]
            found[back > 0] = 0
        return found

    def _windows(self, at: np.ndarray) -> list[tuple[int, np.ndarray]]:
        of = np.searchsorted(self.begins, at, side="right") - 1
        return [(number, of == number) for number in range(self.begins.size)]


def _backwards(shown: pl.DataFrame | None) -> tuple[np.ndarray, np.ndarray]:
    """Return times, and how many records show an older revision than before from each of them on."""
    if shown is None:
        return np.empty(0), np.empty(0, np.int64)
    older = (pl.col("revision") < pl.col("revision").cum_max().over("record")).cast(pl.Int64)
    moved = shown.select("at", step=older - older.shift(1, fill_value=0).over("record")).filter(pl.col("step") != 0)
    # What becomes visible at one time is seen together.
    summed = moved.group_by("at").agg(pl.col("step").sum()).sort("at")
    return summed["at"].to_numpy(), summed["step"].cum_sum().to_numpy()


class Tokens:
    """The checkpoints that a projection tells its readers: of each entity, the position at each time."""

    def __init__(self, journal: Journal, entities: Sequence[str]) -> None:
        self._of = {}
        for entity in entities:
            noted = [(at, position) for at, name, position in journal.checkpoints if name == entity]
            times = np.array([at for at, _ in noted])
            order = np.argsort(times, kind="stable")
            self._of[entity] = times[order], np.array([position for _, position in noted], np.int64)[order]

    @property
    def entities(self) -> set[str]:
        """Return the names of the entities that have one."""
        return set(self._of)

    def at(self, entity: str, at: np.ndarray) -> np.ndarray:
        """Return the checkpoint at each time; 0 before the first."""
        times, positions = self._of[entity]
        found: np.ndarray = np.append(positions, 0)[np.searchsorted(times, at, side="right") - 1]
        return found


@dataclass(frozen=True)
class RecordsShown:
    """Which revision of each record is shown at a time; `frame` as `lab.measure.lag` tells it, of one entity.

    `writes`, of a projection that keeps every revision: each write of a change, sorted by record, index and time.
    """

    frame: pl.DataFrame
    published: Published
    writes: pl.DataFrame | None = None

    def at(self, record: np.ndarray, at: np.ndarray) -> np.ndarray:
        """Return the change that is shown of each record at its time, by index; `NOTHING` for none or a deleted one."""
        asked = pl.DataFrame({"record": record, "at": at, "row": np.arange(at.size)}).sort("at")
        shown = self.frame.select("record", "at", "index")
        found = asked.join_asof(shown, on="at", by="record", check_sortedness=False).sort("row")
        return self._live(found["index"].fill_null(NOTHING).to_numpy())

    def as_of(self, record: np.ndarray, at: np.ndarray, token: np.ndarray) -> np.ndarray:
        """Return the same as of a position: what was there of each record up to it, if it was written by then."""
        assert self.writes is not None
        size, writes = self.published.record.size + 1, self.writes
        index = writes["index"].to_numpy()
        place = np.searchsorted(writes["record"].to_numpy() * size + index, record * size + token, side="left") - 1
        known = (place >= 0) & (np.append(writes["record"].to_numpy(), NOTHING)[place] == record)
        known &= np.append(writes["at"].to_numpy(), np.inf)[place] <= at
        return self._live(np.where(known, np.append(index, NOTHING)[place], NOTHING))

    def newest(self, at: np.ndarray, count: int) -> np.ndarray:
        """Return the records that were written last at each time, the last first, at the most `count`; else NOTHING."""
        place = np.searchsorted(self.frame["at"].to_numpy(), at, side="right")[:, None] - 1 - np.arange(count)
        found: np.ndarray = np.append(self.frame["record"].to_numpy(), NOTHING)[np.where(place >= 0, place, -1)]
        return found

    def any(self, visits: int, count: int, seed: int, name: str) -> np.ndarray:
        """Draw `count` of all records for each visit, those that are not shown yet included."""
        records = self.frame["record"].unique().sort().to_numpy()
        if not records.size:
            return np.full((visits, count), NOTHING)
        found: np.ndarray = records[stream(seed, "pages", name, "ids").integers(0, records.size, (visits, count))]
        return found

    def _live(self, index: np.ndarray) -> np.ndarray:
        deleted = np.append(self.published.deleted, True)[index]
        found: np.ndarray = np.where(deleted, NOTHING, index)
        return found

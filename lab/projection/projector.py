"""The projector: takes changes from the feed, the channel or both; guards; applies; keeps the checkpoint.

It knows nothing of time: whoever drives it (a simulation, a process) says what arrives and measures around it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from lab.base import BEFORE, META, Batch
from lab.projection.guards import Guard, Ordered, make_guard
from lab.projection.totals import Contributions, contributions, increments
from lab.stores.port import Layout, Store


@dataclass(frozen=True)
class Applied:
    """What became of one frame: positions applied, in order, each with the row of the frame that brought it in.

    `refused` are positions older than what was known, or known already; `dropped` found no room to wait in.
    """

    positions: np.ndarray
    trigger: np.ndarray
    refused: np.ndarray
    dropped: np.ndarray


class Projector:
    """One projection at work. `policy` names its guard; `hold` bounds how many changes may be held back."""

    def __init__(self, store: Store, policy: str, hold: int) -> None:
        self.store = store
        self.layout: Layout = store.layout
        self.policy = policy
        self._hold = hold
        self.start()

    def start(self) -> None:
        """Open the store and find the guard's memory there: after a crash as at the first start."""
        self.store.open()
        self.guard: Guard = make_guard(self.policy, self.layout, self._hold)
        self._held: dict[str, pl.DataFrame] = {}
        self._contributions: Contributions | None = None
        for entity in self.layout.entities:
            self.guard.load(self.store, entity)
        if self.layout.totals and self.policy == "revision":
            self._contributions = Contributions(self.layout.totals, self.store.memory(self.layout.totals.entity))

    def checkpoint(self, entity: str) -> int:
        """Up to where catch-up has come."""
        return self.store.checkpoint(entity)

    def held(self, entity: str) -> np.ndarray:
        """Positions that are held back, waiting for a gap to be filled."""
        frame = self._held.get(entity)
        return np.empty(0, np.int64) if frame is None else frame["position"].to_numpy()

    def apply(self, entity: str, frame: pl.DataFrame, checkpoint: int | None = None) -> Applied:
        """Guard and write one frame of arrivals, in their order; checkpoint and data land together."""
        frame = frame.select(self._needed(entity))
        held = self._held.get(entity)
        early = 0 if held is None else held.height
        if held is not None and early:
            frame = pl.concat([held, frame])
        positions = frame["position"].to_numpy()
        admission = self.guard.admit(entity, frame["key"].to_list(), frame["revision"].to_list(), positions.tolist())
        try:
            self._write(entity, frame, admission.take, checkpoint)
        except BaseException:
            # The guard has already counted on these rows; what the store holds is what is true.
            self.start()
            raise
        if isinstance(self.guard, Ordered):
            settled = np.zeros(frame.height, dtype=bool)
            for rows in (admission.take, admission.refused, admission.dropped):
                settled[rows] = True
            self._held[entity] = frame.filter(~settled)
        if checkpoint is not None:
            self.guard.passed(entity, checkpoint)
        return Applied(
            positions[admission.take],
            np.asarray(admission.trigger, np.int64) - early,
            positions[admission.refused],
            positions[admission.dropped],
        )

    def _needed(self, entity: str) -> list[str]:
        """The columns that this projection looks at: those of a message and of a page are not the same."""
        totals = self.layout.totals
        if totals is None:
            return list(self.layout.entities[entity].schema)
        own = list(dict.fromkeys(totals.columns))
        before = [] if self.policy == "revision" else [f"{BEFORE}{name}" for name in ("live", *own)]
        return [*META, *own, *before]

    def _write(self, entity: str, frame: pl.DataFrame, take: list[int], checkpoint: int | None) -> None:
        layout = self.layout
        if not take and checkpoint is None:
            return
        taken = frame if take == list(range(frame.height)) else frame[take]
        if layout.keeps == "totals":
            rows, memory = self._totals(taken)
        else:
            rows, memory = _last(taken, layout.identity), self._memory(taken)
        self.store.apply(Batch(entity, rows, checkpoint, memory))

    def _totals(self, taken: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame | None]:
        assert self.layout.totals is not None
        if self._contributions is None:
            return increments(taken, self.layout.totals), self._memory(taken)
        last = _last(taken, ("key",))
        rows = increments(self._contributions.recall(last), self.layout.totals)
        return rows, contributions(last, self.layout.totals)

    def _memory(self, taken: pl.DataFrame) -> pl.DataFrame | None:
        names = list(self.layout.memory)
        if not names:
            return None
        if names == ["id"]:
            return taken.select(pl.col("position").alias("id"))
        return _last(taken, ("key",)).select(pl.col("key").alias("id"), "revision")


def _last(frame: pl.DataFrame, identity: tuple[str, ...]) -> pl.DataFrame:
    """The last row of each identity, sorted by it: an engine with a tree is quickest with keys in order."""
    return frame.unique(identity, keep="last", maintain_order=True).sort(identity)

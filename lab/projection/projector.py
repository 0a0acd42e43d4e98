"""The projector: takes changes from the feed, the channel or both; guards; applies; keeps the checkpoint.

It knows nothing of time: whoever drives it (a simulation, a process) says what arrives and measures around it. What a
store can't take is parked with its record, and everything else goes on.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from lab.base import BEFORE, META, Batch, CannotTake, Unavailable
from lab.projection.applied import NONE, NOTHING, Applied, Attempt
from lab.projection.guards import Guard, Ordered, make_guard
from lab.projection.parking import REASON, Parking
from lab.projection.totals import Contributions, contributions, increments
from lab.stores.port import Layout, Store

# Why a change is parked that the store could take: one before it can't be taken.
BEHIND = "a former change of the record is parked"


class Projector:
    """One projection at work. `policy` names its guard; `hold` bounds how many changes may be held back.

    `attempt` says how far the last `apply` came: after an exception, what of it landed and what was in flight.
    """

    def __init__(self, store: Store, policy: str, hold: int) -> None:
        self.store = store
        self.layout: Layout = store.layout
        self.policy = policy
        self.attempt = Attempt()
        self._hold = hold
        self.start()

    def start(self) -> None:
        """Open the store and find the guard's memory there: after a crash as at the first start."""
        self.store.open()
        self.parking = Parking(self.store.path, self.layout.durability)
        self._held: dict[str, pl.DataFrame] = {}
        self._recall()

    def reopened(self) -> Projector:
        """A new projector of the same kind on the same store, closed and opened again: what a restart begins with."""
        self.store.close()
        return type(self)(self.store, self.policy, self._hold)

    def _recall(self) -> None:
        self.guard: Guard = make_guard(self.policy, self.layout, self._hold)
        self._contributions: Contributions | None = None
        for entity in self.layout.entities:
            self.guard.load(self.store, entity)
            self.guard.awaits(entity, self.parked(entity).tolist())
        if self.layout.totals and self.policy == "revision":
            self._contributions = Contributions(self.layout.totals, self.store.memory(self.layout.totals.entity))

    def reset(self) -> None:
        """Throw the projection away, with all that was known of it."""
        self.store.reset()
        self.parking.clear()
        self.start()

    def checkpoint(self, entity: str) -> int:
        """Up to where catch-up has come."""
        return self.store.checkpoint(entity)

    def held(self, entity: str) -> np.ndarray:
        """Positions that are held back, waiting for a gap to be filled."""
        frame = self._held.get(entity)
        return NONE if frame is None else frame["position"].to_numpy()

    def parked(self, entity: str) -> np.ndarray:
        """Positions that are parked."""
        frame = self.parking.frame(entity)
        return NONE if frame is None else frame["position"].to_numpy()

    def apply(self, entity: str, frame: pl.DataFrame, checkpoint: int | None = None) -> Applied:
        """Guard and write one frame of arrivals, in their order; checkpoint and data land together."""
        needed = self._needed(entity)
        if frame.columns != needed:
            frame = frame.select(needed)
        rows = np.arange(frame.height)
        self.attempt = Attempt()
        if keys := self.parking.keys(entity):
            waits = frame["key"].is_in(list(keys)).to_numpy()
            if waits.any():
                self.attempt.landed.append(self._behind(entity, frame.filter(pl.Series(waits))))
                rows = np.flatnonzero(~waits)
        try:
            self._guarded(entity, frame if rows.size == frame.height else frame[rows], rows, checkpoint)
        except CannotTake as error:
            self._divide(entity, frame, rows, str(error))
            # The pieces have moved no checkpoint.
            self._guarded(entity, frame[:0], rows, checkpoint)
        return self.attempt.applied()

    def retry(self, entity: str) -> Applied:
        """Try what is parked again, record by record, in the order of revisions; a store that refuses ends it."""
        self.attempt = Attempt([NOTHING])
        for key in sorted(self.parking.keys(entity), key=str):
            waiting = self.parking.frame(entity)
            assert waiting is not None
            frame = waiting.filter(pl.col("key") == key).sort("revision").drop(REASON)
            try:
                self._guarded(entity, frame, np.zeros(frame.height, np.int64), None)
            except CannotTake:
                continue
            except Unavailable:
                break
            self.parking.release(entity, key)
        return self.attempt.applied()

    def _behind(self, entity: str, frame: pl.DataFrame) -> Applied:
        """Changes of parked records: those that are in already are refused, the others wait with the rest."""
        changes = frame.select("key", "revision", "position").iter_rows()
        known = pl.Series([self.guard.known(entity, *change) for change in changes], dtype=pl.Boolean)
        refused = frame.filter(known)["position"].to_numpy()
        return replace(NOTHING, refused=refused, parked=self._park(entity, frame.filter(~known), BEHIND))

    def _park(self, entity: str, frame: pl.DataFrame, reason: str) -> np.ndarray:
        if not frame.height:
            return NONE
        self.parking.add(entity, frame, reason)
        self.guard.awaits(entity, frame["position"].to_list())
        return frame["position"].to_numpy()

    def _divide(self, entity: str, frame: pl.DataFrame, rows: np.ndarray, reason: str) -> None:
        """Look among these rows for the records that the store can't take, by halving, and park them."""
        keys = frame[rows]["key"]
        distinct = keys.unique(maintain_order=True)
        if len(distinct) <= 1:
            bad = frame[rows]
            held = self._held.get(entity)
            if held is not None:
                # What the record held back for later can't come into its turn either.
                waits = held["key"].is_in(distinct.implode())
                bad, self._held[entity] = pl.concat([bad, held.filter(waits)]), held.filter(~waits)
            self.attempt.landed.append(replace(NOTHING, parked=self._park(entity, bad, reason)))
            return
        for half in (distinct[: len(distinct) // 2], distinct[len(distinct) // 2 :]):
            chosen = rows[keys.is_in(half.implode()).to_numpy()]
            try:
                self._guarded(entity, frame[chosen], chosen, None)
            except CannotTake as error:
                self._divide(entity, frame, chosen, str(error))

    def _guarded(self, entity: str, frame: pl.DataFrame, rows: np.ndarray, checkpoint: int | None) -> None:
        """Admit and write a frame, and add what became of it to the attempt; `rows` are its rows' numbers there."""
        held = self._held.get(entity)
        early = 0 if held is None else held.height
        if held is not None and early:
            frame = pl.concat([held, frame])
        positions = frame["position"].to_numpy()
        admission = self.guard.admit(entity, frame["key"], frame["revision"], frame["position"])
        applied = self.attempt.in_flight = Applied(
            positions[admission.take],
            rows[np.asarray(admission.trigger, np.int64) - early],
            positions[admission.refused],
            positions[admission.dropped],
        )
        try:
            self._write(entity, frame, np.asarray(admission.take, np.int64), applied.positions, checkpoint)
        except BaseException as error:
            if isinstance(error, CannotTake | Unavailable):
                # Refused: nothing of it is in the store.
                self.attempt.in_flight = None
            # The guard has already counted on these rows; what the store holds is what is true.
            self.store.open()
            self._recall()
            raise
        self.attempt.in_flight = None
        self.attempt.landed.append(applied)
        if isinstance(self.guard, Ordered):
            settled = np.zeros(frame.height, dtype=bool)
            for chosen in (admission.take, admission.refused, admission.dropped):
                settled[chosen] = True
            self._held[entity] = frame.filter(~settled)
        if checkpoint is not None:
            self.guard.passed(entity, checkpoint)

    def _needed(self, entity: str) -> list[str]:
        """The columns that this projection looks at: those of a message and of a page are not the same."""
        totals = self.layout.totals
        if totals is None:
            return list(self.layout.entities[entity].schema)
        own = list(dict.fromkeys(totals.columns))
        before = [] if self.policy == "revision" else [f"{BEFORE}{name}" for name in ("live", *own)]
        return [*META, *own, *before]

    def _write(
        self, entity: str, frame: pl.DataFrame, take: np.ndarray, positions: np.ndarray, checkpoint: int | None
    ) -> None:
        if not take.size and checkpoint is None:
            return
        whole = take.size == frame.height and np.array_equal(take, np.arange(take.size))
        taken = frame if whole else frame[take]
        if self.layout.keeps == "totals":
            rows, memory = self._totals(taken)
        else:
            rows, memory = _last(taken, self.layout.identity), self._memory(taken)
        self.store.apply(Batch(entity, rows, checkpoint, memory, positions=positions))

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
    if frame.height <= 1:
        return frame
    if len(identity) == 1 and frame.schema[identity[0]] == pl.Int64:
        # One stable sort of the numbers does both, in a third of the time.
        values = frame[identity[0]].to_numpy()
        order = np.argsort(values, kind="stable")
        values = values[order]
        last: np.ndarray = order[np.append(values[1:] != values[:-1], np.True_)]
        return frame[last]
    return frame.unique(identity, keep="last", maintain_order=True).sort(identity)

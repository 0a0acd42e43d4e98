"""The projector: takes changes, asks the guard, writes to the store, and keeps the checkpoint.

It knows nothing of time: its caller decides what arrives when, and measures around it. A change that the store can't
take is parked together with later changes of its record, and everything else continues.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from lab.base import BEFORE, META, REASON, Batch, CannotTake, Key, Unavailable
from lab.projection.applied import NONE, NOTHING, Applied, Attempt
from lab.projection.guard import Admission
from lab.projection.guards import guard_class
from lab.projection.tombstones import ForgetfulRevision, Retention
from lab.projection.totals import increments, last_rows
from lab.stores.layout import Layout
from lab.stores.port import Store

# The reason of a parked change that the store could take: an earlier change of its record is parked.
BEHIND = "a former change of the record is parked"


class Projector:
    """A projector on one store. `policy` names its guard; `hold` limits how many changes may be held back.

    `retention`: for how long the guard `revision` knows what was deleted; None for ever.

    `attempt` says how far the last `apply` came: after an exception, what of it landed and what was in flight.
    """

    def __init__(self, store: Store, policy: str, hold: int, retention: Retention | None = None) -> None:
        self.store = store
        self.layout: Layout = store.layout
        self.policy = policy
        self.attempt = Attempt()
        self._hold, self._retention = hold, retention
        self.start()

    def start(self) -> None:
        """Open the store. The guard looks up what it needs there as changes arrive."""
        self.store.open()
        if self._retention is None:
            self.guard = guard_class(self.policy, self.layout.kept)(self.layout, self.store, self._hold)
        else:
            self.guard = ForgetfulRevision(self.layout, self.store, self._hold, self._retention)
        self._columns = {entity: self._needed(entity) for entity in self.layout.entities}
        self._held: dict[str, pl.DataFrame] = {}
        self._parked: dict[str, pl.DataFrame] = {}
        for entity in self.layout.entities:
            self._find_parked(entity)

    def reopened(self) -> Projector:
        """Return a new projector on the same store, closed and opened again, as after a restart."""
        self.store.close()
        return type(self)(self.store, self.policy, self._hold, self._retention)

    def reset(self) -> None:
        """Delete the projection, with everything that the guard knows of it."""
        self.store.reset()
        self.start()

    def checkpoint(self, entity: str) -> int:
        """Return the position up to which catch-up has come."""
        return self.store.checkpoint(entity)

    def held(self, entity: str) -> np.ndarray:
        """Return the positions that are held back until a gap is filled."""
        frame = self._held.get(entity)
        return NONE if frame is None else frame["position"].to_numpy()

    def parked(self, entity: str) -> np.ndarray:
        """Return the positions that are parked."""
        return self._parked[entity]["position"].to_numpy()

    def apply(self, entity: str, frame: pl.DataFrame, checkpoint: int | None = None) -> Applied:
        """Guard and write one frame of arrivals in order; checkpoint and data are committed together."""
        if frame.columns != self._columns[entity]:
            frame = frame.select(self._columns[entity])
        rows = np.arange(frame.height)
        self.attempt = Attempt()
        if self._parked[entity].height:
            waits = frame["key"].is_in(self._parked[entity]["key"].unique().implode()).to_numpy()
            if waits.any():
                self._set_aside(entity, frame.filter(pl.Series(waits)), BEHIND)
                rows = np.flatnonzero(~waits)
        try:
            self._guarded(entity, frame if rows.size == frame.height else frame[rows], rows, checkpoint)
        except CannotTake as error:
            self._divide(entity, frame, rows, str(error))
            # The pieces did not move the checkpoint.
            self._guarded(entity, frame[:0], rows, checkpoint)
        return self.attempt.applied()

    def retry(self, entity: str) -> Applied:
        """Try parked changes again, record by record, in the order of revisions; stop if the store refuses for now."""
        self.attempt = Attempt([NOTHING])
        parked = self._parked[entity]
        for key in sorted(set(parked["key"]), key=str):
            frame = parked.filter(pl.col("key") == key).sort("revision").select(self._columns[entity])
            try:
                self._guarded(entity, frame, np.zeros(frame.height, np.int64), None, (key,))
            except CannotTake:
                continue
            except Unavailable:
                break
            self._find_parked(entity)
        return self.attempt.applied()

    def _set_aside(self, entity: str, frame: pl.DataFrame, reason: str) -> None:
        """Park changes of one or more records, and refuse those of them that are in already."""
        positions = frame["position"].to_numpy()
        known = self.guard.known(entity, frame["key"].to_list(), frame["revision"].to_numpy(), positions)
        parked = self._park(entity, frame.filter(pl.Series(~known)), reason)
        self.attempt.landed.append(replace(NOTHING, refused=positions[known], parked=parked))

    def _park(self, entity: str, frame: pl.DataFrame, reason: str) -> np.ndarray:
        """Park changes in the store; one that is parked already stays as it is."""
        if frame.height:
            nothing = pl.DataFrame(schema=self.layout.schema(entity))
            self.store.apply(Batch(entity, nothing, park=frame.with_columns(pl.lit(reason).alias(REASON))))
            self._find_parked(entity)
        return frame["position"].to_numpy()

    def _find_parked(self, entity: str) -> None:
        self._parked[entity] = self.store.parked(entity)
        self.guard.awaits(entity, self._parked[entity]["position"].to_list())

    def _divide(self, entity: str, frame: pl.DataFrame, rows: np.ndarray, reason: str) -> None:
        """Find the records that the store can't take by halving the rows, and park them."""
        keys = frame[rows]["key"]
        distinct = keys.unique(maintain_order=True)
        if len(distinct) <= 1:
            bad = frame[rows]
            held = self._held.get(entity)
            if held is not None:
                # Changes of the record that are held back can't be applied either.
                waits = held["key"].is_in(distinct.implode())
                bad, self._held[entity] = pl.concat([bad, held.filter(waits)]), held.filter(~waits)
            self._set_aside(entity, bad, reason)
            return
        for half in (distinct[: len(distinct) // 2], distinct[len(distinct) // 2 :]):
            chosen = rows[keys.is_in(half.implode()).to_numpy()]
            try:
                self._guarded(entity, frame[chosen], chosen, None)
            except CannotTake as error:
                self._divide(entity, frame, chosen, str(error))

    def _guarded(
        self, entity: str, frame: pl.DataFrame, rows: np.ndarray, checkpoint: int | None, release: tuple[Key, ...] = ()
    ) -> None:
        """Admit and write a frame, and add what became of it to the attempt; `rows` are its rows' numbers there."""
        held = self._held.get(entity)
        early = 0 if held is None else held.height
        if held is not None and early:
            frame = pl.concat([held, frame])
        positions = frame["position"].to_numpy()
        admission = self.guard.admit(entity, frame["key"], frame["revision"], frame["position"])
        applied = Applied(
            positions[admission.take],
            rows[np.asarray(admission.trigger, np.int64) - early],
            positions[admission.refused],
            positions[admission.dropped],
        )
        batch = self._batch(entity, frame, admission, applied.positions, checkpoint, release)
        self.attempt.in_flight = applied
        try:
            if applied.positions.size or checkpoint is not None or release:
                self.store.apply(batch)
        except BaseException as error:
            if isinstance(error, CannotTake | Unavailable):
                # Refused as a whole, so nothing of it is in the store.
                self.attempt.in_flight = None
            else:
                self.guard.forget(entity, frame["key"], frame["position"])
            self.store.open()
            raise
        self.attempt.in_flight = None
        self.attempt.landed.append(applied)
        self.guard.landed(entity, admission, checkpoint, batch.memory)
        if self.guard.holds_back:
            settled = np.zeros(frame.height, dtype=bool)
            for chosen in (admission.take, admission.refused, admission.dropped):
                settled[chosen] = True
            self._held[entity] = frame.filter(~settled)

    def _batch(
        self,
        entity: str,
        frame: pl.DataFrame,
        admission: Admission,
        positions: np.ndarray,
        checkpoint: int | None,
        release: tuple[Key, ...],
    ) -> Batch:
        """Return the batch to write for the admitted rows."""
        take = np.asarray(admission.take, np.int64)
        # As many rows as the frame has, each after the one before it: the frame itself.
        whole = take.size == frame.height and (take.size <= 1 or bool((take[1:] > take[:-1]).all()))
        taken = frame if whole else frame[take]
        if self.layout.totals is None:
            rows = last_rows(taken, self.layout.identity)
        else:
            taken = self.guard.with_before(entity, taken)
            rows = increments(taken, self.layout.totals)
        memory = self.guard.memory(taken)
        return Batch(entity, rows, checkpoint, memory, release=release, positions=positions)

    def _needed(self, entity: str) -> list[str]:
        """Select the columns that this projection needs; messages and pages have different ones."""
        totals = self.layout.totals
        if totals is None:
            return list(self.layout.entities[entity].schema)
        own = list(dict.fromkeys(totals.columns))
        before = [] if self.guard.remembers_contributions else [f"{BEFORE}{name}" for name in ("live", *own)]
        return [*META, *own, *before]

"""Keeps one projection up to date while the service runs: polls, messages, and how far it is, on the wall clock.

The position that it tells is the honest one: everything up to there is in. Messages run ahead of it: no promise.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from lab.base import BEFORE, TRUTH, Unavailable
from lab.feed.contracts import before_images, published
from lab.feed.published import Published
from lab.projection.applied import Applied
from lab.projection.projector import Projector
from lab.running.journal import Journal
from lab.running.services import Measured
from lab.running.worker import Inbox
from lab.truth import Truth
from lab.wiring import Plan, ProjectionPlan

# Bounds of the lag's histogram, in seconds.
BOUNDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)

Observe = Callable[[pl.DataFrame, Applied], None]

# What became of a change that was handed to the projector, when, and whether it was handed over by catch-up.
NOTE = np.dtype([("kind", "<i1"), ("position", "<i8"), ("at", "<f8")])
HANDED, APPLIED, REFUSED, DROPPED = 0, 1, 2, 3
# So many of the last applied changes can be asked for.
TAIL_MAX = 100_000


class Settled(Journal):
    """A journal of what has just been settled; a process that goes on for days can't remember everything."""

    def note(self, *_: Any, **__: Any) -> None:
        """Nobody asks what was written."""


def follower(plan: Plan, item: ProjectionPlan, truth: Truth, projector: Projector) -> Measured:
    """A worker that polls a source of truth that another process writes; messages don't come to it."""
    none = np.empty(0, np.int64)
    empty = {name: entity.empty() for name, entity in item.layout.entities.items()}
    nothing = Published.of(empty)
    inbox = Inbox(nothing, none, tuple(item.layout.entities))
    page, batch = plan.scenario.catch_up.page, item.table.batch
    return Measured(projector, item.subscription(truth), lambda _: None, page, batch, inbox, Settled())


class Observed(Projector):
    """A projector that says what became of each frame."""

    observe: Observe | None = None

    @classmethod
    def of(cls, item: ProjectionPlan, path: Path) -> Observed:
        """A projector on a store of its own, open."""
        return cls(item.store(path), item.table.guard, item.table.hold)

    def apply(self, entity: str, frame: pl.DataFrame, checkpoint: int | None = None) -> Applied:
        """As ever; and tells."""
        applied = super().apply(entity, frame, checkpoint)
        if self.observe is not None:
            self.observe(frame, applied)
        return applied


class Keeper:
    """One projection at work. `since` is when the service began: what was committed before has no lag to speak of."""

    def __init__(
        self, plan: Plan, item: ProjectionPlan, folder: Path, path: Path, since: float, journal: Path | None = None
    ) -> None:
        # Appended to batch by batch: what a process has seen outlives it.
        self.journal = None if journal is None else journal.open("ab")
        # Position, committed at, visible at; and how many had been applied before the first of them.
        self.tail: deque[tuple[int, float, float]] = deque()
        self.forgotten = 0
        self.plan, self.item, self.folder, self.since = plan, item, folder, since
        self.entities = tuple(item.layout.entities)
        self.inbox: deque[tuple[float, str, list[Any], list[Any]]] = deque()
        self.counts = dict.fromkeys(("applied", "refused", "dropped", "overflowed", "messages", "polls", "batches"), 0)
        self.lags = np.zeros(len(BOUNDS) + 1, np.int64)
        self.lag_sum = 0.0
        self.truth: Truth | None = None
        self.worker: Measured | None = None
        # Up to where everything is in, by entity; and everything that had been committed by this time, if it is known.
        self.covered = dict.fromkeys(self.entities, 0)
        self.verified_at: float | None = None
        self.take_over(Observed.of(item, path))
        self.highest = self.position

    def take_over(self, projector: Observed, worker: Measured | None = None) -> None:
        """Go on with this projector: at the start, or with one that was built beside and has read all there is."""
        self.projector, self.worker = projector, worker
        projector.observe = self._observe
        self.covered = {name: max(self.covered[name], projector.checkpoint(name)) for name in self.entities}

    @property
    def position(self) -> int:
        """Everything up to here is in."""
        return min(self.covered.values())

    @property
    def age_seconds(self) -> float | None:
        """Everything that was committed so long ago, or longer, is in."""
        return None if self.verified_at is None else max(0.0, time.time() - self.verified_at)

    def _observe(self, frame: pl.DataFrame, applied: Applied) -> None:
        now = time.time()
        self.counts["applied"] += applied.positions.size
        self.counts["refused"] += applied.refused.size
        self.counts["dropped"] += applied.dropped.size
        if not frame.height:
            return
        positions = frame["position"].to_numpy()
        self.highest = max(self.highest, int(positions.max()))
        times = frame["committed_at"].to_numpy()
        self._note(positions, applied, now)
        # Of several copies in a batch the first counts; one that arrives again was visible before.
        first = np.zeros(positions.size, bool)
        first[np.unique(positions, return_index=True)[1]] = True
        fresh_rows = first & np.isin(positions, applied.positions) & (times >= self.since)
        shown = zip(positions[fresh_rows].tolist(), times[fresh_rows].tolist(), strict=True)
        self.tail.extend((position, when, now) for position, when in shown)
        while len(self.tail) > TAIL_MAX:
            self.tail.popleft()
            self.forgotten += 1
        fresh = np.unique(times[fresh_rows], return_counts=True)
        lags = np.maximum(0.0, now - fresh[0])
        np.add.at(self.lags, np.searchsorted(BOUNDS, lags), fresh[1])
        self.lag_sum += float((lags * fresh[1]).sum())

    def _note(self, handed: np.ndarray, applied: Applied, now: float) -> None:
        if self.journal is None:
            return
        kinds = ((HANDED, handed), (APPLIED, applied.positions), (REFUSED, applied.refused), (DROPPED, applied.dropped))
        notes = np.empty(sum(positions.size for _, positions in kinds), NOTE)
        notes["kind"] = np.repeat([kind for kind, _ in kinds], [positions.size for _, positions in kinds])
        notes["position"] = np.concatenate([positions for _, positions in kinds])
        notes["at"] = now
        self.journal.write(notes.tobytes())
        self.journal.flush()

    def applied(self, since: int, limit: int) -> tuple[list[tuple[int, float, float]], int]:
        """Changes that became visible, after the first `since` of them, and how many there were up to the last told."""
        # Somebody who knows more than there is knows it of a process before this one.
        first = min(max(0, since - self.forgotten), len(self.tail))
        found = list(itertools.islice(self.tail, first, first + limit))
        return found, self.forgotten + first + len(found)

    # -- catch-up -----------------------------------------------------------------------------------------------------

    def found(self) -> bool:
        """Whether there is a source of truth to read; it is looked for until there is."""
        if self.truth is None:
            self.truth = self.plan.truth_beside(self.folder / TRUTH)
        if self.truth is not None and self.worker is None:
            self.worker = follower(self.plan, self.item, self.truth, self.projector)
        return self.truth is not None

    def poll(self) -> bool:
        """Read a page of each entity and apply it; says whether there is more."""
        if not self.found():
            return False
        assert self.worker is not None
        assert self.truth is not None
        self.counts["polls"] += 1
        # Both are asked before the poll: what a poll finds is at least as new.
        began, head = time.time(), self.head(self.truth)
        try:
            _, more = self.worker.poll(time.monotonic())
        except Unavailable:
            # What was not written is read again.
            self.worker.positions = dict(self.worker.settled)
            raise
        self.worker.journal.checkpoints.clear()
        for name, settled in self.worker.settled.items():
            self.covered[name] = max(self.covered[name], settled, 0 if more else head)
        if not more:
            self.verified_at = began
        return more

    def head(self, truth: Truth) -> int:
        """The position of the newest change of all."""
        return max(truth.head(name) for name in self.plan.domain.entities)

    # -- messages -----------------------------------------------------------------------------------------------------

    def hear(self, messages: list[Any]) -> None:
        """What has come by the channel; what finds no room is gone."""
        now, room = time.monotonic(), self.item.pace.capacity - len(self.inbox)
        wanted = [message for message in messages if message[0] in self.entities]
        self.counts["messages"] += len(wanted)
        self.counts["overflowed"] += max(0, len(wanted) - room)
        self.inbox.extend((now, *message) for message in wanted[: max(0, room)])

    def batch_at(self) -> float | None:
        """When the next batch is due: at once when it is full, else when its oldest message has lingered."""
        if not self.inbox:
            return None
        return 0.0 if len(self.inbox) >= self.item.pace.batch else self.inbox[0][0] + self.item.pace.linger

    def take(self) -> None:
        """Apply a batch of messages, in the order of their arrival."""
        self.counts["batches"] += 1
        count = min(len(self.inbox), self.item.pace.batch)
        batch = [self.inbox.popleft() for _ in range(count)]
        for name in self.entities:
            if mine := [message for message in batch if message[1] == name]:
                try:
                    self.projector.apply(name, self._frame(name, mine))
                except Unavailable:
                    # Not acknowledged: they are taken again, those that are in already too; the guard knows them.
                    self.inbox.extendleft(reversed(batch))
                    raise

    def _frame(self, name: str, messages: list[tuple[float, str, list[Any], list[Any]]]) -> pl.DataFrame:
        """As a change frame of published columns; with before-images, where the projection must be fed them."""
        entity, contract = self.plan.domain.entities[name], self.plan.domain.contracts.get(name)
        frame = pl.DataFrame([message[2] for message in messages], schema=entity.schema, orient="row")
        states = published(frame, contract)
        if not self.item.before:
            return states
        own = {f"{BEFORE}{column}": entity.schema[column] for column in entity.columns}
        schema = {f"{BEFORE}live": pl.Boolean(), **own}
        images = pl.DataFrame([message[3] for message in messages], schema=schema, orient="row")
        if contract is not None:
            images = before_images(pl.concat([frame, images], how="horizontal"), contract, self.item.before)
        return pl.concat([states, images], how="horizontal")

    def close(self) -> None:
        """Give up the store and the source of truth; what is in the inbox will be caught up with."""
        self.projector.store.close()
        if self.truth is not None:
            self.truth.close()
        if self.journal is not None:
            self.journal.close()

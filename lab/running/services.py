"""The two ways in which a lane's work is done: with the real engine and its real time, or modelled.

Either way the same projector writes the same changes in the same order, and the same journal says what became
visible when.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np

from lab.feed.arrays import FeedArrays
from lab.feed.gaps import Gate
from lab.feed.reader import ChangeReader
from lab.projection.projector import Projector
from lab.running.journal import Journal
from lab.running.trouble import Crashed, Trouble
from lab.running.worker import Inbox, Worker
from lab.scenario import ServiceModel

# Modelled batches are applied together up to this many rows: big pages are what engines are quick at.
ROWS_AT_ONCE = 100_000


class Measured(Worker):
    """Works with the real engine; the time it takes is the time it took. `advance` moves the source of truth."""

    def __init__(
        self,
        projector: Projector,
        subscription: ChangeReader,
        advance: Callable[[float], None],
        page: int,
        batch: int,
        inbox: Inbox,
        journal: Journal,
        gate: Gate | None = None,
        trouble: Trouble | None = None,
    ) -> None:
        every_revision = subscription.truth.publishes_every_revision
        super().__init__(projector, page, batch, inbox, journal, every_revision, gate, trouble)
        self.subscription, self.advance = subscription, advance

    def beside(self, projector: Projector) -> Measured:
        """The same feed, another store."""
        gate = None if self.gate is None else self.gate.afresh()
        return Measured(
            projector, self.subscription, self.advance, self.page, self.batch, self.inbox, Journal(), gate, self.trouble
        )

    def _messages(self, entity: str, rows: np.ndarray) -> Any:
        # Making frames of messages is the harness's work, and not timed.
        return self.inbox.published.frames[entity][rows]

    def _page(self, entity: str, start: float) -> tuple[Any, bool, float]:
        self.advance(start)
        began = perf_counter()
        page = self.subscription.changes_since(entity, self.positions[entity], self.page)
        return page, page.height < self.page, perf_counter() - began

    def _positions(self, entity: str, page: Any) -> np.ndarray:
        positions: np.ndarray = page["position"].to_numpy()
        return positions

    def _do(self, entity: str, piece: Any, start: float, checkpoint: int | None, source: int) -> float:
        handed = piece["position"].to_numpy()
        began = perf_counter()
        try:
            applied = self._applied(entity, piece, checkpoint)
        except Crashed as crashed:
            seconds = self._slowed(perf_counter() - began, start)
            self._note_crash(crashed, entity, handed, source, start, seconds, checkpoint)
            raise
        seconds = self._slowed(perf_counter() - began, start)
        self.journal.note(entity, applied, handed, source, start, start + seconds, checkpoint=checkpoint)
        return seconds

    def _lasted(self, measured: float, rows: int) -> float:
        return measured


@dataclass
class _Planned:
    """Rows of one entity that are to be applied, from where, and when each of them became visible."""

    entity: str
    rows: list[np.ndarray] = field(default_factory=list)
    source: list[np.ndarray] = field(default_factory=list)
    began_at: list[np.ndarray] = field(default_factory=list)
    visible_at: list[np.ndarray] = field(default_factory=list)
    checkpoint: int | None = None
    count: int = 0


class Modelled(Worker):
    """Times come from `per_batch + per_row * rows`; the work is planned first, and done afterwards by `carry_out`.

    With faults each piece is done as it is planned, since what comes next depends on it.
    """

    def __init__(
        self,
        projector: Projector,
        feeds: dict[str, FeedArrays],
        model: ServiceModel,
        page: int,
        batch: int,
        inbox: Inbox,
        journal: Journal,
        gate: Gate | None = None,
        trouble: Trouble | None = None,
    ) -> None:
        every_revision = all(feed.every_revision for feed in feeds.values())
        super().__init__(projector, page, batch, inbox, journal, every_revision, gate, trouble)
        self.feeds, self.model = feeds, model
        self.forgets = projector.guard.goes_by_checkpoint
        self.plan: list[_Planned] = []

    def beside(self, projector: Projector) -> Modelled:
        """The same feed, another store."""
        gate = None if self.gate is None else self.gate.afresh()
        return Modelled(
            projector, self.feeds, self.model, self.page, self.batch, self.inbox, Journal(), gate, self.trouble
        )

    def _messages(self, entity: str, rows: np.ndarray) -> Any:
        return rows

    def _page(self, entity: str, start: float) -> tuple[Any, bool, float]:
        # A poll that finds nothing takes no time.
        page = self.feeds[entity].page(self.positions[entity], self.page, start)
        return page, page.size < self.page, 0.0

    def _positions(self, entity: str, page: Any) -> np.ndarray:
        positions: np.ndarray = self.feeds[entity].positions[page]
        return positions

    def _lasted(self, measured: float, rows: int) -> float:
        return self.model.per_batch + self.model.per_row * rows

    def _do(self, entity: str, piece: Any, start: float, checkpoint: int | None, source: int) -> float:
        seconds = self._slowed(self._lasted(0.0, piece.size), start)
        if self.trouble is None:
            self._add(entity, piece, start, start + seconds, checkpoint, source)
            return seconds
        frame = self.inbox.published.frames[entity][piece]
        handed = frame["position"].to_numpy()
        try:
            applied = self._applied(entity, frame, checkpoint)
        except Crashed as crashed:
            self._note_crash(crashed, entity, handed, source, start, seconds, checkpoint)
            raise
        self.journal.note(entity, applied, handed, source, start, start + seconds, checkpoint=checkpoint)
        return seconds

    def _add(
        self, entity: str, rows: np.ndarray, start: float, visible_at: float, checkpoint: int | None, source: int
    ) -> None:
        last = self.plan[-1] if self.plan else None
        # A guard that forgets what lies below the checkpoint must see it move before the messages that follow.
        passed = last is not None and last.checkpoint is not None and checkpoint is None
        if last is None or last.entity != entity or last.count >= ROWS_AT_ONCE or (passed and self.forgets):
            self.plan.append(_Planned(entity))
        planned = self.plan[-1]
        planned.rows.append(rows)
        planned.source.append(np.full(rows.size, source, np.int8))
        planned.began_at.append(np.full(rows.size, start))
        planned.visible_at.append(np.full(rows.size, visible_at))
        planned.count += rows.size
        planned.checkpoint = checkpoint if checkpoint is not None else planned.checkpoint

    def carry_out(self) -> None:
        """Apply what was planned, in that order."""
        for planned in self.plan:
            frame = self.inbox.published.frames[planned.entity][np.concatenate(planned.rows)]
            applied = self.projector.apply(planned.entity, frame, planned.checkpoint)
            self.journal.note(
                planned.entity,
                applied,
                frame["position"].to_numpy(),
                np.concatenate(planned.source),
                np.concatenate(planned.began_at),
                np.concatenate(planned.visible_at),
            )
        self.plan.clear()

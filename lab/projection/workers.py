"""The two ways in which a lane's work is done: with the real engine and its real time, or modelled.

Either way the same projector writes the same changes in the same order, and the same journal says what became
visible when.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np

from lab.feed.arrays import FeedArrays
from lab.feed.published import Published
from lab.feed.subscription import Subscription
from lab.projection.projector import Applied, Projector
from lab.scenario import ServiceModel

# Modelled batches are applied together up to this many rows: big pages are what engines are quick at.
ROWS_AT_ONCE = 100_000


@dataclass
class Journal:
    """What happened to a projection, as seen from outside: the evidence that figures and verdicts rest on.

    `writes` are (entity, positions in the order they were applied, seconds at which they were visible);
    `handed` counts what was given to the projector, by position.
    """

    handed: list[np.ndarray] = field(default_factory=list)
    written: list[np.ndarray] = field(default_factory=list)
    visible_at: list[np.ndarray] = field(default_factory=list)
    refused: list[np.ndarray] = field(default_factory=list)
    dropped: list[np.ndarray] = field(default_factory=list)
    overflowed: list[np.ndarray] = field(default_factory=list)
    checkpoints: list[tuple[float, str, int]] = field(default_factory=list)
    polls: int = 0
    batches: int = 0

    def note(self, applied: Applied, handed: np.ndarray, visible_at: np.ndarray | float) -> None:
        """Write down one application; `visible_at` is one time, or one for each row handed over."""
        # A copy: a column of a page would hold the whole page in memory for as long as the journal lasts.
        self.handed.append(handed.copy())
        self.written.append(applied.positions)
        if isinstance(visible_at, np.ndarray):
            times = visible_at[applied.trigger]
        else:
            times = np.full(applied.positions.size, visible_at)
        self.visible_at.append(times)
        self.refused.append(applied.refused)
        self.dropped.append(applied.dropped)


class Deliverer:
    """What both workers share: the deliveries of one projection, and how their changes are looked up."""

    def __init__(
        self,
        published: Published,
        deliveries: np.ndarray,
        entities: tuple[str, ...],
        journal: Journal,
        every_revision: bool,
    ) -> None:
        self.published, self.deliveries, self.entities, self.journal = (
            published,
            deliveries,
            entities,
            journal,
        )
        self.every_revision = every_revision
        self.numbers = [published.entities.index(name) for name in entities]

    def pieces(self, rows: int, page: int, batch: int) -> Iterator[tuple[int, int, bool]]:
        """The batches of a page: from, to (exclusive), and whether the checkpoint moves with it.

        "Everything up to here" is true after each batch where the feed shows every revision. A snapshot feed
        leaves out what has been overwritten, and the newer revision stands further on: there it is only true
        when the page has come to the feed's end. Until then a crash reads the same pages again.
        """
        # An empty page ends a full one that happened to be the last.
        for first in range(0, max(rows, 1), batch):
            last = min(rows, first + batch)
            yield first, last, self.every_revision or (last == rows and rows < page)

    def overflow(self, first: int, last: int) -> None:
        """Deliveries that found the queue full are gone."""
        self.journal.overflowed.append(self.deliveries[first:last] + 1)
        self.deliveries = np.delete(self.deliveries, np.s_[first:last])

    def by_entity(self, messages: np.ndarray) -> list[tuple[str, np.ndarray]]:
        """The rows of each entity's frame that these messages carry, in their order."""
        if len(self.numbers) == 1:
            return [(self.entities[0], self.published.row_of[messages])]
        numbers = self.published.entity_of[messages]
        return [
            (name, self.published.row_of[chosen])
            for name, number in zip(self.entities, self.numbers, strict=True)
            if (chosen := messages[numbers == number]).size
        ]


class Measured(Deliverer):
    """Works with the real engine; the time it takes is the time it took. `advance` moves the source of truth."""

    def __init__(
        self,
        projector: Projector,
        subscription: Subscription,
        advance: Callable[[float], None],
        page: int,
        batch: int,
        published: Published,
        deliveries: np.ndarray,
        journal: Journal,
    ) -> None:
        every_revision = subscription.truth.publishes_every_revision
        super().__init__(published, deliveries, tuple(projector.layout.entities), journal, every_revision)
        self.projector, self.subscription, self.advance = projector, subscription, advance
        self.page, self.batch = page, batch
        self.positions = {name: projector.checkpoint(name) for name in self.entities}
        self.settled = dict(self.positions)

    def take(self, start: float, first: int, last: int) -> float:
        """Apply the messages; making frames of them is the harness's work, and not timed."""
        seconds = 0.0
        self.journal.batches += 1
        for entity, rows in self.by_entity(self.deliveries[first:last]):
            frame = self.published.frames[entity][rows]
            began = perf_counter()
            applied = self.projector.apply(entity, frame)
            seconds += perf_counter() - began
            self.journal.note(applied, frame["position"].to_numpy(), start + seconds)
        return seconds

    def poll(self, start: float) -> tuple[float, bool]:
        """Read a page of each entity as the source of truth is at `start`, and apply it batch by batch."""
        self.advance(start)
        self.journal.polls += 1
        seconds, more = 0.0, False
        for entity in self.entities:
            began = perf_counter()
            page = self.subscription.changes_since(entity, self.positions[entity], self.page)
            seconds += perf_counter() - began
            more |= page.height >= self.page
            for first, last, moves in self.pieces(page.height, self.page, self.batch):
                frame = page[first:last]
                if frame.height:
                    self.positions[entity] = int(frame["position"][-1])
                elif self.positions[entity] == self.settled[entity]:
                    continue
                began = perf_counter()
                applied = self.projector.apply(entity, frame, self.positions[entity] if moves else None)
                seconds += perf_counter() - began
                self.journal.note(applied, frame["position"].to_numpy(), start + seconds)
                if moves:
                    self.settled[entity] = self.positions[entity]
                    self.journal.checkpoints.append((start + seconds, entity, self.positions[entity]))
        return seconds, more


@dataclass
class _Planned:
    """Rows of one entity that are to be applied, and when each of them became visible."""

    entity: str
    rows: list[np.ndarray] = field(default_factory=list)
    visible_at: list[np.ndarray] = field(default_factory=list)
    checkpoint: int | None = None
    count: int = 0


class Modelled(Deliverer):
    """Times come from `per_batch + per_row * rows`; the work is planned first, and done afterwards by `carry_out`."""

    def __init__(
        self,
        projector: Projector,
        feeds: dict[str, FeedArrays],
        model: ServiceModel,
        page: int,
        batch: int,
        published: Published,
        deliveries: np.ndarray,
        journal: Journal,
    ) -> None:
        every_revision = all(feed.every_revision for feed in feeds.values())
        super().__init__(published, deliveries, tuple(projector.layout.entities), journal, every_revision)
        self.projector, self.feeds, self.model = projector, feeds, model
        self.page, self.batch = page, batch
        self.forgets = projector.policy == "dedupe"
        self.positions = {name: projector.checkpoint(name) for name in self.entities}
        self.settled = dict(self.positions)
        self.plan: list[_Planned] = []

    def _seconds(self, rows: int) -> float:
        return self.model.per_batch + self.model.per_row * rows

    def _add(self, entity: str, rows: np.ndarray, visible_at: float, checkpoint: int | None) -> None:
        last = self.plan[-1] if self.plan else None
        # A guard that forgets what lies below the checkpoint must see it move before the messages that follow.
        passed = last is not None and last.checkpoint is not None and checkpoint is None
        if last is None or last.entity != entity or last.count >= ROWS_AT_ONCE or (passed and self.forgets):
            self.plan.append(_Planned(entity))
        planned = self.plan[-1]
        planned.rows.append(rows)
        planned.visible_at.append(np.full(rows.size, visible_at))
        planned.count += rows.size
        planned.checkpoint = checkpoint if checkpoint is not None else planned.checkpoint

    def take(self, start: float, first: int, last: int) -> float:
        """Plan the messages."""
        seconds = 0.0
        self.journal.batches += 1
        for entity, rows in self.by_entity(self.deliveries[first:last]):
            seconds += self._seconds(rows.size)
            self._add(entity, rows, start + seconds, None)
        return seconds

    def poll(self, start: float) -> tuple[float, bool]:
        """Plan the pages that the feed shows at `start`. A poll that finds nothing takes no time."""
        self.journal.polls += 1
        seconds, more = 0.0, False
        for entity in self.entities:
            feed = self.feeds[entity]
            page = feed.page(self.positions[entity], self.page, start)
            more |= page.size >= self.page
            for first, last, moves in self.pieces(page.size, self.page, self.batch):
                rows = page[first:last]
                if rows.size:
                    self.positions[entity] = int(feed.positions[rows[-1]])
                elif self.positions[entity] == self.settled[entity]:
                    continue
                seconds += self._seconds(rows.size)
                self._add(entity, rows, start + seconds, self.positions[entity] if moves else None)
                if moves:
                    self.settled[entity] = self.positions[entity]
                    self.journal.checkpoints.append((start + seconds, entity, self.positions[entity]))
        return seconds, more

    def carry_out(self) -> None:
        """Apply what was planned, in that order."""
        for planned in self.plan:
            rows = np.concatenate(planned.rows)
            frame = self.published.frames[planned.entity][rows]
            applied = self.projector.apply(planned.entity, frame, planned.checkpoint)
            self.journal.note(applied, frame["position"].to_numpy(), np.concatenate(planned.visible_at))
        self.plan.clear()

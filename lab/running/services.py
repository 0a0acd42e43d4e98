"""The services of a worker: where pages and messages come from, and how time passes while they are applied.

Measured, the real engine works and the time that it takes is added to simulated time. Modelled,
`service_times` says what it takes; `empirical` draws it from the records of a load. Either way the same projector
writes the same changes in the same order. The live service is in `live`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Protocol

import numpy as np
import polars as pl

from lab.feed.arrays import FeedArrays
from lab.feed.published import Published
from lab.feed.reader import ChangeReader
from lab.projection.projector import Projector
from lab.running.journal import CATCH_UP, CHANNEL, SOURCES, Recorder
from lab.running.service_times import RecordedWork, times_by_source
from lab.scenario import ServiceModel
from lab.spill import taken

# Modelled batches are applied together up to this many rows: engines are quicker with large pages, and a tree that
# rows of all keys go to is written as a whole at each commit.
ROWS_AT_ONCE = 250_000
# So many such pages are planned before they are applied: memory doesn't grow with the run.
GROUPS_MAX = 2


class Service(Protocol):
    """Where pages and messages come from, and how time passes while they are read and applied.

    A piece is a change frame, or an array of a history's rows that `frame` looks up. Times are in seconds.
    """

    # How long after a refusal that is no planted fault the work is tried again; None to raise it.
    retry: float | None
    # How often parked changes are tried again without planted faults; None for never.
    retry_parked: float | None
    # True if batches may be planned first and applied later.
    defers: bool

    @property
    def every_revision(self) -> bool:
        """True for a feed that shows every revision; a snapshot feed leaves out what has been overwritten."""

    def page(self, entity: str, position: int, limit: int, at: float, now: float) -> tuple[Any, bool, float]:
        """The next changes after `position` as the feed is at `at`; whether it ends there; when it has been read.

        Reading begins at `now`: an earlier page of the same poll may have been applied since `at`.
        """

    def quiet_until(self, entity: str, position: int) -> float:
        """When the feed can have more after `position`, if it has nothing now; minus infinity if that is unknown."""

    def messages(self, batch: Any) -> list[tuple[str, Any]]:
        """A batch of the inbox as a piece for each entity."""

    def positions(self, entity: str, piece: Any) -> np.ndarray:
        """The positions in a piece."""

    def frame(self, entity: str, piece: Any) -> pl.DataFrame:
        """The piece as a change frame."""

    def begin(self) -> float:
        """A mark to measure from."""

    def end(self, at: float, mark: float, rows: int, factor: float = 1.0) -> float:
        """When work on `rows` rows ends that began at `at`, and at this mark; `factor` times as slow as usual."""

    def now(self, at: float) -> float:
        """The present time, where the work so far ended at `at`."""


class _Simulated:
    """What simulated services share: refusals are planted faults, and messages are rows of the history."""

    retry: float | None = None
    retry_parked: float | None = None
    defers = False

    def __init__(self, published: Published, entities: tuple[str, ...], every_revision: bool) -> None:
        self.published, self.entities, self._every_revision = published, entities, every_revision

    @property
    def every_revision(self) -> bool:
        """As the source of truth publishes."""
        return self._every_revision

    def _rows(self, batch: np.ndarray) -> list[tuple[str, np.ndarray]]:
        """The rows of each entity's frame that these messages (indices of changes) carry, in their order."""
        if len(self.entities) == 1:
            return [(self.entities[0], self.published.row_of[batch])]
        numbers = self.published.entity_of[batch]
        return [
            (name, self.published.row_of[chosen])
            for name in self.entities
            if (chosen := batch[numbers == self.published.entities.index(name)]).size
        ]

    def quiet_until(self, entity: str, position: int) -> float:
        """The earliest commit after the position: a poll that finds nothing takes no simulated time, and isn't made."""
        return self.published.next_commit(entity, position)

    def now(self, at: float) -> float:
        """Simulated time stands still but for the work."""
        return at


class Measured(_Simulated):
    """Work takes as long as the real engine takes. The feed is one of simulated time: reading it moves it to the time.

    `advance` commits to the source of truth what was committed by a time, so that a page shows that and nothing else.
    """

    def __init__(
        self, published: Published, entities: tuple[str, ...], reader: ChangeReader, advance: Callable[[float], None]
    ) -> None:
        super().__init__(published, entities, reader.truth.publishes_every_revision)
        self.reader, self.advance = reader, advance

    def page(self, entity: str, position: int, limit: int, at: float, now: float) -> tuple[pl.DataFrame, bool, float]:
        """Read a page of the feed as it is at `at`; only the reading is timed."""
        self.advance(at)
        mark = self.begin()
        page = self.reader.changes_since(entity, position, limit)
        return page, page.height < limit, self.end(now, mark, page.height)

    def messages(self, batch: np.ndarray) -> list[tuple[str, pl.DataFrame]]:
        """Make frames of messages: the harness's work, and not timed."""
        return [(entity, taken(self.published.frames[entity], rows)) for entity, rows in self._rows(batch)]

    def positions(self, entity: str, piece: pl.DataFrame) -> np.ndarray:
        """The positions in a frame."""
        positions: np.ndarray = piece["position"].to_numpy()
        return positions

    def frame(self, entity: str, piece: pl.DataFrame) -> pl.DataFrame:
        """The frame itself."""
        return piece

    def begin(self) -> float:
        """Seconds of the performance counter."""
        return perf_counter()

    def end(self, at: float, mark: float, rows: int, factor: float = 1.0) -> float:
        """Later by the time that has really passed."""
        return at + (perf_counter() - mark) * factor


class FromArrays(_Simulated):
    """A simulated service without a source of truth: arrays stand for the feed, and pieces are rows of the history."""

    defers = True

    def __init__(self, published: Published, feeds: Mapping[str, FeedArrays]) -> None:
        super().__init__(published, tuple(feeds), all(feed.every_revision for feed in feeds.values()))
        self.feeds = feeds

    def page(self, entity: str, position: int, limit: int, at: float, now: float) -> tuple[np.ndarray, bool, float]:
        """The rows that the feed shows at `at`; reading them takes no time."""
        page = self.feeds[entity].page(position, limit, at)
        return page, page.size < limit, now

    def messages(self, batch: np.ndarray) -> list[tuple[str, np.ndarray]]:
        """The rows of each entity."""
        return self._rows(batch)

    def positions(self, entity: str, piece: np.ndarray) -> np.ndarray:
        """The positions of these rows."""
        positions: np.ndarray = self.feeds[entity].positions[piece]
        return positions

    def frame(self, entity: str, piece: np.ndarray) -> pl.DataFrame:
        """The rows as a change frame."""
        return taken(self.published.frames[entity], piece)

    def begin(self) -> float:
        """Nothing: no clock is read."""
        return 0.0


class Modelled(FromArrays):
    """Work takes what the model says, and reading takes no time.

    `rng` is needed for any distribution but `constant`, `recorded` (by the names in `SOURCES`) for `empirical`.
    """

    def __init__(
        self,
        published: Published,
        feeds: Mapping[str, FeedArrays],
        model: ServiceModel,
        rng: np.random.Generator | None = None,
        recorded: Mapping[str, RecordedWork] | None = None,
    ) -> None:
        super().__init__(published, feeds)
        self.times = times_by_source(model, SOURCES, rng, recorded)
        # Of what the worker was given last.
        self._source = CATCH_UP

    def page(self, entity: str, position: int, limit: int, at: float, now: float) -> tuple[np.ndarray, bool, float]:
        """The rows that the feed shows at `at`; reading them takes no time."""
        self._source = CATCH_UP
        return super().page(entity, position, limit, at, now)

    def messages(self, batch: np.ndarray) -> list[tuple[str, np.ndarray]]:
        """The rows of each entity."""
        self._source = CHANNEL
        return super().messages(batch)

    def end(self, at: float, mark: float, rows: int, factor: float = 1.0) -> float:
        """Later by what the model says."""
        return at + self.times[self._source].draw(rows) * factor


@dataclass
class _Planned:
    """Rows of one entity to apply later, with their sources and the times at which they became visible."""

    entity: str
    rows: list[np.ndarray] = field(default_factory=list)
    source: list[np.ndarray] = field(default_factory=list)
    began_at: list[np.ndarray] = field(default_factory=list)
    visible_at: list[np.ndarray] = field(default_factory=list)
    checkpoint: int | None = None
    count: int = 0


class Deferring(Protocol):
    """What planned batches need of their worker. Its journal changes when it takes over from another."""

    projector: Projector
    service: Service
    journal: Recorder


class Deferred:
    """Batches of a modelled run, planned with the times at which they are visible and applied later, many together."""

    def __init__(self, of: Deferring) -> None:
        self._of = of
        self._forgets = of.projector.guard.goes_by_checkpoint
        self._plan: list[_Planned] = []

    def add(
        self, entity: str, rows: np.ndarray, start: float, visible_at: float, checkpoint: int | None, source: int
    ) -> None:
        """Plan a batch of rows; where enough is planned, what nothing will be added to is applied."""
        last = self._plan[-1] if self._plan else None
        # A guard that forgets what lies below the checkpoint must see it move before the messages that follow.
        passed = last is not None and last.checkpoint is not None and checkpoint is None
        if last is None or last.entity != entity or last.count >= ROWS_AT_ONCE or (passed and self._forgets):
            if len(self._plan) >= GROUPS_MAX:
                self.carry_out()
            self._plan.append(_Planned(entity))
        planned = self._plan[-1]
        planned.rows.append(rows)
        planned.source.append(np.full(rows.size, source, np.int8))
        planned.began_at.append(np.full(rows.size, start))
        planned.visible_at.append(np.full(rows.size, visible_at))
        planned.count += rows.size
        planned.checkpoint = checkpoint if checkpoint is not None else planned.checkpoint

    def carry_out(self) -> None:
        """Apply the planned batches in order."""
        for planned in self._plan:
            frame = self._of.service.frame(planned.entity, np.concatenate(planned.rows))
            applied = self._of.projector.apply(planned.entity, frame, planned.checkpoint)
            self._of.journal.note(
                planned.entity,
                applied,
                frame["position"].to_numpy(),
                np.concatenate(planned.source),
                np.concatenate(planned.began_at),
                np.concatenate(planned.visible_at),
            )
        self._plan.clear()

"""What a lane asks of its worker: messages taken, pages read, faults met; how long the work takes is another matter."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import polars as pl

from lab.base import Unavailable
from lab.feed.gaps import Gate
from lab.feed.published import Published
from lab.projection.applied import NONE, Applied
from lab.projection.projector import Projector
from lab.running.journal import CATCH_UP, CHANNEL, RETRY, Fault, Journal
from lab.running.trouble import STEPS, Crashed, Interrupted, Trouble

# How often what is parked is tried at the end of a run, when the store may refuse it for now.
LAST_TRIES = 100


@dataclass
class Inbox:
    """The deliveries that a projection listens to, and how the changes that they carry are looked up."""

    published: Published
    deliveries: np.ndarray
    entities: tuple[str, ...]

    def by_entity(self, messages: np.ndarray) -> list[tuple[str, np.ndarray]]:
        """The rows of each entity's frame that these messages carry, in their order."""
        if len(self.entities) == 1:
            return [(self.entities[0], self.published.row_of[messages])]
        numbers = self.published.entity_of[messages]
        return [
            (name, self.published.row_of[chosen])
            for name in self.entities
            if (chosen := messages[numbers == self.published.entities.index(name)]).size
        ]


class Worker(ABC):
    """Takes messages and polls for one projection. A page is a frame or an array of rows: what the feed gives.

    `gate` is its strategy for gaps, `trouble` what goes wrong; None for a feed without gaps, a life without faults.
    """

    def __init__(
        self,
        projector: Projector,
        page: int,
        batch: int,
        inbox: Inbox,
        journal: Journal,
        every_revision: bool,
        gate: Gate | None,
        trouble: Trouble | None,
    ) -> None:
        self.projector, self.page, self.batch, self.inbox = projector, page, batch, inbox
        self.journal, self.every_revision, self.gate, self.trouble = journal, every_revision, gate, trouble
        self.entities = tuple(projector.layout.entities)
        # The highest position that was handed over: what a projection that takes over must have reached.
        self.highest = dict.fromkeys(self.entities, 0)
        self._find_place()
        self._retry_at = 0.0

    def _find_place(self) -> None:
        self.positions = {name: self.projector.checkpoint(name) for name in self.entities}
        self.settled = dict(self.positions)

    # -- what a lane asks for ------------------------------------------------------------------------------------------

    def take(self, start: float, first: int, last: int) -> float:
        """Apply the deliveries `first` to `last`; returns the seconds that it took."""
        now = start + self._retry(start)
        self.journal.batches += 1
        for entity, rows in self.inbox.by_entity(self.inbox.deliveries[first:last]):
            now += self._work(entity, self._messages(entity, rows), now, None, CHANNEL)
        return now - start

    def poll(self, start: float) -> tuple[float, bool]:
        """Read a page of each entity as the feed is at `start`, and apply it batch by batch."""
        self.journal.polls += 1
        if self.gate is not None:
            self.journal.polled_at.append(start)
        # One clock for both: a checkpoint is kept at the very moment at which its data is visible.
        now, more = start + self._retry(start), False
        for entity in self.entities:
            page, ended, took = self._page(entity, start)
            now += took
            more |= not ended and len(page) >= self.page
            if self.gate is not None:
                bound = self.gate.look(start)
                readable = int(np.searchsorted(self._positions(entity, page), bound, side="right"))
                if readable < len(page):
                    page, ended, more = page[:readable], False, False
            for first, last, moves in self.pieces(len(page), ended, self.batch):
                piece = page[first:last]
                if last > first:
                    self.positions[entity] = int(self._positions(entity, piece)[-1])
                elif self.positions[entity] == self.settled[entity]:
                    continue
                checkpoint = self.positions[entity] if moves else None
                now += self._work(entity, piece, now, checkpoint, CATCH_UP)
                if moves:
                    self.settled[entity] = self.positions[entity]
                    self.journal.checkpoints.append((now, entity, self.positions[entity]))
        return now - start, more

    def pieces(self, rows: int, ended: bool, batch: int) -> Iterator[tuple[int, int, bool]]:
        """The batches of a page: from, to (exclusive), and whether the checkpoint moves with it.

        "Everything up to here" is true after each batch where the feed shows every revision. A snapshot feed
        leaves out what has been overwritten, and the newer revision stands further on: there it is only true
        when the page has come to the feed's end. Until then a crash reads the same pages again.
        """
        # An empty page ends a full one that happened to be the last.
        for first in range(0, max(rows, 1), batch):
            last = min(rows, first + batch)
            yield first, last, self.every_revision or (last == rows and ended)

    def unfinished(self, at: float) -> bool:
        """Whether the feed still keeps something back at this time, for a gap that may be filled."""
        return self.gate is not None and self.gate.keeps_back

    def overflow(self, first: int, last: int) -> None:
        """Deliveries that found the queue full are gone."""
        self.journal.overflowed.append(self.inbox.deliveries[first:last] + 1)
        self.inbox.deliveries = np.delete(self.inbox.deliveries, np.s_[first:last])

    def reset(self, start: float) -> float:
        """Throw the projection away, to be read again from position 0: a rebuild in place."""
        self.carry_out()
        began = perf_counter()
        self.projector.reset()
        seconds = self._lasted(perf_counter() - began, 0)
        self.journal.resets.append(start + seconds)
        self.journal.epoch += 1
        self.journal.checkpoints += [(start + seconds, name, 0) for name in self.entities]
        self._find_place()
        return seconds

    @abstractmethod
    def beside(self, projector: Projector) -> Worker:
        """A worker on another store that reads the same feed, with a journal of its own: a rebuild beside."""

    def level_with(self, other: Worker) -> bool:
        """Whether all that the other was handed is in here too."""
        return all(self.settled[name] >= other.highest[name] for name in self.entities)

    def carry_out(self) -> None:  # noqa: B027 (a worker that does things at once has nothing left to do)
        """Do what has only been planned so far."""

    def finish(self, at: float) -> None:
        """The run is over at `at` seconds: what is parked is tried once more, when it can be taken by then or later."""
        self.carry_out()
        trouble = self.trouble
        for position, met_at in trouble.met.items() if trouble else ():
            detail = "the store can't take the change: it is parked, and all that follows of its record"
            self.journal.faults.append(Fault("poison", met_at, met_at, position=position, detail=detail))
        if trouble is not None and trouble.options.heals_at is not None:
            at = max(at, trouble.options.heals_at)
            for _ in range(LAST_TRIES):
                # A store that refuses is asked again.
                self._retry_at = 0.0
                at += self._retry(at)
                if not any(self.projector.parked(name).size for name in self.entities):
                    break

    # -- how the work is done ------------------------------------------------------------------------------------------

    @abstractmethod
    def _messages(self, entity: str, rows: np.ndarray) -> Any:
        """The messages as a page."""

    @abstractmethod
    def _page(self, entity: str, start: float) -> tuple[Any, bool, float]:
        """The next page, whether it comes to the feed's end, and the seconds that reading it took."""

    @abstractmethod
    def _positions(self, entity: str, page: Any) -> np.ndarray:
        """The positions in a page."""

    @abstractmethod
    def _do(self, entity: str, piece: Any, start: float, checkpoint: int | None, source: int) -> float:
        """Apply one piece, note it down, and say how many seconds it took. May raise Crashed, noted down too."""

    @abstractmethod
    def _lasted(self, measured: float, rows: int) -> float:
        """The seconds that a piece of work counts for."""

    def _work(self, entity: str, piece: Any, start: float, checkpoint: int | None, source: int) -> float:
        if len(piece):
            self.highest[entity] = max(self.highest[entity], int(self._positions(entity, piece).max()))
        trouble = self.trouble
        if trouble is None:
            return self._do(entity, piece, start, checkpoint, source)
        trouble.begin(start)
        crash = trouble.crash()
        try:
            return self._do(entity, piece, start, checkpoint, source)
        except Crashed:
            assert crash is not None
            step, lasts = crash
            self.projector = self.projector.reopened()
            self._find_place()
            raise self._interrupted("crash", start, lasts, STEPS[step]) from None
        except Unavailable as error:
            raise self._interrupted("refused_apply", start, trouble.options.retry, "", str(error)) from None

    def _applied(self, entity: str, frame: pl.DataFrame, checkpoint: int | None) -> Applied:
        """Hand a frame to the projector. Raises Crashed when a fault has the process die over it."""
        applied = self.projector.apply(entity, frame, checkpoint)
        if self.trouble is not None:
            self.trouble.end()
        return applied

    def _note_crash(
        self,
        crashed: Crashed,
        entity: str,
        handed: np.ndarray,
        source: int,
        start: float,
        seconds: float,
        checkpoint: int | None,
    ) -> None:
        """Note what had landed before the crash, which is visible, and what was held back in memory, which is lost."""
        assert self.trouble is not None
        projector, until = self.projector, start + seconds
        held = np.concatenate([NONE, *(projector.held(name) for name in self.entities)])
        if held.size:
            self.journal.forgotten.append(held)
        if crashed.moved and checkpoint is not None:
            self.journal.checkpoints.append((until, entity, checkpoint))
        applied, crash = projector.attempt.applied(crashed.landed), self.trouble.armed or ""
        self.journal.note(entity, applied, handed, source, start, until, crash, checkpoint)

    def _interrupted(self, kind: str, at: float, lasts: float, step: str, detail: str = "") -> Interrupted:
        self.journal.faults.append(Fault(kind, at, at + lasts, step, detail=detail))
        # What a poll had come to is read again; a batch of messages is delivered again.
        self.positions = dict(self.settled)
        return Interrupted(at + lasts)

    def _retry(self, start: float) -> float:
        """Try what is parked again, now and then."""
        trouble = self.trouble
        if trouble is None or not trouble.options.poison or start < self._retry_at:
            return 0.0
        self._retry_at = start + trouble.options.retry_parked
        trouble.begin(start)
        seconds = 0.0
        for entity in self.entities:
            parked = self.projector.parked(entity)
            if not parked.size or not trouble.heals(start):
                continue
            began = perf_counter()
            applied = self.projector.retry(entity)
            took = self._lasted(perf_counter() - began, applied.positions.size)
            seconds += took
            self.journal.note(entity, applied, np.empty(0, np.int64), RETRY, start, start + seconds)
        return seconds

    def _slowed(self, seconds: float, start: float) -> float:
        return seconds if self.trouble is None else seconds * self.trouble.factor(start)

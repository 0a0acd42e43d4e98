"""A worker does what a lane asks for: takes messages, reads pages, meets faults, and notes what became of it.

Where pages and messages come from, and what the work takes, is its `Service`'s business: measured, modelled, or live.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from lab.base import Unavailable
from lab.feed.gaps import ReaderGate
from lab.projection.applied import NONE, Applied
from lab.projection.projector import Projector
from lab.running.batches import batches, without_rest
from lab.running.bystander import Backlog, Bystander
from lab.running.journal import CATCH_UP, CHANNEL, RETRY, Fault, Recorder
from lab.running.refreshing import Refreshes
from lab.running.retries import Retries
from lab.running.services import Deferred, Service
from lab.running.trouble import STEPS, Crashed, Interrupted, Trouble

# How often parked changes are tried at the end of a run, since the store may refuse them for now.
LAST_TRIES = 100


class Worker:
    """Takes messages and polls for one projection.

    `gate` is its strategy for gaps, `trouble` its faults; None for a feed without gaps, or for no faults. `refresh` is
    the interval of the store's refreshes in seconds, 0 without any. `watch` looks on; a projection that is built beside
    another is not watched until it takes over.
    """

    polls = 0
    watch: Bystander | None = None
    # Which of some positions end a transaction, if batches are cut there and nowhere else.
    ends: Callable[[np.ndarray], np.ndarray] | None = None

    def __init__(
        self,
        projector: Projector,
        service: Service,
        inbox: Backlog,
        journal: Recorder,
        page: int,
        batch: int,
        gate: ReaderGate | None = None,
        trouble: Trouble | None = None,
        refresh: float = 0.0,
    ) -> None:
        self.projector, self.service, self.inbox, self.journal = projector, service, inbox, journal
        self.page, self.batch, self.gate, self.trouble = page, batch, gate, trouble
        self.refreshes = Refreshes(self, refresh)
        # Faults, refreshes and tombstones that expire must meet each batch when it is due.
        defers = service.defers and trouble is None and not refresh and not projector.guard.expires
        self.deferred = Deferred(self) if defers else None
        self.entities = tuple(projector.layout.entities)
        # The highest position that was handed over, which a projection that takes over must reach.
        self.highest = dict.fromkeys(self.entities, 0)
        self._find_place()
        self.retries = Retries(service.retry_parked if trouble is None else trouble.retry_parked)

    def _find_place(self) -> None:
        self.positions = {name: self.projector.checkpoint(name) for name in self.entities}
        self.settled = dict(self.positions)

    # -- what a lane asks for ------------------------------------------------------------------------------------------

    def take(self, start: float, count: int) -> float:
        """Apply the first `count` messages of the inbox; returns the seconds that it took."""
        now = self._retry(start)
        self.journal.took()
        for entity, piece in self.service.messages(self.inbox.first(count)):
            now = self._work(entity, piece, now, None, CHANNEL)
            self.watched(now)
        return now - start

    def poll(self, start: float) -> tuple[float, bool]:
        """Read a page of each entity as the feed is at `start`, and apply it batch by batch."""
        self.polls += 1
        self.journal.polled(start, self.gate is not None)
        # Checkpoint and data become visible at the same moment, at once or by one refresh.
        now, more = self._retry(start), False
        for entity in self.entities:
            page, ended, now = self._read(entity, start, now)
            more |= not ended and len(page) >= self.page
            if self.gate is not None:
                bound = self.gate.look(start)
                readable = int(np.searchsorted(self.service.positions(entity, page), bound, side="right"))
                if readable < len(page):
                    page, ended, more = page[:readable], False, False
            ends = None if self.ends is None else self.ends(self.service.positions(entity, page))
            if ends is not None and not ended and len(page):
                page = without_rest(page, ends, entity)
            for first, last, moves in self.pieces(len(page), ended, ends):
                piece = page[first:last]
                if last > first:
                    self.positions[entity] = int(self.service.positions(entity, piece)[-1])
                elif self.positions[entity] == self.settled[entity]:
                    continue
                checkpoint = self.positions[entity] if moves else None
                now = self._work(entity, piece, now, checkpoint, CATCH_UP)
                if moves:
                    self.settled[entity] = self.positions[entity]
                    self.journal.checkpoint(self.refreshes.seen(now), entity, self.positions[entity])
                self.watched(now)
        return now - start, more

    def pieces(self, rows: int, ended: bool, ends: np.ndarray | None) -> Iterator[tuple[int, int, bool]]:
        """Yield the batches of a page, as `batches` cuts it."""
        return batches(rows, ended, self.batch, self.service.every_revision, ends)

    def unfinished(self, at: float) -> bool:
        """True while the feed still keeps something back at this time, for a gap that may be filled."""
        return self.gate is not None and self.gate.keeps_back

    def quiet_until(self, at: float) -> float:
        """Until the feed has more, or the gate may open, or something parked may be taken."""
        if self.positions != self.settled:
            return at
        quiet = min(self.service.quiet_until(name, place) for name, place in self.positions.items())
        if self.gate is not None:
            # While something that is committed is kept back, nothing is skipped: each look may let it through.
            quiet = min(quiet, self.gate.quiet_until(at))
        trouble = self.trouble
        if self.retries.often is not None and trouble is not None:
            waits = any(self.projector.parked(name).size for name in self.entities)
            if trouble.options.refuse or (waits and trouble.heals(at)):
                # Whether the store refuses is drawn at each try.
                quiet = min(quiet, self.retries.next_at)
            elif waits and trouble.options.heals_at is not None:
                quiet = min(quiet, trouble.options.heals_at)
        return quiet

    def skip(self, beats: np.ndarray) -> None:
        """Count the polls, and move on the time of the next try of what is parked as they would have."""
        self.polls += beats.size
        self.journal.skipped(beats.size)
        self.retries.skip(beats)

    def reset(self, start: float) -> float:
        """Throw the projection away, to be read again from position 0: a rebuild in place. Returns when it is done."""
        self.carry_out()
        self.refreshes.show(start)
        mark = self.service.begin()
        self.projector.reset()
        until = self.service.end(start, mark, 0)
        self.journal.reset(until, self.entities)
        self._find_place()
        self.watched(until, "reset")
        return until

    def beside(self, projector: Projector) -> Worker:
        """Return a worker on another store with the same feed and a journal of its own, for a blue/green rebuild."""
        gate = None if self.gate is None else self.gate.afresh()
        rest = self.page, self.batch, gate, self.trouble, self.refreshes.every
        other = type(self)(projector, self.service, self.inbox, self.journal.beside(), *rest)
        other.ends = self.ends
        return other

    def level_with(self, other: Worker) -> bool:
        """True once all that the other was handed has been read here too."""
        return all(self.settled[name] >= other.highest[name] for name in self.entities)

    def carry_out(self) -> None:
        """Apply what has only been planned so far."""
        if self.deferred is not None:
            self.deferred.carry_out()

    def watched(self, at: float, event: str = "") -> None:
        """Let the watch look if a look is due, or at once after an event that is no ordinary work."""
        if self.watch is not None and (event or at >= self.watch.due_at):
            self.carry_out()
            self.refreshes.look(at)
            self.watch.look(self.projector.store, self.journal, at, event)

    def finish(self, at: float) -> None:
        """End the run at `at` seconds: try parked changes once more, if they can be taken by then or later."""
        self.carry_out()
        trouble = self.trouble
        for position, met_at in trouble.met.items() if trouble else ():
            detail = "the store can't take the change: it is parked, and all that follows of its record"
            self.journal.fault(Fault("poison", met_at, met_at, position=position, detail=detail))
        if trouble is not None and trouble.options.heals_at is not None:
            at = max(at, trouble.options.heals_at)
            for _ in range(LAST_TRIES):
                self.retries.next_at = 0.0
                at = self._retry(at)
                if not any(self.projector.parked(name).size for name in self.entities):
                    break
        self.refreshes.end()

    # -- how the work is done ------------------------------------------------------------------------------------------

    def _read(self, entity: str, start: float, now: float) -> tuple[Any, bool, float]:
        """The next page as the feed is at `start`, whether the feed ends there, and when it has been read."""
        try:
            return self.service.page(entity, self.positions[entity], self.page, start, now)
        except Unavailable as error:
            raise self._refused(now, error) from None

    def _work(self, entity: str, piece: Any, start: float, checkpoint: int | None, source: int) -> float:
        """Apply one piece and note it; returns when it is done. Raises Interrupted when a fault cuts it off."""
        if len(piece):
            self.highest[entity] = max(self.highest[entity], int(self.service.positions(entity, piece).max()))
        crash = None
        if self.trouble is not None:
            self.trouble.begin(start)
            crash = self.trouble.crash()
        try:
            return self._do(entity, piece, start, checkpoint, source)
        except Crashed:
            assert crash is not None
            step, lasts = crash
            self.projector = self.projector.reopened()
            self._find_place()
            self.watched(self.refreshes.show(start), "crash")
            raise self._interrupted("crash", start, lasts, STEPS[step]) from None
        except Unavailable as error:
            raise self._refused(start, error) from None

    def _do(self, entity: str, piece: Any, start: float, checkpoint: int | None, source: int) -> float:
        service, trouble = self.service, self.trouble
        if self.deferred is not None:
            until = service.end(start, 0.0, len(piece))
            self.deferred.add(entity, piece, start, until, checkpoint, source)
            return until
        frame = service.frame(entity, piece)
        handed, committed_at = frame["position"].to_numpy(), frame["committed_at"].to_numpy()
        factor = 1.0 if trouble is None else trouble.factor(start)
        self.refreshes.look(start)
        mark = service.begin()
        try:
            applied = self.projector.apply(entity, frame, checkpoint)
            if trouble is not None:
                trouble.end()
        except Crashed as crashed:
            assert trouble is not None
            until = service.end(start, mark, len(piece), factor)
            landed = self._after_crash(crashed, entity, until, checkpoint)
            crash = trouble.armed or ""
            self.refreshes.note(entity, landed, handed, source, start, until, crash, checkpoint, committed_at)
            raise
        except Unavailable:
            landed = self.projector.attempt.applied()
            if landed.positions.size:
                # Of a batch that was divided, pieces had landed before the store refused the next: readers see them.
                until = service.end(start, mark, len(piece), factor)
                told = np.isin(handed, landed.told)
                landed = replace(landed, trigger=(np.cumsum(told) - 1)[landed.trigger])
                self.refreshes.note(entity, landed, handed[told], source, start, until, committed_at=committed_at[told])
            raise
        until = service.end(start, mark, len(piece), factor)
        self.refreshes.note(entity, applied, handed, source, start, until, "", checkpoint, committed_at)
        return until

    def _after_crash(self, crashed: Crashed, entity: str, at: float, checkpoint: int | None) -> Applied:
        """Note what was held back in memory, which is lost; returns what had landed before, which is visible."""
        held = np.concatenate([NONE, *(self.projector.held(name) for name in self.entities)])
        if held.size:
            self.journal.forget(held)
        if crashed.moved and checkpoint is not None:
            self.journal.checkpoint(self.refreshes.seen(at), entity, checkpoint)
        return self.projector.attempt.applied(crashed.landed)

    def _refused(self, start: float, error: Unavailable) -> Exception:
        lasts = self.trouble.options.retry if self.trouble else self.service.retry
        if lasts is None:
            return error
        return self._interrupted("refused_apply", self.service.now(start), lasts, "", str(error))

    def _interrupted(self, kind: str, at: float, lasts: float, step: str, detail: str = "") -> Interrupted:
        self.journal.fault(Fault(kind, at, at + lasts, step, detail=detail))
        # Pages of a poll are read again; a batch of messages is delivered again.
        self.positions = dict(self.settled)
        return Interrupted(at, at + lasts)

    def _retry(self, start: float) -> float:
        """Try what is parked again, now and then; returns when that is done."""
        trouble = self.trouble
        if not self.retries.due(start):
            return start
        if trouble is not None:
            trouble.begin(start)
        now = start
        for entity in self.entities:
            if not self.projector.parked(entity).size or (trouble is not None and not trouble.heals(start)):
                continue
            self.refreshes.look(now)
            mark = self.service.begin()
            applied = self.projector.retry(entity)
            now = self.service.end(now, mark, applied.positions.size)
            self.refreshes.note(entity, applied, NONE, RETRY, start, now)
        return now

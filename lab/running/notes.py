"""A service's journal: counts, a histogram of lags, the last applied changes; in a file, what became of each change.

It goes on for as long as the service does, so nothing in memory grows with it. The file is read back as the journal of
a run, also after the process was killed.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from lab.feed.published import Published
from lab.projection.applied import NONE, NOTHING, Applied
from lab.running.journal import Fault, Journal
from lab.running.records import appended, read_records

# Bounds of the lag's histogram, in seconds.
BOUNDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
# What became of a change that was handed over, and when; of handed positions the kind is HANDED. Each piece of work
# begins with one of kind BEGAN: when, and in the place of the position the source. GIVEN_UP is a position that is no
# longer waited for; HELD one that was held back in memory when the process ended; STARTED the start of a process, which
# knows nothing of what an earlier one had in memory; RENEWED the end of a projection that was set aside, after which
# there is an empty one. From CHECKPOINT on, the kind says of which entity the checkpoint
# was moved there, by its number.
NOTE = np.dtype([("kind", "<i1"), ("position", "<i8"), ("at", "<f8")])
HANDED, APPLIED, REFUSED, DROPPED, BEGAN, GIVEN_UP, HELD, STARTED, RENEWED = range(9)
CHECKPOINT = 16
# So many of the last applied changes can be asked for, and of the last faults.
TAIL_MAX = 100_000
FAULTS_MAX = 1_000


class BoundedJournal:
    """The journal of a projection in a service. `now` is the runner's clock; notes have the time of day instead.

    `since` is when the service began, in seconds of the day's clock: what was committed before has no lag to speak of.
    Notes are appended to the file at `path`, if one is given, and there also where the checkpoints of `entities` are.
    """

    def __init__(
        self, since: float, now: Callable[[], float], path: Path | None = None, entities: Sequence[str] = ()
    ) -> None:
        self.since, self._now, self._entities, self.path = since, now, tuple(entities), path
        self._file = None if path is None else appended(path, NOTE)
        self._converted = (0.0, 0.0)
        self._append(STARTED, 0, now())
        self.counts = dict.fromkeys(("applied", "refused", "dropped", "overflowed", "messages", "polls", "batches"), 0)
        self.lags = np.zeros(len(BOUNDS) + 1, np.int64)
        self.lag_sum = 0.0
        # Position, committed at, visible at; and how many had been applied before the first of them.
        self.tail: deque[tuple[int, float, float]] = deque()
        self.past = 0
        self.faults: deque[Fault] = deque(maxlen=FAULTS_MAX)
        self.faulted = 0
        self._settled: dict[str, int] = {}

    def _of_day(self, at: float) -> float:
        """A time of the runner's clock as seconds of the day's clock, by which changes are stamped.

        The same time gives the same seconds again: a checkpoint moves in the very moment at which its rows are visible.
        """
        if at != self._converted[0]:
            self._converted = at, at + time.time() - self._now()
        return self._converted[1]

    # -- what a worker notes -------------------------------------------------------------------------------------------

    def polled(self, at: float, gated: bool) -> None:
        """Count a poll."""
        self.counts["polls"] += 1

    def skipped(self, polls: int) -> None:
        """Count polls that found nothing."""
        self.counts["polls"] += polls

    def took(self) -> None:
        """Count a batch of messages."""
        self.counts["batches"] += 1

    def note(
        self,
        entity: str,
        applied: Applied,
        handed: np.ndarray,
        source: np.ndarray | int,
        began_at: np.ndarray | float,
        visible_at: np.ndarray | float,
        crash: str = "",
        checkpoint: int | None = None,
        committed_at: np.ndarray | None = None,
        landed_at: float | None = None,
    ) -> None:
        """Count what became of a frame, note it in the file, and the lag of what is new."""
        began, at = self._of_day(float(np.min(began_at))), self._of_day(float(np.max(visible_at)))
        self.counts["applied"] += applied.positions.size
        self.counts["refused"] += applied.refused.size
        self.counts["dropped"] += applied.dropped.size
        self._write(handed, applied, source, began, at)
        if committed_at is not None and handed.size:
            self._lag(handed, applied, committed_at, at)

    def _lag(self, handed: np.ndarray, applied: Applied, committed_at: np.ndarray, at: float) -> None:
        # Of several copies in a batch the first counts; one that arrives again was visible before.
        first = np.zeros(handed.size, bool)
        first[np.unique(handed, return_index=True)[1]] = True
        fresh = first & np.isin(handed, applied.positions) & (committed_at >= self.since)
        shown = zip(handed[fresh].tolist(), committed_at[fresh].tolist(), strict=True)
        self.tail.extend((position, when, at) for position, when in shown)
        while len(self.tail) > TAIL_MAX:
            self.tail.popleft()
            self.past += 1
        times, counts = np.unique(committed_at[fresh], return_counts=True)
        lags = np.maximum(0.0, at - times)
        np.add.at(self.lags, np.searchsorted(BOUNDS, lags), counts)
        self.lag_sum += float((lags * counts).sum())

    def _write(self, handed: np.ndarray, applied: Applied, source: np.ndarray | int, began: float, at: float) -> None:
        if self._file is None:
            return
        head = np.array([int(np.max(source))])
        kinds = (
            (BEGAN, head), (HANDED, handed), (APPLIED, applied.positions), (REFUSED, applied.refused),
            (DROPPED, applied.dropped),
        )  # fmt: skip
        notes = np.empty(sum(positions.size for _, positions in kinds), NOTE)
        notes["kind"] = np.repeat([kind for kind, _ in kinds], [positions.size for _, positions in kinds])
        notes["position"] = np.concatenate([positions for _, positions in kinds])
        notes["at"] = at
        notes["at"][0] = began
        self._file.write(notes.tobytes())
        self._file.flush()

    def checkpoint(self, at: float, entity: str, position: int) -> None:
        """Keep the last position."""
        self._settled[entity] = position
        if entity in self._entities:
            self._append(CHECKPOINT + self._entities.index(entity), position, at)

    def gave_up(self, at: float, position: int) -> None:
        """Note a missing position that a strategy for gaps no longer waits for."""
        self._append(GIVEN_UP, position, at)

    def _append(self, kind: int, position: int, at: float) -> None:
        if self._file is not None:
            self._file.write(np.array([(kind, position, self._of_day(at))], NOTE).tobytes())
            self._file.flush()

    def held(self, at: float, positions: np.ndarray) -> None:
        """Note what is still held back in memory when the process ends."""
        for position in positions.tolist():
            self._append(HELD, position, at)

    def fault(self, fault: Fault) -> None:
        """Count them, and keep the last ones."""
        self.faulted += 1
        self.faults.append(fault)

    def overflow(self, positions: np.ndarray) -> None:
        """Count messages that found the inbox full."""
        self.counts["overflowed"] += positions.size

    def forget(self, positions: np.ndarray) -> None:
        """Nothing is kept: what was forgotten is read again."""

    def reset(self, at: float, entities: Sequence[str]) -> None:
        """Begin again at position 0; what is noted from now on is of an empty projection, or an empty part of one."""
        self._settled = dict.fromkeys(entities, 0)
        self._append(RENEWED, 0, at)

    def shown(self, at: float, since: float) -> float:
        """Nothing: a service's stores are refreshed with each batch."""
        return at

    def rebuilt(self, at: float, peak_bytes: int) -> None:
        """Nothing is kept: a rebuild tells of itself while it runs."""

    def beside(self) -> Journal:
        """A journal that is kept until the swap: of what has changed since the bulk was read."""
        return Journal()

    def swap(self, green: Journal, at: float, settled: Mapping[str, int]) -> None:
        """Note what the new projection shows and the old one did not, as visible from now on."""
        for note in green.notes:
            known = self._settled.get(note.entity, 0)
            new = replace(NOTHING, positions=note.applied.positions[note.applied.positions > known])
            if new.positions.size:
                self.note(note.entity, new, new.positions, note.source, at, at)
        self._settled = dict(settled)

    # -- what a service asks -------------------------------------------------------------------------------------------

    def applied(self, since: int, limit: int) -> tuple[list[tuple[int, float, float]], int]:
        """Changes that became visible, after the first `since` of them, and how many there were up to the last told."""
        # A number beyond the end was told by a process before this one.
        first = min(max(0, since - self.past), len(self.tail))
        found = list(itertools.islice(self.tail, first, first + limit))
        return found, self.past + first + len(found)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def read_notes(path: Path, changes: Published, began: float, entities: Sequence[str] = ()) -> Journal:
    """The notes of a service's projection as the journal of a run whose clock began at `began`.

    `entities` are those of the projection, in the order in which its own journal had them.
    """
    found, notes = Journal(), read_records(path, NOTE)
    # A source of truth that has gone back has no change any more at some positions that were handed over.
    of_changes = np.isin(notes["kind"], (HANDED, APPLIED, REFUSED, DROPPED, HELD))
    notes = notes[~of_changes | changes.has(notes["position"])]
    for kind, position, at in notes[notes["kind"] >= RENEWED].tolist():
        if kind == RENEWED:
            found.reset(at - began, entities)
        elif kind - CHECKPOINT < len(entities):
            found.checkpoints.append((at - began, entities[kind - CHECKPOINT], position))
    found.held = notes["position"][notes["kind"] == HELD]
    found.forgotten = list(_forgotten(notes))
    epochs = np.cumsum(notes["kind"] == RENEWED)[notes["kind"] <= BEGAN]
    work = notes[notes["kind"] <= BEGAN]
    starts = np.flatnonzero(work["kind"] == BEGAN)
    for first, group in zip(starts.tolist(), np.split(work, starts[1:]) if starts.size else (), strict=True):
        found.epoch = int(epochs[first])
        kinds = {kind: group["position"][group["kind"] == kind] for kind in (HANDED, APPLIED, REFUSED, DROPPED)}
        applied = Applied(kinds[APPLIED], NONE, kinds[REFUSED], kinds[DROPPED])
        entity = changes.entities[changes.entity_of[kinds[HANDED][0] - 1]] if kinds[HANDED].size else ""
        source, (began_at, visible_at) = int(group["position"][0]), (float(at) - began for at in group["at"][[0, -1]])
        found.note(entity, applied, kinds[HANDED], source, min(began_at, visible_at), visible_at)
        found.batches += 1
    found.epoch = len(found.resets)
    return found


def renewed(path: Path) -> None:
    """Note that the projection is set aside: what is noted from now on is of an empty one."""
    with appended(path, NOTE) as file:
        file.write(np.array([(RENEWED, 0, time.time())], NOTE).tobytes())


def _forgotten(notes: np.ndarray) -> Iterator[np.ndarray]:
    """What had been handed to a process, and was neither written nor refused when the next one started."""
    for start in np.flatnonzero(notes["kind"] == STARTED).tolist():
        before = notes[:start]
        settled = np.isin(before["kind"], (APPLIED, REFUSED, DROPPED))
        lost = np.setdiff1d(before["position"][before["kind"] == HANDED], before["position"][settled])
        if lost.size:
            yield lost


def read_given_up(path: Path, began: float) -> list[tuple[float, int]]:
    """When which positions were given up, by the same clock."""
    notes = read_records(path, NOTE)
    return [(at - began, position) for _, position, at in notes[notes["kind"] == GIVEN_UP].tolist()]

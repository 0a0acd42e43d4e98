"""The journal: what happened to a projection, seen from outside. Figures and verdicts are computed from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from lab.mapped import breathe
from lab.projection.applied import NONE, NOTHING, Applied
from lab.running.spans import Lanes, Spans
from lab.running.stretches import PerRow, Stretches
from lab.spill import Spill

CHANNEL, CATCH_UP, RETRY = 0, 1, 2
# Where work comes from, as the table `work` calls it.
SOURCES = {CHANNEL: "channel", CATCH_UP: "catch-up"}


@dataclass(frozen=True)
class Note:
    """One apply: what was handed to the projector, from which source, and what became of it.

    `began_at` and `visible_at` are seconds, one for all rows or one for each; `source` likewise. `epoch` counts
    how often the projection had been thrown away before. `crash` names the step at which the process died,
    `checkpoint` is what the checkpoint was to be moved to.
    """

    entity: str
    epoch: int
    handed: np.ndarray
    source: PerRow = PerRow()  # noqa: RUF009 (a descriptor)
    began_at: PerRow = PerRow()  # noqa: RUF009 (a descriptor)
    visible_at: PerRow = PerRow()  # noqa: RUF009 (a descriptor)
    applied: Applied = NOTHING
    crash: str = ""
    checkpoint: int | None = None
    # When it was written, if readers saw it later: after a refresh, or once what was built `beside` took over.
    landed_at: PerRow = PerRow(None)  # noqa: RUF009 (a descriptor)
    beside: bool = False

    @property
    def written_at(self) -> np.ndarray:
        """When each applied position was visible."""
        if isinstance(self.visible_at, np.ndarray):
            times: np.ndarray = self.visible_at[self.applied.trigger]
            return times
        return np.full(self.applied.positions.size, self.visible_at)


@dataclass(frozen=True)
class Fault:
    """A fault or a rebuild with its times in seconds. `step` is the step at which a crash happened."""

    kind: str
    at: float
    until: float
    step: str = ""
    position: int | None = None
    detail: str = ""


class Recorder(Protocol):
    """Notes what happens to a projection. Times in seconds of the runner's clock, positions as arrays of int64."""

    def polled(self, at: float, gated: bool) -> None:
        """A poll began; `gated` if a strategy for gaps bounds what it may read."""

    def skipped(self, polls: int) -> None:
        """So many polls were not executed, since each would have found nothing."""

    def took(self) -> None:
        """A batch of messages was taken."""

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
        """Note one application: the positions handed over and their times of commit, and what became of them.

        `landed_at` is when it was written, if readers see it later.
        """

    def checkpoint(self, at: float, entity: str, position: int) -> None:
        """The checkpoint was moved."""

    def fault(self, fault: Fault) -> None:
        """Something went wrong, or was done."""

    def overflow(self, positions: np.ndarray) -> None:
        """These messages found the inbox full, and are lost."""

    def forget(self, positions: np.ndarray) -> None:
        """These changes were held back in memory, and the memory was lost."""

    def reset(self, at: float, entities: Sequence[str]) -> None:
        """The projection was thrown away: readers find it empty from `at` on."""

    def shown(self, at: float, since: float) -> float:
        """Readers see what they had not seen at `since`, from `at` on or a little later: the time that is returned."""

    def rebuilt(self, at: float, peak_bytes: int) -> None:
        """A rebuild ended; it took this much on disk at its peak."""

    def beside(self) -> Journal:
        """A journal for a projection that is built beside this one."""

    def swap(self, green: Journal, at: float, settled: Mapping[str, int]) -> None:
        """Readers see the projection that was built beside from `at` on; its checkpoints are `settled`."""


@dataclass
class Journal:
    """Everything that happened, in order. `resets` are the times from which readers found the projection empty.

    `emptied` has those of them at which only a part was thrown away, with the numbers of its records. Then a note's
    `epoch` is that of the last whole in which what it says still counts.

    `checkpoints` are (seconds, entity, position). `polled_at` are the times at which polls through a gate began.
    `forgotten` are positions that were held back in memory when it was lost. What it has for each change is kept in
    `spill`.
    """

    notes: list[Note] = field(default_factory=list)
    overflowed: list[np.ndarray] = field(default_factory=list)
    forgotten: list[np.ndarray] = field(default_factory=list)
    # What a process had held back in memory when it ended; in a run of one process its projector knows.
    held: np.ndarray = field(default_factory=lambda: NONE)
    checkpoints: list[tuple[float, str, int]] = field(default_factory=list)
    polled_at: list[float] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    resets: list[float] = field(default_factory=list)
    emptied: dict[float, np.ndarray] = field(default_factory=dict)
    swapped_at: float | None = None
    rebuilt_at: float | None = None
    peak_bytes: int = 0
    # What the lane did when; and what that of the projection did that was built beside, until it took over.
    spans: Spans = field(default_factory=Spans)
    spans_beside: Spans | None = None
    # In the place of both, of a projection whose partitions have a lane each.
    lanes: Lanes | None = None
    epoch: int = 0
    polls: int = 0
    batches: int = 0
    spill: Spill = field(default_factory=Spill, repr=False, compare=False)

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
        """Note one application; the times of commit are known from the run's history, and not kept."""
        breathe()
        kept = self.spill.array
        if not isinstance(visible_at, np.ndarray):
            # The row of each change only matters if the rows became visible at different times, or if another change
            # was waited for.
            own = isinstance(source, int) and (
                source == RETRY or np.array_equal(handed[applied.trigger], applied.positions)
            )
            applied = replace(applied, trigger=NONE) if own else applied
        # A copy, since a column of a page would keep the whole page in memory.
        all_of_it = np.array_equal(handed, applied.positions)
        handed = kept(handed.copy())
        applied = replace(applied, positions=NONE if all_of_it else applied.positions).mapped(kept)
        applied = replace(applied, positions=handed) if all_of_it else applied
        of, began, shown = (self._kept(values) for values in (source, began_at, visible_at))
        self.notes.append(Note(entity, self.epoch, handed, of, began, shown, applied, crash, checkpoint, landed_at))

    def _kept(self, values: np.ndarray | float) -> np.ndarray | float | Stretches:
        """Return what a note keeps of an array with a value for each row: many successive ones may be equal."""
        return (Stretches.of(values) or self.spill.array(values)) if isinstance(values, np.ndarray) else values

    def polled(self, at: float, gated: bool) -> None:
        """Count a poll; the time matters where a strategy for gaps is judged."""
        self.polls += 1
        if gated:
            self.polled_at.append(at)

    def skipped(self, polls: int) -> None:
        """Count polls that found nothing; between their times nothing was committed, so none of them matters."""
        self.polls += polls

    def took(self) -> None:
        """Count a batch of messages."""
        self.batches += 1

    def checkpoint(self, at: float, entity: str, position: int) -> None:
        """Note where the checkpoint was moved to."""
        self.checkpoints.append((at, entity, position))

    def fault(self, fault: Fault) -> None:
        """Note what went wrong, or was done."""
        self.faults.append(fault)

    def overflow(self, positions: np.ndarray) -> None:
        """Note the messages that found the inbox full."""
        self.overflowed.append(positions)

    def forget(self, positions: np.ndarray) -> None:
        """Note the changes that were held back in memory when it was lost."""
        self.forgotten.append(positions)

    def reset(self, at: float, entities: Sequence[str]) -> None:
        """Begin a new epoch with an empty projection."""
        self.resets.append(at)
        self.epoch += 1
        self.checkpoints += [(at, name, 0) for name in entities]

    def shown(self, at: float, since: float) -> float:
        """Note a refresh that was not on time: readers see all that they had not seen at `since`.

        Returns when they do: at `at` seconds, or when the last of it was written.
        """
        first = self.shown_by(since)
        at = max([at, *(float(note.landed_at) for note in self.notes[first:] if note.landed_at is not None)])
        self.notes[first:] = [replace(note, visible_at=at) for note in self.notes[first:]]
        last = len(self.checkpoints)
        while last and self.checkpoints[last - 1][0] > since:
            last -= 1
        self.checkpoints[last:] = [(at, entity, position) for _, entity, position in self.checkpoints[last:]]
        return at

    def shown_by(self, at: float) -> int:
        """Return how many of the notes readers see at `at`: all, but for the last ones that wait for a refresh."""
        count = len(self.notes)
        while count and self._waits(self.notes[count - 1], at):
            count -= 1
        return count

    @staticmethod
    def _waits(note: Note, at: float) -> bool:
        return note.landed_at is not None and not note.beside and bool(note.visible_at > at)

    def rebuilt(self, at: float, peak_bytes: int) -> None:
        """Note when a rebuild ended."""
        self.rebuilt_at, self.peak_bytes = at, peak_bytes

    def beside(self) -> Journal:
        """An empty journal."""
        return Journal(spill=self.spill)

    def each(self, what: str) -> Iterator[np.ndarray]:
        """Yield one field of `applied`, or `handed`, note by note."""
        for note in self.notes:
            breathe()
            yield note.handed if what == "handed" else getattr(note.applied, what)

    def all(self, what: str) -> np.ndarray:
        """Return the same as one array of positions."""
        return np.concatenate([NONE, *self.each(what)])

    @property
    def written_at(self) -> np.ndarray:
        """Return when each applied position became visible, in the order of `all("positions")`."""
        return np.concatenate([np.empty(0), *(note.written_at for note in self.notes)])

    @property
    def epochs(self) -> np.ndarray:
        """Return the epoch of each applied position."""
        return np.concatenate([NONE, *(np.full(note.applied.positions.size, note.epoch) for note in self.notes)])

    def swap(self, green: Journal, at: float, settled: Mapping[str, int]) -> None:
        """Add what was built beside, as visible at `at` or later: until then readers saw nothing of it."""
        self.epoch += 1
        for note in green.notes:
            seen = np.maximum(note.visible_at, at)
            shown = self._kept(seen if isinstance(seen, np.ndarray) else float(seen))
            landed = note.landed_at if note.landed_at is not None else self._kept(note.visible_at)
            self.notes.append(replace(note, epoch=self.epoch, visible_at=shown, landed_at=landed, beside=True))
        self.checkpoints += [(at, entity, position) for entity, position in settled.items()]
        self.spans_beside = green.spans
        self.faults += green.faults
        self.polled_at += green.polled_at
        self.forgotten += green.forgotten
        self.polls += green.polls
        self.batches += green.batches
        self.swapped_at = at

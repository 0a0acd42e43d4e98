"""Split the lag of each change into what it was spent on; the parts add up to the lag, to the last bit.

A change is carried by the write that made it visible: its own, or that of a later revision of its record. Its lag runs
from its commit to the arrival of the message that brought it (or to the moment at which the poll was due), from there
to the start of the store's work on its piece, and on until readers could see it. Between arrival and work, the
projector was busy (queue), or idle (waiting for the batch to fill or to linger out), or down (repair). What was lost,
parked, forgotten or cut off by a crash waits for its repair instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from lab.feed.published import Published
from lab.mapped import breathe
from lab.measure.written import WriteTimes
from lab.running.journal import CATCH_UP, CHANNEL, RETRY, Journal
from lab.running.spans import DOWN, POLL, Spans
from lab.spill import Spill, chosen_of
from lab.statistics.grouped import blocks, latest, running
from lab.statistics.quantiles import quantile, samples_needed

PARTS = ("wait", "queue", "linger", "work", "refresh", "repair")
WAIT, QUEUE, LINGER, WORK, REFRESH, REPAIR = range(len(PARTS))
# Differences of sums over a whole run are rounded: what is shorter is nothing.
_NOTHING = 1e-9


@dataclass(frozen=True)
class Arrived:
    """The messages that found room in an inbox: their indices as changes, and when each arrived, in seconds."""

    messages: np.ndarray
    arrives_at: np.ndarray

    def first(self, size: int, spill: Spill | None = None) -> np.ndarray:
        """When the first copy of each of `size` changes arrived; infinity if none did. Kept in `spill`."""
        found = (spill or Spill()).empty(size, np.float64)
        found[:] = np.inf
        for block in blocks(self.messages.size):
            np.minimum.at(found, self.messages[block], self.arrives_at[block])
        return found


class _Clock:
    """Says how long a lane had been busy, and down, up to any time; and when the poll was due that was going on."""

    def __init__(self, spans: Spans) -> None:
        kinds, times = spans.kinds, spans.times
        self._busy, self._down = (_Total(times[kinds != DOWN, 1:]), _Total(times[kinds == DOWN, 1:]))
        self._polls = times[kinds == POLL]

    def due(self, at: np.ndarray) -> np.ndarray:
        """When the poll was due that was executed at each of these times; minus infinity if there was none."""
        place = np.searchsorted(self._polls[:, 1], at, side="right")
        due: np.ndarray = np.append(-np.inf, self._polls[:, 0])[place]
        return due

    def between(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """How long the lane was busy, down and idle between these times."""
        busy, down = (np.maximum(each.until(high) - each.until(low), 0.0) for each in (self._busy, self._down))
        return busy, down, np.maximum(high - low - busy - down, 0.0)


class _Total:
    """The length of spans up to any time; they don't overlap, and are in order."""

    def __init__(self, spans: np.ndarray) -> None:
        self.starts, lengths = np.append(-np.inf, spans[:, 0]), spans[:, 1] - spans[:, 0]
        self.lengths, self.before = np.append(0.0, lengths), np.append([0.0, 0.0], np.cumsum(lengths))

    def until(self, at: np.ndarray) -> np.ndarray:
        """The total length up to each time."""
        place = np.searchsorted(self.starts, at, side="right") - 1
        inside = np.where(place, at - np.where(place, self.starts[place], 0.0), 0.0)
        total: np.ndarray = self.before[place] + np.minimum(inside, self.lengths[place])
        return total


class Parts:
    """The parts of the lag of one projection's changes.

    `visible` is when each change of the run was visible, by index, as `lag.visible_at` gives it for the same
    `subsumes`; `arrived` what came to its inbox, None for a projection that doesn't listen to a channel.
    """

    def __init__(
        self,
        published: Published,
        journal: Journal,
        visible: np.ndarray,
        chosen: np.ndarray,
        subsumes: bool,
        arrived: Arrived | None,
    ) -> None:
        self.published, self.journal, self.subsumes = published, journal, subsumes
        # The indices of the changes that became visible, and their lags.
        kept = journal.spill.array
        seen = np.isfinite(chosen_of(visible, chosen))
        self.index = chosen if seen.all() else kept(chosen[seen])
        self.lag = kept(chosen_of(visible, self.index) - chosen_of(published.committed_at, self.index))
        self._first_copy = arrived.first(visible.size, journal.spill) if arrived else None
        self._listens = arrived is not None

    @cached_property
    def seconds(self) -> np.ndarray:
        """A row for each change of `index`, a column for each of `PARTS`; each row adds up to the change's lag."""
        # Column by column, since each is summed up by itself.
        found = self.journal.spill.empty(self.index.size * len(PARTS), np.float64).reshape(len(PARTS), -1).T
        for block, parts in self._computed():
            found[block] = _exact(parts, self.lag[block])
        return found

    def computed(self) -> np.ndarray:
        """The same but for rounding: each row adds up to the lag within a nanosecond."""
        return np.concatenate([np.empty((0, len(PARTS))), *(parts for _, parts in self._computed())])

    def _computed(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield the parts of a block of changes at a time."""
        if not self.index.size:
            return
        writes = WriteTimes.of(self.journal)
        row = self._carrier(writes)
        shared, beside = self.journal.lanes, [self.journal.spans, self.journal.spans_beside]
        lanes = [(lane, _Clock(one)) for lane, one in enumerate(shared.spans if shared else beside) if one is not None]
        for block in blocks(self.index.size):
            found, rows = np.zeros((block.stop - block.start, len(PARTS))), row[self.index[block]]
            lane_of = shared.lane_of[self.index[block]] if shared else writes.beside[rows]
            for lane, clock in lanes:
                mine = np.flatnonzero(lane_of == lane)
                if mine.size:
                    found[mine] = self._split(self.index[block][mine], writes, rows[mine], clock)
            yield block, found

    def tables(self, projection: str) -> Iterator[pl.DataFrame]:
        """Yield the rows of the table `lag_parts`, a block at a time."""
        for block in blocks(self.index.size):
            columns = {f"{name}_seconds": self.seconds[block, place] for place, name in enumerate(PARTS)}
            name = pl.repeat(projection, block.stop - block.start, eager=True)
            yield pl.DataFrame({"projection": name, "position": self.index[block] + 1} | columns)

    def table(self, projection: str) -> pl.DataFrame:
        """Return the rows of the table `lag_parts`."""
        empty = {"projection": pl.String(), "position": pl.Int64()} | {
            f"{name}_seconds": pl.Float64() for name in PARTS
        }
        return pl.concat([pl.DataFrame(schema=empty), *self.tables(projection)])

    def summary(self, projection: str, settings: Mapping[str, object]) -> list[dict[str, object]]:
        """The rows of the table `lag_parts_summary`; none without a visible change. `settings` are columns of it."""
        seconds, lag = self.seconds, self.lag
        if not lag.size:
            return []
        # All of them are looked at where they are: picked out, they would be a copy.
        groups: dict[str, slice | np.ndarray] = {"": slice(None)}
        groups["median_"] = (lag >= quantile(lag, 0.45)) & (lag <= quantile(lag, 0.55))
        if lag.size >= samples_needed(0.99):
            groups["slowest_"] = lag >= quantile(lag, 0.99)
        rows = []
        for place, part in enumerate(PARTS):
            breathe()
            row: dict[str, object] = {"projection": projection, "part": part}
            for group in ("", "median_", "slowest_"):
                mean = whole = None
                if group in groups:
                    mean = float(seconds[groups[group], place].mean())
                    whole = float(lag[groups[group]].mean())
                row[f"{group or 'mean_'}seconds"] = mean
                row[f"{group}share"] = None if mean is None or not whole else mean / whole
            rows.append(row | dict(settings))
        return rows

    def _carrier(self, writes: WriteTimes) -> np.ndarray:
        """The row of the write that made each change visible, by the change's index; -1 for none."""
        size, spill = self.published.committed_at.size, self.journal.spill
        rows = spill.empty(size, np.int64)
        rows[:] = -1
        # In reverse order, so that the first write of a change is kept.
        for block in blocks(writes.position.size, backwards=True):
            rows[writes.position[block][::-1] - 1] = np.arange(block.stop - 1, block.start - 1, -1)
        if not self.subsumes:
            return rows
        # Of each record, looked at from its last change on: when it was seen at the earliest, and by which write.
        least, carrier = spill.empty(size + 1, np.float64), spill.empty(size + 1, np.int64)
        least[:], carrier[:] = np.inf, -1
        for block in blocks(size, backwards=True):
            record, row = self.published.record[block][::-1], rows[block][::-1]
            seen = np.where(row >= 0, writes.seen[row], np.inf)
            earliest = running(record, seen, least, "least")
            # The nearest revision whose own write is as early as any later one carries it.
            own = np.where((seen == earliest) & (row >= 0), row, -1)
            rows[block] = latest(record, own, carrier)[::-1]
        return rows

    @cached_property
    def _handed(self) -> tuple[np.ndarray, np.ndarray]:
        """When the work began in which each change was handed over for the first time, and from which source."""
        size, spill = self.published.committed_at.size, self.journal.spill
        began, source = spill.empty(size, np.float64), spill.empty(size, np.int8)
        began[:], source[:] = np.inf, CATCH_UP
        # In reverse order, so that the first is kept.
        for note in reversed(self.journal.notes):
            breathe()
            if note.handed.size:
                place = note.handed[::-1] - 1
                began[place] = _reversed(note.began_at)
                source[place] = _reversed(note.source)
        return began, source

    def _split(self, index: np.ndarray, writes: WriteTimes, row: np.ndarray, clock: _Clock) -> np.ndarray:
        """Return the parts of the changes of these indices, which the writes `row` made visible on this lane."""
        committed, began = self.published.committed_at[index], writes.began[row]
        # A write beside that began before the commit can't be.
        cause, source = writes.cause[row] - 1, writes.source[row]
        handed, by = (each[index] for each in self._handed)
        parts = np.zeros((index.size, len(PARTS)))
        again = handed < began
        # What is carried by another change and never came itself is repaired by it.
        lost = self._lost(index)
        came = np.where(again | (handed == began), index, cause)
        until, way = np.where(again, handed, began), np.where(again, by, source)
        self._approach(parts, clock, committed, until, came, way, lost)
        # What was handed over before in vain, or had to wait for another change.
        held = again & (cause != writes.position[row] - 1) & (source != RETRY)
        self._approach(parts, clock, np.where(held, until, began), began, cause, source, self._lost(cause))
        parts[:, REPAIR] += np.where(again & ~held, began - until, 0.0)
        parts[:, WORK] = writes.landed[row] - began
        parts[:, REFRESH] = writes.seen[row] - writes.landed[row]
        return parts

    def _first(self, index: np.ndarray) -> np.ndarray:
        """When the first copy of each change arrived; infinity if none did."""
        return np.full(index.size, np.inf) if self._first_copy is None else self._first_copy[index]

    def _lost(self, index: np.ndarray) -> np.ndarray:
        """Which changes no copy arrived of, though the projection listens."""
        lost: np.ndarray = self._listens & np.isinf(self._first(index))
        return lost

    def _approach(
        self,
        parts: np.ndarray,
        clock: _Clock,
        low: np.ndarray,
        high: np.ndarray,
        came: np.ndarray,
        way: np.ndarray,
        lost: np.ndarray,
    ) -> None:
        """Add the time from `low` to `high`, in which each change `came` by its way, and work on it began."""
        messages = way == CHANNEL
        there = np.where(messages, self._first(came), clock.due(high))
        there = np.where(way == RETRY, high, np.clip(there, low, high))
        busy, down, idle = clock.between(there, high)
        waited = there - low + np.where(messages, 0.0, idle)
        repaired = lost | (way == RETRY)
        parts[:, WAIT] += np.where(repaired, 0.0, waited)
        parts[:, REPAIR] += np.where(repaired, waited, 0.0) + down
        parts[:, QUEUE] += busy
        parts[:, LINGER] += np.where(messages, idle, 0.0)


def _reversed(values: np.ndarray | float) -> np.ndarray | float:
    return values[::-1] if isinstance(values, np.ndarray) else values


def _exact(parts: np.ndarray, lag: np.ndarray) -> np.ndarray:
    """The parts in whole multiples of the last bit of the lag, so that their sum, in any order, is the lag itself."""
    if not lag.size:
        return parts
    bit = np.spacing(np.maximum(lag, np.finfo(float).tiny))[:, None]
    parts = np.where(parts < _NOTHING, 0.0, parts)
    parts = np.minimum(np.round(parts / bit) * bit, lag[:, None])
    largest = np.argmax(parts, axis=1)
    rows = np.arange(lag.size)
    parts[rows, largest] = 0.0
    parts[rows, largest] = lag - parts.sum(axis=1)
    return parts

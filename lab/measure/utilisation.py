"""Say which share of the time a lane was busy, and foretell it at a higher load.

Foretold: with 25 % more changes, what each row costs is spent 25 % more often. What each batch costs is spent as often
as there are batches. A batch of messages starts once its first message has lingered and the lane is free: with Poisson
arrivals at a rate r, batches that take b, and a linger L, one in every max(b, L) + exp(-r max(b - L, 0)) / r seconds,
and at least one for each `batch` messages. A poll finds something with the chance 1 - exp(-r every). Both are scaled so
that they give what was counted at the rate that there was. The time of each batch and of each row is fitted to the
pieces of work by least squares, per_batch + per_row * rows; the rest of the busy time (reading, refusals) grows with
the rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lab.running.journal import CATCH_UP, CHANNEL, RETRY, Journal
from lab.running.lane import Pace
from lab.running.spans import DOWN, POLL, TAKEN_OVER, Spans

MORE = 1.25
# Of the time between batches, which depends on how large they get.
_STEPS = 200


@dataclass(frozen=True)
class Pieces:
    """Pieces of work: how many rows each had, how many seconds it took, when it began, and where it came from."""

    rows: np.ndarray
    seconds: np.ndarray
    began: np.ndarray
    source: np.ndarray

    def of(self, source: int) -> Pieces:
        """Those of one source."""
        mine = self.source == source
        return Pieces(self.rows[mine], self.seconds[mine], self.began[mine], self.source[mine])


def utilisation(projection: str, journal: Journal, end: float, pace: Pace) -> dict[str, object]:
    """Return the row of the table `utilisation`; `end` is when the last change was committed, in seconds."""
    kinds, times = journal.spans.kinds, journal.spans.times
    at_work = (kinds != DOWN) & (kinds != TAKEN_OVER)
    within = np.clip(times[at_work, 1:], 0.0, end)
    busy = float((within[:, 1] - within[:, 0]).sum())
    found = pieces(journal, end)
    per_batch, per_row = fitted(found.rows, found.seconds)
    row: dict[str, object] = {"projection": projection, "span_seconds": end, "busy_seconds": busy}
    row |= {"batches": int(found.rows.size), "rows": int(found.rows.sum()), "per_batch_seconds": per_batch}
    row |= {"per_row_seconds": per_row, "busy_share": busy / end if end > 0 else None}
    more = foretold(busy, found, journal.spans, end, pace)
    return row | {"busy_share_foretold": more / end if end > 0 else None}


def pieces(journal: Journal, end: float) -> Pieces:
    """The pieces of work that began from 0 to `end`; not those that a crash cut off, nor retries."""
    columns = [np.empty((0, 4))]
    for note in journal.notes:
        if not note.handed.size or note.crash or (isinstance(note.source, int) and note.source == RETRY):
            continue
        landed = note.visible_at if note.landed_at is None else note.landed_at
        if isinstance(note.began_at, np.ndarray):
            # Batches that were applied together: each has times of its own.
            each = (note.began_at, np.broadcast_to(landed, note.began_at.shape))
            pairs = np.column_stack([*each, np.broadcast_to(note.source, note.began_at.shape)])
            different = np.any(np.diff(pairs[:, :2], axis=0) != 0, axis=1)
            starts = np.append(0, np.flatnonzero(different) + 1)
            sizes = np.diff(np.append(starts, note.began_at.size))
            columns.append(np.column_stack([sizes, pairs[starts]]))
        else:
            columns.append(np.array([[note.handed.size, note.began_at, np.max(landed), np.max(note.source)]]))
    rows, began, ended, source = np.concatenate(columns).T
    # What was there before a load began belongs to no rate.
    known = (began >= 0.0) & (began <= end)
    return Pieces(rows[known], (ended - began)[known], began[known], source[known].astype(int))


def fitted(rows: np.ndarray, seconds: np.ndarray) -> tuple[float, float]:
    """Return the seconds of each batch and of each row, by least squares; neither is negative."""
    if not rows.size:
        return 0.0, 0.0
    spread = float(np.var(rows))
    per_row = float(np.mean((rows - rows.mean()) * (seconds - seconds.mean()))) / spread if spread > 0 else 0.0
    per_row = min(max(per_row, 0.0), float(seconds.sum() / rows.sum()))
    return float(seconds.mean() - per_row * rows.mean()), per_row


def foretold(busy: float, found: Pieces, spans: Spans, end: float, pace: Pace) -> float:
    """Return the busy time at `MORE` times the load; more than the time that there is means that it can't keep up."""
    if not found.rows.size or end <= 0:
        return busy
    per_batch, per_row = fitted(found.rows, found.seconds)
    batches = _taken(found.of(CHANNEL), end, pace, per_batch, per_row) + _polled(found.of(CATCH_UP), spans, end, pace)
    rest = max(busy - float(found.seconds.sum()), 0.0)
    return batches * per_batch + MORE * (float(found.rows.sum()) * per_row + rest)


def _taken(found: Pieces, end: float, pace: Pace, per_batch: float, per_row: float) -> float:
    """How many batches of messages there are at `MORE` times the load."""
    if not found.rows.size:
        return 0.0

    def apart(rate: float) -> float:
        """The seconds from the start of a batch to that of the next, if it is never full."""
        gap = pace.linger + 1.0 / rate
        for _ in range(_STEPS):
            takes = per_batch + per_row * min(rate * gap, pace.batch)
            gap = max(takes, pace.linger) + math.exp(-rate * max(takes - pace.linger, 0.0)) / rate
        return gap

    total = float(found.rows.sum())
    rate = total / end
    return max(found.rows.size * apart(rate) / apart(MORE * rate), MORE * total / pace.batch)


def _polled(found: Pieces, spans: Spans, end: float, pace: Pace) -> float:
    """How many batches are read by polls at `MORE` times the load."""
    if not found.rows.size:
        return 0.0
    polls = spans.times[spans.kinds == POLL]
    place = np.clip(np.searchsorted(polls[:, 1], found.began, side="right") - 1, 0, None)
    # Of one poll, pages are spans of their own, which were due at the same time.
    useful = np.unique(polls[place, 0]).size if polls.size else found.rows.size
    rows = float(found.rows.sum()) / useful
    chance, higher = (-math.expm1(-found.rows.sum() / end * share * pace.every) for share in (1.0, MORE))
    larger = MORE * rows * chance / higher
    # The last batch of a poll is seldom full.
    each, then = (max(1.0, size / pace.batch + 0.5) if size > pace.batch else 1.0 for size in (rows, larger))
    return found.rows.size * higher / chance * then / each

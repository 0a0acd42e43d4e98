"""Say which share of the time a lane was busy, and foretell it at a higher load.

Foretold: with 25 % more changes, what each row costs is spent 25 % more often. What each batch costs is spent as often
as before while batches can take the additional rows, which they can up to the setting `batch`: batches of m rows on
average become batches of min(1.25 m, batch). The time of each batch and of each row is fitted to the pieces of work by
least squares, per_batch + per_row * rows; the rest of the busy time (reading, refusals) grows with the rows.
"""

from __future__ import annotations

import numpy as np

from lab.running.journal import RETRY, Journal
from lab.running.spans import DOWN, TAKEN_OVER

MORE = 1.25


def utilisation(projection: str, journal: Journal, end: float, batch: int) -> dict[str, object]:
    """Return the row of the table `utilisation`; `end` is when the last change was committed, in seconds."""
    kinds, times = journal.spans.kinds, journal.spans.times
    at_work = (kinds != DOWN) & (kinds != TAKEN_OVER)
    within = np.clip(times[at_work, 1:], 0.0, end)
    busy = float((within[:, 1] - within[:, 0]).sum())
    rows, seconds = pieces(journal, end)
    per_batch, per_row = fitted(rows, seconds)
    row: dict[str, object] = {"projection": projection, "span_seconds": end, "busy_seconds": busy}
    row |= {"batches": int(rows.size), "rows": int(rows.sum()), "per_batch_seconds": per_batch}
    row |= {"per_row_seconds": per_row, "busy_share": busy / end if end > 0 else None}
    more = foretold(busy, rows, seconds, batch)
    return row | {"busy_share_foretold": more / end if end > 0 else None}


def pieces(journal: Journal, end: float) -> tuple[np.ndarray, np.ndarray]:
    """The rows and seconds of each piece of work that began by `end`."""
    counts, lengths = [np.empty(0)], [np.empty(0)]
    for note in journal.notes:
        if not note.handed.size or note.crash or (isinstance(note.source, int) and note.source == RETRY):
            continue
        landed = note.visible_at if note.landed_at is None else note.landed_at
        if isinstance(note.began_at, np.ndarray):
            # Batches that were applied together: each has times of its own.
            pairs = np.column_stack([note.began_at, np.broadcast_to(landed, note.began_at.shape)])
            different = np.any(np.diff(pairs, axis=0) != 0, axis=1)
            starts = np.append(0, np.flatnonzero(different) + 1)
            counts.append(np.diff(np.append(starts, note.began_at.size)).astype(float))
            began, ended = pairs[starts].T
        else:
            counts.append(np.array([float(note.handed.size)]))
            began, ended = np.array([note.began_at]), np.array([float(np.max(landed))])
        lengths.append(np.where(began <= end, ended - began, np.nan))
    rows, seconds = np.concatenate(counts), np.concatenate(lengths)
    known = np.isfinite(seconds)
    return rows[known], seconds[known]


def fitted(rows: np.ndarray, seconds: np.ndarray) -> tuple[float, float]:
    """Return the seconds of each batch and of each row, by least squares; neither is negative."""
    if not rows.size:
        return 0.0, 0.0
    spread = float(np.var(rows))
    per_row = float(np.mean((rows - rows.mean()) * (seconds - seconds.mean()))) / spread if spread > 0 else 0.0
    per_row = min(max(per_row, 0.0), float(seconds.sum() / rows.sum()))
    return float(seconds.mean() - per_row * rows.mean()), per_row


def foretold(busy: float, rows: np.ndarray, seconds: np.ndarray, batch: int) -> float:
    """Return the busy time at `MORE` times the load; more than the time that there is means that it can't keep up."""
    if not rows.size:
        return busy
    per_batch, per_row = fitted(rows, seconds)
    size = float(rows.mean())
    larger = max(min(MORE * size, batch), size)
    batches = MORE * rows.sum() / larger
    return float(batches * per_batch + MORE * rows.sum() * per_row + MORE * max(busy - seconds.sum(), 0.0))

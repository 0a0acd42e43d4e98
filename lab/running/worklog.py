"""What a process of the service spends its time on: a record of fixed size for each piece of work, in a file.

A simulation draws the times of its own work from it, so that both have the same stores on the same busy machine.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from lab.running.records import TimedRecords, read_records
from lab.running.spans import SPANS_SUFFIX, WrittenSpans

# What was done: a page read, a piece of a page applied, a piece of a batch of messages applied (its frame included), a
# request answered, a message put into the inbox.
READ, CAUGHT_UP, TAKEN, ANSWERED, HEARD = range(5)
# `rows` is how many changes; of a message its position. `due` is when the lane wanted the work to start; of a request
# when it was sent, of a message when it was in the inbox. Times are seconds since 1970.
WORK = np.dtype([("kind", "<i1"), ("rows", "<i8"), ("due", "<f8"), ("began", "<f8"), ("seconds", "<f8")])
# The file's name is that of the journal with this suffix.
WORK_SUFFIX = ".work"


class WorkLog:
    """Appends records to the file at `path`; without a path it does nothing. `now` is the runner's clock.

    `spans`, in a file beside that one, are for the lane that starts the work.
    """

    def __init__(self, now: Callable[[], float], path: Path | None = None) -> None:
        self.now = now
        # When the lane wanted the work to start that is going on.
        self.due = 0.0
        self._records = None if path is None else TimedRecords(path, WORK, ("due", "began"), now)
        self.spans = None if path is None else WrittenSpans(path.with_suffix(SPANS_SUFFIX), now)

    def starts(self, due: float) -> None:
        """Note when the next pieces were due, on the runner's clock."""
        self.due = due

    def note(self, kind: int, rows: int, began: float, seconds: float, due: float | None = None) -> None:
        """Note a piece of work that has just ended; times on the runner's clock."""
        if self._records is not None:
            self._records.note((kind, rows, self.due if due is None else due, began, seconds))

    def close(self) -> None:
        """Write what is in memory and close the file."""
        if self._records is not None:
            self._records.close()
            self._records = None
        if self.spans is not None:
            self.spans.close()
            self.spans = None


def read_work(path: Path, since: float) -> np.ndarray:
    """The records from `since` (seconds since 1970) on, with times that count from it, in the order of their start."""
    records = read_records(path, WORK)
    for name in ("due", "began"):
        records[name] -= since
    records = records[records["began"] >= 0.0]
    ordered: np.ndarray = records[np.argsort(records["began"], kind="stable")]
    return ordered


def lateness(records: np.ndarray) -> np.ndarray:
    """By how many seconds each step of the lane began after it was due and the process was free, in order.

    A process that shares its processors with others waits for one; what it does between two records counts too.
    """
    ends = np.maximum.accumulate(records["began"] + records["seconds"])
    free_at = np.concatenate([[0.0], ends[:-1]])
    # Pieces of one step have the same time at which they were due: the first of them begins it.
    pieces = np.flatnonzero(records["kind"] <= TAKEN)
    first = pieces[np.diff(records["due"][pieces], prepend=np.nan) != 0]
    late: np.ndarray = records["began"][first] - np.maximum(records["due"][first], free_at[first])
    return late.clip(0.0)

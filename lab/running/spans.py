"""The times at which a lane was at work, from which the parts of the lag are computed."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lab.running.records import TimedRecords, read_records

# A batch of messages, a poll, a time at which the projector was down, and one at which another took over from it.
TAKE, POLL, DOWN, TAKEN_OVER = range(4)


class Spans:
    """Spans of a lane in order of time: what it did, since when that was due, from and to when, in seconds.

    Of a poll that continues a page, `due` is when the first of its pages was due. Spans don't overlap.
    """

    def __init__(self) -> None:
        self._kinds, self._times = array("b"), array("d")

    def note(self, kind: int, due: float, start: float, end: float) -> None:
        """Add a span."""
        self._kinds.append(kind)
        self._times.extend((due, start, end))

    def __len__(self) -> int:
        return len(self._kinds)

    @property
    def kinds(self) -> np.ndarray:
        """What each span was."""
        return np.array(self._kinds, np.int8)

    @property
    def times(self) -> np.ndarray:
        """An array with a row for each span: due, start, end."""
        return np.array(self._times).reshape(-1, 3)


@dataclass(frozen=True)
class Lanes:
    """What several lanes did at the same time, each with changes of its own: `lane_of` says whose, by their indices."""

    spans: Sequence[Spans]
    lane_of: np.ndarray


# A span in a file; times are seconds since 1970. The file's name is that of the journal with this suffix.
SPAN = np.dtype([("kind", "<i1"), ("due", "<f8"), ("start", "<f8"), ("end", "<f8")])
SPANS_SUFFIX = ".spans"


class WrittenSpans(Spans):
    """Spans that are appended to a file, and not kept. `now` is the clock by which they are noted."""

    def __init__(self, path: Path, now: Callable[[], float]) -> None:
        super().__init__()
        self._records = TimedRecords(path, SPAN, ("due", "start", "end"), now)

    def note(self, kind: int, due: float, start: float, end: float) -> None:
        """Add a span."""
        self._records.note((kind, due, start, end))

    def close(self) -> None:
        """Write what is in memory and close the file."""
        self._records.close()


def read_spans(path: Path, began: float) -> Spans:
    """Read the spans that a process wrote, if it did; their times count from `began`, in seconds since 1970."""
    found = Spans()
    for kind, *times in read_records(path, SPAN).tolist():
        found.note(kind, *(at - began for at in times))
    return found

"""The times at which a lane was at work, from which the parts of the lag are computed."""

from __future__ import annotations

from array import array

import numpy as np

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

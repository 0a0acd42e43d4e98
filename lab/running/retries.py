"""When what is parked is tried again: now and then, at the polls that come to it."""

from __future__ import annotations

import numpy as np


class Retries:
    """The times of the tries, `often` seconds apart at least; None: nothing is ever tried again."""

    def __init__(self, often: float | None) -> None:
        self.often, self.next_at = often, 0.0

    def due(self, at: float) -> bool:
        """Return whether one is due at `at` seconds, which then is the last one."""
        if self.often is None or at < self.next_at:
            return False
        self.next_at = at + self.often
        return True

    def skip(self, beats: np.ndarray) -> None:
        """Move on as the polls at these times would have, that are not made."""
        if (often := self.often) is None:
            return
        place = int(np.searchsorted(beats, self.next_at))
        while place < beats.size:
            # A try that is due at every beat is due after the last one.
            place = beats.size - 1 if beats.size > 1 and beats[0] + often <= beats[1] else place
            self.next_at = float(beats[place]) + often
            place = max(place + 1, int(np.searchsorted(beats, self.next_at)))

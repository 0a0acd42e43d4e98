"""A simulated service whose work takes as long as the same work took in a real process: seconds drawn from records."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lab.feed.arrays import FeedArrays
from lab.feed.published import Published
from lab.running.services import FromArrays
from lab.running.worklog import CAUGHT_UP, READ, TAKEN

# A time is drawn among so many that were measured for the nearest numbers of rows.
NEAREST = 40


class MeasuredTimes:
    """Seconds of one kind of work on so many rows, as they were measured. Both arrays have an entry for each piece."""

    def __init__(self, rows: np.ndarray, seconds: np.ndarray, rng: np.random.Generator) -> None:
        order = np.argsort(rows, kind="stable")
        self.rows, self.seconds, self._rng = rows[order], seconds[order], rng
        spread = float(np.var(rows)) if rows.size else 0.0
        per_row = float(np.mean((rows - rows.mean()) * (seconds - seconds.mean()))) / spread if spread else 0.0
        self.per_row = max(0.0, per_row)

    def draw(self, rows: int) -> float:
        """One of the times measured for about as many rows, corrected by the fitted time of each row more or less.

        All with this very number may be drawn if there are many. 0 if nothing was measured.
        """
        if not self.rows.size:
            return 0.0
        first, last = np.searchsorted(self.rows, [rows, rows + 1])
        low = min(int(first), max(0, int(first) - (NEAREST - int(last - first)) // 2))
        high = max(int(last), min(self.rows.size, low + NEAREST))
        drawn = int(self._rng.integers(low, high))
        corrected = self.seconds[drawn] + self.per_row * (rows - self.rows[drawn])
        return float(max(corrected, self.seconds[low:high].min()))


class Empirical(FromArrays):
    """Reading and applying take times drawn from `records` (of `worklog.WORK`) of one projection's process."""

    def __init__(
        self, published: Published, feeds: Mapping[str, FeedArrays], records: np.ndarray, rng: np.random.Generator
    ) -> None:
        super().__init__(published, feeds)
        self._kind = TAKEN
        self._times = {}
        for kind in (READ, CAUGHT_UP, TAKEN):
            chosen = records[records["kind"] == kind]
            self._times[kind] = MeasuredTimes(chosen["rows"], chosen["seconds"], rng)

    def page(self, entity: str, position: int, limit: int, at: float, now: float) -> tuple[np.ndarray, bool, float]:
        """The rows that the feed shows at `at`; reading them takes a measured time."""
        page, ended, now = super().page(entity, position, limit, at, now)
        self._kind = CAUGHT_UP
        return page, ended, now + self._times[READ].draw(page.size)

    def quiet_until(self, entity: str, position: int) -> float:
        """Unknown: a poll that finds nothing takes time too."""
        return -np.inf

    def messages(self, batch: np.ndarray) -> list[tuple[str, np.ndarray]]:
        """The rows of each entity."""
        self._kind = TAKEN
        return super().messages(batch)

    def end(self, at: float, mark: float, rows: int, factor: float = 1.0) -> float:
        """Later by a measured time of the kind of work that is going on."""
        return at + self._times[self._kind].draw(rows) * factor

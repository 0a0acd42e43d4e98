"""A simulated service whose work takes as long as the same work took in a real process: seconds drawn from records."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lab.feed.arrays import FeedArrays
from lab.feed.published import Published
from lab.running.service_times import MeasuredTimes, RecordedWork
from lab.running.services import FromArrays
from lab.running.worklog import CAUGHT_UP, READ, TAKEN


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
            self._times[kind] = MeasuredTimes(RecordedWork(chosen["rows"], chosen["seconds"]), rng)

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

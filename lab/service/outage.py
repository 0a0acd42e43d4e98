"""A projection whose store, or whose source of truth, is away or full tries again until it goes: it says so, once."""

from __future__ import annotations

from collections.abc import Callable

from lab.running.notes import BoundedJournal
from lab.service.feeding import NO_ANSWER

# Seconds of refusals until it is told: a server that is started again is back by then. And seconds without one after
# which it is over, although there was nothing to be written.
LASTS, OVER = 0.5, 1.0


class OutageTeller:
    """Looks after each piece of work whether it was refused. Tells it with the reason, and when it goes on.

    Nothing is told before the source was reached for the first time, which `begun` says: processes start side by side.
    Nor is it told that the service's own process of the source of truth is gone: the service starts it again.
    """

    def __init__(
        self, journal: BoundedJournal, now: Callable[[], float], tell: Callable[[str], None], begun: Callable[[], bool]
    ) -> None:
        self._journal, self._now, self._tell, self._begun = journal, now, tell, begun
        self._seen = self._done = 0
        # When the first and the last refusal were; None while all goes.
        self._since: float | None = None
        self._last = 0.0
        self._told = False

    def look(self) -> None:
        """Look at what has become of a piece of work."""
        journal, now = self._journal, self._now()
        counts = journal.counts
        done = counts["applied"] + counts["refused"] + counts["dropped"]
        if journal.faulted > self._seen:
            self._since, self._last = now if self._since is None else self._since, now
            why = journal.faults[-1].detail
            lasts = now - self._since >= LASTS and (done or self._begun())
            if lasts and not self._told and not why.startswith(NO_ANSWER):
                self._told = True
                self._tell(f"{why}; it is tried again until that is over")
        elif self._since is not None and (done > self._done or now - self._last > OVER):
            if self._told:
                self._tell("that is over, and it goes on")
            self._since, self._told = None, False
        self._seen, self._done = journal.faulted, done

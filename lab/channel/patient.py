"""A subscription to a broker that may go away: it waits with back-off, and goes on when the broker is back."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from lab.base import LabError
from lab.ports import Delivery, Subscription

# Seconds until a broker that was away is tried again: doubled from try to try.
PAUSE, PAUSE_MAX = 0.1, 2.0


class BackOff:
    """When to try again what has failed; says once that it fails, and once that it is over."""

    def __init__(
        self, tell: Callable[[str], None], until: str = "it answers", over: str = "the broker answers again"
    ) -> None:
        """`until` says what is waited for, and `over` that it has come."""
        self._tell, self._until, self._over, self._pause = tell, until, over, 0.0
        self.again_at = 0.0

    @property
    def ready(self) -> bool:
        """True if it may be tried now."""
        return time.monotonic() >= self.again_at

    def failed(self, error: LabError) -> None:
        """Wait, for twice as long as before."""
        if not self._pause:
            self._tell(f"{error}; it is tried again until {self._until}")
        self._pause = min(PAUSE_MAX, 2 * self._pause) or PAUSE
        self.again_at = time.monotonic() + self._pause

    def succeeded(self) -> None:
        """Forget that it has failed."""
        if self._pause:
            self._pause, self.again_at = 0.0, 0.0
            self._tell(self._over)


class Patient:
    """A `Subscription` that is opened when it is needed, and again after each failure.

    While the broker is away, or holds something else than a channel, it delivers nothing. What is acknowledged
    meanwhile is told to it later, or comes again.
    """

    def __init__(self, subscribe: Callable[[], Subscription], tell: Callable[[str], None]) -> None:
        self._subscribe = subscribe
        self._below: Subscription | None = None
        self._back_off = BackOff(tell)
        self._owed: list[Delivery] = []

    def take(self, most: int, seconds: float) -> list[Delivery]:
        """At most `most`; none while the broker is away."""
        if not self._back_off.ready:
            time.sleep(max(0.0, min(seconds, self._back_off.again_at - time.monotonic())))
            return []
        try:
            if self._below is None:
                self._below = self._subscribe()
            self._pay(self._below)
            found = self._below.take(most, seconds)
        except LabError as error:
            self._lost(error)
            return []
        self._back_off.succeeded()
        return found

    def acknowledge(self, done: Sequence[Delivery]) -> None:
        """Remember them: the broker is told of many at once, before more is taken."""
        self._owed += done

    def refuse(self, given_back: Sequence[Delivery]) -> None:
        """Give back; of a broker that is away, it takes them back by itself."""
        if self._below is not None:
            try:
                self._below.refuse(given_back)
            except LabError as error:
                self._lost(error)

    def close(self) -> None:
        """Tell what is owed, and leave."""
        if self._below is not None:
            with suppress(LabError):
                self._pay(self._below)
            with suppress(LabError):
                self._below.close()

    def _pay(self, below: Subscription) -> None:
        if self._owed:
            below.acknowledge(self._owed)
            self._owed = []

    def _lost(self, error: LabError) -> None:
        self._back_off.failed(error)
        if self._below is not None:
            with suppress(LabError):
                self._below.close()
        # A broker may have lost its groups: subscribing makes them anew.
        self._below = None

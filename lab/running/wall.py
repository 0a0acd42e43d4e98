"""The wall clock: an event loop that executes a lane's work when it is due, beside whatever else the process does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from lab.running.lane import INFINITY, Timed


class LoopClock(Protocol):
    """A clock that an event loop waits by. Seconds from a fixed origin, never falling."""

    def now(self) -> float:
        """The present time."""

    async def wait(self, until: float, woken: asyncio.Event) -> None:
        """Return at `until`, or as soon as `woken` is set. Other tasks run meanwhile, also when `until` has passed."""


class WallClock:
    """The monotonic clock of this computer: it isn't set back when the time of day is."""

    def now(self) -> float:
        """Seconds since an unspecified moment."""
        return time.monotonic()

    async def wait(self, until: float, woken: asyncio.Event) -> None:
        """Sleep, and let other tasks run at least once."""
        seconds = until - self.now()
        if seconds <= 0 or woken.is_set():
            await asyncio.sleep(0)
            return
        # Not `wait_for`, which takes several turns of the loop to return: work that is due would wait for all requests
        # that are answered in these.
        timer = None if seconds == INFINITY else asyncio.get_running_loop().call_later(seconds, woken.set)
        try:
            await woken.wait()
        finally:
            if timer is not None:
                timer.cancel()


class WallRunner:
    """Executes one `Timed` on a clock until it is stopped: one piece of work, then the other tasks of the loop.

    `timed` may be replaced between two pieces of work, by a rebuild for example. `before` is called before each piece
    with the time at which it was due, `after` after each.
    """

    def __init__(
        self,
        timed: Timed,
        clock: LoopClock,
        after: Callable[[], None] = lambda: None,
        before: Callable[[float], None] = lambda _: None,
    ) -> None:
        self.timed, self.clock, self.after, self.before = timed, clock, after, before
        self._woken = asyncio.Event()
        self._stopping = False

    def wake(self) -> None:
        """Something has arrived: when the next work is due must be computed again."""
        self._woken.set()

    def stop(self) -> None:
        """End `run` before the next piece of work."""
        self._stopping = True
        self._woken.set()

    async def run(self) -> None:
        """Execute what is due until `stop`. What the work raises ends it."""
        while not self._stopping:
            self._woken.clear()
            now, at = self.clock.now(), self.timed.next_at()
            if at <= now:
                self.before(at)
                self.timed.step(now)
                self.after()
                at = now
            await self.clock.wait(at, self._woken)

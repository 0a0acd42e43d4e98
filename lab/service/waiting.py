"""Readers of one projection that wait: for a position, or for the next change that it shows."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
from collections.abc import Callable


class WaitingReaders:
    """Wakes readers after each piece of work. `position` is that up to which everything is in, `applied` a count of
    the changes that were written.
    """

    def __init__(self, position: Callable[[], int], applied: Callable[[], int]) -> None:
        self._position, self._applied = position, applied
        self._for_position: list[tuple[int, int, asyncio.Future[None]]] = []
        self._for_change: set[asyncio.Future[None]] = set()
        self._seen = 0
        self._order = itertools.count()
        # Of the readers of positions: those whose time was over, and who are still in the heap.
        self._over = 0

    async def reached(self, at_least: int, timeout: float) -> bool:
        """Wait `timeout` seconds at most for a position; whether it was reached."""
        if self._position() < at_least and timeout > 0:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            heapq.heappush(self._for_position, (at_least, next(self._order), future))
            try:
                await _within(future, timeout)
            finally:
                if future.cancelled():
                    self._forget_some()
        return self._position() >= at_least

    async def changed(self, timeout: float) -> bool:
        """Wait `timeout` seconds at most until something is written; whether it was."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._for_change.add(future)
        try:
            await _within(future, timeout)
        finally:
            self._for_change.discard(future)
        return not future.cancelled()

    def wake(self) -> None:
        """Wake those for whom the last piece of work made a difference."""
        waiting = self._for_position
        while waiting and (waiting[0][2].done() or waiting[0][0] <= self._position()):
            future = heapq.heappop(waiting)[2]
            self._over -= future.done()
            _wake(future)
        if self._seen != (applied := self._applied()):
            self._seen, woken, self._for_change = applied, self._for_change, set()
            for future in woken:
                _wake(future)

    def _forget_some(self) -> None:
        """Drop those whose time was over once they are half of the heap: far positions may never come."""
        self._over += 1
        if 2 * self._over >= len(self._for_position):
            self._for_position = [one for one in self._for_position if not one[2].done()]
            heapq.heapify(self._for_position)
            self._over = 0


async def _within(future: asyncio.Future[None], seconds: float) -> None:
    # A future that isn't woken in time is cancelled.
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(future, seconds)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)

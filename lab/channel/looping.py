"""An event loop in a thread of its own, for brokers whose drivers are asynchronous: heartbeats go on between calls."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import TimeoutError as NotInTime
from typing import Any, TypeVar

from lab.base import Unavailable

T = TypeVar("T")
# Seconds until a call is given up for which the driver has no limit of its own.
LIMIT = 10.0


class LoopThread:
    """Runs coroutines for callers in other threads. `failed` makes the lab's error of the driver's."""

    def __init__(self, name: str, failed: Callable[[object], Unavailable], errors: tuple[type[Exception], ...]) -> None:
        self.loop = asyncio.new_event_loop()
        self._failed, self._errors = failed, errors
        self._thread = threading.Thread(target=self.loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T], seconds: float = LIMIT) -> T:
        """Run a coroutine and return what it does. Raises Unavailable when it fails, and after so many seconds."""
        if self.loop.is_closed():
            work.close()
            raise self._failed("the connection is closed")
        found = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return found.result(seconds)
        except (NotInTime, asyncio.CancelledError):
            found.cancel()
            raise self._failed(f"no answer within {seconds:g} s") from None
        except self._errors as error:
            raise self._failed(error) from None

    def close(self) -> None:
        """End the thread, and whatever runs in it. Twice is allowed."""
        if not self.loop.is_closed():
            asyncio.run_coroutine_threadsafe(self._cancel(), self.loop).result(LIMIT)
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join()
            self.loop.close()

    async def _cancel(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

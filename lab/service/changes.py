"""`GET /changes`: read the source of truth page by page, beside the process that writes it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import polars as pl

from lab.base import LabError
from lab.feed.reader import ChangeReader
from lab.feed.source import TruthReader
from lab.running.live import reading
from lab.service.problems import Refused, encoded

# Seconds between two looks for a reader that waits, even if the front has heard of no commit.
LOOK = 0.5

ARROW = "application/vnd.apache.arrow.stream"


class Changes:
    """Reads in a thread of its own, so that no page blocks the front."""

    def __init__(self, find: Callable[[], TruthReader | None]) -> None:
        """`find` opens the source of truth, or returns None while there is nothing to be read."""
        self._find = find
        self._thread = ThreadPoolExecutor(1, "changes")
        self._truth: TruthReader | None = None
        self._heard = asyncio.Event()

    def news(self) -> None:
        """Wake readers that wait, since a change was committed."""
        self._heard.set()
        self._heard = asyncio.Event()

    async def page(self, entity: str, since: int, limit: int, wait: float) -> pl.DataFrame:
        """Return the next changes; if there is none yet, wait for one at most `wait` seconds."""
        loop = asyncio.get_running_loop()
        until = loop.time() + wait
        while True:
            heard = self._heard
            found = await loop.run_in_executor(self._thread, self._read, entity, since, limit)
            left = until - loop.time()
            if found.height or left <= 0:
                return found
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(heard.wait(), min(left, LOOK))

    def _read(self, entity: str, since: int, limit: int) -> pl.DataFrame:
        try:
            with reading():
                if self._truth is None:
                    self._truth = self._find()
                if self._truth is not None:
                    return ChangeReader(self._truth).changes_since(entity, since, limit)
        except LabError as error:
            raise Refused(503, str(error)) from None
        raise Refused(503, "there is no source of truth yet")

    def reopen(self) -> None:
        """Look for the source of truth again before the next page."""
        self._thread.submit(self._forget)

    def _forget(self) -> None:
        if self._truth is not None:
            self._truth.close()
            self._truth = None

    def close(self) -> None:
        """Close the source of truth."""
        self._thread.submit(self._forget).result()
        self._thread.shutdown()


def arrow(frame: pl.DataFrame) -> bytes:
    """A stream of Arrow IPC, in types that every reader knows."""
    buffer = BytesIO()
    frame.write_ipc_stream(buffer, compat_level=pl.CompatLevel.oldest())
    return buffer.getvalue()


def as_json(entity: str, frame: pl.DataFrame, since: int, limit: int) -> bytes:
    """The page with the position to go on from."""
    position = int(frame["position"][-1]) if frame.height else since
    rows = frame.rows(named=True)
    return encoded({"entity": entity, "changes": rows, "position": position, "more": frame.height == limit})

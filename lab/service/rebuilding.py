"""A rebuild while the service runs: built beside, then swapped in; readers see the old one until then.

The bulk is read and written by a thread, while the projection goes on. What came meanwhile is polled page by page, and
at the last the projection pauses for one poll. Which of the folders counts is in a file that is replaced in one step.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from lab.base import TRUTH, Unavailable
from lab.feed.reader import ChangeReader
from lab.projection.rebuild import rebuild
from lab.service.keeper import Keeper, Observed, follower
from lab.stores import Store


@dataclass(frozen=True)
class Place:
    """Where a projection lies: the first one in a folder of its name, each that is built beside in a numbered one."""

    folder: Path
    name: str

    @property
    def _pointer(self) -> Path:
        return self.folder / f".{self.name}.generation"

    @property
    def generation(self) -> int:
        """How often it has been swapped."""
        return int(self._pointer.read_text()) if self._pointer.exists() else 0

    def path(self, generation: int | None = None) -> Path:
        """The folder of a generation; of the present one, if none is named."""
        number = self.generation if generation is None else generation
        return self.folder / (f"{self.name}.{number}" if number else self.name)

    def switch(self, generation: int) -> None:
        """From now on this one counts; whatever else there is of this projection is swept away."""
        partial = self._pointer.with_suffix(".partial")
        with partial.open("w") as file:
            file.write(str(generation))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self._pointer)
        self.sweep()

    def sweep(self) -> None:
        """Take away the folders that don't count: of what was swapped out, or of a rebuild that came to nothing."""
        numbered = [path for path in self.folder.glob(f"{self.name}.*") if path.suffix[1:].isdigit()]
        for path in {self.path(0), *numbered} - {self.path()}:
            shutil.rmtree(path, ignore_errors=True)


@dataclass
class Rebuild:
    """One rebuild. `state` is none, building, catching up, done or failed."""

    state: str = "none"
    read: int = 0
    of: int = 0
    began_at: float = 0.0
    seconds: float = 0.0
    detail: str = ""
    _stopped: bool = field(default=False)

    @property
    def running(self) -> bool:
        """Whether it is going on."""
        return self.state in ("building", "catching up")

    def told(self) -> dict[str, Any]:
        """How it goes. `read` counts changes; `of` is the newest position when it began."""
        if self.state == "none":
            return {"state": "none"}
        seconds = time.monotonic() - self.began_at if self.running else self.seconds
        return {"state": self.state, "read": self.read, "of": self.of, "seconds": seconds, "detail": self.detail}

    def stop(self) -> None:
        """The process ends: read no further."""
        self._stopped = True

    async def run(self, keeper: Keeper, place: Place) -> None:
        """From the start to the swap. What fails leaves the projection as it was."""
        self.state, self.began_at = "building", time.monotonic()
        generation = place.generation + 1
        path = place.path(generation)
        try:
            green = await asyncio.to_thread(self._build, keeper, path)
            self.state = "catching up"
            await self._swap(keeper, place, generation, green)
            self.state = "done"
        except Exception as error:
            self.state, self.detail = "failed", f"{type(error).__name__}: {error}"
            place.sweep()
        self.seconds = time.monotonic() - self.began_at

    def _build(self, keeper: Keeper, path: Path) -> Store:
        shutil.rmtree(path, ignore_errors=True)
        truth = keeper.plan.truth_beside(keeper.folder / TRUTH)
        if truth is None:
            raise Unavailable("there is no source of truth yet")
        green = keeper.item.store(path)
        try:
            self.of = keeper.head(truth)
            green.open()
            rebuild(green, _Told(keeper.item.subscription(truth, before=False), self), keeper.item.table.guard)
        except BaseException:
            green.close()
            raise
        finally:
            truth.close()
        return green

    async def _swap(self, keeper: Keeper, place: Place, generation: int, store: Store) -> None:
        table = keeper.item.table
        try:
            assert keeper.truth is not None
            green = Observed(store, table.guard, table.hold)
            worker = follower(keeper.plan, keeper.item, keeper.truth, green)
            while worker.poll(time.monotonic())[1]:
                self._checked()
                await asyncio.sleep(0)
        except BaseException:
            store.close()
            raise
        # Since that last poll nothing else has run: what the old one has shown was committed before, and is in.
        blue = keeper.projector
        keeper.take_over(green, worker)
        blue.store.close()
        place.switch(generation)

    def _checked(self) -> None:
        if self._stopped:
            raise Unavailable("the service stopped")


class _Told(ChangeReader):
    """A feed that says how much has been read, and ends when it is told to."""

    def __init__(self, feed: ChangeReader, told: Rebuild) -> None:
        super().__init__(feed.truth, feed.before, feed.columns)
        self._rebuild = told

    def pages(self, entity: str, limit: int) -> Iterator[pl.DataFrame]:
        """The same pages."""
        for page in super().pages(entity, limit):
            self._rebuild._checked()
            self._rebuild.read += page.height
            yield page

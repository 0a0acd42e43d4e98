"""A rebuild while the service runs: built beside, then swapped in; readers see the old projection until then.

A thread reads the bulk and writes it, while the projection continues. What has changed meanwhile is caught up with and
swapped in by the same state machine as in a simulation, `lab.running.swap.BlueGreen`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import polars as pl

from lab.base import CannotTake, Unavailable
from lab.feed.reader import ChangeReader
from lab.feed.source import TruthReader
from lab.place import FolderPlace
from lab.projection.projector import Projector
from lab.projection.rebuild import rebuild
from lab.running.follower import Follower
from lab.running.lane import Lane
from lab.running.swap import BlueGreen
from lab.running.wall import WallRunner
from lab.service.mending import ProjectionHome
from lab.wiring import Plan


@dataclass
class CatchUp(BlueGreen):
    """Catching up and the swap, in the loop of a service. `failed` gets what fails; the lane is left as it was."""

    failed: Callable[[Exception], None] = lambda _: None

    def build(self, now: float) -> None:
        """Execute the second lane's work; give the second projection up when that fails."""
        try:
            super().build(now)
        except Exception as error:
            self.lane.paused = False
            self.failed(error)


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
    _swapped: asyncio.Future[None] | None = None

    @property
    def running(self) -> bool:
        """Return whether the rebuild is running."""
        return self.state in ("building", "catching up")

    def told(self) -> dict[str, Any]:
        """Its state. `read` counts changes; `of` is the newest position when it began."""
        if self.state == "none":
            return {"state": "none"}
        seconds = time.monotonic() - self.began_at if self.running else self.seconds
        return {"state": self.state, "read": self.read, "of": self.of, "seconds": seconds, "detail": self.detail}

    def stop(self) -> None:
        """Stop reading and catching up, since the process ends."""
        self._stopped = True
        if self._swapped is not None and not self._swapped.done():
            self._swapped.set_exception(Unavailable("the service stopped"))

    async def run(
        self,
        plan: Plan,
        home: ProjectionHome,
        find: Callable[[], TruthReader | None],
        lane: Lane,
        runner: WallRunner,
    ) -> None:
        """Build beside the current generation and swap. What fails leaves the projection as it was.

        `find` opens the source of truth; it is read in a thread.
        """
        self.state, self.began_at = "building", time.monotonic()
        projector: Projector | None = None
        winner: FolderPlace | None = None
        place = home.place
        try:
            winner = place.beside()
            assert isinstance(lane.worker, Follower)
            await asyncio.to_thread(lane.worker.remember)
            projector = await asyncio.to_thread(self._build, plan, home, find, winner)
            self.state = "catching up"
            await self._catch_up(projector, lane, runner, partial(home.point, winner))
            self.state = "done"
        except Exception as error:
            self.state, self.detail = "failed", f"{type(error).__name__}: {error}"
        finally:
            self._clear(place, winner, projector, lane)
        self.seconds = time.monotonic() - self.began_at

    def _clear(self, place: FolderPlace, winner: FolderPlace | None, projector: Projector | None, lane: Lane) -> None:
        """Remove the store that the lane does not work on. What a full disk prevents, the next start removes."""
        assert isinstance(lane.worker, Follower)
        if lane.worker.projector is projector:
            with contextlib.suppress(OSError):
                place.sweep()
            return
        if projector is not None:
            projector.store.close()
        if winner is not None:
            # Not by `sweep`: should the pointer be at the winner already, it would remove the one that is in use.
            winner.drop()

    def _build(
        self, plan: Plan, home: ProjectionHome, find: Callable[[], TruthReader | None], place: FolderPlace
    ) -> Projector:
        truth = find()
        if truth is None:
            raise Unavailable("there is no source of truth yet")
        item, green = home.item, home.claimed(place)
        try:
            self.of = max(truth.head(name) for name in plan.domain.entities)
            green.open()
            try:
                rebuild(green, _Told(item.subscription(truth, before=False), self), item.table.guard)
            except CannotTake:
                # Caught up with from the first change on, it parks what it can't take.
                green.reset()
            return Projector(green, item.table.guard, item.table.hold)
        except BaseException:
            green.close()
            raise
        finally:
            truth.close()

    async def _catch_up(self, projector: Projector, lane: Lane, runner: WallRunner, point: Callable[[], None]) -> None:
        self.checked()
        swapped = self._swapped = asyncio.get_running_loop().create_future()

        former = lane.worker
        assert isinstance(former, Follower)

        def pointed() -> None:
            former.hand_over()
            point()

        def taken_over() -> None:
            assert isinstance(lane.worker, Follower)
            lane.worker.take_over(former)
            if not swapped.done():
                swapped.set_result(None)

        def failed(error: Exception) -> None:
            runner.timed = lane
            if not swapped.done():
                swapped.set_exception(error)

        now = runner.clock.now()
        runner.timed = CatchUp(lane, former, now, lambda: projector, pointed, taken_over, failed=failed)
        runner.wake()
        await swapped
        runner.timed = lane

    def checked(self) -> None:
        """Raise Unavailable if the process is about to end."""
        if self._stopped:
            raise Unavailable("the service stopped")


class _Told(ChangeReader):
    """A reader that counts the changes read, and stops on request."""

    def __init__(self, reader: ChangeReader, told: Rebuild) -> None:
        super().__init__(reader.truth, reader.before, reader.columns)
        self._rebuild = told

    def pages(self, entity: str, limit: int) -> Iterator[pl.DataFrame]:
        """The same pages."""
        for page in super().pages(entity, limit):
            self._rebuild.checked()
            self._rebuild.read += page.height
            yield page

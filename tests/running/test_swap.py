"""A projection that is built beside takes over: when it may, what it takes along, and what a failure leaves."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from pieces import Clerk, lane
from running import run_text
from texts import BASE

from lab.running.journal import Journal
from lab.running.lane import Pace
from lab.running.refreshing import Refreshes
from lab.running.swap import BlueGreen

PROJECTION = '[[projection]]\nname = "one"\nstore = "memory"\nbatch = 30\nsubscribe = "catch-up"\n'


@pytest.mark.parametrize("mode", ["blue-green", "in-place"])
def test_what_is_parked_when_a_projection_is_rebuilt_is_parked_afterwards(
    mode: str, tmp_path: Path, quick: None
) -> None:
    poison = ("faults.poison=0.1",)
    usual = run_text(tmp_path, BASE + PROJECTION, *poison)
    rebuilt = run_text(tmp_path, BASE + PROJECTION, *poison, f'projection.one.rebuild={{ mode = "{mode}", at = 0.5 }}')
    assert rebuilt.table("rebuilds").height == 1
    # The reason names the revision at which a batch was refused, and batches are cut elsewhere.
    parked, must = (run.table("parked").drop("reason").sort("position") for run in (rebuilt, usual))
    assert parked.height
    assert parked.equals(must)


class Store:
    closed = False

    def size_bytes(self) -> int:
        return 1

    def close(self) -> None:
        self.closed = True


class Builder(Clerk):
    """A worker with a store; the one that is built beside is level with the other after so many attempts."""

    def __init__(self, attempts: int = 0) -> None:
        super().__init__(poll_seconds=[0.25])
        self.attempts, self.asked = attempts, 0
        self.journal, self.settled = Journal(), dict[str, int]()
        self.projector: Any = type("Projector", (), {"store": Store()})()
        self.watch, self.seen = None, list[str]()
        self.refreshes = Refreshes(self, 0.0)

    def watched(self, at: float, event: str) -> None:
        self.seen.append(event)

    def beside(self, projector: Any) -> Builder:
        return Builder(self.attempts)

    def carry_out(self) -> None:
        pass

    def level_with(self, other: Builder) -> bool:
        self.asked += 1
        return self.asked > self.attempts


def swapping(blue: Any, **more: Any) -> BlueGreen:
    return BlueGreen(lane(Pace(1, 0.0, 1.0, True, 1), [], math.inf, blue), blue, 2.5, lambda: Any, **more)


@pytest.mark.parametrize("attempts", [0, 1, 3])
def test_the_second_takes_over_once_it_has_read_what_the_first_has_shown_and_not_before(attempts: int) -> None:
    blue = Builder(attempts)
    both = swapping(blue)
    while not both.swapped:
        assert both.next_at() < 60.0
        both.step(both.next_at())
        assert both.lane.worker is (both.worker if both.swapped else blue)
    green: Any = both.worker
    # One poll to come near and one while the first pauses; then again, a beat later each time.
    assert green.asked == attempts + 1
    assert len(green.polls) == 2 + 2 * attempts
    assert (green.seen, blue.seen) == (["swap"], [])
    # Meanwhile the first has gone on.
    assert len(blue.polls) >= 2 + attempts
    assert blue.projector.store.closed
    assert not both.lane.paused
    assert both.lane.due_at == both.lane.free_at + 1.0


def test_a_pointer_that_cannot_be_written_leaves_the_first_one_at_work() -> None:
    def full() -> None:
        raise OSError("no space left")

    blue = Builder()
    both = swapping(blue, point=full)
    # A poll of the first, one of the second to come near, and the one while the first pauses.
    while not both.lane.paused:
        both.step(both.next_at())
    with pytest.raises(OSError, match="no space left"):
        both.step(both.next_at())
    assert both.lane.worker is both.worker is blue
    assert not blue.projector.store.closed

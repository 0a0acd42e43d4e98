"""What is free is given back between the steps of a run, in which Python's collector rests."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from lab.measure.machine import give_back


@pytest.fixture
def resting() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("resting")
def test_what_refers_to_itself_is_collected_though_the_collector_rests() -> None:
    class Lane:
        worker: Lane

    lane = Lane()
    lane.worker = lane
    gone = weakref.ref(lane)
    del lane
    assert gone() is not None
    give_back()
    assert gone() is None

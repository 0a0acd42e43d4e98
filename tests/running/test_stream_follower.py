"""A worker of a stream whose connection is still being made: closed, refused, and taken over from meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from lab.base import Unavailable
from lab.running.streaming import StreamFollower
from lab.running.trouble import Interrupted


class Slow:
    """A stream whose connection is made once `goes_on` is set."""

    whole, opened = True, False

    def __init__(self) -> None:
        self.goes_on, self.calls = threading.Event(), list[str]()

    def open(self, checkpoints: Mapping[str, int]) -> bool:
        assert self.goes_on.wait(60)
        self.calls.append("open")
        self.opened = True
        return True

    def here(self) -> str:
        return "place 7"

    def go_back(self, place: object) -> None:
        self.calls.append(f"back to {place}")

    def close(self) -> None:
        self.calls.append("close")
        self.opened = False


def follower(stream: Slow, patch: pytest.MonkeyPatch, truth: object = "there") -> StreamFollower:
    """A worker that has not polled yet."""
    worker = object.__new__(StreamFollower)
    source = SimpleNamespace(truth=truth, found=lambda: truth is not None)
    patch.setattr(StreamFollower, "_live", SimpleNamespace(source=source))
    worker.streams = lambda _: stream  # type: ignore[assignment, return-value]
    worker.settled, worker.positions = {"a": 3}, {"a": 5}
    worker.journal = SimpleNamespace(fault=lambda _: None)  # type: ignore[assignment]
    return worker


def opening(worker: StreamFollower) -> None:
    with pytest.raises(Interrupted):
        worker._opened(0.0)
    assert worker._opening is not None


def waited(met: Callable[[], Any]) -> None:
    ends = time.monotonic() + 60
    while not met():
        assert time.monotonic() < ends
        time.sleep(0.005)


def test_a_worker_that_has_not_polled_remembers_where_the_stream_is_for_the_one_that_takes_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = Slow()
    former = follower(stream, monkeypatch)
    former.remember()
    assert (former.stream, stream.calls) == (None, [])
    former.hand_over()
    later = follower(stream, monkeypatch)
    later.take_over(former)
    opening(later)
    stream.goes_on.set()
    waited(lambda: later._opening is not None and later._opening.done())
    assert later._opened(0.0) is stream
    assert stream.calls == ["back to place 7", "open"]


def test_what_can_not_be_remembered_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unavailable, match="no source of truth yet"):
        follower(Slow(), monkeypatch, truth=None).remember()


def test_a_connection_that_is_still_being_made_is_closed_once_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Slow()
    worker = follower(stream, monkeypatch)
    # Before anything was opened, too.
    worker.close()
    opening(worker)
    worker.close()
    assert stream.calls == []
    stream.goes_on.set()
    waited(lambda: stream.calls == ["open", "close"])


def test_work_that_is_refused_while_a_connection_is_being_made_costs_it_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = Slow()
    worker = follower(stream, monkeypatch)
    opening(worker)
    worker._interrupted("refused_apply", 0.0, 0.1, "")
    assert worker.positions == {"a": 3}
    stream.goes_on.set()
    waited(lambda: worker._opening is not None and worker._opening.done())
    assert worker._opened(0.0) is stream
    assert (stream.opened, stream.calls) == (True, ["open"])
    # Once it is there, what was taken and not kept must come again.
    worker._interrupted("refused_apply", 0.0, 0.1, "")
    assert stream.calls == ["open", "close"]

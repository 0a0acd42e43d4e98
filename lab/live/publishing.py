"""What writers of a live run do beside executing commands: wait, publish, and commit a history as it is."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import polars as pl

from lab.experiment.write import Replay
from lab.feed.reader import with_before
from lab.live.broker import BrokerPublisher
from lab.running.live import Heard
from lab.service.messages import PublishChanges, encoded_message
from lab.service.wire import REQUEST, abandoned, packed
from lab.truth import Truth
from lab.wiring import Plan

# Seconds between two looks at whether the parent is still there; and between two slices of a history, which at a high
# rate are committed together.
LOOK, SLICE = 0.5, 0.002
# Seconds to wait for the hub at the end.
_CLOSES = 10.0
# Changes that travel in one frame to the hub.
_TOGETHER = 500


def wait(until: float) -> bool:
    """Sleep until then, in seconds since 1970; false if the parent is gone."""
    while (left := until - time.time()) > 0:
        if left > LOOK and abandoned():
            return False
        time.sleep(min(left, LOOK))
    return True


class Publisher:
    """A connection to the hub. What the hub replies is read and ignored: a message is optional."""

    def __init__(self, path: str) -> None:
        self._line = socket.socket(socket.AF_UNIX)
        self._line.connect(path)

    def publish(self, changes: Sequence[Heard]) -> None:
        """Send changes, and drop the replies to earlier ones."""
        for first in range(0, len(changes), _TOGETHER):
            some = [list(each) for each in changes[first : first + _TOGETHER]]
            self._line.sendall(packed(1, REQUEST, encoded_message(PublishChanges(some))))
        with suppress(BlockingIOError):
            self._line.recv(2**16, socket.MSG_DONTWAIT)

    def close(self) -> None:
        """Wait until the hub has read everything: closed with unread replies, a socket takes back what was sent."""
        self._line.settimeout(_CLOSES)
        with suppress(OSError):
            self._line.shutdown(socket.SHUT_WR)
            while self._line.recv(2**16):
                pass
        self._line.close()


class HistoryWriter:
    """Commits a recorded history at its times, with its positions: the only writer, since their order is given.

    What is due at one moment is committed in one transaction for each entity. The journal has a line of JSON for each
    moment: when its first change was due, when it was begun and acknowledged (seconds since 1970), and how many changes
    of each entity there are since.
    """

    def __init__(self, made: Plan, truth: Truth, publisher: Publisher | BrokerPublisher | None, journal: Path) -> None:
        self.publisher, self.journal = publisher, journal
        frames = made.domain.trace(made.options).frames
        self.replay, self.frames = Replay(truth, frames), frames
        self._before: dict[str, pl.DataFrame] = {}
        if publisher is not None:
            for name, frame in frames.items():
                columns = list(made.domain.entities[name].columns)
                self._before[name] = with_before(frame, columns).select(
                    "before_live", *(f"before_{column}" for column in columns)
                )

    def work(self, began: float) -> None:
        """Commit everything, or until the parent is gone."""
        total, looked = sum(frame.height for frame in self.frames.values()), time.monotonic()
        with self.journal.open("a", encoding="utf-8") as journal:
            while sum((loaded := self.replay.loaded).values()) < total:
                now = time.time()
                self.replay.advance(now - began)
                if self.replay.loaded != loaded:
                    due = began + self._due(loaded)
                    journal.write(json.dumps([due, now, time.time(), self.replay.loaded]) + "\n")
                    journal.flush()
                    self._publish(loaded)
                if time.monotonic() - looked > LOOK:
                    looked = time.monotonic()
                    if abandoned():
                        return
                time.sleep(max(0.0, SLICE - (time.time() - now)))

    def _due(self, former: dict[str, int]) -> float:
        """When the first of the changes was due that have been committed since, in seconds of the scenario."""
        firsts = [(name, first) for name, first in former.items() if self.replay.loaded[name] > first]
        return min(float(self.frames[name]["committed_at"][first]) for name, first in firsts)

    def _publish(self, former: dict[str, int]) -> None:
        if self.publisher is None:
            return
        found = [heard for name in self.frames for heard in self._heard(name, former[name])]
        found.sort(key=lambda heard: int(heard.row[0]))
        self.publisher.publish(found)

    def _heard(self, name: str, first: int) -> Iterator[Heard]:
        some = slice(first, self.replay.loaded[name])
        rows, before = self.frames[name][some].drop("event").rows(), self._before[name][some].rows()
        for row, image in zip(rows, before, strict=True):
            yield Heard(name, row, image)

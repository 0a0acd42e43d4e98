"""A broker between the writers and the projections of a live run: what writers publish through, and the run's own end.

Each projection's process takes its messages itself (`lab.service.listening`); each writer publishes from a thread, so
that a broker that is away delays no command.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from lab.base import LabError, Unavailable
from lab.channel import CHANNELS
from lab.channel.patient import BackOff
from lab.ending import say
from lab.formatting import printable
from lab.place import replace_file
from lab.ports import Channel
from lab.ports import Message as Published
from lab.running.live import Heard
from lab.scenario import ChannelTable
from lab.service.listening import ChannelFiles

# Messages that are published at once; seconds to look for more, and in which the last ones must be stored.
_TOGETHER, _LOOK, _CLOSES = 500, 0.1, 60.0
# Seconds between two looks at an end: both must find nothing, as a message may be between broker and process.
_TWICE = 0.15


def opened(table: ChannelTable, name: str = "") -> Channel:
    """Open the run's channel, or make it. Raises Unavailable."""
    assert table.broker is not None
    return CHANNELS[table.broker](table.capacity, name)


class BrokerPublisher:
    """Publishes what a writer commits, in order; again and again while the broker is away."""

    def __init__(self, channel: Channel, capacity: int, writer: int) -> None:
        self._channel, self._writer = channel, writer
        self._waiting: queue.Queue[Published] = queue.Queue(capacity)
        self._closing_at: float | None = None
        self._back_off = BackOff(self._tell)
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        self._thread.start()

    def publish(self, changes: Sequence[Heard]) -> None:
        """Have changes published; waits only where too many wait already."""
        at = time.monotonic()
        for entity, row, before in changes:
            self._waiting.put(Published(row[0], (entity, row[1]), at, [entity, row, before]))

    def close(self) -> None:
        """Wait until everything is stored; what isn't within a minute is given up, and counted."""
        self._closing_at = time.monotonic() + _CLOSES
        self._thread.join()
        if left := self._waiting.qsize():
            self._tell(f"{left:,} messages were never published: the broker was away until the end")
        with suppress(LabError):
            self._channel.close()

    def _run(self) -> None:
        while self._closing_at is None or not self._waiting.empty():
            if (found := self._next()) and not self._stored(found):
                for message in found:
                    self._waiting.put(message)
                return

    def _next(self) -> list[Published]:
        found = list[Published]()
        with suppress(queue.Empty):
            found.append(self._waiting.get(timeout=_LOOK))
            while len(found) < _TOGETHER:
                found.append(self._waiting.get_nowait())
        return found

    def _stored(self, messages: Sequence[Published]) -> bool:
        while True:
            try:
                self._channel.publish(messages)
            except Unavailable as error:
                self._back_off.failed(error)
                if self._closing_at is not None and time.monotonic() > self._closing_at:
                    return False
                time.sleep(max(0.0, self._back_off.again_at - time.monotonic()))
            else:
                self._back_off.succeeded()
                return True

    def _tell(self, what: str) -> None:
        with suppress(OSError):
            say(printable(f"writer {self._writer}: {what}"), err=True)


class BrokerHub:
    """A live run's channel on a broker: made before all else, and dropped with the run."""

    def __init__(self, table: ChannelTable, names: Sequence[str], folder: Path) -> None:
        """Make the channel, and a group for each projection. Raises Unavailable."""
        self._names, self._files = tuple(names), ChannelFiles(folder)
        self._channel = opened(table)
        for name in names:
            self._channel.declare(name)

    @property
    def name(self) -> str:
        """The channel's name, by which writers and projections open it."""
        return self._channel.name

    def begin(self, at: float) -> None:
        """Tell the projections the scenario's first moment, in seconds of the monotonic clock."""
        replace_file(self._files.began, repr(at))

    async def idle(self) -> bool:
        """True if no message waits at the broker, and none is open in a projection's process."""
        for look in range(2):
            if look:
                await asyncio.sleep(_TWICE)
            try:
                waits = await asyncio.get_running_loop().run_in_executor(None, self._backlog)
            except Unavailable:
                return False
            if waits or any(self._files.counted(name)["open"] for name in self._names):
                return False
        return True

    def counts(self) -> dict[str, dict[str, int]]:
        """For each projection what the hub counts, and in `repeated` what the broker delivered more than once."""
        found = {name: self._files.counted(name) for name in self._names}
        return {name: {key: each[key] for key in each if key != "open"} for name, each in found.items()}

    async def close(self) -> None:
        """Drop the channel; of a broker that is away, it is swept later."""
        await asyncio.get_running_loop().run_in_executor(None, self._drop)

    def _backlog(self) -> int:
        return sum(self._channel.backlog(name) for name in self._names)

    def _drop(self) -> None:
        with suppress(LabError):
            self._channel.drop()

"""The channel of a live run: what writers publish, and what becomes of it on the way to each projection.

Every projection that listens has a group of its own, so that what is lost on the way to one arrives at another. While a
projection's process is away its messages wait. What had been sent to it when it was killed is lost, as it is where
messages are acknowledged on receipt.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from lab.channel.arriving import arriving
from lab.channel.faulty import Faulty, MonotonicClock
from lab.channel.memory import MemoryChannel
from lab.ports import Message as Published
from lab.scenario import ChannelTable
from lab.service.messages import Message, PublishChanges
from lab.service.part import PILE_MAX
from lab.service.wire import MESSAGE, Reply, listen, packed

# Seconds until a projection is looked at again that reads nothing.
_AGAIN = 0.05


class Hub:
    """Listens at a socket: writers publish there, and projections subscribe by their names."""

    def __init__(self, table: ChannelTable, seed: int, names: Sequence[str]) -> None:
        self._table, self._names, self._seed = table, tuple(names), seed
        self._channel, self._clock = MemoryChannel(table.capacity), MonotonicClock()
        self._arriving: dict[str, Faulty] = {}
        self._listening: dict[str, asyncio.StreamWriter] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._server: asyncio.Server | None = None
        self._complete = asyncio.Event()
        self.begin(0.0)

    def begin(self, at: float) -> None:
        """Start the scenario's clock at `at` seconds of the monotonic clock: by it outages come and go."""
        for name in self._names:
            subscription = self._channel.subscribe(name, "hub")
            self._arriving[name] = arriving(self._table, self._seed, name, subscription, self._clock, at)

    async def listen(self, path: Path) -> None:
        """Answer at this path until `close`."""
        self._server = await listen(path, self._handle, self._subscribed)

    async def joined(self) -> None:
        """Wait until every projection that is to listen does."""
        if self._names:
            await self._complete.wait()

    async def idle(self) -> bool:
        """True if nothing is on its way any more."""
        return not any(each.waiting for each in self._arriving.values())

    def counts(self) -> dict[str, dict[str, int]]:
        """For each projection: messages sent, copies delivered, duplicated, lost and overflowed."""
        return {name: dict(each.counts) for name, each in self._arriving.items()}

    async def close(self) -> None:
        """Hang up."""
        if self._timer is not None:
            self._timer.cancel()
        if self._server is not None:
            self._server.close()
        for writer in self._listening.values():
            writer.close()

    async def _handle(self, message: Message) -> Reply:
        assert isinstance(message, PublishChanges), message
        now = self._clock.now()
        found = [
            Published(row[0], (entity, row[1]), now, [entity, row, before]) for entity, row, before in message.changes
        ]
        for first in range(0, len(found), self._channel.capacity):
            self._channel.publish(found[first : first + self._channel.capacity])
            for each in self._arriving.values():
                each.pull()
        self._deliver()
        return Reply(200, b"{}")

    def _subscribed(self, writer: asyncio.StreamWriter, name: str) -> None:
        self._listening[name] = writer
        if set(self._names) <= set(self._listening):
            self._complete.set()
        self._deliver()

    def _deliver(self) -> None:
        """Send what has arrived by now, and come back when the next copy does."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now, waits = self._clock.now(), list[float]()
        for name, faulty in self._arriving.items():
            writer = self._listening.get(name)
            if writer is None or writer.is_closing():
                # It is looked at again when it subscribes.
                continue
            if writer.transport.get_write_buffer_size() >= PILE_MAX:
                # It reads nothing: its messages wait in the channel, which is bounded.
                waits.append(now + _AGAIN)
                continue
            if arrived := faulty.take(sys.maxsize, 0.0):
                writer.write(packed(0, MESSAGE, json.dumps([item.message.body for item in arrived]).encode()))
                faulty.acknowledge(arrived)
            if (at := faulty.next_at()) is not None:
                waits.append(at)
        if waits:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, min(waits) - now), self._deliver)

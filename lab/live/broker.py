"""A broker between the writers and the projections of a live run: what writers publish through, and the run's own end.

Each projection's process takes its messages itself (`lab.service.listening`); each writer publishes from a thread, so
that a broker that is away delays no command.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from lab.base import CannotTake, LabError, Unavailable
from lab.channel import CHANNELS
from lab.channel.groups import GROUPS
from lab.channel.patient import BackOff
from lab.channel.spread import SpreadChannel
from lab.ending import say
from lab.engines.urls import ServerUrl
from lab.formatting import printable
from lab.live.link import Link
from lab.place import replace_file
from lab.ports import Channel, ConsumerGroup
from lab.ports import Message as Published
from lab.running.live import Heard
from lab.scenario import ChannelTable, Outage
from lab.servers import server, server_of
from lab.service.listening import ChannelFiles
from lab.service.member import LEASE
from lab.service.partition import GroupFiles
from lab.wiring import ProjectionPlan

# Messages that are published at once; seconds to look for more, in which the last ones must be stored, and in which a
# call to a broker ends by itself.
_TOGETHER, _LOOK, _CLOSES, _LAST_CALL = 500, 0.1, 60.0, 20.0
# Where a broker listens whose URL names no port.
_PORTS = {"redis": 6379, "rediss": 6379, "nats": 4222, "tls": 4222, "amqp": 5672, "amqps": 5671}
# What a link puts in a server's place, and which URLs are checked against the server's certificate.
_HERE, _CHECKED = "127.0.0.1", ("rediss", "tls", "amqps")
# Seconds between two looks at an end: both must find nothing, as a message may be between broker and process. And
# seconds after which a message that was published and reaches no projection is lost: the broker has lost it.
_TWICE, _LOST = 0.15, 20.0


def opened(table: ChannelTable, name: str) -> SpreadChannel:
    """Open the run's channel. Raises Unavailable."""
    assert table.broker is not None
    return SpreadChannel.opened(partial(CHANNELS[table.broker], table.capacity), name)


class BrokerPublisher:
    """Publishes what a writer commits, in order, from a thread of its own; again and again while the broker is away.

    A message that the broker never takes is dropped, and so is one that comes when `most` wait. What was never
    published is counted by its reason, each of which is told once.
    """

    def __init__(
        self, channel: Channel | SpreadChannel, capacity: int, writer: int,
        gone: Callable[[], bool] = lambda: False, tally: Path | None = None, most: int = 1_000_000,
    ) -> None:  # fmt: skip
        """`gone` tells if nobody waits for this process any more; the counts are written to `tally` at the end."""
        self._channel, self._writer, self._gone, self._tally = channel, writer, gone, tally
        # More than that at once never have room in the broker's queue.
        self._together, self._most = min(_TOGETHER, capacity), most
        self._waiting = deque[Published]()
        self._some = threading.Event()
        self._given = self._stored = 0
        self._dropped = Counter[str]()
        self._failed: Exception | None = None
        self._closing_at: float | None = None
        self._back_off = BackOff(self._tell)
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        self._thread.start()

    def publish(self, changes: Sequence[Heard]) -> None:
        """Have changes published, and don't wait for it. Raises the error that has ended the thread, a defect."""
        if self._failed is not None:
            raise self._failed
        at = time.monotonic()
        for entity, row, before in changes:
            self._given += 1
            if len(self._waiting) < self._most:
                self._waiting.append(Published(row[0], (entity, row[1]), at, [entity, row, before]))
            else:
                self._drop(1, f"{self._most:,} waited for the broker already")
        self._some.set()

    def close(self) -> None:
        """Wait until everything is stored; what isn't within a minute is given up. Raises as `publish` does."""
        self._closing_at = time.monotonic() + _CLOSES
        self._some.set()
        # A call that is under way ends by its own time limit.
        while self._thread.is_alive() and time.monotonic() < self._closing_at + _LAST_CALL and not self._gone():
            self._thread.join(_LOOK)
        if left := self._given - self._stored - sum(self._dropped.values()):
            self._drop(left, "the broker was away until the end")
        if self._tally is not None:
            replace_file(self._tally, json.dumps({"stored": self._stored, "dropped": self._dropped}))
        if not self._thread.is_alive():
            with suppress(LabError):
                self._channel.close()
        if self._failed is not None:
            raise self._failed

    def _run(self) -> None:
        try:
            while self._closing_at is None or self._waiting:
                if not self._waiting:
                    self._some.wait(_LOOK)
                    self._some.clear()
                found = [self._waiting.popleft() for _ in range(min(self._together, len(self._waiting)))]
                if found and not self._published(found):
                    return
        except Exception as error:
            # A defect, which is raised to the writer.
            self._failed = error

    def _published(self, messages: Sequence[Published]) -> bool:
        """Publish until they are stored, or never will be; false once it is too late."""
        while True:
            try:
                self._channel.publish(messages)
            except CannotTake as error:
                if len(messages) > 1:
                    # Which of them it is shows when each is published by itself.
                    return all(self._published([each]) for each in messages)
                self._drop(1, str(error))
                return True
            except LabError as error:
                self._back_off.failed(error)
                if self._closing_at is not None and time.monotonic() > self._closing_at:
                    return False
                time.sleep(max(0.0, self._back_off.again_at - time.monotonic()))
            else:
                self._back_off.succeeded()
                self._stored += len(messages)
                return True

    def _drop(self, count: int, why: str) -> None:
        if why not in self._dropped:
            self._tell(f"messages are never published: {why}")
        self._dropped[why] += count

    def _tell(self, what: str) -> None:
        with suppress(OSError):
            say(printable(f"writer {self._writer}: {what}"), err=True)


class BrokerHub:
    """A live run's channel on a broker: made before all else, and dropped with the run.

    Projections with partitions have a group of processes each, and a channel for each partition.
    """

    def __init__(self, table: ChannelTable, projections: Sequence[ProjectionPlan], folder: Path) -> None:
        """Make the channel, and a group for each projection that listens. Raises Unavailable."""
        assert table.broker is not None
        self._files, self._folder, self._table = ChannelFiles(folder), folder, table
        # Those that listen, and whether by partitions.
        self._split = {item.name: bool(item.layout.partitions) for item in projections if item.by_messages}
        most = max((item.layout.partitions for item in projections if item.by_messages), default=0)
        whole = not most or not all(self._split.values())
        self._channel = SpreadChannel.made(partial(CHANNELS[table.broker], table.capacity), most, whole)
        self._link: Link | None = None
        self._former: str | None = None
        # How many messages each projection gets; and those that had got fewer when it was last looked, and since when.
        self._published, self._short, self._since = 0, dict[str, int](), 0.0
        for name, split in self._split.items():
            self._channel.declare(name, split)
        self._groups: dict[str, ConsumerGroup] = {
            item.name: GROUPS[table.broker](item.layout.partitions, LEASE, "")
            for item in projections
            if item.layout.partitions
        }

    @property
    def name(self) -> str:
        """The channel's name, by which writers and projections open it."""
        return self._channel.name

    def group(self, projection: str) -> str:
        """The name of the group that shares a projection's partitions; "" for one that has none."""
        found = self._groups.get(projection)
        return "" if found is None else found.name

    async def open(self) -> None:
        """Put a link that can fail before the broker, if the scenario has such outages: processes go through it."""
        if self._failures:
            found: Any = server(server_of(f"{self._table.broker}"))
            url: ServerUrl = found.url()
            if not url.host:
                raise Unavailable(f"{url}: a socket of this machine has no link that could fail")
            if url.scheme in _CHECKED and url.host != _HERE:
                what = f"{url}: an outage with `link` puts {_HERE} in its place, for which its certificate isn't"
                raise Unavailable(f"{what}; take a server without TLS, or leave the outage out")
            self._link = Link(url.host, url.port or _PORTS[url.scheme])
            await self._link.open()
            self._former = os.environ.get(self._variable)
            os.environ[self._variable] = url.at(self._link.port)

    def begin(self, at: float) -> None:
        """Tell the projections the scenario's first moment, in seconds of the monotonic clock."""
        replace_file(self._files.began, repr(at))
        if self._link is not None:
            self._link.fail(self._failures, at)

    def expect(self, published: int) -> None:
        """Say how many messages were published in all, once no writer publishes any more."""
        self._published = published

    async def idle(self) -> bool:
        """True if no message waits at the broker, none is open in a projection's process, and none is between them."""
        for look in range(2):
            if look:
                await asyncio.sleep(_TWICE)
            try:
                waits = await asyncio.get_running_loop().run_in_executor(None, self._backlog)
            except Unavailable:
                return False
            counted = {name: self._counted(name) for name in self._split}
            if waits or any(one["open"] for one in counted.values()):
                return False
        # What a broker has sent to a process that was too busy to take it is with neither; nor is what it has lost.
        short = {name: one["sent"] for name, one in counted.items() if one["sent"] < self._published}
        if short != self._short:
            self._short, self._since = short, time.monotonic()
        return not short or time.monotonic() - self._since > _LOST

    def counts(self) -> dict[str, dict[str, int]]:
        """For each projection what the hub counts, and in `repeated` what the broker delivered more than once."""
        found = {name: self._counted(name) for name in self._split}
        return {name: {key: each[key] for key in each if key != "open"} for name, each in found.items()}

    async def close(self) -> None:
        """Drop the channel; of a broker that is away, it is swept later."""
        if self._link is not None:
            await self._link.close()
            # What was written down is the server's own.
            os.environ.pop(self._variable)
            if self._former is not None:
                os.environ[self._variable] = self._former
        await asyncio.get_running_loop().run_in_executor(None, self._drop)

    @property
    def _variable(self) -> str:
        return f"LAB_{server_of(str(self._table.broker))}".upper()

    @property
    def _failures(self) -> list[Outage]:
        return [item for item in self._table.outages if item.link is not None]

    def _counted(self, name: str) -> dict[str, int]:
        """The counts of a projection; of one with partitions, those of all assignments: only the last are at work."""
        if not self._split[name]:
            return self._files.counted(name)
        files, total = GroupFiles(self._folder, name), Counter[str]()
        assignments = files.assignments()
        last = {one.partition: one for one in assignments}
        for one in assignments:
            counts = self._files.counted(files.part(one))
            total.update(counts if one == last[one.partition] else counts | {"open": 0})
        return dict(total) or self._files.counted(name)

    def _backlog(self) -> int:
        return sum(self._channel.backlog(name, split) for name, split in self._split.items())

    def _drop(self) -> None:
        for drop in (self._channel.drop, *(group.drop for group in self._groups.values())):
            with suppress(LabError):
                drop()

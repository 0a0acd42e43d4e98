"""RabbitMQ as a live channel: a fanout exchange, and a durable queue for each group.

The server knows a member by its connection: what was delivered to one that is gone it delivers again at once. Messages
are persistent, and a publisher waits until each is confirmed.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from itertools import count
from typing import Any

from pika.adapters.asyncio_connection import AsyncioConnection
from pika.channel import Channel
from pika.exceptions import AMQPError, ChannelClosedByBroker
from pika.spec import Basic, BasicProperties

from lab.base import CannotTake
from lab.channel.looping import LIMIT, LoopThread
from lab.channel.wire import decoded, encoded, plain
from lab.ports import ChannelPromises, Delivery, Message
from lab.servers.broker import SILENCE
from lab.servers.rabbit import ERRORS, SERVER, answered, opened

# Milliseconds after which a queue that nobody uses is gone, with what is in it.
_EXPIRES = 86_400_000
_PERSISTENT = BasicProperties(delivery_mode=2)
_TOGETHER = 500
# Tags are numbered anew on each connection.
_TAGS = 2**48


class RabbitChannel:
    """A `Channel` in the exchange of this name; a new one, written down first, if it is empty."""

    promises = ChannelPromises(whole=False, attempts="repeated", left_first=False, replaces=False)

    def __init__(self, capacity: int = 1_000_000, name: str = "", prefetch: int = 10_000) -> None:
        """`prefetch` is how many messages a member may have that it hasn't acknowledged."""
        self.capacity, self.prefetch = capacity, prefetch
        self._owns = not name
        self.name = name or SERVER.fresh()
        self.thread = LoopThread("rabbitmq", SERVER.failed, ERRORS)
        self._connection: AsyncioConnection | None = None
        self._publisher: _Publisher | None = None
        self._groups: set[str] = set()
        # Numbers the connections of all members: a tag of one is none of another's.
        self.openings = count(1)

    def publish(self, messages: Sequence[Message]) -> None:
        """Store all; the server confirms each, many at a time. Without a group, nothing is kept."""
        for first in range(0, len(messages), _TOGETHER):
            self.thread.run(self._publish([encoded(each) for each in messages[first : first + _TOGETHER]]))

    def declare(self, group: str) -> None:
        """Make a queue."""
        if self._owns and group not in self._groups:
            SERVER.note("queue", self.queue(group))
        self._groups.add(group)
        self.thread.run(self._declare(group))

    def subscribe(self, group: str, member: str, generation: int = 0) -> RabbitSubscription:
        """Join a group, by a channel of the protocol."""
        self.declare(group)
        return RabbitSubscription(self, group)

    def backlog(self, group: str) -> int:
        """What is in the queue; what is delivered and not acknowledged the server doesn't tell."""
        return self.thread.run(self._backlog(group))

    def queue(self, group: str) -> str:
        """Return the name of a group's queue."""
        return f"{self.name}.{plain(group)}"

    def close(self) -> None:
        """Close the connection, by which all members leave."""
        if not self.thread.loop.is_closed():
            self.thread.run(self._hang_up())
            self.thread.close()

    def drop(self) -> None:
        """Delete the queues that were made or joined here, and the exchange."""
        for group in sorted(self._groups):
            SERVER.drop("queue", self.queue(group))
        SERVER.drop("stream", self.name)
        self.close()

    # -- in the loop --------------------------------------------------------------------------------------------------

    async def connected(self) -> AsyncioConnection:
        """The connection, made anew if it was lost."""
        if self._connection is None or not self._connection.is_open:
            self._connection = await SERVER.connect()
        return self._connection

    async def opened(self) -> Channel:
        """A channel of the protocol, on which the exchange has been declared."""
        line = await opened(await self.connected())
        await answered(line, lambda done: line.exchange_declare(self.name, "fanout", durable=True, callback=done))
        return line

    async def _publish(self, bodies: Sequence[bytes]) -> None:
        if self._publisher is None or not self._publisher.line.is_open:
            self._publisher = _Publisher(await self.opened())
            await self._publisher.begin()
        await self._publisher.publish(self.name, bodies)

    async def _declare(self, group: str) -> None:
        line, queue = await self.opened(), self.queue(group)
        limits = {"x-max-length": self.capacity, "x-overflow": "reject-publish", "x-expires": _EXPIRES}
        await answered(line, lambda done: line.queue_declare(queue, durable=True, arguments=limits, callback=done))
        await answered(line, lambda done: line.queue_bind(queue, self.name, callback=done))
        line.close()

    async def _backlog(self, group: str) -> int:
        line = await opened(await self.connected())
        try:
            told = await answered(line, lambda done: line.queue_declare(self.queue(group), passive=True, callback=done))
        except ChannelClosedByBroker:
            # A server that has just been started says of each queue that it isn't there yet.
            if group in self._groups:
                raise
            return 0
        line.close()
        return int(told.method.message_count)

    async def _hang_up(self) -> None:
        if self._connection is not None and self._connection.is_open:
            self._connection.close()
        until = time.monotonic() + SILENCE
        while self._connection is not None and not self._connection.is_closed and time.monotonic() < until:
            await asyncio.sleep(0.001)


class _Publisher:
    """A channel of the protocol in confirm mode: the server answers each message by its number."""

    def __init__(self, line: Channel) -> None:
        self.line = line
        self._number = 0
        self._open: dict[int, asyncio.Future[None]] = {}
        line.add_on_close_callback(self._closed)

    async def begin(self) -> None:
        """Ask for confirmations."""
        await answered(self.line, lambda done: self.line.confirm_delivery(self._confirmed, callback=done))

    async def publish(self, exchange: str, bodies: Sequence[bytes]) -> None:
        """Publish, and wait until all are confirmed. Raises AMQPError when one is refused."""
        sent = []
        for body in bodies:
            self._number += 1
            sent.append(asyncio.get_running_loop().create_future())
            self._open[self._number] = sent[-1]
            self.line.basic_publish(exchange, "", body, _PERSISTENT)
        done, late = await asyncio.wait(sent, timeout=SILENCE)
        if late:
            self.line.close()
            raise AMQPError(f"{len(late)} of {len(sent)} messages were not confirmed within {SILENCE:g} s")
        refused = [each.exception() for each in done]
        if any(refused):
            raise _reason(next(error for error in refused if error is not None))

    def _confirmed(self, frame: Any) -> None:
        tag, multiple = frame.method.delivery_tag, frame.method.multiple
        settled = [number for number in self._open if number <= tag] if multiple else [tag]
        for number in settled:
            found = self._open.pop(number, None)
            if found is None or found.done():
                continue
            if isinstance(frame.method, Basic.Ack):
                found.set_result(None)
            else:
                found.set_exception(AMQPError("a queue is full: it refuses the message"))

    def _closed(self, _: Channel, error: BaseException) -> None:
        for found in self._open.values():
            if not found.done():
                found.set_exception(error)
                found.exception()
        self._open.clear()


def _reason(error: BaseException) -> BaseException:
    """Return CannotTake for a message that is larger than the server takes, else the error itself."""
    if isinstance(error, ChannelClosedByBroker) and "message size" in error.reply_text:
        return CannotTake(f"{SERVER.title} at {SERVER.url()}: {error.reply_text}")
    return error


class RabbitSubscription:
    """A member of a group: the server sends it up to `prefetch` messages ahead of what it acknowledges."""

    def __init__(self, channel: RabbitChannel, group: str) -> None:
        self._channel, self._group = channel, group
        self._line: Channel | None = None
        self._opened = 0
        self._arrived: deque[tuple[Any, bytes]] = deque()
        self._mine: set[int] = set()
        self._woken = asyncio.Event()
        self._gone = False
        channel.thread.run(self._listen())

    def take(self, most: int, seconds: float) -> list[Delivery]:
        """At most `most` of what has arrived."""
        if self._gone or not most:
            return []
        found = self._channel.thread.run(self._take(most, seconds), seconds + LIMIT)
        first = self._opened * _TAGS
        taken = [
            Delivery(decoded(body), first + sent.delivery_tag, 2 if sent.redelivered else 1) for sent, body in found
        ]
        self._mine.update(item.tag for item in taken)
        return taken

    def acknowledge(self, done: Sequence[Delivery]) -> None:
        """Acknowledge what is this member's, and was sent on this connection."""
        self._settle(done, True)

    def refuse(self, given_back: Sequence[Delivery]) -> None:
        """Give back: the server puts it where it was, if that place is still there."""
        self._settle(given_back, False)

    def close(self) -> None:
        """Leave the group: what isn't acknowledged goes to the others."""
        if not self._gone:
            self._gone = True
            if not self._channel.thread.loop.is_closed():
                self._channel.thread.run(self._leave())

    def _settle(self, deliveries: Sequence[Delivery], done: bool) -> None:
        tags = [item.tag for item in deliveries if item.tag in self._mine]
        # One that is named twice is settled once: the server closes the channel for a tag that it doesn't know.
        tags = list(dict.fromkeys(tags))
        self._mine.difference_update(tags)
        if tags and not self._gone:
            self._channel.thread.run(self._answer(tags, done))

    # -- in the loop --------------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        """Have messages sent to this member, if it hasn't yet on this connection."""
        if self._line is not None and self._line.is_open:
            return
        await self._channel._declare(self._group)
        line = await opened(await self._channel.connected())
        self._line, self._opened = line, next(self._channel.openings)
        self._arrived.clear()
        line.add_on_close_callback(lambda *_: self._woken.set())
        # 0 would be without a limit, and a number has two bytes.
        most = min(self._channel.prefetch, 65_535)
        await answered(line, lambda done: line.basic_qos(prefetch_count=most, callback=done))
        queue = self._channel.queue(self._group)
        await answered(line, lambda done: line.basic_consume(queue, self._deliver, callback=done))

    def _deliver(self, line: Channel, sent: Any, _: Any, body: bytes) -> None:
        if line is self._line:
            self._arrived.append((sent, body))
            self._woken.set()

    async def _take(self, most: int, seconds: float) -> list[tuple[Any, bytes]]:
        await self._listen()
        self._woken.clear()
        if not self._arrived and seconds > 0:
            try:
                await asyncio.wait_for(self._woken.wait(), seconds)
            except TimeoutError:
                return []
        return [self._arrived.popleft() for _ in range(min(most, len(self._arrived)))]

    async def _answer(self, tags: Sequence[int], done: bool) -> None:
        line = self._line
        for tag in tags:
            opened_as, number = divmod(tag, _TAGS)
            if line is not None and line.is_open and opened_as == self._opened:
                if done:
                    line.basic_ack(number)
                else:
                    line.basic_nack(number, requeue=True)

    async def _leave(self) -> None:
        line = self._line
        if line is not None and line.is_open:
            closed = asyncio.get_running_loop().create_future()
            line.add_on_close_callback(lambda *_: None if closed.done() else closed.set_result(None))
            line.close()
            await asyncio.wait_for(closed, SILENCE)

"""NATS JetStream as a live channel: one stream, and a durable pull consumer for each group.

The stream keeps a message until every group has acknowledged it, and refuses what has no room. The server doesn't know
a group's members: what one has taken that vanished comes again after `ack_wait` seconds.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from contextlib import suppress

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription as Inbox
from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, DiscardPolicy, RetentionPolicy, StorageType
from nats.js.api import StreamConfig as Stream
from nats.js.client import JetStreamContext
from nats.js.errors import APIError, NoStreamResponseError, NotFoundError

from lab.base import CannotTake
from lab.channel.looping import LIMIT
from lab.channel.nats_connection import NatsConnection
from lab.channel.wire import decoded, encoded, plain
from lab.ports import ChannelPromises, Delivery, Message
from lab.servers.broker import SILENCE
from lab.servers.nats import SERVER

# Seconds after which a message is deleted that nobody acknowledges: a run that was killed leaves no more than that.
_EXPIRES = 86_400.0
# Messages that are on their way to the server at once, and that one request asks for.
_TOGETHER = 500
# A request that runs out so soon isn't made, in seconds; and how much later its end may be told.
_LEAST, _LATE = 0.02, 1.0


class NatsChannel(NatsConnection):
    """A `Channel` in the stream of this name; a new one, written down first, if it is empty."""

    # What is given back comes before what is newer, mostly; what a vanished member had, after its time.
    promises = ChannelPromises(whole=False, left_first=False, replaces=False)

    def __init__(self, capacity: int = 1_000_000, name: str = "", ack_wait: float = 30.0) -> None:
        """`ack_wait` is after how many seconds without an acknowledgement another member may have a message."""
        super().__init__("nats", name or SERVER.fresh())
        self.capacity, self.ack_wait = capacity, ack_wait
        self._there = False

    def publish(self, messages: Sequence[Message]) -> None:
        """Store all; the server confirms each, many at a time. Without a group, nothing is kept."""
        for first in range(0, len(messages), _TOGETHER):
            self.thread.run(self._publish([encoded(each) for each in messages[first : first + _TOGETHER]]))

    def declare(self, group: str) -> None:
        """Make the stream, and in it a consumer."""
        self.thread.run(self._declare(group))

    def subscribe(self, group: str, member: str, generation: int = 0) -> NatsSubscription:
        """Join a group. The server doesn't tell members apart."""
        self.declare(group)
        return NatsSubscription(self, plain(group))

    def backlog(self, group: str) -> int:
        """What was not delivered yet, and what is not acknowledged."""
        return self.thread.run(self._backlog(plain(group)))

    # -- in the loop --------------------------------------------------------------------------------------------------

    async def _made(self) -> JetStreamContext:
        """The stream, made if there is none: a server that is only just back says so of every stream."""
        stream = await self.stream()
        if not self._there:
            config = Stream(
                name=self.name, subjects=[self.name], retention=RetentionPolicy.INTEREST, max_msgs=self.capacity,
                discard=DiscardPolicy.NEW, storage=StorageType.FILE, max_age=_EXPIRES,
            )  # fmt: skip
            await stream.add_stream(config)
            self._there = True
        return stream

    async def _publish(self, bodies: Sequence[bytes]) -> None:
        await self._made()
        client = await self.connected()
        if any(len(body) > client.max_payload for body in bodies):
            most = f"{client.max_payload:,} bytes"
            raise CannotTake(f"{SERVER.title} at {SERVER.url()}: a message is larger than the {most} that it takes")
        answers, complete = list[Msg](), asyncio.Event()

        async def hear(answer: Msg) -> None:
            answers.append(answer)
            if len(answers) == len(bodies):
                complete.set()

        # The driver's own way to publish many loses the answers that refuse.
        inbox = await client.subscribe(client.new_inbox(), cb=hear)
        try:
            for body in bodies:
                await client.publish(self.name, body, reply=inbox.subject)
            with suppress(TimeoutError):
                await asyncio.wait_for(complete.wait(), SILENCE)
        finally:
            with suppress(NatsError):
                await inbox.unsubscribe()
        self._check(answers, len(bodies))

    def _check(self, answers: Sequence[Msg], count: int) -> None:
        """Read the answers to so many messages. Raises NatsError unless all are stored."""
        if any((answer.headers or {}).get("Status") == "503" for answer in answers):
            self._there = False
            raise NoStreamResponseError
        refused = [error["description"] for answer in answers if (error := json.loads(answer.data).get("error"))]
        if refused:
            raise NatsError(f"{len(refused)} of {count} messages were refused: {refused[0]}")
        if late := count - len(answers):
            raise NatsError(f"{late} of {count} messages were not confirmed within {SILENCE:g} s")

    async def _declare(self, group: str) -> None:
        stream = await self._made()
        with suppress(NotFoundError):
            await stream.consumer_info(self.name, plain(group))
            return
        consumer = ConsumerConfig(
            durable_name=plain(group), ack_policy=AckPolicy.EXPLICIT, ack_wait=self.ack_wait,
            deliver_policy=DeliverPolicy.NEW, max_ack_pending=self.capacity,
        )  # fmt: skip
        await stream.add_consumer(self.name, consumer)

    async def _backlog(self, group: str) -> int:
        try:
            told = await (await self.stream()).consumer_info(self.name, group)
        except NotFoundError:
            return 0
        return (told.num_pending or 0) + (told.num_ack_pending or 0)


class NatsSubscription:
    """A member of a group. It asks for as many messages as it is to take, and has no others."""

    def __init__(self, channel: NatsChannel, group: str) -> None:
        self._channel = channel
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{channel.name}.{group}"
        self._mine: dict[int, Msg] = {}
        self._inbox: Inbox | None = None
        self._client: Client | None = None
        self._gone = False

    def take(self, most: int, seconds: float) -> list[Delivery]:
        """At most `most` of what is there; if nothing is, wait for the first one."""
        if self._gone or not most:
            return []
        found = self._channel.thread.run(self._take(min(most, _TOGETHER), seconds), seconds + LIMIT)
        return [self._delivery(each) for each in found]

    def acknowledge(self, done: Sequence[Delivery]) -> None:
        """Acknowledge what is this member's."""
        self._settle(b"+ACK", done)

    def refuse(self, given_back: Sequence[Delivery]) -> None:
        """Give back at once."""
        self._settle(b"-NAK", given_back)

    def close(self) -> None:
        """Give back what isn't acknowledged."""
        if not self._gone:
            self._gone = True
            if not self._channel.thread.loop.is_closed():
                self._channel.thread.run(self._leave())

    def _delivery(self, message: Msg) -> Delivery:
        about = message.metadata
        tag = about.sequence.stream
        self._mine[tag] = message
        return Delivery(decoded(message.data), tag, about.num_delivered)

    def _settle(self, how: bytes, deliveries: Sequence[Delivery]) -> None:
        mine = [self._mine.pop(item.tag) for item in deliveries if item.tag in self._mine]
        if mine and not self._gone:
            self._channel.thread.run(self._answer(how, mine))

    # -- in the loop --------------------------------------------------------------------------------------------------

    async def _answer(self, how: bytes, messages: Sequence[Msg]) -> None:
        client = await self._channel.connected()
        for message in messages:
            await client.publish(message.reply, how)
        # Sent, that is; whether the server has it shows when it doesn't deliver them again.
        await client.flush(int(SILENCE))

    async def _leave(self) -> None:
        await self._answer(b"-NAK", [*self._mine.values()])
        self._mine.clear()
        if self._inbox is not None:
            await self._inbox.unsubscribe()

    async def _take(self, most: int, seconds: float) -> list[Msg]:
        until = time.monotonic() + seconds
        while True:
            if found := await self._request(most, {"batch": most, "no_wait": True}, SILENCE):
                return found
            left = until - time.monotonic()
            if left <= 0:
                return []
            if left < _LEAST:
                await asyncio.sleep(left)
                continue
            asked: dict[str, object] = {"batch": 1, "expires": round(left * 1e9)}
            try:
                first = await self._request(1, asked, left + _LATE)
            except TimeoutError:
                # Of a request that has run out, some servers say nothing. One that is silent is found out next.
                continue
            if first and (more := most - len(first)):
                # What has come is not given up for what may be there beside it.
                with suppress(TimeoutError):
                    first += await self._request(more, {"batch": more, "no_wait": True}, _LATE)
            if first:
                return first

    async def _request(self, most: int, asked: dict[str, object], seconds: float) -> list[Msg]:
        """Ask the server, and return what it sends until it has said that there is no more."""
        client = await self._channel.connected()
        if self._inbox is None or self._client is not client:
            self._client, self._inbox = client, await client.subscribe(client.new_inbox())
        inbox, found = self._inbox, list[Msg]()
        await client.publish(self._subject, json.dumps(asked).encode(), reply=inbox.subject)
        until = time.monotonic() + seconds
        while len(found) < most:
            try:
                message = await inbox.next_msg(timeout=max(0.001, until - time.monotonic()))
            except TimeoutError:
                # What has come is this member's, and comes to no other until `ack_wait` is over.
                if found:
                    break
                raise
            status = (message.headers or {}).get("Status", "")
            if message.reply and not status:
                found.append(message)
            elif status == "503":
                raise APIError(code=503, description="no consumer answers")
            elif status and status != "100":
                break
        return found

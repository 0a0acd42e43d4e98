"""Kafka, or another broker of its protocol, as a live channel: one topic, and its consumer groups.

A record is the key, so its messages are in one partition and in order. A group remembers one offset for each partition
and not each message: what lies beyond one that isn't acknowledged comes again when its partition gets another member.
A topic has no end: it refuses nothing, and deletes by age.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from lab.channel.kafka_topic import REARRANGED, KafkaTopic, mapped, reason
from lab.channel.wire import decoded, encoded, plain
from lab.ports import ChannelPromises, Delivery, Message
from lab.servers.broker import SILENCE
from lab.servers.kafka import SERVER

# Partitions of a topic that is made here, and bytes of the largest message that a broker takes unasked.
_PARTITIONS, _BYTES_MAX = 4, 1_048_588
_OFFSETS, _BY_KEY = 2**48, -1
# For how many seconds members that come and go are waited for, a poll at a time.
_REBALANCES, _AGAIN = SILENCE, 0.1


class KafkaChannel:
    """A `Channel` in the topic of this name; a new one, written down first, if it is empty."""

    promises = ChannelPromises(
        ordered=False, whole=False, bounded=False, attempts="own", left_first=False, replaces=False
    )

    def __init__(self, capacity: int = 1_000_000, name: str = "", ack_wait: float = 10.0) -> None:
        """`ack_wait` is after how many seconds of silence a member has vanished. `capacity` has no meaning here."""
        self._capacity, self.ack_wait = capacity, ack_wait
        self.name = name or SERVER.fresh()
        self.topic = KafkaTopic(self.name, _PARTITIONS)
        self._producer: Producer | None = None
        self._members: list[KafkaSubscription] = []

    def split(self, partitions: int) -> list[KafkaChannel]:
        """Return so many channels in place of this one: each partition of its topic by itself."""
        return [KafkaChannel(self._capacity, one, self.ack_wait) for one in self.topic.partition_names(partitions)]

    def publish(self, messages: Sequence[Message]) -> None:
        """Store all: each is confirmed by the broker."""
        failed: list[KafkaError] = []
        with mapped():
            self.topic.places()
            if self._producer is None:
                limits = {"message.max.bytes": _BYTES_MAX, "message.timeout.ms": round(SILENCE * 1e3)}
                self._producer = Producer(SERVER.options() | limits | {"linger.ms": 1, "enable.idempotence": True})
            for message in messages:
                self._send(self._producer, message, failed)
            left = self._producer.flush(2 * SILENCE)
        if left or failed:
            raise reason(failed[0]) if failed else SERVER.failed(f"{left} messages were not confirmed")

    def _send(self, producer: Producer, message: Message, failed: list[KafkaError]) -> None:
        def confirmed(error: KafkaError | None, _: Any) -> None:
            if error is not None:
                failed.append(error)

        while True:
            try:
                key, topic = json.dumps(message.record).encode(), self.topic
                # Unless it is told the partition, the driver goes by the key.
                place = _BY_KEY if topic.only is None else topic.only
                producer.produce(topic.title, encoded(message), key, partition=place, on_delivery=confirmed)
                return
            except BufferError:
                # The driver's own queue is full: it empties as the broker confirms.
                producer.poll(0.1)

    def declare(self, group: str) -> None:
        """Have the group remember the present end of each partition, if it remembers nothing."""
        with mapped(), self.consumer(group) as consumer:
            self._begin(consumer)

    def subscribe(self, group: str, member: str, generation: int = 0) -> KafkaSubscription:
        """Join a group: the broker deals out the partitions among its members.

        Of one partition by itself there are no members: who has it is said by a `generation`, and takes all of it.
        """
        self.declare(group)
        self._members.append(KafkaSubscription(self, group))
        return self._members[-1]

    def backlog(self, group: str) -> int:
        """From the offsets that the group remembers to the ends of the partitions."""
        with mapped(), self.consumer(group) as consumer:
            found = 0
            for one in consumer.committed(self.topic.places(), timeout=SILENCE):
                _, end = consumer.get_watermark_offsets(one, timeout=SILENCE)
                found += max(0, end - one.offset) if one.offset >= 0 else 0
            return found

    def close(self) -> None:
        """Leave all groups."""
        for member in self._members:
            member.close()
        self._members.clear()
        self._producer = None

    def drop(self) -> None:
        """Delete the topic, if the broker can."""
        self.close()
        SERVER.drop("stream", self.topic.title)

    @contextmanager
    def consumer(self, group: str) -> Iterator[Consumer]:
        """A consumer that is no member of its group, for questions."""
        consumer = self.client(group)
        try:
            yield consumer
        finally:
            consumer.close()

    def client(self, group: str, **more: Any) -> Consumer:
        """Make a consumer, which joins nothing yet."""
        name = f"{self.topic.title}.{plain(group)}"
        fixed = {"group.id": name, "enable.auto.commit": False, "auto.offset.reset": "earliest"}
        fixed |= {"session.timeout.ms": round(self.ack_wait * 1e3), "heartbeat.interval.ms": round(self.ack_wait * 250)}
        return Consumer(SERVER.options() | fixed | more)

    def _begin(self, consumer: Consumer) -> None:
        fresh = [one for one in consumer.committed(self.topic.places(), timeout=SILENCE) if one.offset < 0]
        ends = [consumer.get_watermark_offsets(one, timeout=SILENCE)[1] for one in fresh]
        if fresh:
            begins = [TopicPartition(one.topic, one.partition, end) for one, end in zip(fresh, ends, strict=True)]
            consumer.commit(offsets=begins, asynchronous=False)


@dataclass
class _Partition:
    """What this member has of one partition: offsets that are taken, in order, and which of them are acknowledged."""

    taken: deque[int] = field(default_factory=deque)
    done: set[int] = field(default_factory=set)

    def settled(self) -> int | None:
        """The offset up to which all is acknowledged, less what was told before; None if that is unchanged."""
        offset: int | None = None
        while self.taken and self.taken[0] in self.done:
            offset = self.taken.popleft() + 1
            self.done.discard(offset - 1)
        return offset


class KafkaSubscription:
    """A member of a group, in the partitions that the broker has given it."""

    def __init__(self, channel: KafkaChannel, group: str) -> None:
        self._channel = channel
        self._partitions: dict[int, _Partition] = {}
        self._mine: dict[int, Delivery] = {}
        self._again: deque[Delivery] = deque()
        self._gone = False
        self._consumer = channel.client(group)
        with mapped():
            if channel.topic.only is None:
                self._consumer.subscribe([channel.topic.title], on_revoke=self._lose, on_lost=self._lose)
            else:
                self._consumer.assign(self._consumer.committed(channel.topic.places(), timeout=SILENCE))

    def take(self, most: int, seconds: float) -> list[Delivery]:
        """At most `most`, what was refused first; waits for the first one."""
        if self._gone or not most:
            return []
        if self._again:
            found = [self._again.popleft() for _ in range(min(most, len(self._again)))]
            self._mine.update((item.tag, item) for item in found)
            return found
        until, taken = time.monotonic() + seconds, []
        with mapped():
            # What is there comes at once, and no more is waited for.
            first = self._consumer.poll(max(0.0, until - time.monotonic()))
            taken = [] if first is None else [first, *self._consumer.consume(min(most, 10_000) - 1, 0.0)]
        return [self._delivery(each) for each in taken if self._fits(each)]

    def acknowledge(self, done: Sequence[Delivery]) -> None:
        """Have the group remember how far all is acknowledged."""
        offsets = []
        for item in done:
            if self._mine.pop(item.tag, None) is not None:
                number, offset = divmod(item.tag, _OFFSETS)
                self._partitions[number].done.add(offset)
        for number, partition in self._partitions.items():
            if (settled := partition.settled()) is not None:
                offsets.append(TopicPartition(self._channel.topic.title, number, settled))
        if offsets and not self._gone:
            self._commit(offsets)

    def _commit(self, offsets: Sequence[TopicPartition]) -> None:
        """Commit; while the group is being arranged anew, which takes polls, later. What was lost by it is nobody's."""
        until = time.monotonic() + _REBALANCES
        while mine := [one for one in offsets if one.partition in self._partitions]:
            try:
                self._consumer.commit(offsets=mine, asynchronous=False)
                return
            except KafkaException as error:
                if error.args[0].code() not in REARRANGED or time.monotonic() > until:
                    raise reason(error) from None
            with mapped():
                found = self._consumer.poll(_AGAIN)
            if found is not None and self._fits(found):
                self._again.append(self._delivery(found))

    def refuse(self, given_back: Sequence[Delivery]) -> None:
        """Keep them, to be taken again first: the protocol gives nothing back."""
        for item in given_back:
            if self._mine.pop(item.tag, None) is not None:
                self._again.append(replace(item, attempt=item.attempt + 1))

    def close(self) -> None:
        """Leave the group."""
        if not self._gone:
            self._gone = True
            self._consumer.close()

    def _fits(self, message: Any) -> bool:
        if (error := message.error()) is None:
            return True
        if error.code() == KafkaError._PARTITION_EOF:
            return False
        raise SERVER.failed(error)

    def _delivery(self, message: Any) -> Delivery:
        number, offset = message.partition(), message.offset()
        self._partitions.setdefault(number, _Partition()).taken.append(offset)
        tag = number * _OFFSETS + offset
        self._mine[tag] = Delivery(decoded(message.value()), tag)
        return self._mine[tag]

    def _lose(self, _: Consumer, partitions: Sequence[TopicPartition]) -> None:
        """Forget what belongs to partitions that another member has now."""
        for lost in {one.partition for one in partitions}:
            self._partitions.pop(lost, None)
            self._mine = {tag: item for tag, item in self._mine.items() if tag // _OFFSETS != lost}
            self._again = deque(item for item in self._again if item.tag // _OFFSETS != lost)

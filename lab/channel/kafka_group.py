"""Groups on Kafka: its own consumer groups. The broker deals out the partitions of a topic that holds no messages.

The generation of an assignment is an offset: the one that the group has committed for the partition, plus one, which
the new owner commits before it is one. It can't be had from an old assignment:

- A broker takes a commit from members of the group alone, and only under the group's present generation. Before a
  partition has a new owner the group gets a later one, so what its former owner still sends is refused.
- Between two polls a member is the one that it was, or none: the driver asks for another assignment by itself only
  where this member keeps what it has meanwhile, and after a loss not before the callback of a `poll`. A group without
  any member takes commits from everyone, so the member's id is compared once a commit was taken.
- So of two owners the later one reads the commit of the former, and has a higher generation, wherever the former was
  frozen: before its commit, that is refused; after it, and before it has claimed the partition in the store, the store
  takes the higher one of both, in whatever order they come.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from confluent_kafka import OFFSET_END, Consumer, KafkaError, KafkaException, TopicPartition

from lab.base import Unavailable
from lab.channel.kafka_topic import REARRANGED, KafkaTopic, mapped, reason
from lab.channel.wire import plain
from lab.ports import Assignment
from lab.servers.broker import SILENCE
from lab.servers.kafka import SERVER

# Seconds of one poll; between two looks whether the broker is back; and until a member that leaves has left.
_POLL, _LOOK, _LEAVES = 0.1, 0.5, 10.0
# What the driver says of a broker that it doesn't reach.
_AWAY = {KafkaError._ALL_BROKERS_DOWN, KafkaError._AUTHENTICATION, KafkaError._RESOLVE, KafkaError._SSL}


class KafkaGroup:
    """A `ConsumerGroup` of a topic of this name; a new one, written down first, if it is empty."""

    def __init__(self, partitions: int, lease_seconds: float, name: str = "", session_seconds: float = 0.0) -> None:
        """`session_seconds` is after how long the broker gives up a silent member: 0 for the shortest it allows."""
        self.partitions, self.lease, self._session = partitions, lease_seconds, session_seconds
        # Seconds without a call after which a member leaves: not before the broker would give it up.
        self.silence = lease_seconds
        self.name = name or SERVER.fresh()
        self.topic = KafkaTopic(self.name, partitions)
        self._members: list[KafkaMember] = []
        if not name:
            with mapped():
                self.topic.places()

    def join(self, member: str) -> KafkaMember:
        """Become a member."""
        self._members.append(KafkaMember(self, member))
        return self._members[-1]

    def close(self) -> None:
        """Leave."""
        for member in self._members:
            member.leave()
        self._members.clear()

    def drop(self) -> None:
        """Delete the topic. A group without members and offsets is gone by itself."""
        self.close()
        SERVER.drop("stream", self.name)

    def consumer(self, member: str, failed: Callable[[KafkaError], None]) -> Consumer:
        """Make a client, which has not joined yet. Raises KafkaException, and Unavailable."""
        self.topic.places()
        session = self._session or max(self.lease, SERVER.shortest_session())
        self.silence = max(self.lease, session)
        return Consumer(SERVER.options() | {
            "group.id": self.name, "client.id": plain(member), "error_cb": failed, "enable.auto.commit": False,
            # What stays with a member stays without a break; and the leader forgets nothing of it.
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": round(session * 1e3),
            "heartbeat.interval.ms": round(min(self.lease / 5, session / 5) * 1e3),
        })  # fmt: skip


class KafkaMember:
    """A member, whose thread polls for as long as `assigned` is called, and gives nothing up that is worked on."""

    def __init__(self, group: KafkaGroup, name: str) -> None:
        self._group, self._name = group, name
        # Guards the state below, and tells the thread that `assigned` was called.
        self._called = threading.Condition()
        self._called_at, self._over, self._left = 0.0, False, False
        self._thread: threading.Thread | None = None
        # What it owns, each with its generation; what has none yet; and what is given on once no work is left on it.
        self._held: dict[int, int] = {}
        self._fresh: set[int] = set()
        self._surplus: set[int] = set()
        # The highest generations that a store has told of; and as whom the broker knows the owner of the held ones.
        self._above = dict.fromkeys(range(group.partitions), 0)
        self._known_as = ""
        # Why the broker isn't reached; what it said last against this member, and when; and a defect. An error is made
        # for each call: one that is raised again and again keeps the stack of every time.
        self._away = ""
        self._looked_at = 0.0
        self._said: tuple[float, KafkaError | KafkaException] | None = None
        self._defect: Exception | None = None

    def assigned(self, refused: Iterable[Assignment] = (), working: Iterable[Assignment] = ()) -> list[Assignment]:
        """What the broker has given to this member and has not asked back, without waiting for it."""
        with self._called:
            self._called_at = time.monotonic()
            for one in refused:
                self._above[one.partition] = max(self._above[one.partition], one.generation)
                if self._held.pop(one.partition, None) is not None:
                    self._fresh.add(one.partition)
            self._surplus &= {one.partition for one in working}
            self._called.notify_all()
            if self._defect is not None:
                raise self._defect
            if not self._left and (self._thread is None or not self._thread.is_alive()):
                self._over = False
                self._thread = threading.Thread(target=self._run, name=f"member {self._name}", daemon=True)
                self._thread.start()
            if self._away:
                raise Unavailable(self._away)
            if self._said is not None:
                at, error = self._said
                # Of one that it lets into no group, it says why only once.
                if time.monotonic() - at < SILENCE or not self._known_as:
                    raise reason(error)
                self._said = None
            return [Assignment(*one) for one in sorted(self._held.items())]

    def leave(self) -> None:
        """Leave the group. A broker that is away finds it out."""
        with self._called:
            self._left = True
            self._held.clear()
            self._called.notify_all()
        if self._thread is not None:
            self._thread.join(_LEAVES)

    @property
    def _silent(self) -> bool:
        """Whether this member is one no longer: it has left, or hasn't called for too long."""
        return self._over or self._left or time.monotonic() - self._called_at > self._group.silence

    # -- in the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        """Be a member until it is silent, and then leave, so that others get its partitions."""
        try:
            with mapped():
                consumer = self._group.consumer(self._name, self._hear)
                self._away = ""
                try:
                    consumer.subscribe([self._group.name], self._take, self._give_back, self._lose)
                    while not self._silent:
                        self._turn(consumer)
                finally:
                    self._over = True
                    self._forget(range(self._group.partitions))
                    consumer.close()
        except Unavailable as error:
            # Tried again, from the beginning, at the next call.
            self._away = str(error)
        except Exception as error:
            self._defect = error

    def _turn(self, consumer: Consumer) -> None:
        message = consumer.poll(_POLL)
        if message is not None and (error := message.error()) is not None:
            self._said = time.monotonic(), error
        if self._away and time.monotonic() - self._looked_at > _LOOK:
            self._look(consumer)
        known_as = consumer.memberid() or ""
        with self._called:
            if known_as != self._known_as:
                # Between two memberships a partition may have had another owner.
                self._fresh |= self._held.keys()
                self._held.clear()
                self._known_as = known_as
            wanted = {one: self._above[one] for one in self._fresh}
        if wanted and known_as:
            try:
                self._claim(consumer, wanted)
            except KafkaException as error:
                if error.args[0].code() not in REARRANGED:
                    self._said = time.monotonic(), error

    def _claim(self, consumer: Consumer, above: Mapping[int, int]) -> None:
        """Have the broker count on for these partitions, as this member. Raises KafkaException."""
        found = consumer.committed([TopicPartition(self._group.name, one) for one in above], timeout=SILENCE)
        # -1001 where nothing is committed.
        next_ones = {one.partition: max(one.offset, above[one.partition], 0) + 1 for one in found if one.error is None}
        self._commit(consumer, next_ones)
        if (consumer.memberid() or "") != self._known_as:
            return
        with self._called:
            for one, generation in next_ones.items():
                if one in self._fresh and generation > self._above[one]:
                    self._fresh.discard(one)
                    self._held[one] = generation

    def _commit(self, consumer: Consumer, offsets: Mapping[int, int]) -> None:
        places = [TopicPartition(self._group.name, *one) for one in offsets.items()]
        for one in consumer.commit(offsets=places, asynchronous=False) if places else ():
            if one.error is not None:
                raise KafkaException(one.error)

    def _look(self, consumer: Consumer) -> None:
        self._looked_at = time.monotonic()
        try:
            consumer.list_topics(self._group.name, timeout=_LOOK)
        except KafkaException:
            return
        self._away = ""

    # -- called within a poll, in the thread ---------------------------------------------------------------------------

    def _hear(self, error: KafkaError) -> None:
        if error.code() in _AWAY:
            self._away = str(SERVER.failed(error))

    def _take(self, consumer: Consumer, given: Sequence[TopicPartition]) -> None:
        # There is nothing to be read.
        places = [TopicPartition(one.topic, one.partition, OFFSET_END) for one in given]
        consumer.incremental_assign(places)
        consumer.pause(places)
        with self._called:
            self._fresh |= {one.partition for one in given} & self._above.keys()
            self._said = None

    def _give_back(self, _: Consumer, asked: Sequence[TopicPartition]) -> None:
        """Return, which gives them to others, once the caller knows it and works on none of them."""
        with self._called:
            self._surplus |= self._forget([one.partition for one in asked])
            while self._surplus and not self._silent:
                self._called.wait(_POLL)
            self._surplus.clear()

    def _lose(self, _: Consumer, lost: Sequence[TopicPartition]) -> None:
        self._forget([one.partition for one in lost])

    def _forget(self, partitions: Iterable[int]) -> set[int]:
        """They are this member's no longer; returns those of which it was the owner."""
        with self._called:
            self._fresh.difference_update(partitions)
            return {one for one in partitions if self._held.pop(one, None) is not None}

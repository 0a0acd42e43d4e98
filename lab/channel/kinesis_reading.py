"""How a member of a group reads the shards of a stream in Kinesis, and notes how far."""

from __future__ import annotations

import secrets
import time
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from lab.base import Unavailable
from lab.channel.kinesis_leases import BEGINNING, ENDED, MARK, Lease, mapped
from lab.channel.wire import decoded
from lab.ports import Delivery, Message
from lab.servers.aws import SERVER

if TYPE_CHECKING:
    from lab.channel.kinesis import KinesisChannel

# Seconds between two reads of a shard, of which Kinesis allows five a second; as many more after one that it refused.
_EACH, _REFUSED = 0.2, 1.0
_THROTTLED = ("ProvisionedThroughputExceededException", "LimitExceededException", "ThrottlingException")
# Tags of different shards are different, and so are those of two messages of one: sequence numbers rise.
_SHARDS_MOST = 2**20


class ShardReading:
    """A place in one shard, behind a checkpoint."""

    def __init__(self, channel: KinesisChannel, shard: str, checkpoint: str) -> None:
        self._channel, self.shard, self._after = channel, shard, checkpoint
        self._iterator: str | None = None
        self._again_at = 0.0
        # Whether it is closed and read to its end; and whether there is more than was read.
        self.ended, self.behind = checkpoint == ENDED, True

    @property
    def ready(self) -> bool:
        """Whether it may be read now, so that it isn't throttled."""
        return not self.ended and time.monotonic() >= self._again_at

    def next(self, most: int) -> list[tuple[str, Message]]:
        """The next messages with their sequence numbers; none while the shard is throttled."""
        client = SERVER.client("kinesis")
        self._again_at = time.monotonic() + _EACH
        try:
            if self._iterator is None:
                self._iterator = client.get_shard_iterator(**self._place())["ShardIterator"]
            found = client.get_records(ShardIterator=self._iterator, Limit=min(most, 10_000))
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code == "ExpiredIteratorException":
                self._iterator = None
            elif code in _THROTTLED:
                self._again_at = time.monotonic() + _REFUSED
            else:
                raise
            return []
        self._iterator = found.get("NextShardIterator")
        self.ended = self._iterator is None
        self.behind = bool(found.get("MillisBehindLatest"))
        if found["Records"]:
            self._after = found["Records"][-1]["SequenceNumber"]
        return [(one["SequenceNumber"], decoded(one["Data"])) for one in found["Records"] if one["Data"] != MARK]

    def _place(self) -> dict[str, str]:
        place = {"StreamName": self._channel.name, "ShardId": self.shard, "ShardIteratorType": BEGINNING}
        if self._after != BEGINNING:
            place |= {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": self._after}
        return place


class _Shard:
    """What this member has of one shard: what is read and not taken; taken, in order; and which is acknowledged."""

    def __init__(self, reading: ShardReading) -> None:
        self.reading = reading
        self.waiting: deque[tuple[str, Message]] = deque()
        self.taken: deque[str] = deque()
        self.done: set[str] = set()
        self.over = False

    def settled(self) -> str | None:
        """The number up to which all is acknowledged, or that the shard is over; None if that is unchanged."""
        number: str | None = None
        while self.taken and self.taken[0] in self.done:
            number = self.taken.popleft()
            self.done.discard(number)
        if self.reading.ended and not self.over and not self.taken and not self.waiting:
            self.over, number = True, ENDED
        return number


class KinesisSubscription:
    """A member of a group, with the shards that it has leases of."""

    def __init__(self, channel: KinesisChannel, group: str) -> None:
        self._channel, self._leases = channel, channel.leases(group)
        self._me = secrets.token_hex(8)
        self._shards: dict[str, _Shard] = {}
        self._mine: dict[int, tuple[str, str, Delivery]] = {}
        self._again: deque[Delivery] = deque()
        self._gone, self._leased_at = False, float("-inf")
        # What is known of the leases of others, and since when it has been so.
        self._seen: dict[str, tuple[Lease, float]] = {}

    def take(self, most: int, seconds: float) -> list[Delivery]:
        """At most `most`, what was refused first; waits for the first one."""
        until = time.monotonic() + seconds
        if self._again:
            return [self._again.popleft() for _ in range(min(most, len(self._again)))]
        while not self._gone and most:
            with mapped():
                self._lease()
                found = self._next(most)
                self._note()
            left = until - time.monotonic()
            if found or left <= 0:
                return found
            time.sleep(min(left, _EACH / 2))
        return []

    def acknowledge(self, done: Sequence[Delivery]) -> None:
        """Note of each shard how far all is acknowledged."""
        for item in done:
            shard, number, _ = self._mine.pop(item.tag, ("", "", item))
            if shard in self._shards:
                self._shards[shard].done.add(number)
        if not self._gone:
            with mapped():
                self._note()

    def refuse(self, given_back: Sequence[Delivery]) -> None:
        """Keep them, to be taken again first: a stream takes nothing back."""
        for item in given_back:
            if item.tag in self._mine:
                shard, number, _ = self._mine[item.tag]
                again = replace(item, attempt=item.attempt + 1)
                self._mine[item.tag] = shard, number, again
                self._again.append(again)

    def close(self) -> None:
        """Give the leases back: others read on from what is noted."""
        if self._gone:
            return
        self._gone = True
        self._mine.clear()
        self._again.clear()
        # A server that is away, or a stream that is gone: leases are taken once they are silent.
        with suppress(Unavailable), mapped():
            for shard in self._shards:
                self._leases.give(shard, self._me)

    # -- reading -------------------------------------------------------------------------------------------------------

    def _next(self, most: int) -> list[Delivery]:
        found: list[Delivery] = []
        for name, shard in self._shards.items():
            if not shard.waiting and shard.reading.ready and len(found) < most:
                shard.waiting.extend(shard.reading.next(most))
            while shard.waiting and len(found) < most:
                number, message = shard.waiting.popleft()
                shard.taken.append(number)
                found.append(self._delivery(name, number, message))
        return found

    def _delivery(self, shard: str, number: str, message: Message) -> Delivery:
        tag = int(number) * _SHARDS_MOST + int(shard.rpartition("-")[2])
        made = Delivery(message, tag)
        self._mine[tag] = shard, number, made
        return made

    def _note(self) -> None:
        for name, shard in [*self._shards.items()]:
            if (number := shard.settled()) is not None and not self._leases.note(name, self._me, number):
                self._lose(name)
            elif number == ENDED:
                self._leases.give(name, self._me)
                self._lose(name)

    # -- leases --------------------------------------------------------------------------------------------------------

    def _lease(self) -> None:
        """Renew what this member has and take what is free, several times before others would take it."""
        now = time.monotonic()
        if now - self._leased_at < self._channel.ack_wait / 5:
            return
        self._leased_at = now
        for name in [*self._shards]:
            if not self._leases.renew(name, self._me):
                self._lose(name)
        leases = self._known()
        for name, lease in leases.items():
            seen = self._seen.get(name)
            if seen is None or seen[0] != lease:
                self._seen[name] = lease, now
        for name in self._free(leases, now):
            if self._leases.take(name, leases[name], self._me):
                self._shards[name] = _Shard(ShardReading(self._channel, name, leases[name].checkpoint))

    def _known(self) -> dict[str, Lease]:
        """The leases of all shards that may be read: one that another was split into waits until that one is read."""
        leases, shards = self._leases.all(), {one["ShardId"]: one for one in self._channel.shards()}
        for name in shards.keys() - leases.keys():
            self._leases.add(name, BEGINNING)
        if shards.keys() - leases.keys():
            leases = self._leases.all()
        return {
            name: leases[name]
            for name, shard in shards.items()
            if name in leases and leases[name].checkpoint != ENDED and _read(leases, shards, shard)
        }

    def _free(self, leases: dict[str, Lease], now: float) -> list[str]:
        """Shards to take: those that have no owner, or a silent one; or one of an owner that has two at least."""
        free = [
            name
            for name, lease in leases.items()
            if name not in self._shards
            and (lease.owner in ("-", self._me) or now - self._seen[name][1] > self._channel.ack_wait)
        ]
        if free or self._shards:
            return free
        have = Counter(lease.owner for lease in leases.values())
        return [name for name, lease in leases.items() if have[lease.owner] > 1][:1]

    def _lose(self, shard: str) -> None:
        """Forget what belongs to a shard that another member has now."""
        self._shards.pop(shard, None)
        tags = {tag for tag, (name, _, _) in self._mine.items() if name == shard}
        self._mine = {tag: one for tag, one in self._mine.items() if tag not in tags}
        self._again = deque(item for item in self._again if item.tag not in tags)


def _read(leases: dict[str, Lease], shards: dict[str, Any], shard: dict[str, Any]) -> bool:
    """Whether the shards that this one was made of are read to their ends, or gone."""
    parents = [shard.get("ParentShardId"), shard.get("AdjacentParentShardId")]
    there = [parent for parent in parents if parent in shards]
    return all(parent in leases and leases[parent].checkpoint == ENDED for parent in there)

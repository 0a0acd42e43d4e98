"""Kinesis as a live channel: a stream of shards, and a table of DynamoDB that says how far each group has read them.

A record is the partition key, so its messages are in one shard and in order. A stream remembers nothing of its readers:
what KCL, Amazon's library, keeps in a table, is kept here in the same way (see `kinesis_leases`). A stream has no end:
it refuses nothing but what is too much at a time, and deletes by age.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from lab.base import CannotTake
from lab.channel.kinesis_leases import MARK, Leases, mapped
from lab.channel.kinesis_reading import KinesisSubscription, ShardReading
from lab.channel.wire import encoded
from lab.ports import ChannelPromises, Message
from lab.servers.aws import SERVER
from lab.servers.broker import SILENCE

# Shards of a stream that is made here; Kinesis' limits of one request, and bytes of a record with its key.
_SHARDS, _TOGETHER, _TOGETHER_BYTES, _BYTES_MAX = 2, 500, 5 * 2**20, 2**20
# Seconds until what was throttled is tried again, doubled from try to try; and until it is given up.
_PAUSE, _PAUSE_MAX, _GIVEN_UP = 0.1, 2.0, 2 * SILENCE


class KinesisChannel:
    """A `Channel` in the stream of this name; a new one, written down first, if it is empty."""

    promises = ChannelPromises(
        ordered=False, whole=False, bounded=False, attempts="own", left_first=False, replaces=False
    )

    def __init__(self, capacity: int = 1_000_000, name: str = "", ack_wait: float = 10.0) -> None:
        """`ack_wait` is after how many seconds of silence a member's shards are taken; `capacity` has no meaning."""
        self.ack_wait = ack_wait
        self.name = name or SERVER.fresh()
        self._made = False
        self._members: list[KinesisSubscription] = []

    def publish(self, messages: Sequence[Message]) -> None:
        """Store all. Of one record one message at a time is on its way: a request keeps no order among its own.

        Raises Unavailable where the stream is throttled for too long, CannotTake for a message of more than 1 MB.
        """
        waiting: dict[str, list[dict[str, Any]]] = {}
        for message in messages:
            # A key has at most 256 characters: what is longer shares a shard with what begins alike.
            key, data = json.dumps(message.record)[:256], encoded(message)
            if len(data) + len(key) > _BYTES_MAX:
                raise CannotTake(f"Kinesis: a message of {len(data):,} bytes, and a record has at most {_BYTES_MAX:,}")
            waiting.setdefault(key, []).append({"PartitionKey": key, "Data": data})
        with mapped():
            self._ensure()
            until, pause = time.monotonic() + _GIVEN_UP, _PAUSE
            while waiting:
                refused = self._put(_heads(waiting))
                if not refused:
                    until, pause = time.monotonic() + _GIVEN_UP, _PAUSE
                elif time.monotonic() > until:
                    raise SERVER.failed(f"{len(refused)} messages were not stored: {refused[0]}")
                else:
                    time.sleep(pause)
                    pause = min(_PAUSE_MAX, 2 * pause)

    def _put(self, heads: dict[str, list[dict[str, Any]]]) -> list[str]:
        """Send the first message of each of these keys, and take what was stored out; why others were not."""
        sent = [(key, queue[0]) for key, queue in heads.items()]
        answer = self._kinesis.put_records(StreamName=self.name, Records=[record for _, record in sent])
        refused = []
        for (key, _), one in zip(sent, answer["Records"], strict=True):
            if one.get("ErrorCode"):
                refused.append(f"{one['ErrorCode']}: {one.get('ErrorMessage', '')}")
            else:
                heads[key].pop(0)
        return refused

    def declare(self, group: str) -> None:
        """Have the group begin at the present end of each shard, if it is new: where a record that is put there is."""
        with mapped():
            self._ensure()
            leases = self.leases(group)
            known = leases.all()
            if known:
                return
            for shard in self.shards():
                put = self._kinesis.put_record(
                    StreamName=self.name, Data=MARK, PartitionKey="-",
                    ExplicitHashKey=shard["HashKeyRange"]["StartingHashKey"],
                )  # fmt: skip
                leases.add(put["ShardId"], put["SequenceNumber"])

    def subscribe(self, group: str, member: str, generation: int = 0) -> KinesisSubscription:
        """Join a group: its members share the shards among them."""
        self.declare(group)
        self._members.append(KinesisSubscription(self, group))
        return self._members[-1]

    def backlog(self, group: str) -> int:
        """Read all that waits, and count it: Kinesis tells only how old the first of it is."""
        found = 0
        with mapped():
            self._ensure()
            for shard, lease in self.leases(group).all().items():
                reading = ShardReading(self, shard, lease.checkpoint)
                while not reading.ended:
                    some = reading.next(10_000)
                    found += len(some)
                    if not some:
                        if not reading.behind:
                            break
                        time.sleep(_PAUSE)
        return found

    def close(self) -> None:
        """Leave all groups."""
        for member in self._members:
            member.close()
        self._members.clear()

    def drop(self) -> None:
        """Delete the stream and the table."""
        self.close()
        self._made = False
        with mapped():
            SERVER.drop("stream", self.name)

    # -- for subscriptions ---------------------------------------------------------------------------------------------

    @property
    def _kinesis(self) -> Any:
        return SERVER.client("kinesis")

    def leases(self, group: str) -> Leases:
        """What the group's members have, and how far they are."""
        return Leases(self.name, group)

    def shards(self) -> list[dict[str, Any]]:
        """The shards of the stream, also those that were split or merged and still hold messages."""
        pages = self._kinesis.get_paginator("list_shards").paginate(StreamName=self.name)
        return [shard for page in pages for shard in page["Shards"]]

    def _ensure(self) -> None:
        """Make the stream and its table, if they are not there."""
        if self._made:
            return
        kinesis = self._kinesis
        with suppress(kinesis.exceptions.ResourceInUseException):
            kinesis.create_stream(StreamName=self.name, ShardCount=_SHARDS)
        kinesis.get_waiter("stream_exists").wait(StreamName=self.name, WaiterConfig={"Delay": 1})
        Leases.make(self.name)
        self._made = True


def _heads(waiting: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """Choose the keys whose first messages go into one request; drops those that have none left."""
    for key in [key for key, queue in waiting.items() if not queue]:
        del waiting[key]
    chosen, size = dict[str, list[dict[str, Any]]](), 0
    for key, queue in waiting.items():
        size += len(key.encode()) + len(queue[0]["Data"])
        if chosen and (len(chosen) == _TOGETHER or size > _TOGETHER_BYTES):
            break
        chosen[key] = queue
    return chosen

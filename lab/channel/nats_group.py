"""Groups on NATS: leases and members are entries of a JetStream KV bucket, whose entries expire.

An entry is made only where there is none, and renewed only by its last revision. A generation is the revision at which
a lease was made: the bucket's stream counts all of its writes, so a later lease has a higher one.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from nats.aio.client import Client
from nats.js.api import KeyValueConfig, StorageType
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError, NoStreamResponseError, NotFoundError
from nats.js.kv import KeyValue

from lab.channel.groups import LeasedMember
from lab.channel.nats_connection import NatsConnection
from lab.channel.wire import plain
from lab.servers.broker import channel_name
from lab.servers.nats import SERVER


class NatsGroup(NatsConnection):
    """A `ConsumerGroup` in the bucket of this name; a new one, written down first, if it is empty."""

    def __init__(self, partitions: int, lease_seconds: float, name: str = "") -> None:
        # What the ledger knows is the stream of the bucket.
        super().__init__("nats group", name or SERVER.note("stream", f"KV_{channel_name()}"))
        self.partitions, self.lease = partitions, lease_seconds
        # As it is known to the client beside it.
        self._bucket: KeyValue | None = None
        self._of: Client | None = None
        if not name:
            self.thread.run(self.bucket())

    def join(self, member: str) -> NatsMember:
        """Become a member."""
        return NatsMember(self, member)

    async def bucket(self) -> KeyValue:
        """The bucket, made if there is none: a server that has lost it begins to count anew."""
        client = await self.connected()
        if self._bucket is None or self._of is not client:
            config = KeyValueConfig(self._title, ttl=self.lease, storage=StorageType.FILE)
            self._of, self._bucket = client, await (await self.stream()).create_key_value(config)
        return self._bucket

    async def beat(self, member: str) -> list[str]:
        """Write the entry of a member; return the names of those whose entries have not expired."""
        try:
            await (await self.bucket()).put(f"member.{member}", b"")
            found = await (await self.stream()).stream_info(self.name, subjects_filter=self._member(">"))
        except (NotFoundError, NoStreamResponseError):
            self._bucket = None
            raise
        return [one.removeprefix(self._member("")) for one in found.state.subjects or ()]

    async def gone(self, member: str) -> None:
        """Remove the entry of a member."""
        await (await self.stream()).purge_stream(self.name, subject=self._member(member))

    @property
    def _title(self) -> str:
        return self.name.removeprefix("KV_")

    def _member(self, name: str) -> str:
        return f"$KV.{self._title}.member.{name}"


class NatsMember(LeasedMember):
    """A member who knows the revision of each of its leases."""

    def __init__(self, group: NatsGroup, name: str) -> None:
        # As it stands in a subject.
        super().__init__(plain(name), group.partitions)
        self._group = group
        self._revisions: dict[int, int] = {}

    def _beat(self) -> Sequence[str]:
        return self._group.thread.run(self._group.beat(self.name))

    def _renew(self, partition: int) -> bool:
        async def renewed() -> bool:
            bucket, last = await self._group.bucket(), self._revisions[partition]
            try:
                self._revisions[partition] = await bucket.update(_lease(partition), self.name.encode(), last)
            except KeyWrongLastSequenceError:
                return False
            return True

        return self._group.thread.run(renewed())

    def _take(self, partition: int, above: int) -> int | None:
        async def taken() -> int | None:
            bucket = await self._group.bucket()
            try:
                found = await bucket.create(_lease(partition), self.name.encode())
            except (KeyWrongLastSequenceError, KeyNotFoundError):
                return None
            self._revisions[partition] = found
            return found

        revision = self._group.thread.run(taken())
        return None if revision is None else max(revision, above + 1)

    def _give(self, partition: int) -> None:
        async def given() -> None:
            with suppress(KeyWrongLastSequenceError):
                await (await self._group.bucket()).delete(_lease(partition), self._revisions[partition])

        self._group.thread.run(given())

    def _gone(self) -> None:
        self._group.thread.run(self._group.gone(self.name))


def _lease(partition: int) -> str:
    return f"lease.{partition}"

"""Which member of a group reads which shard, and how far: items of a table of DynamoDB, as KCL keeps them.

A lease has no clock in it but a number that its owner counts up. Whoever sees it unchanged for long enough by a clock
of its own takes the lease, under the condition that it is unchanged still. An owner that was replaced finds out when it
counts up or notes how far it is: both have the condition that it is the owner.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from lab.base import Damaged, Unavailable
from lab.channel.wire import plain
from lab.engines import aws as engine
from lab.servers.aws import SERVER

# Checkpoints that are no sequence numbers: from the beginning; and that all is read of a shard that was closed.
BEGINNING, ENDED = "TRIM_HORIZON", "SHARD_END"
_GROUP, _SHARD, _CHECKPOINT, _OWNER, _COUNT = "g", "s", "c", "o", "n"


# A record that is no message: from it on a new group reads.
MARK = b"-"


@dataclass(frozen=True)
class Lease:
    """One shard for one group: how far it is read, by whom, and the number that the owner counts up."""

    checkpoint: str
    owner: str
    count: int


class Leases:
    """The leases of one group on the shards of one stream."""

    def __init__(self, table: str, group: str) -> None:
        self._table, self._group = table, plain(group)

    @staticmethod
    def make(table: str) -> None:
        """Make the table, if it isn't there."""
        client = SERVER.client("dynamodb")
        with suppress(client.exceptions.ResourceInUseException):
            client.create_table(
                TableName=table,
                KeySchema=[
                    {"AttributeName": _GROUP, "KeyType": "HASH"},
                    {"AttributeName": _SHARD, "KeyType": "RANGE"},
                ],
                AttributeDefinitions=[
                    {"AttributeName": _GROUP, "AttributeType": "S"},
                    {"AttributeName": _SHARD, "AttributeType": "S"},
                ],
                BillingMode="PAY_PER_REQUEST",
            )
        client.get_waiter("table_exists").wait(TableName=table, WaiterConfig={"Delay": 1})

    def all(self) -> dict[str, Lease]:
        """Every lease of the group, by shard."""
        pages = SERVER.client("dynamodb").get_paginator("query").paginate(
            TableName=self._table, KeyConditionExpression=f"{_GROUP} = :g", ConsistentRead=True,
            ExpressionAttributeValues={":g": {"S": self._group}},
        )  # fmt: skip
        return {
            item[_SHARD]["S"]: Lease(item[_CHECKPOINT]["S"], item[_OWNER]["S"], int(item[_COUNT]["N"]))
            for page in pages
            for item in page["Items"]
        }

    def add(self, shard: str, checkpoint: str) -> None:
        """Have a shard read from here on, by whoever takes it; one that is known stays as it is."""
        item = {
            _GROUP: {"S": self._group}, _SHARD: {"S": shard}, _CHECKPOINT: {"S": checkpoint}, _OWNER: {"S": "-"},
            _COUNT: {"N": "0"},
        }  # fmt: skip
        self._done("put_item", f"attribute_not_exists({_SHARD})", None, Item=item)

    def take(self, shard: str, seen: Lease, owner: str) -> bool:
        """Become the owner; false if it has changed since it was seen."""
        return self._update(shard, f"{_OWNER} = :was AND {_COUNT} = :count", seen.owner, seen.count, owner)

    def renew(self, shard: str, owner: str) -> bool:
        """Count up; false if it has another owner."""
        return self._update(shard, f"{_OWNER} = :was", owner, None, owner)

    def give(self, shard: str, owner: str) -> bool:
        """Give it back; false if it has another owner."""
        return self._update(shard, f"{_OWNER} = :was", owner, None, "-")

    def note(self, shard: str, owner: str, checkpoint: str) -> bool:
        """Note how far it is read; false if it has another owner."""
        return self._update(shard, f"{_OWNER} = :was", owner, None, owner, checkpoint)

    def _update(
        self, shard: str, condition: str, was: str, count: int | None, owner: str, checkpoint: str | None = None
    ) -> bool:
        values: dict[str, Any] = {":was": {"S": was}, ":owner": {"S": owner}, ":one": {"N": "1"}}
        if count is not None:
            values[":count"] = {"N": str(count)}
        written = f"SET {_OWNER} = :owner, {_COUNT} = {_COUNT} + :one"
        if checkpoint is not None:
            values[":checkpoint"], written = {"S": checkpoint}, f"{written}, {_CHECKPOINT} = :checkpoint"
        key = {_GROUP: {"S": self._group}, _SHARD: {"S": shard}}
        return self._done("update_item", condition, values, Key=key, UpdateExpression=written)

    def _done(self, verb: str, condition: str, values: dict[str, Any] | None, **more: Any) -> bool:
        """Write under a condition; false if it doesn't hold."""
        client = SERVER.client("dynamodb")
        if values is not None:
            more["ExpressionAttributeValues"] = values
        try:
            getattr(client, verb)(TableName=self._table, ConditionExpression=condition, **more)
        except client.exceptions.ConditionalCheckFailedException:
            return False
        return True


@contextmanager
def mapped() -> Iterator[None]:
    """Raise Unavailable in place of the driver's errors; a stream that is gone is one of them, and is made anew."""
    try:
        with engine.mapped(f"{SERVER.title} at {SERVER.url()}", SERVER.url()):
            yield
    except Damaged as error:
        raise Unavailable(str(error)) from None

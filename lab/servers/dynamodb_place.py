"""A place in DynamoDB: a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from lab.base import Damaged
from lab.engines import aws as engine
from lab.servers.aws import SERVER
from lab.servers.disk_ledger import DiskLedger
from lab.servers.place import ServerPlace

# What each item has: the partition that it is in, and its place there.
PARTITION, PLACE = "p", "s"


@dataclass(frozen=True)
class DynamodbPlace(ServerPlace):
    """One generation of data in a table of its own."""

    kind: ClassVar[str] = "table"
    at = SERVER

    @property
    def book(self) -> DiskLedger:
        """What processes of this machine have made at the address that the environment names."""
        return SERVER.book

    def is_made(self, session: None, name: str) -> bool:
        """Return whether there is such a table. Raises Unavailable."""
        try:
            with engine.mapped("DynamoDB", SERVER.url()):
                self._client.describe_table(TableName=name)
        except Damaged:
            return False
        return True

    def make(self, session: None, name: str) -> None:
        """Make the table, paid by the request, and wait until it can be used."""
        with engine.mapped("DynamoDB", SERVER.url()):
            self._client.create_table(
                TableName=name,
                KeySchema=[
                    {"AttributeName": PARTITION, "KeyType": "HASH"},
                    {"AttributeName": PLACE, "KeyType": "RANGE"},
                ],
                AttributeDefinitions=[
                    {"AttributeName": PARTITION, "AttributeType": "S"},
                    {"AttributeName": PLACE, "AttributeType": "B"},
                ],
                BillingMode="PAY_PER_REQUEST",
            )
            self._client.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1})

    def bytes_of(self, session: None, name: str) -> int:
        """What the items take, names included, as DynamoDB counts it: read from all of them."""
        with engine.mapped("DynamoDB", SERVER.url()):
            pages = self._client.get_paginator("scan").paginate(TableName=name, ConsistentRead=True)
            return sum(item_bytes(item) for page in pages for item in page["Items"])

    @property
    def _client(self) -> Any:
        return SERVER.client("dynamodb")


def item_bytes(item: dict[str, dict[str, Any]]) -> int:
    """What an item counts: its names, and its values."""
    return sum(len(name) + len(value) for name, each in item.items() for value in each.values())

"""How a projection stands in a DynamoDB table: items, transactions of at most 100 of them, one writer at a time.

Every transaction has the condition that the owner's item still names this writer: a former one is refused by the
server. A batch of up to 99 items lands whole, with its checkpoint. A larger one lands in parts, the checkpoint with the
last of them; rows have a condition on their revision, so what comes again after a crash does no harm.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from time import sleep
from typing import Any

from lab.base import INT_MAX, INT_MIN, CannotTake, Damaged, Unavailable
from lab.engines import aws as engine
from lab.place import FolderPlace
from lab.ports import Capabilities
from lab.servers.aws import SERVER
from lab.servers.dynamodb_place import PARTITION, PLACE, DynamodbPlace, item_bytes
from lab.servers.ledger import NAMED
from lab.stores.dynamodb_parts import (
    ALONE,
    ITEM_BYTES,
    LOOKED_UP,
    MARK,
    TOGETHER,
    VALUE,
    Item,
    Name,
    delete,
    keyed,
    named,
    put,
    together,
)
from lab.stores.layout import Layout
from lab.stores.prepared import PreparedQueries

# How often, and after which pause, a transaction is tried again that met another one.
_TRIES, _PAUSE_SECONDS = 100, 0.01


class DynamodbItems(PreparedQueries):
    """A projection in the items of one table."""

    durability = (
        "full at Amazon; the emulator keeps all in memory. Up to 99 rows in one transaction with the checkpoint"
    )
    capabilities = Capabilities(atomic="limited", guards=True, concurrent_readers=True, level="emulated")
    files = (NAMED,)

    # The table, once it was looked up; the token by which this writer is the owner.
    _known, _token = "", ""

    def __init__(self, place: FolderPlace, layout: Layout) -> None:
        self._on = DynamodbPlace.of(place)
        super().__init__(self._on, layout)

    @classmethod
    def placed(cls, place: FolderPlace) -> FolderPlace:
        """The table that belongs to a folder."""
        return DynamodbPlace.of(place)

    @classmethod
    def begin(cls) -> None:
        """Become the owner of what this process and those that it starts make there."""
        SERVER.begin()

    # -- whole ---------------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Become the writer: whoever was it before is refused from its next batch on."""
        if self._token:
            return
        self._known, token = self._on.claim(), secrets.token_bytes(8)
        with self._mapped():
            self._client.put_item(TableName=self._known, Item={**keyed(("owner", ALONE)), VALUE: {"B": token}})
        self._token = token.hex()
        if self._found([MARK]):
            self._empty()

    def close(self) -> None:
        """Forget the table. What was written is there."""
        super().close()
        self._known = self._token = ""

    def reset(self) -> None:
        """Delete every item; what is interrupted is gone on with when it is opened."""
        self._commit([put(MARK, b"")])
        self._empty()

    def _empty(self) -> None:
        self._prepared.clear()
        kept = ("owner", MARK[0])
        self._commit([delete(named(item)) for item in self._scan("") if item[PARTITION]["S"] not in kept])
        self._commit([delete(MARK)])

    def damaged(self, error: BaseException) -> bool:
        """By what the server said: there is no such table any more."""
        return isinstance(error, Damaged)

    def size_bytes(self) -> int:
        """What the items take, as DynamoDB counts them."""
        return self._on.size_bytes()

    def settings(self) -> dict[str, Any]:
        """The library, the address and what answers there."""
        found = SERVER.settings()
        return {"library": "boto3", "address": str(SERVER.url()), **found, "items_together": TOGETHER}

    # -- writing -------------------------------------------------------------------------------------------------------

    @property
    def _client(self) -> Any:
        return SERVER.client("dynamodb")

    def _mapped(self) -> Any:
        return engine.mapped(self.name, SERVER.url())

    def _commit(self, parts: Sequence[dict[str, Any]]) -> None:
        """Write parts, as many in one transaction as there can be, in their order.

        Raises CannotTake for an item that is too large, before anything is written; Unavailable where another process
        is the writer, or where other transactions are always in the way.
        """
        if not self._token:
            self.open()
        for part in parts:
            self._fits(part)
        for some in together(parts):
            self._transact(some)

    def _transact(self, parts: list[dict[str, Any]]) -> None:
        for _ in range(_TRIES):
            if not parts:
                return
            reasons = self._refused(parts)
            if not reasons:
                return
            owner, *others = reasons
            if owner == "ConditionalCheckFailed":
                raise Unavailable(f"{self.name}: another process writes this projection now")
            # A newer row is there: the others are wanted all the same.
            parts = [one for one, code in zip(parts, others, strict=True) if code != "ConditionalCheckFailed"]
            if all(code in ("None", "ConditionalCheckFailed") for code in others):
                continue
            sleep(_PAUSE_SECONDS)
        raise Unavailable(f"{self.name}: {len(parts)} items: other transactions are in the way all the time")

    def _refused(self, parts: list[dict[str, Any]]) -> list[str]:
        """Try one transaction; returns why each part was refused, that of the owner first, or nothing if it is in.

        It has a token of its own: asked again after a lost answer, the server does it once.
        """
        owner = {
            "Key": keyed(("owner", ALONE)),
            "ConditionExpression": f"{VALUE} = :{VALUE}",
            "ExpressionAttributeValues": {f":{VALUE}": {"B": bytes.fromhex(self._token)}},
        }
        table, sent = {"TableName": self._known}, [{"ConditionCheck": owner}, *parts]
        items = [{verb: {**table, **what}} for one in sent for verb, what in one.items()]
        try:
            with self._mapped():
                self._client.transact_write_items(TransactItems=items, ClientRequestToken=secrets.token_hex(16))
        except self._client.exceptions.TransactionCanceledException as error:
            return [reason.get("Code", "None") for reason in error.response["CancellationReasons"]]
        return []

    def _fits(self, part: dict[str, Any]) -> None:
        """Raise CannotTake for an item that is larger than the server takes."""
        if "Put" in part and (size := item_bytes(part["Put"]["Item"])) > ITEM_BYTES:
            raise CannotTake(f"{self.name}: an item of {size:,} bytes, and DynamoDB takes up to {ITEM_BYTES:,}")

    def _position(self, checkpoint: int) -> bytes:
        if not INT_MIN <= checkpoint <= INT_MAX:
            # As wide as every other engine's integers.
            raise CannotTake(f"{self.name}: a position of more than 64 bits")
        return b"%d" % checkpoint

    # -- reading -------------------------------------------------------------------------------------------------------

    def _table(self) -> str:
        """The table to read. Raises Damaged where none is named."""
        if not self._known:
            self._known = self._on.named
        if not self._known:
            raise Damaged(f"{self.name}: no table is named in {self.path}")
        return self._known

    def _found(self, names: Iterable[Name], attributes: str = "") -> dict[Name, Item]:
        """Look items up, a hundred in a request; only those that are there."""
        wanted, found = [keyed(name) for name in dict.fromkeys(names)], dict[Name, Item]()
        only = {"ProjectionExpression": attributes} if attributes else {}
        for first in range(0, len(wanted), LOOKED_UP):
            keys = wanted[first : first + LOOKED_UP]
            for _ in range(_TRIES):
                with self._mapped():
                    asked = {self._table(): {"Keys": keys, "ConsistentRead": True, **only}}
                    answer = self._client.batch_get_item(RequestItems=asked)
                found |= {named(item): item for item in answer["Responses"].get(self._table(), ())}
                # What doesn't fit into an answer, or was throttled, is asked for again.
                keys = answer.get("UnprocessedKeys", {}).get(self._table(), {}).get("Keys", [])
                if not keys:
                    break
                sleep(_PAUSE_SECONDS)
            else:
                raise Unavailable(f"{self.name}: {len(keys)} items were not read: the server is throttled")
        return found

    def _in_partition(self, partition: str, backwards: bool = False, most: int = 0) -> Iterator[Item]:
        """The items of a partition in the order of their places, or the other way round; `most` in a request."""
        yield from self._paged(
            "query",
            KeyConditionExpression=f"{PARTITION} = :p",
            ExpressionAttributeValues={":p": {"S": partition}},
            ScanIndexForward=not backwards,
            **({"Limit": most} if most else {}),
        )

    def _scan(self, before: str, attributes: str = f"{PARTITION}, {PLACE}") -> Iterator[Item]:
        """All items of the partitions whose names begin so, in no order. DynamoDB reads the whole table for it."""
        yield from self._paged(
            "scan",
            ProjectionExpression=attributes,
            **(
                {
                    "FilterExpression": f"begins_with({PARTITION}, :p)",
                    "ExpressionAttributeValues": {":p": {"S": before}},
                }
                if before
                else {}
            ),
        )

    def _paged(self, verb: str, **asked: Any) -> Iterator[Item]:
        start: dict[str, Any] = {}
        while True:
            with self._mapped():
                page = getattr(self._client, verb)(TableName=self._table(), ConsistentRead=True, **asked, **start)
            yield from page["Items"]
            if "LastEvaluatedKey" not in page:
                return
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

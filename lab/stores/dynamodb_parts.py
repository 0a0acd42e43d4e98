"""The parts of a transaction in DynamoDB: how items are named, written and deleted, and how many go together."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from lab.servers.dynamodb_place import PARTITION, PLACE, item_bytes

# DynamoDB's own limits: items and bytes of a transaction; bytes of an item, of the name of a partition, of a place
# in one; items of one look-up.
TOGETHER, TOGETHER_BYTES, ITEM_BYTES, PARTITION_BYTES, PLACE_BYTES = 100, 4_000_000, 400 * 1024, 2_048, 1_024
LOOKED_UP = 100
# Attributes: the value; a revision; a key, as bytes that sort as keys do.
VALUE, REVISION, KEY = "v", "r", "k"
ALONE = b"-"
# It is there while everything is deleted or filled: what it meets when it is opened is deleted.
MARK = ("unfinished", ALONE)
_NEWER = f"attribute_not_exists({REVISION}) OR {REVISION} <= :{REVISION}"

# The partition and the place in it; an item with its attributes.
Name = tuple[str, bytes]
Item = dict[str, dict[str, Any]]


def put(name: Name, value: bytes, **more: dict[str, Any]) -> dict[str, Any]:
    """The part of a transaction that writes an item, whatever is there."""
    return {"Put": {"Item": {**keyed(name), VALUE: {"B": value}, **more}}}


def put_newer(name: Name, value: bytes, revision: int, **more: dict[str, Any]) -> dict[str, Any]:
    """The part that writes a row, unless one with a higher revision is there."""
    number = {"N": str(revision)}
    made = put(name, value, **{REVISION: number}, **more)
    made["Put"] |= {"ConditionExpression": _NEWER, "ExpressionAttributeValues": {f":{REVISION}": number}}
    return made


def delete(name: Name) -> dict[str, Any]:
    """The part that deletes an item, if it is there."""
    return {"Delete": {"Key": keyed(name)}}


def keyed(name: Name) -> Item:
    """What an item is found by."""
    return {PARTITION: {"S": name[0]}, PLACE: {"B": name[1]}}


def named(item: Item) -> Name:
    """What an item that was read is found by."""
    return item[PARTITION]["S"], item[PLACE]["B"]


def partition(kind: str, entity: str, key: Any = None) -> str:
    """The name of a partition: readable, but for one that would be too long, which is a digest."""
    before = f"{kind}:{quote(entity, '', errors='surrogatepass')}:"
    name = before if key is None else before + _text(key)
    return name if len(name) <= PARTITION_BYTES else f"{kind}:#{sha256(name.encode()).hexdigest()}"


def place(value: bytes) -> bytes:
    """A place in a partition: the bytes as they are, but for those that would be too long, which are a digest."""
    return value if len(value) <= PLACE_BYTES else b"#" + sha256(value).digest()


def numbered(number: int) -> bytes:
    """A whole number that is not negative, as a place: in the order of numbers."""
    return struct.pack(">Q", number)


def _text(key: Any) -> str:
    # What is neither a number nor a text, as no key is written.
    return quote(key, "", errors="surrogatepass") if isinstance(key, str) else f"{key}" if isinstance(key, int) else "#"


def together(parts: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Cut parts where a transaction ends: one of its hundred is the owner's."""
    some, size = list[dict[str, Any]](), 0
    for part in parts:
        more = item_bytes(part["Put"]["Item"]) if "Put" in part else 0
        if some and (len(some) == TOGETHER - 1 or size + more > TOGETHER_BYTES):
            yield some
            some, size = [], 0
        some.append(part)
        size += more
    if some:
        yield some

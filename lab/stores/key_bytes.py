"""Keys as bytes that sort as the keys do, for engines that keep a sorted map."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from lab.base import INT_MIN

_PACK = struct.Struct(">Q").pack


def key_bytes(value: Any) -> bytes:
    """A key's bytes, in the order of keys: integers with the sign turned round, text with a letter before it.

    What is neither has bytes that no key has.
    """
    if isinstance(value, int):
        return _PACK(value - INT_MIN)
    if not isinstance(value, str):
        return b"-"
    return b"t" + value.encode("utf-8", "surrogatepass")


def integer_keys(values: Sequence[int]) -> list[bytes]:
    """The same of whole numbers alone, several times as fast."""
    return [_PACK(value - INT_MIN) for value in values]


def record_prefix(key: bytes) -> bytes:
    """What the revisions of a record begin with, and those of no other: NUL is doubled, and an end put behind."""
    return key.replace(b"\x00", b"\x00\xff") + b"\x00\x01"

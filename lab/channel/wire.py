"""A message as bytes, as it travels through a broker: a JSON array."""

from __future__ import annotations

import json

from lab.ports import Message


def encoded(message: Message) -> bytes:
    """Return the bytes of a message. Its body must be what JSON can say."""
    parts = [message.position, *message.record, message.published_at, message.body]
    return json.dumps(parts, ensure_ascii=False, separators=(",", ":")).encode()


def decoded(found: bytes) -> Message:
    """Return the message of these bytes. Raises ValueError for what is none."""
    position, entity, key, published_at, body = json.loads(found)
    return Message(position, (entity, key), published_at, body)


def plain(group: str) -> str:
    """Return a group's name in letters, digits, hyphens and underscores, which every broker takes; one for each."""
    return "".join(one if one.isascii() and (one.isalnum() or one == "-") else f"_{ord(one):x}_" for one in group)

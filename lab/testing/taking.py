"""What tests of channels publish, and how they take it from brokers that need a while."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from lab.ports import Channel, Delivery, Message, Subscription

# Makes an empty channel whose queues hold so many messages, or opens the one of a name.
MakeChannel = Callable[[int, str], Channel]
ROOM = 100
# Seconds within which a broker delivers, also what a member left.
PATIENCE = 15.0


def messages(numbers: Iterable[int]) -> list[Message]:
    """Messages of three records, published at their position."""
    return [Message(position, ("item", position % 3), float(position), f"change {position}") for position in numbers]


def taken(subscription: Subscription, count: int) -> list[Delivery]:
    """Take so many deliveries, however long the broker needs. Raises AssertionError if they don't come."""
    found, until = list[Delivery](), time.monotonic() + PATIENCE
    while len(found) < count and time.monotonic() < until:
        found += subscription.take(count - len(found), 0.05)
    assert len(found) == count, f"{count} were to be delivered: {positions(found)}"
    return found


def positions(deliveries: Iterable[Delivery]) -> list[int]:
    """Of the messages that were delivered, in this order."""
    return [item.message.position for item in deliveries]

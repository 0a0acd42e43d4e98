"""The ports of messages: a channel, its consumer groups, and what passes through them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from lab.base import Key


@dataclass(frozen=True)
class Message:
    """One published change. `position` numbers messages from 1 and identifies them; `record` is its ordering key."""

    position: int
    record: tuple[str, Key]
    published_at: float
    body: Any


@dataclass(frozen=True)
class Delivery:
    """One copy of a message as a consumer took it. `tag` is the broker's, `attempt` counts from 1."""

    message: Message
    tag: int
    attempt: int = 1
    copy: int = 0


class Subscription(Protocol):
    """One member of a consumer group. Each message goes to one member of each group, at least once."""

    def take(self, most: int, seconds: float) -> list[Delivery]:
        """At most `most` deliveries, those that a dead member left first; waits at most `seconds` for the first one."""

    def acknowledge(self, done: Sequence[Delivery]) -> None:
        """Mark as processed, after the projection's commit and never before. Unknown tags are ignored."""

    def refuse(self, given_back: Sequence[Delivery]) -> None:
        """Give back unprocessed: they are delivered again, with `attempt` one higher."""

    def close(self) -> None:
        """Leave the group: what was taken and not acknowledged goes to the other members. Twice is allowed."""


@dataclass(frozen=True)
class ChannelPromises:
    """What a channel promises beyond this: each message reaches each group at least once, in order within a record.

    `ordered`: in order of publication over all records. `whole`: what is published together is stored or refused
    together. `bounded`: a full queue refuses. `attempts`: how many are counted: all; only whether it is a repeat; none
    that another member had. `left_first`: what a member left comes before what is newer. `replaces`: a member that
    joins again under its name gets at once what it had taken before. `durable`: messages outlive every process.
    """

    ordered: bool = True
    whole: bool = True
    bounded: bool = True
    attempts: Literal["all", "repeated", "own"] = "all"
    left_first: bool = True
    replaces: bool = True
    durable: bool = True


class Channel(Protocol):
    """Asynchronous messages between the write model and consumer groups, shared by all that open it by its name.

    Every call has a time limit, and a channel that was away is used again once it is back.
    """

    @property
    def promises(self) -> ChannelPromises:
        """What may be relied on."""

    @property
    def name(self) -> str:
        """By which other processes open it; "" where it is within one process."""

    def publish(self, messages: Sequence[Message]) -> None:
        """Store all of them, in order. Raises Unavailable when full or away: it is unknown what was stored; repeat."""

    def declare(self, group: str) -> None:
        """Make a consumer group, if it is new: it gets what is published from now on. Raises Unavailable."""

    def subscribe(self, group: str, member: str, generation: int = 0) -> Subscription:
        """Join a consumer group, which is made if new and then gets what is published from now on.

        Where a member replaces those of its name, one of a lower generation replaces none, and gets nothing.
        """

    def backlog(self, group: str) -> int:
        """How many messages wait for a group; what is taken and not acknowledged may count, too. Raises Unavailable."""

    def close(self) -> None:
        """Release the connections; queues and groups stay. Closing twice is allowed."""

    def drop(self) -> None:
        """Close, and remove all queues and groups that this channel made."""

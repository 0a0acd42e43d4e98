"""A live channel within one process: bounded queues, consumer groups, and redelivery of what isn't acknowledged."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import count

from lab.base import Unavailable
from lab.ports import ChannelPromises, Delivery, Message


@dataclass
class _Group:
    """One consumer group: what waits, what each member has taken and not acknowledged, by tag, and its generation."""

    waiting: deque[Delivery] = field(default_factory=deque)
    taken: dict[str, dict[int, Delivery]] = field(default_factory=dict)
    generations: dict[str, int] = field(default_factory=dict)


class MemoryChannel:
    """A `Channel` for the threads of one process. Each group's queue holds at most `capacity` messages."""

    promises = ChannelPromises(durable=False)
    name = ""

    def __init__(self, capacity: int = 1_000_000, name: str = "") -> None:
        self.capacity, self.name = capacity, name
        self._groups: dict[str, _Group] = {}
        self._tags = count(1)
        self._changed = threading.Condition()

    def publish(self, messages: Sequence[Message]) -> None:
        """Append to the queue of every group, all or nothing. Raises Unavailable when one of them has no room."""
        with self._changed:
            for name, group in self._groups.items():
                if len(group.waiting) + len(messages) > self.capacity:
                    raise Unavailable(f"the queue of `{name}` is full: {self.capacity:,} messages")
            for group in self._groups.values():
                group.waiting.extend(Delivery(message, next(self._tags)) for message in messages)
            self._changed.notify_all()

    def declare(self, group: str) -> None:
        """Make a group."""
        with self._changed:
            self._groups.setdefault(group, _Group())

    def subscribe(self, group: str, member: str, generation: int = 0) -> MemorySubscription:
        """Join a group. A member of this name that is there already counts as dead: what it left is delivered first."""
        with self._changed:
            found = self._groups.setdefault(group, _Group())
            mine = dict[int, Delivery]()
            if generation >= found.generations.get(member, 0):
                self._give_back(found, member)
                found.generations[member], found.taken[member] = generation, mine
        return MemorySubscription(self, found, member, mine)

    def backlog(self, group: str) -> int:
        """What waits and what is taken."""
        with self._changed:
            found = self._groups.get(group, _Group())
            return len(found.waiting) + sum(map(len, found.taken.values()))

    def close(self) -> None:
        """Nothing: it has no connections."""

    def drop(self) -> None:
        """Remove all groups; their members take nothing any more."""
        with self._changed:
            for group in self._groups.values():
                group.waiting.clear()
                group.taken.clear()
            self._groups.clear()
            self._changed.notify_all()

    def _give_back(self, group: _Group, member: str) -> None:
        left = group.taken.pop(member, {})
        group.waiting.extendleft(
            replace(item, attempt=item.attempt + 1) for item in sorted(left.values(), key=_tag, reverse=True)
        )
        self._changed.notify_all()


class MemorySubscription:
    """A member of a group of a `MemoryChannel`."""

    def __init__(self, channel: MemoryChannel, group: _Group, member: str, mine: dict[int, Delivery]) -> None:
        self._channel, self._group, self._member = channel, group, member
        # A later member of the same name has a dictionary of its own: this one can't touch it.
        self._mine = mine

    def take(self, most: int, seconds: float) -> list[Delivery]:
        """At most `most` messages in order; waits at most `seconds` of real time for the first one."""
        changed, group = self._channel._changed, self._group
        with changed:
            changed.wait_for(lambda: bool(group.waiting) or not self._joined, seconds)
            taken = [group.waiting.popleft() for _ in range(min(most, len(group.waiting)))] if self._joined else []
            self._mine.update((item.tag, item) for item in taken)
        return taken

    def acknowledge(self, done: Sequence[Delivery]) -> None:
        """Forget these messages."""
        with self._channel._changed:
            for item in done:
                self._mine.pop(item.tag, None)

    def refuse(self, given_back: Sequence[Delivery]) -> None:
        """Put these messages back to the front of the queue, in order, for any member."""
        with self._channel._changed:
            found = [self._mine.pop(item.tag) for item in given_back if item.tag in self._mine and self._joined]
            for item in sorted(found, key=_tag, reverse=True):
                self._group.waiting.appendleft(replace(item, attempt=item.attempt + 1))
            self._channel._changed.notify_all()

    def close(self) -> None:
        """Leave the group: what isn't acknowledged goes to the front of its queue."""
        with self._channel._changed:
            if self._joined:
                self._channel._give_back(self._group, self._member)

    @property
    def _joined(self) -> bool:
        return self._group.taken.get(self._member) is self._mine


def _tag(delivery: Delivery) -> int:
    return delivery.tag

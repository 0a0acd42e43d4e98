"""The groups by which processes share the partitions of a projection, by the name of their broker, one line each.

Kafka assigns partitions to members itself. Neither Redis nor NATS does, but both have what an assignment is made of: an
entry that expires unless its owner renews it, written only where there is none, and a number that never falls.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from lab.ports import Assignment, ConsumerGroup
from lab.registry import Registry

SHIPPED = {
    "redis": "lab.channel.redis_group:RedisGroup",
    "nats": "lab.channel.nats_group:NatsGroup",
    "kafka": "lab.channel.kafka_group:KafkaGroup",
}


def _problem(name: str, found: Any) -> str:
    missing = [one for one in vars(ConsumerGroup) if not one.startswith("_") and not hasattr(found, one)]
    return f"is no group: it has no {', '.join(missing)}" if missing else ""


# Each opens the group of this name, with so many partitions and seconds of a lease; or makes a new one, if it is "".
GROUPS: Registry[Callable[[int, float, str], ConsumerGroup]] = Registry("lab.groups", SHIPPED, _problem)


class LeasedMember(ABC):
    """A `GroupMember` that holds a lease for each of its partitions: what each broker does is in its own class."""

    def __init__(self, name: str, partitions: int) -> None:
        self.name, self._partitions = name, partitions
        self._held: dict[int, int] = {}
        # The highest generations that a store has told of.
        self._above = dict.fromkeys(range(partitions), 0)

    @abstractmethod
    def _beat(self) -> Sequence[str]:
        """Say that this member lives; return the names of all that do."""

    @abstractmethod
    def _renew(self, partition: int) -> bool:
        """Renew a lease; false if it has expired."""

    @abstractmethod
    def _take(self, partition: int, above: int) -> int | None:
        """Take a lease, with a generation that is higher than this one; None if there is another's."""

    @abstractmethod
    def _give(self, partition: int) -> None:
        """Give a lease back, if it is still this member's."""

    @abstractmethod
    def _gone(self) -> None:
        """Say that this member doesn't live any more."""

    def assigned(self, refused: Iterable[Assignment] = (), working: Iterable[Assignment] = ()) -> list[Assignment]:
        """Renew, give back, take: in this order, so that a share is never exceeded."""
        for one in refused:
            self._above[one.partition] = max(self._above[one.partition], one.generation)
            self._release(one.partition)
        alive = sorted({*self._beat(), self.name})
        mine = alive.index(self.name)
        share = len(range(mine, self._partitions, len(alive)))
        self._held = {partition: held for partition, held in self._held.items() if self._renew(partition)}
        busy, surplus = {one.partition for one in working}, sorted(self._held)[share:]
        for partition in surplus:
            if partition not in busy:
                self._release(partition)
        for step in range(self._partitions):
            # Members look for free ones at different places.
            partition = (mine + step) % self._partitions
            if len(self._held) < share and partition not in self._held:
                generation = self._take(partition, self._above[partition])
                if generation is not None:
                    self._held[partition] = generation
        return [Assignment(*one) for one in sorted(self._held.items()) if one[0] not in surplus]

    def leave(self) -> None:
        """Give back each lease, and go."""
        for partition in [*self._held]:
            self._release(partition)
        self._gone()

    def _release(self, partition: int) -> None:
        if self._held.pop(partition, None) is not None:
            self._give(partition)

"""One channel for all records, and one for each partition: what publishers write to where projections are partitioned.

Messages of one record are all in the channel of its partition, in their order. Each of these is a channel of the broker
by itself, so what the broker promises of one is promised of each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from lab.base import LabError
from lab.ports import Channel, Message, partition_of

# Between the names of its channels; there is none before the first one if nobody listens to all records.
_BETWEEN = "|"


@runtime_checkable
class Splitting(Protocol):
    """A channel on a broker whose channels have partitions, each of which can be one by itself."""

    def split(self, partitions: int) -> Sequence[Channel]:
        """Return so many channels in place of this one, all of them on what it has made."""


class SpreadChannel:
    """Publishes to the channel of all records, if there is one, and to those of partitions."""

    def __init__(self, whole: Channel | None, parts: Sequence[Channel]) -> None:
        self.whole, self.parts = whole, parts

    @classmethod
    def made(cls, make: Callable[[str], Channel], partitions: int, whole: bool) -> SpreadChannel:
        """Make new channels; `make` gets "" for each, or for one that its broker can split. Raises Unavailable."""
        everything = make("") if whole else None
        parts: Sequence[Channel] = []
        if partitions:
            first = make("")
            if isinstance(first, Splitting):
                parts = first.split(partitions)
            else:
                parts = [first, *(make("") for _ in range(partitions - 1))]
        return cls(everything, parts)

    @classmethod
    def opened(cls, make: Callable[[str], Channel], name: str) -> SpreadChannel:
        """Open those of a name."""
        whole, *parts = names(name)
        return cls(make(whole) if whole else None, [make(one) for one in parts])

    @property
    def name(self) -> str:
        """The names of all, by which other processes open them."""
        return _BETWEEN.join(["" if self.whole is None else self.whole.name, *(one.name for one in self.parts)])

    def publish(self, messages: Sequence[Message]) -> None:
        """Store each in both; whoever repeats it after a failure may store some of them twice. Raises Unavailable."""
        if self.whole is not None:
            self.whole.publish(messages)
        for number, part in enumerate(self.parts):
            mine = [one for one in messages if partition_of(one.record[1], len(self.parts)) == number]
            if mine:
                part.publish(mine)

    def declare(self, group: str, split: bool) -> None:
        """Make a group in each partition's channel if it is `split`, or in the one of all records."""
        for one in self._of(split):
            one.declare(group)

    def backlog(self, group: str, split: bool) -> int:
        """How many messages wait for a group."""
        return sum(one.backlog(group) for one in self._of(split))

    def close(self) -> None:
        """Release all connections."""
        for one in self._all:
            one.close()

    def drop(self) -> None:
        """Drop all of them; one that fails keeps none of the others from it. Raises Unavailable."""
        failed: LabError | None = None
        for one in self._all:
            try:
                one.drop()
            except LabError as error:
                failed = error
        if failed is not None:
            raise failed

    @property
    def _all(self) -> list[Channel]:
        return [*([] if self.whole is None else [self.whole]), *self.parts]

    def _of(self, split: bool) -> Sequence[Channel]:
        if split:
            return self.parts
        assert self.whole is not None
        return [self.whole]


def names(name: str) -> list[str]:
    """The name of the channel of all records, "" if there is none, and those of the partitions' channels."""
    return name.split(_BETWEEN)

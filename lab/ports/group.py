"""The port of groups: how the partitions of one projection are given to processes, and which records each has.

A broker, or a lease that it keeps, says who has which partition. It can't stop a process that hasn't heard that its
partition was given away: that is the store's fence, which compares generations in the transaction that writes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import polars as pl

from lab.base import Key


@dataclass(frozen=True, order=True)
class Assignment:
    """One partition as it was given to one member of a group.

    A later assignment of the partition has a higher `generation`, whichever member gets it. The member that had it
    before may not know yet: what it writes is refused (`Fenced`) once the later one has been claimed in the store.
    """

    partition: int
    generation: int


class GroupMember(Protocol):
    """One process among those that share the partitions of a projection.

    A partition has one owner at a time by the broker's clock, and is given on within seconds of its owner's silence. An
    owner that is stalled may still believe that it is one.
    """

    def assigned(self, refused: Iterable[Assignment] = (), working: Iterable[Assignment] = ()) -> list[Assignment]:
        """Say that this member lives, take what is free up to its share, and return what it has, by partition.

        What exceeds its share is no longer among that, and is given back unless the member is still `working` on it.
        `refused` are partitions, each with the generation that the store knows of it: that of its next assignment is
        higher. To be called several times within the lease, or partitions are lost. A broker that needs others to agree
        shows what comes of a call in a later one. Raises Unavailable.
        """

    def leave(self) -> None:
        """Give everything back at once. Leaving twice is allowed. Raises Unavailable."""


class ConsumerGroup(Protocol):
    """The processes that share the partitions of one projection, as a broker knows them by the group's name."""

    @property
    def name(self) -> str:
        """By which other processes open it."""

    def join(self, member: str) -> GroupMember:
        """Become a member under a name that no living one has. Raises Unavailable."""

    def close(self) -> None:
        """Release the connections. Closing twice is allowed."""

    def drop(self) -> None:
        """Close, and remove what the broker keeps of the group. Raises Unavailable."""


@dataclass(frozen=True)
class KeySlice:
    """The records of one partition: those whose key, as a number or hashed to one, leaves this remainder."""

    partition: int
    partitions: int

    def has(self, key: Key) -> bool:
        """Whether a record of this key is among them."""
        return partition_of(key, self.partitions) == self.partition

    def of(self, frame: pl.DataFrame, key: str = "key") -> pl.DataFrame:
        """The rows of a frame that are of such records."""
        mine = {one for one in frame[key].unique().to_list() if self.has(one)}
        return frame.filter(pl.Series([one in mine for one in frame[key].to_list()], dtype=pl.Boolean))


def partition_of(key: Key, partitions: int) -> int:
    """Return the partition of a record's key, from 0: the same in every process and in the SQL of a sliced feed.

    A number counts as it is; of a text, the first 32 bits of its MD5 in UTF-8.
    """
    if isinstance(key, str):
        key = int.from_bytes(hashlib.md5(key.encode(), usedforsecurity=False).digest()[:4], "big")
    return key % partitions

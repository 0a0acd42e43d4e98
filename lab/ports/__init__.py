"""The ports: what the lab asks of a place, a clock, a feed, a channel, a store, a write model and a server.

A port says what is promised, `Capabilities` what is not. Adapters for embedded engines and for servers meet the same
protocols, one file each in the rooms above. All times are in seconds, all sizes in bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, Self

import polars as pl

from lab.base import Batch, Key
from lab.ports.channel import Channel, ChannelPromises, Delivery, Message, Subscription
from lab.ports.group import Assignment, ConsumerGroup, GroupMember, KeySlice, partition_of
from lab.ports.server import Endpoint, Missing, ServerManager

if TYPE_CHECKING:  # Types alone: at run time this module needs nothing above `base`.
    from lab.domain.model import Command, Outcome
    from lab.queries.answers import Row
    from lab.queries.model import Query


class Place(Protocol):
    """Where one store or write model keeps its data: a folder, a schema, a key or topic prefix, a bucket."""

    @property
    def namespace(self) -> str:
        """The name that keeps its data apart from all other data on the same disk or server."""

    def shown(self) -> str:
        """The path or URL without credentials: the only form that is printed or recorded."""

    def beside(self, generation: int | None = None) -> Self:
        """An empty place for another generation of the same data, recorded before anything is made there.

        None takes the next free number. Raises FileExistsError where data lies that the lab didn't make.
        """

    def swap(self, winner: Self) -> None:
        """Make `winner` the current generation, atomically and durably, then drop the former one."""

    @property
    def current(self) -> Self:
        """The generation that the last `swap` made current; without any, the first."""

    def drop(self) -> None:
        """Remove the data of this generation. Dropping it twice is allowed."""

    def size_bytes(self) -> int:
        """What this generation takes on disk; 0 where there is nothing."""


class Clock(Protocol):
    """Seconds from a fixed origin, never falling. Simulated, manual or monotonic."""

    def now(self) -> float:
        """The present time."""

    def wait(self, until: float) -> None:
        """Return once `now() >= until`: at once on a simulated clock, after a sleep on a wall clock."""


class Page(NamedTuple):
    """One page of a feed: a change frame sorted by position, where to go on, whether the feed ended there."""

    frame: pl.DataFrame
    token: bytes
    ended: bool


@dataclass(frozen=True)
class Blocker:
    """An open transaction that holds a feed back: who, since when, and above which position it writes."""

    owner: str
    since: float
    above: int


class Feed(Protocol):
    """The committed changes of a write model, in order of position. Stateless: a page depends on its token alone."""

    def page(self, entity: str, since: bytes, limit: int, columns: Sequence[str] | None = None) -> Page:
        """At most `limit` changes after the token `since` (`b""`: from the first), none beyond `complete_to()`.

        `columns` restricts the entity's own columns; None reads all. Raises Unavailable while the source is away.
        """

    def complete_to(self) -> int:
        """The highest position at or below which no change will appear any more; 0 for an empty feed."""

    def wait(self, since: bytes, seconds: float) -> bool:
        """Wait until a change after `since` can be read, at most `seconds`; False if none came."""

    def blockers(self) -> list[Blocker]:
        """The open transactions that keep `complete_to` below the newest position, the oldest first."""


@dataclass(frozen=True)
class Capabilities:
    """What a store promises. A scenario that needs more is refused when it is read.

    `atomic`: what lands together with the checkpoint: a batch, a limited number of rows, or one item. `guards`: refuses
    an older revision itself. `fences`: several processes write at a time, each to partitions that it has claimed, and
    an owner that was replaced is refused. `refresh`: queries see a batch from the next refresh on, and there is one so
    often, in seconds, unless a projection says otherwise; 0: at once, unless one does; None: at once, always.
    `durability`: a confirmed write survives everything; all but an interval does; it is gone with the server (`cache`),
    or with the process. `evicts`: it drops rows where memory is short, and tells nobody. `lists`: it can name all of
    its rows; without it, rows are looked up by keys that are known from elsewhere, and one with a key that no record
    ever had stays unseen. `nul`: its texts can have NUL characters; without it, such a change is refused.
    `signed_zero`: -0.0 keeps its sign; without it, it comes back as 0.0, which equals it.
    """

    atomic: Literal["batch", "limited", "item"] = "batch"
    guards: bool = False
    fences: bool = False
    concurrent_readers: bool = False
    refresh: float | None = None
    durability: Literal["fsync", "interval", "cache", "memory"] = "fsync"
    evicts: bool = False
    lists: bool = True
    level: Literal["real", "emulated", "dialect", "written"] = "real"
    nul: bool = True
    signed_zero: bool = True


class StorePort(Protocol):
    """One projection in one engine. Data, guard memory, parked changes and checkpoint land in one transaction."""

    @property
    def capabilities(self) -> Capabilities:
        """What this store promises."""

    def open(self) -> None:
        """Open for writing; create an empty projection if there is none."""

    def close(self) -> None:
        """Release every connection and file. Closing twice is allowed."""

    def reset(self) -> None:
        """Delete data, guard memory, parked changes and checkpoint."""

    def checkpoint(self, entity: str) -> int:
        """The position up to which every change is applied; 0 for an empty projection."""

    def apply(self, batch: Batch) -> None:
        """Write one batch in one transaction. Raises Unavailable (may succeed later) or CannotTake (never will)."""

    def bulk(self, entity: str, frames: Iterable[Batch]) -> None:
        """Fill an empty projection from batches in which no row occurs twice; indexes are built last."""

    def query(self, query: Query, parameters: Row) -> list[Row]:
        """The rows, read on a connection that can't write. Raises NotAnswered for a query class that it lacks."""

    def revisions(self, entity: str, keys: Sequence[Key]) -> Mapping[Key, int]:
        """The newest revision held of each of these records, deleted ones included; absent where there is none."""

    def memory(self, entity: str, keys: Sequence[Key] | None = None) -> pl.DataFrame:
        """What the guard asked to have kept: all of it, or the rows whose `id` is one of `keys`."""

    def pages(self, entity: str) -> Iterator[pl.DataFrame]:
        """All rows, deleted records included, as frames sorted by key and revision."""

    def parked(self, entity: str) -> pl.DataFrame:
        """The changes that this store couldn't take, kept in the transaction of the batch that they were part of."""

    def refresh(self) -> None:
        """Have queries and `pages` see all that is written. Nothing to do where they do at once."""

    def shown_to(self, entity: str) -> int:
        """The checkpoint as queries see it: everything up to here is in what they show."""

    def size_bytes(self) -> int:
        """What the projection takes on disk; for a store in memory, an estimate of its rows."""

    def settings(self) -> Mapping[str, Any]:
        """The engine's settings, as read back from it."""


class FencingStore(StorePort, Protocol):
    """A store that the owners of several partitions write at a time: `Capabilities.fences`."""

    def claim(self, assignment: Assignment) -> None:
        """Write as the owner of a partition from the next opening on, where its checkpoint and what it parked are seen.

        The opening fences every earlier generation: its `apply` raises Fenced and writes nothing. Opening and `apply`
        raise Fenced themselves where a later generation has been claimed, or the same one by another store: who has
        claimed it first is the owner.
        """

    def clear(self) -> None:
        """Delete the owner's partition in one transaction: records, what is parked, and checkpoints. Raises Fenced."""

    def newest(self, entity: str, most: int) -> pl.DataFrame:
        """Return the newest records of the owner's partition by position, so many at the most: `META` of each."""


class WriteModel(Protocol):
    """The source of truth: strongly consistent, the only place where commands are decided."""

    def open(self) -> None:
        """Open for writing; create what is missing."""

    def join(self) -> None:
        """Open for writing beside other writers that have it open. Raises SourceLost where there is nothing to join."""

    def close(self) -> None:
        """Release the connections. Closing twice is allowed."""

    def drop(self) -> None:
        """Close, and remove everything that this write model made in its place."""

    def execute(self, command: Command, request: str | None = None) -> Outcome:
        """Decide one command and commit its events. A repeated `request` id returns the first outcome instead."""

    def execute_together(self, orders: Sequence[tuple[Command, str | None]]) -> Sequence[Outcome]:
        """Group commit: each command with its own outcome, all in one transaction. If one raises, none is committed."""

    def load(self, entity: str, frame: pl.DataFrame) -> None:
        """Commit a slice of a trace: a change frame with `event`, sorted by position, in one transaction."""

    def changes_since(
        self, entity: str, position: int, limit: int, before: Sequence[str] = (), columns: Sequence[str] | None = None
    ) -> pl.DataFrame:
        """The next changes after `position`, at most `limit`, by position; with before-images of `before`."""

    def head(self, entity: str) -> int:
        """The position of the entity's newest change; 0 if there is none."""

    def query(self, query: Query, parameters: Row) -> list[Row]:
        """The rows of what is committed, in the order of `lab.queries.model`. Raises NotAnswered."""

    def size_bytes(self) -> int:
        """What the write model takes on disk."""

    def settings(self) -> Mapping[str, Any]:
        """The engine's settings, as read back from it; `durability` is what they amount to."""


__all__ = [
    "Assignment", "Blocker", "Capabilities", "Channel", "ChannelPromises", "Clock", "ConsumerGroup", "Delivery",
    "Endpoint", "Feed", "FencingStore", "GroupMember", "KeySlice", "Message", "Missing", "Page", "Place",
    "ServerManager", "StorePort", "Subscription", "WriteModel", "partition_of",
]  # fmt: skip

"""Feeds by which committed changes come by themselves, each until it is acknowledged.

No position is asked for, so no order of commits can hide a change. After a crash what was not acknowledged comes again.
Changes of one record come in the order of its revisions. The log brings transactions in the order of their commits, the
outbox rows in the order in which they were written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from lab.base import Entity
from lab.engines import postgres as driver
from lab.engines.pgoutput import LoggedRow
from lab.engines.postgres import Connection, Session
from lab.engines.replication import ReplicationStream, lsn
from lab.servers.postgres import SERVER
from lab.truth import slots
from lab.truth.outbox import OutboxRows
from lab.truth.outlets import OUTBOX

if TYPE_CHECKING:
    from lab.truth.postgres import Postgres

_KINDS: Mapping[str, Callable[[str], Any]] = {"int": int, "float": float, "str": str, "bool": "t".__eq__}


class Streamed(NamedTuple):
    """One change: entity, row of the write model's change frame, and the record as it was before, if that is known."""

    entity: str
    row: Sequence[Any]
    before: Sequence[Any]


class ChangeStream(Protocol):
    """The changes of a source of truth for one projection. Its methods raise Unavailable while the server is away."""

    @property
    def socket(self) -> int | None:
        """The file descriptor at which something arrives; None for one that must be asked."""

    @property
    def passed(self) -> bool:
        """Whether everything has been taken that had been committed when `mark` was called."""

    @property
    def opened(self) -> bool:
        """Whether it is connected, as far as this side knows."""

    def open(self) -> bool:
        """Connect, if need be, which can take seconds; true if it was.

        What was taken and not acknowledged before then comes again. What has been acknowledged, or was committed before
        the stream was there, is in the tables alone.
        """

    def mark(self) -> None:
        """Remember where the source of truth is now."""

    def take(self, most: int) -> list[Streamed]:
        """About `most` changes that have come, those of one record in the order of its revisions."""

    def acknowledge(self) -> None:
        """Tell that what was taken is kept: it is not sent again."""

    def close(self) -> None:
        """Hang up. Closing twice is allowed."""


class OutboxStream:
    """The rows of the outbox, read again and again, and deleted once they are kept."""

    socket: int | None = None

    def __init__(self, schema: str, reader: str) -> None:
        self._schema, self._reader = schema, reader
        self._rows: OutboxRows | None = None
        self._connection: Connection | None = None
        self._taken: list[int] = []
        self.passed = False

    @property
    def opened(self) -> bool:
        """Whether there is a connection."""
        return driver.alive(self._connection)

    def open(self) -> bool:
        """Connect; rows that were read and not deleted are read again."""
        if self.opened:
            return False
        self._taken, self.passed = [], False
        self._connection = SERVER.connect(self._schema, application_name=f"lab relays {self._schema}")
        self._rows = OutboxRows(Session(self._connection), self._reader, f"outbox {self._schema}")
        return True

    def mark(self) -> None:
        """Nothing is known until the outbox is read."""
        self.passed = False

    def take(self, most: int) -> list[Streamed]:
        """Read the oldest rows; a page that is not full has all that there was."""
        assert self._rows is not None
        found = self._rows.read(most)
        self._taken, self.passed = [number for number, *_ in found], len(found) < most
        return [Streamed(entity, row, before) for _, entity, row, before in found]

    def acknowledge(self) -> None:
        """Delete what was read last."""
        if self._taken and self._rows is not None:
            self._rows.delete(self._taken)
            self._taken = []

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()


class LogStream:
    """The server's log, decoded by `pgoutput`, over a slot of the projection's own."""

    def __init__(self, schema: str, reader: str, entities: Mapping[str, Entity], folder: Path, durable: bool) -> None:
        """`folder` is the projection's, for the ledger; `durable`: commits are on disk before anyone sees them."""
        self._made = schema, reader, list(entities), folder
        self._readers = {name: _readers(entity) for name, entity in entities.items()}
        # What is committed without waiting for the disk is in the log before it is on disk.
        self._where = f"SELECT pg_current_wal_{'flush' if durable else 'insert'}_lsn()::text"
        self._stream: ReplicationStream | None = None
        self._asks: Session | None = None
        self._marked = self._taken = 0

    @property
    def socket(self) -> int | None:
        """That of the replication connection."""
        return None if self._stream is None else self._stream.socket

    @property
    def passed(self) -> bool:
        """Whether the log has been taken up to the mark; not before there is one."""
        return self._stream is not None and 0 < self._marked <= self._stream.passed

    @property
    def opened(self) -> bool:
        """Whether there is a replication connection."""
        return self._stream is not None

    def open(self) -> bool:
        """Connect to the slot, which is made if there is none: then every transaction that writes is waited for.

        Raises SlotLost.
        """
        if self.opened:
            return False
        self.close()
        name = slots.ensure(*self._made)
        self._asks = Session(SERVER.connect(read_only=True, application_name=f"lab marks {name}"))
        self._stream = slots.streamed(name)
        return True

    def mark(self) -> None:
        """Read the place in the log, and have the server say how far it has come."""
        assert self._asks is not None
        try:
            with driver.mapped("the server's log"):
                self._marked = lsn(self._asks.execute(self._where, prepare=True).fetchone()[0])
            if not self.passed and self._stream is not None:
                self._stream.ask()
        except BaseException:
            self.close()
            raise

    def take(self, most: int) -> list[Streamed]:
        """Decode what has come."""
        assert self._stream is not None
        try:
            found = self._stream.take(most)
        except BaseException:
            self.close()
            raise
        if found:
            self._taken = found[-1].end
        return [self._change(row) for transaction in found for row in transaction.rows]

    def acknowledge(self) -> None:
        """Tell the server that its log up to here is not needed any more."""
        if self._stream is not None and (place := self._stream.passed or self._taken) > self._stream.acknowledged:
            self._stream.acknowledge(place)

    def close(self) -> None:
        """Hang up; the slot stays, and goes on from what was acknowledged."""
        for one in (self._stream, self._asks):
            if one is not None:
                one.close()
        self._stream = self._asks = None
        # What was taken may never have been applied: the next connection takes it again before it acknowledges it.
        self._marked = self._taken = 0

    def _change(self, row: LoggedRow) -> Streamed:
        values = row.values
        found = [None if values[name] is None else read(values[name]) for name, read in self._readers[row.table]]
        return Streamed(row.table, found, [False])


def _readers(entity: Entity) -> list[tuple[str, Callable[[Any], Any]]]:
    """How the columns of the entity's change frame are read from text, in their order."""
    return [(name, _KINDS[entity.kind(name)]) for name in entity.schema]


def open_stream(feed: str, truth: Postgres, reader: str, folder: Path) -> ChangeStream:
    """The stream of this kind, `outbox` or `log`, for one reader; `folder` is the reader's, for the ledger."""
    schema = truth.on.schema
    if feed == OUTBOX:
        return OutboxStream(schema, reader)
    return LogStream(schema, reader, truth.domain.entities, folder, truth.durability == "full")


class Notices:
    """Notifications of commits: each is a hint that there is something to be read."""

    def __init__(self, schema: str) -> None:
        self._schema = schema
        self._connection: Connection | None = None

    @property
    def socket(self) -> int | None:
        """That of the connection."""
        return None if self._connection is None else int(self._connection.pgconn.socket)

    def open(self) -> None:
        """Listen, if it isn't done yet. Raises Unavailable."""
        if self._connection is None or self._connection.closed:
            self._connection = SERVER.connect(read_only=True, application_name=f"lab listens {self._schema}")
            with driver.mapped("notifications"):
                Session(self._connection).execute(f'LISTEN "{self._schema}"')

    def heard(self) -> bool:
        """Whether there was one since the last call. Raises Unavailable once the connection is lost."""
        assert self._connection is not None
        found, connection = False, self._connection.pgconn
        try:
            with driver.mapped("notifications"):
                connection.consume_input()
                while connection.notifies() is not None:
                    found = True
        except BaseException:
            self.close()
            raise
        return found

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

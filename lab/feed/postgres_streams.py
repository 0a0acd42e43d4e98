"""PostgreSQL's feeds by which changes come by themselves: its log, its outbox; and its notifications."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lab.base import Entity
from lab.engines import postgres as driver
from lab.engines.pgoutput import LoggedRow, PgOutput
from lab.engines.postgres import Connection, Session
from lab.engines.replication import LogDecoder, ReplicationStream, lsn
from lab.engines.wal2json_decoder import Wal2JsonDecoder
from lab.feed.streams import ChangeStream, OutboxStream, Streamed
from lab.servers.postgres import SERVER
from lab.truth import Truth, slots
from lab.truth.outlets import WAL2JSON
from lab.truth.postgres import Postgres
from lab.truth.postgres_outbox import PostgresOutboxRows

_KINDS: Mapping[str, Callable[[str], Any]] = {"int": int, "float": float, "str": str, "bool": "t".__eq__}


class LogStream:
    """The server's log, decoded by one of its plugins, over a slot of the projection's own."""

    whole = False

    def __init__(
        self, schema: str, reader: str, entities: Mapping[str, Entity], folder: Path, durable: bool, decoder: str
    ) -> None:
        """`folder` is the projection's, for the ledger; `durable`: commits are on disk before anyone sees them."""
        self._decoder: Callable[[str], LogDecoder] = PgOutput
        if decoder == WAL2JSON:
            self._decoder = lambda _: Wal2JsonDecoder(schema, entities, slots.needs_exact(entities.values()))
        self._made = schema, reader, list(entities), folder, decoder
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

    def open(self, checkpoints: Mapping[str, int]) -> bool:
        """Connect to the slot, which is made if there is none: then every transaction that writes is waited for.

        Raises SlotLost.
        """
        if self.opened:
            return False
        self.close()
        name = slots.ensure(*self._made)
        self._asks = Session(SERVER.connect(read_only=True, application_name=f"lab marks {name}"))
        self._stream = slots.streamed(name, self._decoder(name))
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

    def acknowledge(self, checkpoints: Mapping[str, int]) -> None:
        """Tell the server that its log up to here is not needed any more."""
        if self._stream is not None and (place := self._stream.passed or self._taken) > self._stream.acknowledged:
            self._stream.acknowledge(place)

    def here(self) -> None:
        """Tables tell what is settled: there is nothing to go back for."""

    def go_back(self, place: object) -> None:
        """Nothing: there is no place to go back to."""

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


def open_stream(outbox: bool, truth: Truth, reader: str, folder: Path, decoder: str) -> ChangeStream:
    """The outbox's stream, or that of the log by this plugin."""
    assert isinstance(truth, Postgres)
    schema = truth.on.schema
    if outbox:
        return OutboxStream(lambda: PostgresOutboxRows.of(schema, reader))
    return LogStream(schema, reader, truth.domain.entities, folder, truth.durability == "full", decoder)


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

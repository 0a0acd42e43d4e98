"""MariaDB's feeds by which changes come by themselves: its binary log, in the order of commits, and its outbox."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lab.base import Entity
from lab.engines.binlog import BinlogCut, BinlogRow, BinlogStream, LogPlace
from lab.engines.mariadb import MariadbSession
from lab.feed.streams import ChangeStream, OutboxStream, Streamed
from lab.ports import Blocker
from lab.servers.mariadb import LEDGER, SERVER
from lab.truth import Truth, binlog
from lab.truth.evidence import LiveEvidence
from lab.truth.mariadb import Mariadb
from lab.truth.mariadb_outbox import MariadbOutboxRows
from lab.truth.outlets import LOG_SUFFIX

_KINDS: Mapping[str, Callable[[Any], Any]] = {"int": int, "float": float, "str": str, "bool": bool}


class StreamedPositions:
    """What is known of positions where the engine doesn't tell who writes: those of the tables, and of the stream.

    A snapshot's tables have only the last revision of each record, and the stream has had the others.
    """

    def __init__(self, tables: LiveEvidence, brought: set[int]) -> None:
        self._tables, self._brought = tables, brought

    def newest(self) -> int:
        """Return the newest position that is committed."""
        return self._tables.newest()

    def settled(self) -> int:
        """Return what the engine tells."""
        return self._tables.settled()

    def shown(self, after: int) -> np.ndarray:
        """Return the positions above `after` that are known to be committed."""
        self._brought -= {position for position in self._brought if position <= after}
        brought = np.fromiter(self._brought, np.int64, len(self._brought))
        return np.union1d(self._tables.shown(after), brought)

    def blockers(self, at: float) -> list[Blocker]:
        """Return the open transactions."""
        return self._tables.blockers(at)


class BinlogFeed:
    """The server's binary log, from the place on that was kept with the checkpoint of the store."""

    def __init__(
        self, database: str, reader: str, entities: Mapping[str, Entity], file: Path, brought: set[int] | None = None
    ) -> None:
        """`file` keeps its places; `brought` gets the positions that it has brought."""
        self._database, self._reader, self._entities = database, reader, entities
        self._kept, self._brought = binlog.KeptPlaces(file), set[int]() if brought is None else brought
        self._asks: MariadbSession | None = None
        self._stream: BinlogStream | None = None
        self._columns: dict[str, list[tuple[int, Callable[[Any], Any]]]] = {}
        self._marked: tuple[int, int] | None = None
        # Up to where all was taken; and whether that holds rows which came after the last place that was kept.
        self._taken: LogPlace | None = None
        self._news = False
        # The checkpoints that were acknowledged last; None until then for a store that read the tables first.
        self._reached: dict[str, int] | None = None
        self.whole = False

    @property
    def socket(self) -> int | None:
        """Where it is told that something has come."""
        return None if self._stream is None else self._stream.socket

    @property
    def passed(self) -> bool:
        """Whether the log has been taken up to the mark; not before there is one."""
        if self._stream is None or self._marked is None:
            return False
        place = self._stream.taken
        return place is not None and place.order >= self._marked

    @property
    def opened(self) -> bool:
        """Whether the log is being read."""
        return self._stream is not None

    def open(self, checkpoints: Mapping[str, int]) -> bool:
        """Read the log from the place on that was kept for a store at these checkpoints. Raises BinlogGone.

        For an empty store that is where the tables are now.
        """
        if self.opened:
            return False
        self.close()
        asks = SERVER.connect(self._database)
        try:
            with binlog.reading():
                self._columns = {name: self._found(asks, name) for name in self._entities}
                place = self._place(asks, checkpoints)
        except BaseException:
            asks.close()
            raise
        self._asks, self._taken, self._news = asks, place, False
        self._stream = binlog.streamed(self._database, self._reader, place, list(self._entities))
        return True

    def _place(self, asks: MariadbSession, checkpoints: Mapping[str, int]) -> LogPlace:
        """Where to begin; `whole` is whether what comes from there on is all that the store lacks."""
        self.whole, self._reached = False, None
        if not any(checkpoints.values()):
            # A store that has nothing reads the tables, whatever another one had. Its place is kept before that: the
            # tables are not read again after a crash, and a late commit below its checkpoint is in the log alone.
            place = binlog.here(asks)
            self._kept.begin(place)
            return place
        try:
            if not self._kept.read() or (found := self._kept.go_on(checkpoints)) is None:
                newest = max(checkpoints.values())
                raise binlog.BinlogGone(f"no place in the server's log is known for a store at position {newest}")
            binlog.confirm(asks, found.place)
        except binlog.BinlogGone:
            self._kept.forget()
            raise
        if found.checkpoints:
            self.whole, self._reached = True, dict(checkpoints)
        return found.place

    def here(self) -> LogPlace:
        """The place up to which the tables show everything now. Raises Unavailable."""
        with LEDGER.session() as session:
            return binlog.here(session)

    def go_back(self, place: object) -> None:
        """Hang up, and begin at this place with the next opening, or at an earlier one that the former store needs."""
        assert isinstance(place, LogPlace)
        self.close()
        former = self._kept.pairs[-1].place if self._kept.read() else place
        self._kept.begin(min(place, former, key=lambda one: one.order))

    def mark(self) -> None:
        """Read where the log ends."""
        assert self._asks is not None
        assert self._stream is not None
        try:
            with binlog.reading():
                place = binlog.end(self._asks)
        except BaseException:
            self.close()
            raise
        self._marked = place.order
        self._stream.mark(place)

    def take(self, most: int) -> list[Streamed]:
        """Decode what has come. Raises BinlogGone where the server doesn't have the log any more."""
        assert self._stream is not None
        try:
            found = self._stream.take(most)
        except BinlogCut as error:
            self.close()
            self._kept.forget()
            raise binlog.BinlogGone(str(error)) from None
        except BaseException:
            self.close()
            raise
        self._taken = self._stream.taken or (found[-1].place if found else self._taken)
        self._news = self._news or bool(found)
        changes = [self._change(row) for transaction in found for row in transaction.rows]
        self._brought.update(change.row[0] for change in changes)
        return changes

    def acknowledge(self, checkpoints: Mapping[str, int]) -> None:
        """Keep the place, as one that holds for these checkpoints."""
        if self._stream is None or self._taken is None:
            return
        self._kept.connected(self._stream.thread_id)
        before, self._reached = self._reached, dict(checkpoints)
        # For the same checkpoints the place holds at which they were reached: the store may still lose what came since.
        if before is not None and before != self._reached:
            self._kept.add(self._reached, self._taken)
            self._news = False
        elif not self._news:
            self._kept.move(self._taken)

    def close(self) -> None:
        """Hang up; the place is kept."""
        for one in (self._stream, self._asks):
            if one is not None:
                one.close()
        self._stream = self._asks = self._marked = None
        self._brought.clear()

    def _found(self, asks: MariadbSession, entity: str) -> list[tuple[int, Callable[[Any], Any]]]:
        """Where in a row of the log the columns of the change frame are, and how they are read, in their order."""
        listed = "SELECT column_name FROM information_schema.columns WHERE table_schema = ? AND table_name = ?"
        rows = asks.execute(f"{listed} ORDER BY ordinal_position", (self._database, entity)).fetchall()
        there = [str(name) for (name,) in rows]
        kind = self._entities[entity].kind
        return [(there.index(name), _KINDS[kind(name)]) for name in self._entities[entity].schema]

    def _change(self, row: BinlogRow) -> Streamed:
        values, columns = row.values, self._columns[row.table]
        found = [None if values[at] is None else read(values[at]) for at, read in columns]
        return Streamed(row.table, found, [False])


def open_stream(outbox: bool, truth: Truth, reader: str, folder: Path, brought: set[int] | None) -> ChangeStream:
    """The outbox's stream, or that of the log, which keeps its places in a file beside the reader's folder."""
    assert isinstance(truth, Mariadb)
    database = truth.on.named
    if outbox:
        return OutboxStream(lambda: MariadbOutboxRows.of(database, reader))
    file = folder.with_name(f"{folder.name}{LOG_SUFFIX}")
    return BinlogFeed(database, reader, truth.domain.entities, file, brought)

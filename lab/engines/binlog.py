"""MariaDB's binary log as a replica gets it: the rows that each transaction wrote, in the order of the commits.

The driver waits for whole events, so a thread reads them, a bounded number ahead, and nobody else waits. What other
databases of the server write comes along, and is passed over. https://mariadb.com/kb/en/replication-protocol/
"""

from __future__ import annotations

import logging
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import pymysql
from pymysql.converters import encoders
from pymysqlreplication import BinLogStreamReader
from pymysqlreplication.bitmap import BitCount
from pymysqlreplication.event import HeartbeatLogEvent, MariadbGtidEvent, NotImplementedEvent, XidEvent
from pymysqlreplication.row_event import UpdateRowsEvent, WriteRowsEvent

from lab.base import LabError, Unavailable, Unsound
from lab.engines.mariadb import Connection
from lab.engines.mariadb_errors import mapped

# The server says that it is there, and how far its log goes, after so many seconds without a change; and it is given
# up where it is silent for as many times as long.
BEAT_SECONDS, SILENT_BEATS = 0.5, 30
# So many rows wait to be taken before no more are read; and so many events of others pass before the place is noted.
AHEAD = 5_000
# What a server writes that compresses its log, which the driver passes over without a word.
_COMPRESSED = range(165, 172)
# What the server says, under the number of a place that is gone, to a replica whose number another one has by now.
_REPLACED = "same server_uuid/server_id"
_EVENTS = (WriteRowsEvent, UpdateRowsEvent, XidEvent, MariadbGtidEvent, HeartbeatLogEvent, NotImplementedEvent)


class BinlogCut(Unavailable):
    """The server doesn't send its log from the place that was asked for, and won't when it is asked again."""


class LogPlace(NamedTuple):
    """A place in the log between two transactions: a file, a byte in it, and the last GTID of each domain by then."""

    file: str
    offset: int
    gtids: str = ""

    @property
    def order(self) -> tuple[int, int]:
        """What places are ordered by: the number of the file, and the byte."""
        return int(self.file.rpartition(".")[2]), self.offset


class BinlogRow(NamedTuple):
    """A row as it was inserted or updated: the table's name, and the values in the order of its columns."""

    table: str
    values: tuple[Any, ...]


class BinlogTransaction(NamedTuple):
    """What one transaction wrote into the tables, in its order; `place` is where it ends in the log."""

    place: LogPlace
    rows: list[BinlogRow]


def by_domain(gtids: str) -> dict[str, str]:
    """The last GTID of each domain, from a list of them."""
    return {one.partition("-")[0]: one for each in gtids.split(",") if (one := each.strip())}


class BinlogStream:
    """The log from a place on. Not a word is waited for: `take` returns what has come.

    `connect` opens a connection; `number` is the replica's, and the server hangs up on another one that has it.
    """

    def __init__(
        self, connect: Callable[[], Connection], place: LogPlace, number: int, database: str, tables: Iterable[str]
    ) -> None:
        self._connect, self._begin, self._number = connect, place, number
        self._database, self._tables = database, list(tables)
        # Guarded by `_room`: what has come, up to where, and up to where is waited for.
        self._room = threading.Condition()
        self._come, self._waiting = deque[BinlogTransaction](), 0
        self._place, self._mark = place, (0, 0)
        self._failed: LabError | None = None
        self._closed = False
        self._gtids, self._open = by_domain(place.gtids), list[BinlogRow]()
        self._connections: list[Connection] = []
        self._wakes, self._woken = socket.socketpair()
        for end in (self._wakes, self._woken):
            end.setblocking(False)
        self._thread = threading.Thread(target=self._read, name="reads the log", daemon=True)
        self._thread.start()

    @property
    def socket(self) -> int:
        """The file descriptor at which something arrives once there is something to be taken."""
        return self._woken.fileno()

    @property
    def thread_id(self) -> int:
        """The number of the connection on the server; 0 before there is one."""
        return int(self._connections[0].thread_id()) if self._connections else 0

    @property
    def taken(self) -> LogPlace | None:
        """Up to where everything has been taken; None while something waits."""
        with self._room:
            return None if self._come else self._place

    def mark(self, place: LogPlace) -> None:
        """Have the socket tell when everything up to this place has come."""
        with self._room:
            self._mark = place.order

    def take(self, most: int) -> list[BinlogTransaction]:
        """Transactions that have come, in the order of their commits: about `most` rows, but each as a whole.

        Raises what reading failed with, once all that had come is taken: Unavailable, BinlogCut or Unsound.
        """
        with self._room:
            found, rows = list[BinlogTransaction](), 0
            while self._come and rows < most:
                found.append(self._come.popleft())
                rows += len(found[-1].rows)
            self._waiting -= rows
            self._room.notify()
            if not self._come and self._failed is None:
                with suppress(BlockingIOError):
                    self._woken.recv(4_096)
            failed = None if found else self._failed
        if failed is not None:
            raise failed
        return found

    def close(self) -> None:
        """Hang up. Closing twice is allowed."""
        with self._room:
            if self._closed:
                return
            self._closed = True
            self._room.notify()
        self._hang_up()
        self._thread.join(2.0)
        self._wakes.close()
        self._woken.close()

    # -- in the thread -------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        try:
            with mapped("the server's log"):
                reader = BinLogStreamReader(
                    connection_settings={}, server_id=self._number, resume_stream=True, blocking=True,
                    log_file=self._begin.file, log_pos=self._begin.offset, only_events=_EVENTS,
                    filter_non_implemented_events=False, only_schemas=[self._database], only_tables=self._tables,
                    slave_heartbeat=BEAT_SECONDS, pymysql_wrapper=self._connected, enable_logging=False,
                )  # fmt: skip
                for event in iter(reader.fetchone, None):
                    self._event(reader, event)
                raise pymysql.OperationalError(2013, "the server has ended the stream")
        except LabError as error:
            failed: LabError = error
        except pymysql.Error as error:
            said = f"the server's log: {error.args[-1] if error.args else error}"
            failed = Unavailable(said) if _REPLACED in said else BinlogCut(said)
        except Exception as error:
            failed = Unsound(f"the server's log can't be read: {type(error).__name__}: {error}")
        self._hang_up()
        with self._room:
            self._failed = failed
            self._wake()

    def _connected(self, **words: Any) -> Connection:
        """A connection for the driver: the log's, and one for its questions. It would renew them on its own."""
        if len(self._connections) == 2 or self._closed:
            raise pymysql.OperationalError(2013, "the connection was lost")
        made = self._connect()
        made._read_timeout = BEAT_SECONDS * SILENT_BEATS
        made.cursorclass = words.get("cursorclass", made.cursorclass)
        # The lab's own statements have their values in them already; the driver's don't.
        made.encoders = dict(encoders)
        self._connections.append(made)
        return made

    def _event(self, reader: BinLogStreamReader, event: Any) -> None:
        match event:
            case MariadbGtidEvent():
                # One that doesn't end with a commit of the engine ends where the next one begins.
                self._ended(None)
                self._gtids[str(event.domain_id)] = event.gtid
            case WriteRowsEvent():
                self._open += self._rows(event, event.columns_present_bitmap, "values")
            case UpdateRowsEvent():
                self._open += self._rows(event, event.columns_present_bitmap2, "after_values")
            case XidEvent() | HeartbeatLogEvent():
                listed = ",".join(self._gtids[one] for one in sorted(self._gtids))
                self._ended(LogPlace(reader.log_file, reader.log_pos, listed))
            case NotImplementedEvent() if event.event_type in _COMPRESSED:
                raise Unsound("the server compresses its log, which can't be read: SET GLOBAL log_bin_compress = OFF")

    def _rows(self, event: Any, present: bytes, image: str) -> Iterator[BinlogRow]:
        if BitCount(present) != event.number_of_columns:
            raise Unsound("the log lacks columns of a row: SET GLOBAL binlog_row_image = FULL, for all sessions")
        for row in event.rows:
            yield BinlogRow(event.table, tuple(row[image].values()))

    def _ended(self, place: LogPlace | None) -> None:
        """Hand on what the transaction wrote; `place` is where it ended, None where that isn't told."""
        with self._room:
            while self._waiting >= AHEAD and not self._closed:
                self._room.wait()
            reached = place is not None and self._place.order < self._mark <= place.order
            self._place = place or self._place
            if self._open:
                self._come.append(BinlogTransaction(self._place, self._open))
                self._waiting += len(self._open)
                self._open = []
                reached = True
            if reached:
                self._wake()

    def _wake(self) -> None:
        with suppress(OSError):
            self._wakes.send(b"x")

    def _hang_up(self) -> None:
        for made in self._connections:
            # Shut down first: it ends a wait in another thread, which to close alone doesn't.
            with suppress(OSError, AttributeError):
                made._sock.shutdown(socket.SHUT_RDWR)
            with suppress(pymysql.Error, OSError, AttributeError):
                made._force_close()


# What the driver advises about names of columns in the log: the lab knows its own tables.
logging.getLogger("pymysqlreplication").setLevel(logging.CRITICAL)

"""A replication connection to PostgreSQL: a slot's changes as they are committed, and what was done with them.

The server sends what it decodes from its log, and keeps of the log what was not acknowledged yet. It speaks of places
in its log (LSN), which are whole numbers here. https://www.postgresql.org/docs/current/protocol-replication.html
"""

from __future__ import annotations

import struct
import time
from collections import deque
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol

import psycopg
from psycopg import pq

from lab.base import Unavailable
from lab.engines import postgres as engine
from lab.engines.pgoutput import LoggedTransaction
from lab.engines.postgres import Connection

_DATA = struct.Struct(">cQQq")
_ALIVE = struct.Struct(">cQqB")
_STATUS = struct.Struct(">cQQQqB")
# Its times count from 2000.
_EPOCH = 946_684_800
# So many bytes of the socket are looked through before anything else is done.
_AT_ONCE = 20_000


def lsn(text: str) -> int:
    """A place in the log, as a number."""
    high, _, low = text.partition("/")
    return (int(high, 16) << 32) | int(low, 16)


class LogDecoder(Protocol):
    """Puts the messages of one of the server's plugins together to transactions."""

    @property
    def options(self) -> Mapping[str, str]:
        """What the plugin is asked for; single quotes in a value are doubled."""

    def message(self, data: bytes) -> LoggedTransaction | None:
        """Take one message; returns the transaction that it ends. Raises Unsound for what can't be read."""


class ReplicationStream:
    """The changes of a slot. Not a word is waited for: `take` returns what has come.

    Every method raises Unavailable when the connection is lost; then it is made anew.
    """

    def __init__(self, connection: Connection, slot: str, decoder: LogDecoder) -> None:
        self._connection, self._slot = connection, slot
        self._decoder, self._come = decoder, deque[LoggedTransaction]()
        # Up to where everything was sent, and up to where all was acknowledged.
        self._sent = self.acknowledged = 0
        options = ", ".join(f"\"{name}\" '{value}'" for name, value in decoder.options.items())
        statement = f'START_REPLICATION SLOT "{slot}" LOGICAL 0/0 ({options})'
        result = connection.pgconn.exec_(statement.encode())
        if result.status != pq.ExecStatus.COPY_BOTH:
            said = result.get_error_message()
            connection.close()
            raise Unavailable(f"slot {slot}: {' '.join(said.split())}")
        connection.pgconn.nonblocking = 1

    @property
    def socket(self) -> int:
        """The file descriptor at which something arrives."""
        return int(self._connection.pgconn.socket)

    @property
    def passed(self) -> int:
        """Up to where in the log everything has been taken."""
        return self._sent if not self._come else 0

    def take(self, most: int) -> list[LoggedTransaction]:
        """Transactions that have come, in the order of their commits: about `most` rows, but each as a whole."""
        with self._lost():
            self._receive(most)
        found: list[LoggedTransaction] = []
        rows = 0
        while self._come and rows < most:
            found.append(self._come.popleft())
            rows += len(found[-1].rows)
        return found

    def acknowledge(self, place: int) -> None:
        """Tell the server that everything up to this place is kept: of its log it needs no more of that."""
        self.acknowledged = max(self.acknowledged, place)
        with self._lost():
            self._tell(answer=False)

    def ask(self) -> None:
        """Ask the server to say how far it has come."""
        with self._lost():
            self._tell(answer=True)

    def close(self) -> None:
        """Hang up; the slot stays."""
        self._connection.close()

    def _receive(self, most: int) -> None:
        connection = self._connection.pgconn
        connection.consume_input()
        rows = sum(len(each.rows) for each in self._come)
        for _ in range(_AT_ONCE):
            if rows >= most:
                return
            size, data = connection.get_copy_data(1)
            if size < 0:
                raise psycopg.OperationalError("the server has ended the stream")
            if size == 0:
                return
            rows += self._message(bytes(data))

    def _message(self, data: bytes) -> int:
        if data[:1] == b"k":
            _, self._sent, _, answer = _ALIVE.unpack(data)
            if answer:
                self._tell(answer=False)
            return 0
        _, _, _, _ = _DATA.unpack_from(data)
        found = self._decoder.message(data[_DATA.size :])
        if found is None:
            return 0
        self._sent = max(self._sent, found.end)
        self._come.append(found)
        return len(found.rows)

    def _tell(self, answer: bool) -> None:
        now = int((time.time() - _EPOCH) * 1e6)
        place = self.acknowledged
        # What was only received counts as written: the server asks for nothing again but after a break.
        told = _STATUS.pack(b"r", max(place, self._sent), place, place, now, answer)
        connection = self._connection.pgconn
        connection.put_copy_data(told)
        connection.flush()

    def _lost(self) -> AbstractContextManager[None]:
        return engine.mapped(f"slot {self._slot}")

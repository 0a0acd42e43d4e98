"""The messages of PostgreSQL's plugin `pgoutput`, version 1 of its protocol: what changed in tables, by transaction.

https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from lab.base import Unsound

_BEGIN = struct.Struct(">QqI")
_COMMIT = struct.Struct(">BQQq")
# Of columns: null, unchanged and stored elsewhere, as text.
_NULL, _UNCHANGED, _TEXT = b"n", b"u", b"t"


class LoggedRow(NamedTuple):
    """A row as it was inserted or updated: the table's name, and the columns as the server writes them as text."""

    table: str
    values: dict[str, str | None]


class LoggedTransaction(NamedTuple):
    """What one transaction changed, in its order; `end` is where it ends in the log."""

    end: int
    rows: list[LoggedRow]


class PgOutput:
    """Puts messages together to transactions. Deletes, truncations and what other plugins write are passed over."""

    def __init__(self, publication: str) -> None:
        self.options = {"proto_version": "1", "publication_names": f'"{publication}"'}
        self._tables: dict[int, tuple[str, list[str]]] = {}
        self._rows: list[LoggedRow] = []

    def message(self, data: bytes) -> LoggedTransaction | None:
        """Take one message; returns the transaction that it ends. Raises Unsound for what can't be read."""
        kind, body = data[:1], data[1:]
        match kind:
            case b"B":
                self._rows = []
            case b"R":
                self._relation(body)
            case b"I":
                self._row(body[:4], body[4:])
            case b"U":
                self._row(body[:4], body[4:])
            case b"C":
                _, _, end, _ = _COMMIT.unpack(body)
                return LoggedTransaction(end, self._rows)
        return None

    def _relation(self, body: bytes) -> None:
        (number,) = struct.unpack_from(">I", body)
        (_, name), place = _texts(body, 4, 2)
        # Whose identity is replicated; then how many columns.
        (count,) = struct.unpack_from(">H", body, place + 1)
        place += 3
        columns = []
        for _ in range(count):
            (column,), place = _texts(body, place + 1, 1)
            columns.append(column)
            place += 8
        self._tables[number] = (name, columns)

    def _row(self, number: bytes, body: bytes) -> None:
        name, columns = self._tables[int.from_bytes(number)]
        kind, place = body[:1], 1
        if kind in b"KO":
            # The key or the row as it was before; what it became follows.
            for _, place in _values(body, 1):  # noqa: B007 (its end is what is asked for)
                pass
            place += 1
        values = [value for value, _ in _values(body, place)]
        self._rows.append(LoggedRow(name, dict(zip(columns, values, strict=True))))


def _texts(body: bytes, place: int, count: int) -> tuple[list[str], int]:
    """So many texts, each ended by a zero, from a place on; and where they end."""
    found = []
    for _ in range(count):
        end = body.index(0, place)
        found.append(body[place:end].decode())
        place = end + 1
    return found, place


def _values(body: bytes, place: int) -> Iterator[tuple[str | None, int]]:
    """The columns of a row, each with the place at which it ends."""
    (count,) = struct.unpack_from(">H", body, place)
    place += 2
    for _ in range(count):
        kind, place = body[place : place + 1], place + 1
        if kind == _NULL:
            yield None, place
            continue
        if kind != _TEXT:
            raise Unsound(f"the log has a value of the kind {kind!r}, and not the value itself")
        (length,) = struct.unpack_from(">I", body, place)
        end = place + 4 + length
        yield body[place + 4 : end].decode(), end
        place = end

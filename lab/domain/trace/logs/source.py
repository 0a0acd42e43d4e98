"""What Debezium's `source` block says of a change: its table, commit time, place in the log, and transaction."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from typing import Any

from lab.domain.trace.logs.change import Table, padded
from lab.domain.trace.logs.values import since_1970

Source = Mapping[str, Any]
# Fields that tell changes at one place apart: transaction and time, and the connectors' own.
IDENTIFYING = (
    "txId", "ts_ms", "file", "server_id", "gtid", "rs_id", "ssn", "redo_thread", "lcr_position", "wallTime",
)  # fmt: skip


def table_of(source: Source) -> Table:
    """Return the parts of the table's name that the connector gives."""
    table = source.get("table") or source.get("collection")
    if not isinstance(table, str):
        return ()
    parts = [source.get(name) for name in ("db", "schema")]
    # A keyspace of Vitess or Cassandra is a schema.
    return (*(part for part in (*parts, source.get("keyspace")) if isinstance(part, str) and part), table)


def committed_at(source: Source) -> int | None:
    """Return the commit's time in nanoseconds since 1970; None if the connector doesn't know it."""
    for name, unit in (("ts_ns", "ns"), ("ts_us", "us"), ("ts_ms", "ms"), ("ts_usec", "us"), ("ts_sec", "s")):
        if (at := since_1970(source.get(name), unit)) is not None:
            return at
    return None


def place_of(source: Source) -> str:
    """Return the change's place in the database's log as text that sorts; empty if it isn't told."""
    for find in (_mysql, _sql_server, _oracle, _mongodb, _postgresql):
        if found := find(source):
            return found
    return ""


def _whole(value: Any) -> int | None:
    if isinstance(value, str) and value.isdigit():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _postgresql(source: Source) -> str:
    found = lsn(source.get("lsn"))
    return padded(found) if found else ""


def lsn(value: Any) -> int | None:
    """Return a log sequence number, which is written as a whole number or as two of them in hexadecimal digits."""
    if isinstance(value, str) and (found := re.fullmatch(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})", value)):
        return (int(found[1], 16) << 32) + int(found[2], 16)
    return _whole(value)


def _mysql(source: Source) -> str:
    file, pos = source.get("file"), _whole(source.get("pos"))
    if not isinstance(file, str) or not file or pos is None:
        return ""
    number = re.search(r"(\d+)$", file)
    return padded(int(number[1]) if number else 0, pos, _whole(source.get("row")))


def _sql_server(source: Source) -> str:
    change, commit = (_hexadecimal(source.get(name)) for name in ("change_lsn", "commit_lsn"))
    if not change:
        return ""
    return f"{commit}/{change}/{padded(_whole(source.get('event_serial_no')))}"


def _hexadecimal(value: Any) -> str:
    """Return a number in three parts of hexadecimal digits, as SQL Server writes it, with as many digits in each."""
    if not isinstance(value, str) or not re.fullmatch(r"[0-9A-Fa-f]+(:[0-9A-Fa-f]+)+", value):
        return ""
    return ":".join(f"{int(part, 16):010x}" for part in value.split(":"))


def _oracle(source: Source) -> str:
    scn = _whole(source.get("scn"))
    if scn is None:
        return ""
    # Within one system change number, undo address and sequence tell changes apart, but don't order them.
    return padded(_whole(source.get("commit_scn")) or scn, scn)


def _mongodb(source: Source) -> str:
    order = _whole(source.get("ord"))
    if order is None or source.get("connector") not in ("mongodb", None):
        return ""
    seconds = (_whole(source.get("ts_ms")) or 0) // 1000
    return padded(seconds, order)


def identity_of(source: Source, place: str) -> Hashable:
    """Return what tells a change from any other of its table, but for its operation and state; None if nothing does."""
    if not place:
        return None
    return (place, *(str(source[name]) for name in IDENTIFYING if source.get(name) is not None))


def group_of(source: Source, transaction: Any, at: int | None) -> Hashable:
    """Return the transaction; None if it isn't told. An id of a transaction holds for changes of one commit time."""
    if isinstance(transaction, dict) and transaction.get("id"):
        return ("transaction", str(transaction["id"]))
    for name in ("gtid", "commit_lsn"):
        if isinstance(source.get(name), str):
            return (name, source[name])
    if (scn := source.get("commit_scn")) is not None and source.get("txId") is not None:
        return ("txId", str(source["txId"]), str(scn))
    session = source.get("lsid")
    if session is not None and source.get("txnNumber") is not None:
        return ("session", str(session), str(source["txnNumber"]))
    return ("txId", str(source["txId"]), at) if source.get("txId") is not None and at is not None else None

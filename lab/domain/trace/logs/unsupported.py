"""Change logs that are known and not read: each is refused by its name, with the way out, and not taken for rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lab.domain.trace.logs.cloudevents import is_event

ENVELOPE = "let Debezium read the database, or write one row a change with its key, its time and whether it is deleted"


def _has(*names: str) -> Callable[[dict[str, Any]], bool]:
    return lambda value: set(names) <= value.keys()


def _cockroach(value: dict[str, Any]) -> bool:
    if value.keys() == {"resolved"}:
        return True
    return (
        "after" in value
        and value.keys() <= {"after", "before", "key", "updated", "mvcc_timestamp", "topic"}
        and ("updated" in value or isinstance(value.get("key"), list))
    )


def _airbyte(value: dict[str, Any]) -> bool:
    record = value.get("record") if value.get("type") == "RECORD" else None
    return isinstance(record, dict) and record.keys() >= {"stream", "data", "emitted_at"}


# By structure: the name, and the way out.
KNOWN: tuple[tuple[Callable[[dict[str, Any]], bool], str, str], ...] = (
    (_has("dynamodb", "eventName"), "a stream of DynamoDB", ENVELOPE),
    (_has("operationType", "ns", "documentKey"), "MongoDB's own change stream", "let Debezium read the database"),
    (_has("op_type", "op_ts", "pos"), "a trail of Oracle GoldenGate", ENVELOPE),
    (_cockroach, "a changefeed of CockroachDB", ENVELOPE),
    (_airbyte, "Airbyte's protocol", "write its `record.data` as rows: jq -c 'select(.type==\"RECORD\").record.data'"),
    (_has("magic", "message", "headers"), "Qlik Replicate (Attunity)", ENVELOPE),
    (_has("read_timestamp", "source_metadata", "payload"), "Google Datastream", "write its `payload` as rows"),
    (_has("data_change_record"), "a change stream of Cloud Spanner", ENVELOPE),
    (_has("_change_type", "_commit_version"), "Delta Lake's change data feed", ENVELOPE),
    (_has("__$operation", "__$start_lsn"), "SQL Server's table of changes", ENVELOPE),
    (_has("commitTs", "schemaVersion", "type"), "TiCDC's simple protocol", "let TiCDC write canal-json"),
    (is_event, "CloudEvents without a change in `data`", "write their `data` as rows: jq -c .data"),
)


def unsupported(value: Any) -> tuple[str, str] | None:
    """Return the name of a format that is known and not supported, and the way out; None for any other value."""
    if not isinstance(value, dict):
        return None
    return next(((name, way_out) for fits, name, way_out in KNOWN if fits(value)), None)

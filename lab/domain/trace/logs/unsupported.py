"""Change logs that are known and not read: each is refused by its name, with the way out, and not taken for rows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from lab.domain.trace.logs.cloudevents import is_event
from lab.domain.trace.logs.messages import TopicMessage

ENVELOPE = "let Debezium read the database, or write one row a change with its key, its time and whether it is deleted"
EXPORT = "write its records as rows of plain values"
# The types of DynamoDB's attributes.
ATTRIBUTES = frozenset(("S", "N", "B", "BOOL", "NULL", "M", "L", "SS", "NS", "BS"))
# What a change may be called, in small letters, and where its record stands; of these, what no plain row is called.
WORDS = frozenset((
    "insert", "update", "delete", "i", "u", "d", "c", "r", "create", "read", "snapshot", "modify", "remove", "upsert",
    "replace", "truncate", "inserted", "updated", "deleted", "created", "removed", "+i", "-u", "+u", "-d", "ins", "upd",
    "del", "load", "pk update", "refresh",
))  # fmt: skip
CHANGING = WORDS - {"c", "r", "create", "created", "read", "snapshot", "i", "load"}
RECORDS = frozenset((
    "after", "before", "new", "old", "data", "record", "row", "payload", "newimage", "oldimage", "values", "columns",
    "document", "fulldocument", "current", "previous", "image", "fields", "item", "o", "new_row", "old_row", "body",
    "new_values", "old_values", "newvalues", "oldvalues", "beforedata", "afterdata",
))  # fmt: skip
Test = Callable[[dict[str, Any]], bool]


def _has(*names: str) -> Test:
    return lambda value: set(names) <= value.keys()


def _inside(name: str, *names: str) -> Test:
    """Return the test that an object stands under a name, and has these names."""
    return lambda value: isinstance(value.get(name), dict) and set(names) <= value[name].keys()


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


def _is_attribute(value: Any) -> bool:
    return isinstance(value, dict) and len(value) == 1 and next(iter(value)) in ATTRIBUTES


def _attributes(value: Any) -> bool:
    """Return whether an object has attributes of DynamoDB, each with its type, and nothing else."""
    return isinstance(value, dict) and bool(value) and all(map(_is_attribute, value.values()))


def _dynamodb(value: dict[str, Any]) -> bool:
    parts = ("Item", "NewImage", "OldImage", "Keys")
    return _attributes(value) or any(_attributes(value.get(name)) for name in parts)


def _oplog(value: dict[str, Any]) -> bool:
    return value.keys() >= {"ts", "op", "ns", "o"} and value["op"] in ("i", "u", "d", "c", "n")


def _opencdc(value: dict[str, Any]) -> bool:
    told = value.get("metadata")
    return value.keys() >= {"position", "operation", "payload"} or (
        isinstance(told, dict) and any(name.startswith("opencdc.") for name in told)
    )


def _connector(*names: str) -> Test:
    return lambda value: isinstance(value.get("source"), dict) and value["source"].get("connector") in names


def _salesforce(value: dict[str, Any]) -> bool:
    inner = value.get("data")
    inner = inner if isinstance(inner, dict) else value
    return any("ChangeEventHeader" in one for one in (value, inner, inner.get("payload")) if isinstance(one, dict))


def _bulk(value: dict[str, Any]) -> bool:
    """Return whether it is a line of Elasticsearch's bulk format that says what is done."""
    if len(value) != 1:
        return False
    ((name, inner),) = value.items()
    return name in ("index", "create", "update", "delete") and isinstance(inner, dict) and "_index" in inner


# By structure: the name, and the way out.
KNOWN: tuple[tuple[Test, str, str], ...] = (
    (_has("dynamodb", "eventName"), "a stream of DynamoDB", ENVELOPE),
    (_dynamodb, "DynamoDB's JSON, in which each value stands with its type", f"{EXPORT}, without their types"),
    (_has("operationType", "ns", "documentKey"), "MongoDB's own change stream", "let Debezium read the database"),
    (_has("operationType", "clusterTime", "ns"), "MongoDB's own change stream", "let Debezium read the database"),
    (_oplog, "MongoDB's oplog", "let Debezium read the database"),
    (_has("op_type", "op_ts"), "a trail of Oracle GoldenGate", ENVELOPE),
    (_cockroach, "a changefeed of CockroachDB", ENVELOPE),
    (_airbyte, "Airbyte's protocol", "write its `record.data` as rows: jq -c 'select(.type==\"RECORD\").record.data'"),
    (_has("magic", "message", "headers"), "Qlik Replicate (Attunity)", ENVELOPE),
    (_has("read_timestamp", "source_metadata", "payload"), "Google Datastream", "write its `payload` as rows"),
    (_has("data_change_record"), "a change stream of Cloud Spanner", ENVELOPE),
    (_has("mods", "commitTimestamp", "modType"), "a change stream of Cloud Spanner", ENVELOPE),
    (_has("commitTs", "buildTs", "type"), "TiCDC's simple protocol", "let TiCDC write canal-json"),
    (_has("commitTs", "schemaVersion", "type"), "TiCDC's simple protocol", "let TiCDC write canal-json"),
    (_opencdc, "OpenCDC (Conduit)", ENVELOPE),
    (_inside("metadata", "OperationName"), "Striim", ENVELOPE),
    (_inside("kinesis", "data"), "records of Amazon Kinesis, with their data in base64", "decode their `data`"),
    (_has("recordId", "data", "approximateArrivalTimestamp"), "records of Amazon Firehose, with their data in base64",
     "decode their `data`"),
    (_has("SequenceNumber", "Data", "PartitionKey"), "records of Amazon Kinesis, with their data in base64",
     "decode their `Data`"),
    (_salesforce, "change events of Salesforce", ENVELOPE),
    (_inside("event", "op", "data"), "an event trigger of Hasura", ENVELOPE),
    (_has("type", "table", "record", "old_record"), "a webhook of Supabase", ENVELOPE),
    (_has("record", "action", "changes", "metadata"), "Sequin", ENVELOPE),
    (_inside("_meta", "op"), "Estuary Flow", ENVELOPE),
    (_inside("metadata", "operationType", "lsn"), "the change feed of Azure Cosmos DB", ENVELOPE),
    (_bulk, "Elasticsearch's bulk format", "export the index as JSON lines"),
    (is_event, "CloudEvents without a change in `data`", "write their `data` as rows: jq -c .data"),
)  # fmt: skip
# Connectors whose envelopes look like Debezium's, and have cells in the place of values.
CONNECTORS: tuple[tuple[Test, str, str], ...] = (
    (_connector("cassandra"), "Debezium's connector for Cassandra", "write the cells' values as rows"),
    (_connector("yugabytedb"), "YugabyteDB's connector", "let it write flattened events (YBExtractNewRecordState)"),
)
# Of tables, by the names of their columns.
TABLES: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset(("_change_type", "_commit_version")), "Delta Lake's change data feed"),
    (frozenset(("__$operation", "__$start_lsn")), "SQL Server's table of changes"),
    (frozenset(("header__change_seq", "header__change_oper")), "a change table of Qlik Replicate (Attunity)"),
    (frozenset(("op_type", "op_ts", "current_ts")), "a trail of Oracle GoldenGate"),
    (frozenset(("METADATA$ACTION", "METADATA$ISUPDATE")), "a stream of Snowflake"),
)


def unsupported(message: TopicMessage) -> tuple[str, str] | None:
    """Return the name of a format that is known and not supported, and the way out; None for any other message."""
    key, value = message.key, message.value
    if isinstance(key, dict) and {"ts", "t"} <= key.keys() <= {"ts", "t", "scm", "tbl", "ptn"}:
        return "TiCDC's open protocol", "let TiCDC write canal-json"
    if not isinstance(value, dict):
        return None
    if isinstance(key, list) and value.keys() & {"after", "resolved"}:
        return "a changefeed of CockroachDB", ENVELOPE
    return unsupported_value(value) or unsupported_table(value)


def unsupported_connector(value: Any) -> tuple[str, str] | None:
    """Return the same of a change in Debezium's envelope whose values are none."""
    if not isinstance(value, dict):
        return None
    after = value.get("after") or value.get("before")
    cells = isinstance(after, dict) and any(isinstance(one, dict) and "value" in one for one in after.values())
    return next(((name, way_out) for fits, name, way_out in CONNECTORS if cells and fits(value)), None)


def unsupported_value(value: Any) -> tuple[str, str] | None:
    """Return the same of an object by itself."""
    if not isinstance(value, dict):
        return None
    return next(((name, way_out) for fits, name, way_out in KNOWN if fits(value)), None)


def unsupported_table(columns: Collection[str]) -> tuple[str, str] | None:
    """Return the same of a table, by the names of its columns."""
    return next(((name, ENVELOPE) for names, name in TABLES if names.issubset(columns)), None)


def unknown_changes(values: Sequence[Any]) -> tuple[str, str] | None:
    """Return what is said of objects that seem to be changes in a format that the lab doesn't know; else None.

    A word of each says what was done, and its record stands in an object beside it.
    """
    if not values or not all(isinstance(one, dict) for one in values):
        return None
    flat = [_words(one) for one in values]
    for name in flat[0]:
        said = {str(one.get(name)).lower() for one in flat}
        if not said <= WORDS or not said & CHANGING:
            continue
        inside = [one for one in values[0] if one.lower() in RECORDS and _holds(values, one)]
        if inside:
            done = f"`{name}` says what was done ({', '.join(sorted(said))}), and the record stands in `{inside[0]}`"
            row = f"jq -c '.{inside[0]} + {{op: .{name}}}'"
            return f"changes in a format that the lab doesn't know: {done}", f"{ENVELOPE}, such as {row}"
    return None


def _words(value: Mapping[str, Any]) -> dict[str, str]:
    """Return the texts of an object and of the objects in it, by their names."""
    found = {name: one for name, one in value.items() if isinstance(one, str)}
    for name, inner in value.items():
        if isinstance(inner, dict) and name.lower() not in RECORDS:
            found |= {f"{name}.{deeper}": one for deeper, one in inner.items() if isinstance(one, str)}
    return found


def _holds(values: Sequence[Mapping[str, Any]], name: str) -> bool:
    """Return whether something stands under a name, and nothing but objects."""
    found = [one[name] for one in values if one.get(name) is not None]
    return bool(found) and all(isinstance(one, dict) for one in found)

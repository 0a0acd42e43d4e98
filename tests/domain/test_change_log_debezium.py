"""Debezium's logs: every connector's order and types, what is unchanged, sent again or truncated."""

from __future__ import annotations

import base64
import json
from decimal import Decimal
from typing import Any

import pytest
from owndata import refused
from reading_logs import envelope, read, write

pytestmark = pytest.mark.usefixtures("here")

# --- order and identity ----------------------------------------------------------------------------------------------

MYSQL = ({"file": "bin.000009", "pos": 900, "row": 0}, {"file": "bin.000010", "pos": 4, "row": 0},
         {"file": "bin.000010", "pos": 4, "row": 1})  # fmt: skip
POSTGRESQL = tuple({"lsn": lsn, "txId": lsn} for lsn in (9, 10, 100))
SQL_SERVER = tuple(
    {"change_lsn": f"00000027:0000{n}:0002", "commit_lsn": f"00000027:0000{n}:0003", "event_serial_no": 1}
    for n in ("0ac0", "1000", "a000")
)
ORACLE = tuple({"scn": scn, "commit_scn": scn, "txId": scn, "rs_id": "x", "ssn": 0} for scn in ("9", "10", "100"))
MONGODB = tuple({"connector": "mongodb", "ord": n, "collection": "t"} for n in (9, 10, 100))


@pytest.mark.parametrize("places", [MYSQL, POSTGRESQL, SQL_SERVER, ORACLE, MONGODB])
def test_a_records_changes_are_in_the_order_of_the_databases_log(places: tuple[dict[str, Any], ...]) -> None:
    events = [envelope("c" if n == 0 else "u", {"id": 1, "v": n}, 0, source=place) for n, place in enumerate(places)]
    found = read(write("t.ndjson", events[2], events[0], events[1]))
    assert [value for *_, value in found.rows("v")] == [0, 1, 2]
    assert found.says("in another order than the database's log")


@pytest.mark.parametrize("places", [MYSQL, POSTGRESQL, SQL_SERVER, ORACLE, MONGODB])
def test_a_change_that_is_sent_again_is_one(places: tuple[dict[str, Any], ...]) -> None:
    events = [envelope("c" if n == 0 else "u", {"id": 1, "v": n}, n, source=place) for n, place in enumerate(places)]
    again = [{**event, "ts_ms": event["ts_ms"] + 99_000} for event in events]
    found = read(write("t.ndjson", *events, *again[1:], envelope("u", {"id": 1, "v": 3}, 9, source={"lsn": 1_000})))
    assert [value for *_, value in found.rows("v")] == [0, 1, 2, 3]
    assert found.says("sent again", ": 2.")


def test_rows_of_one_place_in_the_log_are_changes_of_their_own() -> None:
    events = [envelope("c", {"id": n, "v": 0}, 0, source={"lsn": 7, "txId": 1}) for n in range(5)]
    assert read(write("t.ndjson", *events, *events)).told["rows"] == 5


def test_without_places_nothing_is_taken_for_sent_again() -> None:
    events = [envelope("u", {"id": 1, "v": n % 2}, 0) for n in range(4)]
    assert [value for *_, value in read(write("t.ndjson", *events)).rows("v")] == [0, 1, 0, 1]


def test_places_that_start_again_after_a_restore_dont_decide() -> None:
    lines = [envelope("u", {"id": 1, "v": n}, 1_000 * n, source={"lsn": lsn}) for n, lsn in enumerate((500, 600, 7, 8))]
    found = read(write("t.ndjson", *lines))
    assert [value for *_, value in found.rows("v")] == [0, 1, 2, 3]


def test_files_behind_one_another_are_merged_by_commit_time() -> None:
    one, other = ([envelope("c", {"id": 10 * n + k, "v": k}, 1_000 * n + k) for n in range(3)] for k in (1, 2))
    found = read(write("t.ndjson", *one, *other))
    assert [key for key, *_ in found.rows()] == [1, 2, 11, 12, 21, 22]


def test_a_transaction_stays_together_and_has_one_time() -> None:
    def line(key: int, transaction: str, at: int) -> dict[str, Any]:
        return envelope("c", {"id": key}, at, transaction={"id": transaction})

    # As partitions of a topic mix them; MySQL gives each change its own time.
    found = read(write("t.ndjson", line(1, "a", 0), line(2, "b", 0), line(3, "a", 5), line(4, "b", 0), line(5, "c", 9)))
    assert [key for key, *_ in found.rows()] == [1, 3, 2, 4, 5]
    assert found.seconds() == [0.0, 0.0, 0.0, 0.0, 0.009]


def test_a_log_without_commit_times_says_so() -> None:
    lines = [{"before": None, "after": {"id": n}, "op": "c", "ts_ms": 1_700_000_000_000 + at, "source": {}}
             for n, at in enumerate((0, 50, 20, 90))]  # fmt: skip
    found = read(write("t.ndjson", *lines))
    assert found.seconds() == [0.0, 0.05, 0.05, 0.09]
    assert found.says("read earlier", ": 1.")
    assert "the connector read it" in found.told["guessed"]["time"]["why"]


# --- several tables --------------------------------------------------------------------------------------------------


def several() -> list[dict[str, Any]]:
    def of(table: str, state: dict[str, Any], at: int, op: str = "c") -> dict[str, Any]:
        source = {"db": "shop", "schema": "public", "table": table, "lsn": 100 + at, "txId": at // 2}
        return envelope(op, state, 1_000 * (at // 2), source=source)

    return [
        of("orders", {"id": 1, "total": 5}, 0), of("lines", {"no": 1, "order_id": 1}, 1),
        of("orders", {"id": 2, "total": 6}, 2), of("lines", {"no": 2, "order_id": 2}, 3),
        of("orders", {"id": 1, "total": 7}, 4, "u"), of("lines", {"no": 1, "order_id": 1}, 5, "d"),
    ]  # fmt: skip


def test_tables_of_one_log_are_never_mixed() -> None:
    log = write("shop.ndjson", *several())
    found = read(log)
    assert set(found.frames) == {"orders", "lines"}
    assert found.states("orders") == {1: (2, False, {"id": 1, "total": 7}), 2: (1, False, {"id": 2, "total": 6})}
    assert found.states("lines") == {1: (2, True, {"no": 1, "order_id": 1}), 2: (1, False, {"no": 2, "order_id": 2})}
    assert [found.frames[name]["position"].to_list() for name in ("orders", "lines")] == [[1, 3, 5], [2, 4, 6]]


@pytest.mark.parametrize("options", [("--entity", "lines"), ()])
def test_one_table_of_a_log_can_be_chosen(options: tuple[str, ...]) -> None:
    write("shop.ndjson", *several())
    found = read("shop.ndjson" if options else "shop.ndjson:public.lines", *options)
    assert (found.told["rows"], found.told["records"]) == (3, 2)
    assert "name one" not in str(found.told)


def test_tables_of_one_name_in_two_schemas_are_two() -> None:
    lines = [envelope("c", {"id": 1, "v": n}, n, source={"schema": schema}) for n, schema in enumerate(("a", "b"))]
    log = write("x.ndjson", *lines)
    assert "no table of this log is called `c.t`" in refused(f"{log}:c.t")
    found = read(log)
    assert sorted(frame["v"].to_list() for frame in found.frames.values()) == [[0], [1]]


# --- values ----------------------------------------------------------------------------------------------------------


def with_schema(fields: list[dict[str, Any]], state: dict[str, Any]) -> dict[str, Any]:
    after = {"type": "struct", "field": "after", "optional": True, "fields": fields}
    return {"schema": {"type": "struct", "name": "t.Envelope", "fields": [after]}, "payload": envelope("c", state)}


def encoded(unscaled: int) -> str:
    length = max(1, (unscaled.bit_length() + 8) // 8)
    return base64.b64encode(unscaled.to_bytes(length, "big", signed=True)).decode()


KAFKA, TIME = "org.apache.kafka.connect.data.", "io.debezium.time."
SCALE = {"parameters": {"scale": "2"}}


@pytest.mark.parametrize(
    ("kind", "name", "more", "value", "expected"),
    [
        ("bytes", f"{KAFKA}Decimal", SCALE, encoded(-1025), Decimal("-10.25")),
        ("bytes", f"{KAFKA}Decimal", SCALE, encoded(2**70 + 1), str((2**70 + 1) // 100) + "." + str((2**70 + 1) % 100)),
        ("bytes", f"{KAFKA}Decimal", {"parameters": {"scale": "0"}}, encoded(-(2**63)), -(2**63)),
        ("struct", "io.debezium.data.VariableScaleDecimal", {}, {"scale": 3, "value": encoded(1500)}, Decimal("1.500")),
        ("int32", f"{TIME}Date", {}, -1, "1969-12-31"),
        ("int32", f"{KAFKA}Date", {}, 19001, "2022-01-09"),
        ("int64", f"{TIME}Timestamp", {}, 1_700_000_000_123, "2023-11-14T22:13:20.123"),
        ("int64", f"{TIME}MicroTimestamp", {}, -1, "1969-12-31T23:59:59.999999"),
        ("int64", f"{TIME}NanoTimestamp", {}, 1_700_000_000_000_000_001, "2023-11-14T22:13:20.000000001"),
        ("int64", f"{TIME}MicroTime", {}, 3_600_000_000, "01:00:00"),
        ("int32", f"{KAFKA}Time", {}, 86_399_999, "23:59:59.999"),
        ("string", f"{TIME}ZonedTimestamp", {}, "2024-01-01T00:00:00+02:00", "2024-01-01T00:00:00+02:00"),
        ("string", "io.debezium.data.Enum", {"parameters": {"allowed": "a,b"}}, "b", "b"),
        ("string", "io.debezium.data.Json", {}, '{"a": 1}', '{"a": 1}'),
        ("bytes", "io.debezium.data.Bits", {"parameters": {"length": "12"}}, base64.b64encode(b"\x05\x08").decode(),
         "100000000101"),
        ("bytes", None, {}, base64.b64encode(b"\x00\xff").decode(), "00ff"),
        ("int64", None, {}, 2**63 - 1, 2**63 - 1),
        ("int64", None, {}, 2**63, str(2**63)),
        ("double", None, {}, 0.1, 0.1),
        ("double", None, {}, "NaN", None),
        ("array", None, {"items": {"type": "int32", "name": f"{TIME}Date"}}, [0, 1], '["1970-01-01","1970-01-02"]'),
    ],
)  # fmt: skip
def test_a_schemas_types_are_honoured(
    kind: str, name: str | None, more: dict[str, Any], value: Any, expected: Any
) -> None:
    fields = [
        {"type": "int32", "field": "id"},
        {"type": kind, "field": "v", **({"name": name} if name else {}), **more},
    ]
    found = read(write("t.ndjson", with_schema(fields, {"id": 1, "v": value})))
    (state,) = (state for _, _, state in found.states().values())
    assert state["v"] == expected
    assert type(state["v"]) is type(expected)


def test_numbers_keep_every_digit_or_are_text_and_said() -> None:
    numbers = ["0.1", "1234567890123456789.25", "1e3"]
    lines = [json.dumps(envelope("c", {"id": n})).replace(f'"id": {n}', f'"id": {n}, "v": {text}')
             for n, text in enumerate(numbers)]  # fmt: skip
    found = read(write("t.ndjson", *lines))
    assert [Decimal(value) for *_, value in found.rows("v")] == list(map(Decimal, numbers))
    assert found.says("`v`", "more digits than a float keeps")


@pytest.mark.parametrize(
    "placeholder",
    ["__debezium_unavailable_value", base64.b64encode(b"__debezium_unavailable_value").decode(),
     ["__debezium_unavailable_value"]],
)  # fmt: skip
def test_an_unchanged_large_value_is_the_records_last(placeholder: Any) -> None:
    def line(op: str, key: int, name: str, bio: Any, at: int) -> dict[str, Any]:
        return envelope(op, {"id": key, "name": name, "bio": bio}, at)

    found = read(write(
        "t.ndjson", line("c", 1, "a", "first", 0), line("u", 1, "b", placeholder, 1), line("u", 1, "c", "second", 2),
        line("u", 1, "d", placeholder, 3), line("u", 2, "x", placeholder, 4), line("d", 1, "d", placeholder, 5),
        line("c", 1, "e", None, 6), line("u", 1, "f", placeholder, 7),
    ))  # fmt: skip
    assert found.rows("bio") == [
        (1, False, "first"), (1, False, "first"), (1, False, "second"), (1, False, "second"), (2, False, None),
        (1, True, "second"), (1, False, None), (1, False, None),
    ]  # fmt: skip
    assert found.says("`bio`", "of records without an earlier one", ": 1.")


# --- what is done to records -----------------------------------------------------------------------------------------


def test_a_truncation_deletes_what_is_alive_and_nothing_else() -> None:
    states = [{"id": n, "v": n} for n in range(4)]
    found = read(write(
        "t.ndjson", *(envelope("c", state, n) for n, state in enumerate(states)), envelope("d", states[0], 10),
        envelope("t", None, 11), envelope("c", states[1], 12), envelope("t", None, 13), envelope("c", states[2], 14),
        envelope("t", None, 15), envelope("t", None, 16),
    ))  # fmt: skip
    assert found.rows() == [
        (0, False), (1, False), (2, False), (3, False), (0, True), (1, True), (2, True), (3, True), (1, False),
        (1, True), (2, False), (2, True),
    ]  # fmt: skip
    assert found.seconds()[4:] == [0.01, 0.011, 0.011, 0.011, 0.012, 0.013, 0.014, 0.015]


def test_a_changed_key_is_a_deletion_and_a_new_record() -> None:
    key = {"key": {"id": 1}, "value": envelope("d", {"id": 1, "v": 5}, 5, source={"lsn": 3})}
    found = read(write(
        "t.ndjson", {"key": {"id": 1}, "value": envelope("c", {"id": 1, "v": 5}, 0, source={"lsn": 1})}, key,
        {"key": {"id": 1}, "value": None},
        {"key": {"id": 9}, "value": envelope("c", {"id": 9, "v": 5}, 5, source={"lsn": 3})},
    ))  # fmt: skip
    assert found.rows("v") == [(1, False, 5), (1, True, 5), (9, False, 5)]


def test_reads_of_an_incremental_snapshot_are_states() -> None:
    def line(op: str, key: int, v: int, at: int, **source: Any) -> dict[str, Any]:
        return envelope(op, {"id": key, "v": v}, at, source=source)

    found = read(write(
        "t.ndjson", line("c", 1, 1, 0, lsn=10), line("r", 2, 7, 1, snapshot="incremental"),
        line("r", 1, 1, 1, snapshot="incremental"), line("u", 1, 2, 2, lsn=20),
    ))  # fmt: skip
    assert found.rows("v") == [(1, False, 1), (2, False, 7), (1, False, 1), (1, False, 2)]


def test_what_carries_no_change_is_passed_over_and_counted() -> None:
    found = read(write(
        "t.ndjson", {"ts_ms": 1_700_000_000_000}, {"source": {}, "databaseName": "d", "ddl": "CREATE TABLE t (id INT)"},
        envelope("c", {"id": 1}), "null",
    ))  # fmt: skip
    assert found.told["rows"] == 1
    for words in ("heartbeats: 1", "changes of a table's columns: 1", "tombstones without a key: 1"):
        assert found.says(words)


def test_mongodb_tells_whole_documents_or_fields() -> None:
    def line(op: str, at: int, after: dict[str, Any] | None, **more: Any) -> dict[str, Any]:
        value = {
            "before": None,
            "after": after and json.dumps(after),
            "op": op,
            "ts_ms": 1_700_000_000_000 + at,
            "source": {"connector": "mongodb", "collection": "people", "ts_ms": 1_700_000_000_000 + at},
            **more,
        }
        return {"key": {"id": '{"$oid": "65f0"}'}, "value": value}  # fmt: skip

    first = {
        "_id": {"$oid": "65f0"}, "n": {"$numberLong": str(2**53 + 1)}, "at": {"$date": 1_700_000_000_123},
        "price": {"$numberDecimal": "10.25"}, "in": {"a": [1, {"$numberInt": "2"}]},
        "raw": {"$binary": {"base64": "AP8="}},
    }  # fmt: skip
    part = {"updatedFields": json.dumps({"in.a": 5})}
    said = refused(str(write("part.ndjson", line("c", 0, first), line("u", 1, None, updateDescription=part))))
    assert "line 2: an update of a part of a field" in said
    told = {"updatedFields": json.dumps({"n": {"$numberLong": "7"}}), "removedFields": ["price"]}
    found = read(
        write("people.ndjson", line("c", 0, first), line("u", 1, None, updateDescription=told), line("d", 2, None))
    )
    assert found.rows("n", "price", "at", "in", "raw") == [
        ("65f0", gone, n, price, "2023-11-14T22:13:20.123Z", '{"a":[1,2]}', "00ff")
        for gone, n, price in ((False, 2**53 + 1, 10.25), (False, 7, None), (True, 7, None))
    ]


# --- what stands around changes --------------------------------------------------------------------------------------


def consumed(offset: int, value: Any, key: Any) -> list[Any]:
    """A message as consumers write it."""
    text, beside = (None if value is None else json.dumps(value)), json.dumps(key)
    base = {"offset": offset, "partition": 0}
    return [
        {"topic": "s.public.t", **base, "tstype": "create", "ts": 1, "broker": 0, "key": beside, "payload": text},
        {**base, "timestamp": 1, "key": beside, "content": text},
        {"Value": text, "Offset": offset, "Key": beside, "Partition": 0, "Headers": {},
         "Timestamp": "2024-01-01T00:00:00Z"},
        {"topic": "s.public.t", "key": beside, "value": text, "timestamp": 1, **base},
        {"key": key, "value": value},
        {"key": {"schema": {}, "payload": key}, "value": value and {"schema": {}, "payload": value}},
        f"{beside}\t{text or 'null'}",
        f"CreateTime:170000000000{offset}\tPartition:0\tOffset:{offset}\t{beside}\t{text or 'null'}",
        f"CreateTime:170000000000{offset}\tNO_HEADERS\t{beside}\t{text or 'null'}",
        f"{beside}|{text or 'null'}",
    ]  # fmt: skip


@pytest.mark.parametrize("how", range(10))
def test_consumers_write_messages_in_many_ways(how: int) -> None:
    messages: list[tuple[Any, Any]] = [
        (envelope("c", {"id": 1, "v": 1}, 0), {"id": 1}), (envelope("c", {"id": 2, "v": 1}, 1), {"id": 2}),
        (envelope("d", {"id": 1, "v": 1}, 2), {"id": 1}), (None, {"id": 1}), (None, {"id": 2}),
    ]  # fmt: skip
    log = write("t.ndjson", *(consumed(n, value, key)[how] for n, (value, key) in enumerate(messages)))
    found = read(log)
    assert found.told["format"] == "debezium"
    assert found.rows("v") == [(1, False, 1), (2, False, 1), (1, True, 1), (2, True, 1)]


def test_a_consumer_that_shows_the_newest_first_changes_nothing() -> None:
    lines = [consumed(n, envelope("u", {"id": 1, "v": n}, 0), {"id": 1})[0] for n in range(12)]
    found = read(write("t.ndjson", *reversed(lines)))
    assert [value for *_, value in found.rows("v")] == list(range(12))

"""Change logs of other tools: flattened events, Maxwell, Canal, wal2json, Singer, DMS, and what is refused."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from owndata import refused
from reading_logs import envelope, read, write
from running import call

pytestmark = pytest.mark.usefixtures("here")

# --- rows of a topic -------------------------------------------------------------------------------------------------


def test_flattened_events_have_deletions_in_every_form() -> None:
    def row(key: int, v: int | None, op: str, at: int, **more: Any) -> dict[str, Any]:
        return {"id": key, "v": v, "__op": op, "__source_ts_ms": 1_700_000_000_000 + at, "__lsn": at, **more}

    found = read(write(
        "t.ndjson", row(1, 1, "c", 1), row(2, 2, "c", 2), row(3, 3, "r", 3), row(1, None, "d", 4, __deleted="true"),
        row(2, None, "d", 5), row(2, None, "d", 5), row(1, 9, "c", 6, __deleted="false"),
    ))  # fmt: skip
    assert found.rows("v") == [
        (1, False, 1), (2, False, 2), (3, False, 3), (1, True, 1), (2, True, 2), (1, False, 9),
    ]  # fmt: skip
    assert found.only.columns[-2:] == ["v", "event"]
    assert found.says("sent again", ": 1.")


def test_a_topic_of_rows_beside_their_keys_has_tombstones() -> None:
    lines: list[Any] = [
        {"key": {"id": n}, "value": value}
        for n, value in ((1, {"id": 1, "v": 1}), (2, {"id": 2, "v": 1}), (1, {"id": 1, "v": 2}), (2, None))
    ]
    found = read(write("t.ndjson", *lines))
    assert (found.told["format"], found.rows("v")) == (
        "flattened", [(1, False, 1), (2, False, 1), (1, False, 2), (2, True, 1)],
    )  # fmt: skip
    assert found.told["guessed"]["key"]["columns"] == ["id"]


def test_rows_with_a_schema_are_the_payload() -> None:
    schema = {"type": "struct", "name": "t", "fields": [{"field": "id", "type": "int32"},
              {"field": "day", "type": "int32", "name": "io.debezium.time.Date"}]}  # fmt: skip
    found = read(write("t.ndjson", *({"schema": schema, "payload": {"id": n, "day": n}} for n in range(2))))
    assert found.rows("day") == [(0, False, "1970-01-01"), (1, False, "1970-01-02")]


def test_columns_called_key_and_value_stay_columns() -> None:
    found = read(write("t.ndjson", *({"key": f"k{n}", "value": n} for n in range(3))))
    assert (found.told["format"], found.only["value"].to_list()) == ("ndjson", [0, 1, 2])


# --- Maxwell and Canal -----------------------------------------------------------------------------------------------


def maxwell(kind: str, data: dict[str, Any], at: int, **more: Any) -> dict[str, Any]:
    return {"database": "shop", "table": "t", "type": kind, "ts": 1_700_000_000 + at, "xid": at, "commit": True,
            "data": data, **more}  # fmt: skip


def test_maxwell_has_bootstraps_definitions_changed_keys_and_partial_updates() -> None:
    found = read(write(
        "t.ndjson", {"database": "shop", "table": "t", "type": "table-create", "ts": 1, "def": {}},
        {"database": "shop", "table": "t", "type": "bootstrap-start", "ts": 1_700_000_000, "data": {}},
        maxwell("bootstrap-insert", {"id": 1, "v": 1, "w": "a"}, 0), maxwell("insert", {"id": 2, "v": 2, "w": "b"}, 1),
        maxwell("update", {"id": 1, "v": 5}, 2, old={"v": 1}),
        maxwell("update", {"id": 7, "v": 2, "w": "b"}, 3, old={"id": 2}), maxwell("delete", {"id": 7}, 4),
        maxwell("delete", {"id": 7}, 4), maxwell("insert", {"id": 8, "v": 0, "w": ""}, 5),
    ), "--key", "id")  # fmt: skip
    assert found.rows("v", "w") == [
        (1, False, 1, "a"), (2, False, 2, "b"), (1, False, 5, "a"), (2, True, 2, "b"), (7, False, 2, "b"),
        (7, True, 2, "b"), (7, True, 2, "b"), (8, False, 0, ""),
    ]  # fmt: skip
    assert found.says("`w`", "leaves out as unchanged")
    assert found.says("another key", ": 1.")
    assert found.says("marks of a bootstrap", ": 1.")


def test_maxwell_sent_again_is_one_and_its_transactions_have_one_time() -> None:
    lines = [
        maxwell("insert", {"id": n}, n // 2, xid=n // 2, xoffset=n % 2, position=f"master.000006:{n // 2}")
        for n in range(6)
    ]
    found = read(write("t.ndjson", *lines, *lines[2:]))
    assert [key for key, *_ in found.rows()] == list(range(6))
    plain = [maxwell("update", {"id": 1, "v": n % 2}, n // 3, xid=n // 3) for n in range(6)]
    # Without places, a change of the same transaction is sent again only if another one lies between.
    assert read(write("u.ndjson", *plain, *plain[:3]), name="other").told["rows"] == 6


def test_canal_has_several_rows_truncations_and_types() -> None:
    def line(kind: str, rows: list[dict[str, Any]] | None, at: int, ddl: bool = False, **more: Any) -> dict[str, Any]:
        return {"data": rows, "database": "d", "es": 1_580_000_000_000 + at, "id": at, "isDdl": ddl, "old": None,
                "mysqlType": {"id": "bigint unsigned", "v": "decimal(10,2)", "w": "varchar(9)"}, "pkNames": ["id"],
                "sql": "", "table": "t", "ts": 1_580_000_009_000, "type": kind, **more}  # fmt: skip

    rows = [{"id": "1", "v": "0.10", "w": "007"}, {"id": "2", "v": None, "w": "x"}]
    found = read(write(
        "t.ndjson", line("CREATE", None, 0, True), line("INSERT", rows, 1),
        line("UPDATE", [{**rows[0], "id": "5"}], 2, old=[{"id": "1"}]), line("TRUNCATE", None, 3, True),
        line("INSERT", rows[:1], 4),
    ))  # fmt: skip
    cents = Decimal("0.10")
    assert found.rows("v", "w") == [
        (1, False, cents, "007"), (2, False, None, "x"), (1, True, cents, "007"), (5, False, cents, "007"),
        (2, True, None, "x"), (5, True, cents, "007"), (1, False, cents, "007"),
    ]  # fmt: skip
    assert found.seconds()[:2] == [0.0, 0.0]


def test_a_decimal_without_a_fraction_is_a_whole_number_and_a_key_of_it_is_one() -> None:
    line = {"data": [{"id": "5", "n": "12"}], "database": "d", "es": 1_580_000_000_000, "id": 1, "isDdl": False,
            "old": None, "mysqlType": {"id": "decimal(20,0)", "n": "decimal(9,0)"}, "pkNames": ["id"], "sql": "",
            "table": "t", "ts": 1_580_000_009_000, "type": "INSERT"}  # fmt: skip
    found = read(write("t.ndjson", line))
    assert found.rows("n") == [(5, False, 12)]


# --- wal2json --------------------------------------------------------------------------------------------------------


def test_wal2json_of_format_1_has_a_transaction_on_each_line() -> None:
    def values(kind: str, **state: Any) -> dict[str, Any]:
        types = ["integer" if isinstance(value, int) else "text" for value in state.values()]
        return {"kind": kind, "schema": "public", "table": "t", "columnnames": list(state), "columntypes": types,
                "columnvalues": list(state.values())}  # fmt: skip

    def old(**state: Any) -> dict[str, Any]:
        return {
            "oldkeys": {
                "keynames": list(state),
                "keytypes": ["integer"] * len(state),
                "keyvalues": list(state.values()),
            }
        }

    def transaction(second: int, *changes: dict[str, Any]) -> dict[str, Any]:
        return {
            "xid": second,
            "timestamp": f"2024-01-01 01:00:0{second}.5+01",
            "nextlsn": f"0/{second + 1}",
            "change": list(changes),
        }

    lines = [
        transaction(0, values("insert", id=1, v="a"), values("insert", id=2, v="b")),
        transaction(
            1, {**values("update", id=9, v="c"), **old(id=1)}, {"kind": "message", "prefix": "x", "content": "y"}
        ),
        # What is no list is no list of columns.
        transaction(
            2, {"kind": "delete", "schema": "public", "table": "t", "columnnames": 1, "columntypes": 1, **old(id=2)}
        ),
        transaction(3, {**values("update", id=9), **old(id=9)}),
        transaction(4, {"kind": "truncate", "schema": "public", "table": "t"}),
    ]
    found = read(write("t.ndjson", *lines, *lines[2:]))
    assert found.rows("v") == [
        (1, False, "a"), (2, False, "b"), (1, True, "a"), (9, False, "c"), (2, True, "b"), (9, False, "c"),
        (9, True, "c"),
    ]  # fmt: skip
    assert found.seconds() == [0.0, 0.0, 1.0, 1.0, 2.0, 3.0, 4.0]
    pretty = Path("pretty.json")
    pretty.write_text("\n".join(json.dumps(line, indent=2) for line in lines))
    assert read(pretty, name="pretty").rows("v") == found.rows("v")


def test_wal2json_of_format_2_has_keys_times_and_unchanged_values() -> None:
    def columns(**state: Any) -> list[dict[str, Any]]:
        return [
            {"name": name, "type": "numeric(9,2)" if name == "n" else "x", "value": value}
            for name, value in state.items()
        ]

    def line(action: str, second: int, **more: Any) -> dict[str, Any]:
        return {"action": action, "xid": second, "lsn": f"0/{second:X}0", "timestamp": f"2024-01-01 00:00:0{second}+00",
                "schema": "s", "table": "t", **more}  # fmt: skip

    found = read(write(
        "t.ndjson", {"action": "B", "xid": 1, "timestamp": "2024-01-01 00:00:01+00"},
        line("I", 1, columns=columns(id=1, n=1.5, long="text"), pk=[{"name": "id", "type": "integer"}]),
        {"action": "C"}, line("U", 2, columns=columns(id=1, n="2.50"), identity=columns(id=1)),
        {"action": "M", "transactional": False, "prefix": "p", "content": "c"},
        line("U", 3, columns=columns(id=4, n=3, long="new"), identity=columns(id=1)),
        line("D", 4, identity=columns(id=4)),
        line("T", 5),
    ))  # fmt: skip
    assert found.rows("n", "long") == [
        (1, False, 1.5, "text"), (1, False, 2.5, "text"), (1, True, 2.5, "text"), (4, False, 3.0, "new"),
        (4, True, 3.0, "new"),
    ]  # fmt: skip
    assert found.told["guessed"]["key"]["columns"] == ["id"]


# --- Singer, DMS -----------------------------------------------------------------------------------------------------


def test_singer_has_streams_deletions_and_versions() -> None:
    def record(stream: str, at: int, version: int | None = None, **state: Any) -> dict[str, Any]:
        more = {} if version is None else {"version": version}
        return {
            "type": "RECORD",
            "stream": stream,
            "record": state,
            "time_extracted": f"2024-01-01T00:00:0{at}Z",
            **more,
        }

    def schema(stream: str, *keys: str) -> dict[str, Any]:
        return {"type": "SCHEMA", "stream": stream, "schema": {}, "key_properties": list(keys)}

    lines = [
        schema("users", "id"), record("users", 0, 1, id=1, v="a"), record("users", 1, 1, id=2, v="b"),
        record("users", 2, 2, id=1, v="c"), {"type": "ACTIVATE_VERSION", "stream": "users", "version": 2},
        record("users", 3, 2, id=3, v="d", _sdc_deleted_at="2024-01-01T00:00:03Z"), {"type": "STATE", "value": {}},
    ]  # fmt: skip
    batch = {"type": "BATCH", "stream": "users", "encoding": {}, "manifest": []}
    assert "a BATCH of Singer" in refused(str(write("b.ndjson", *lines, batch)))
    found = read(write("t.ndjson", *lines))
    assert found.rows("v") == [(1, False, "a"), (2, False, "b"), (1, False, "c"), (2, True, "b"), (3, True, "d")]


def test_dms_messages_have_operations_and_control_records() -> None:
    def line(operation: str, second: int, data: dict[str, Any], kind: str = "data") -> dict[str, Any]:
        told = {
            "timestamp": f"2024-01-01T00:00:0{second}.000000Z",
            "record-type": kind,
            "operation": operation,
            "partition-key-type": "primary-key",
            "schema-name": "s",
            "table-name": "t",
            "transaction-id": second,
        }
        return {"data": data, "metadata": told}  # fmt: skip

    found = read(write(
        "t.ndjson", line("create-table", 0, {}, "control"), line("load", 1, {"id": 1, "v": "a"}),
        line("update", 2, {"id": 1, "v": "b"}), line("insert", 3, {"id": 2, "v": "c"}), line("delete", 4, {"id": 1}),
    ))  # fmt: skip
    assert (found.told["format"], found.rows("v")) == (
        "dms", [(1, False, "a"), (1, False, "b"), (2, False, "c"), (1, True, "b")],
    )  # fmt: skip


def test_rows_of_dms_keep_the_last_state_of_a_record_that_is_deleted_by_its_key() -> None:
    Path("t.csv").write_text(
        "Op,id,name,n,updated_at\n,1,a,5,2024-01-01\nI,2,b,7,2024-01-02\nU,1,c,6,2024-01-03\nD,1,,,2024-01-04\n"
        "I,1,z,1,2024-01-05\nD,2,b,,2024-01-06\n"
    )
    found = read("t.csv")
    assert found.rows("name", "n", "updated_at") == [
        (1, False, "a", 5, "2024-01-01"), (2, False, "b", 7, "2024-01-02"), (1, False, "c", 6, "2024-01-03"),
        (1, True, "c", 6, "2024-01-04"), (1, False, "z", 1, "2024-01-05"), (2, True, "b", None, "2024-01-06"),
    ]  # fmt: skip
    assert found.says("tell their key alone", ": 1.")


@pytest.mark.parametrize("options", [("--deleted", "none"), ("--key", "Op,id"), ("--text", "Op")])
def test_a_column_op_that_is_named_by_an_option_stays_a_column(options: tuple[str, ...]) -> None:
    Path("t.csv").write_text("Op,id,n\nI,1,a\nU,2,b\nD,3,c\n")
    found = read("t.csv", *options)
    assert (found.told["format"], found.only["Op"].to_list()) == ("csv", ["I", "U", "D"])


def test_a_table_that_is_said_to_be_of_dms_has_its_column_op() -> None:
    Path("t.csv").write_text("Op,id,n\nI,1,a\nU,1,b\n")
    read("t.csv")
    Path("t.csv").write_text("Op,id,n\nI,1,a\nsold,1,b\n")
    found = call("run", "mine.toml")
    assert found.exit_code == 2
    assert "no column `Op` with I, U, D" in found.output


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ({"eventID": "1", "eventName": "INSERT", "dynamodb": {"Keys": {}}}, "a stream of DynamoDB"),
        ({"_id": {}, "operationType": "insert", "ns": {}, "documentKey": {}}, "MongoDB's own change stream"),
        ({"table": "T", "op_type": "I", "op_ts": "x", "pos": "1", "after": {}}, "Oracle GoldenGate"),
        ({"after": {"id": 1}, "key": [1], "updated": "1.0"}, "a changefeed of CockroachDB"),
        ({"type": "RECORD", "record": {"stream": "s", "data": {"id": 1}, "emitted_at": 1}}, "Airbyte"),
        ({"magic": "atMSG", "type": "DT", "headers": None, "message": {}}, "Qlik Replicate"),
        ({"id": 1, "_change_type": "insert", "_commit_version": 1}, "Delta Lake's change data feed"),
        ({"__$operation": 2, "__$start_lsn": "x", "id": 1}, "SQL Server's table of changes"),
        ({"id": "1", "source": "/s", "specversion": "1.0", "type": "t", "data": {}}, "CloudEvents without a change"),
        ({"topic": "t", "partition": 0, "offset": 1, "payload": "\u0000\u0000"}, "schema registry's binary format"),
    ],
)  # fmt: skip
def test_what_is_known_and_not_read_is_refused_by_its_name(line: dict[str, Any], name: str) -> None:
    said = refused(str(write("t.ndjson", line, line)))
    assert name in said
    assert "(" in said.splitlines()[-1]


def test_malformed_lines_are_told_whatever_the_format() -> None:
    good = envelope("c", {"id": 1})
    said = refused(str(write(
        "t.ndjson", good, {"op": "c", "after": "x", "source": {}}, {"op": "d", "before": None, "source": {}}, {"a": 1},
        {"op": "?", "after": {}, "source": {}}, {"key": 1, "value": 5},
    )))  # fmt: skip
    for words in (
        "5 rows are malformed",
        "line 2: op `c` without",
        "line 3: op `d` without",
        "line 4: no `op`",
        "line 5: unknown",
    ):
        assert words in said
    said = refused(str(write("m.ndjson", maxwell("insert", {"id": 1}, 0), maxwell("what", {}, 1), {"x": 1})))
    assert "line 2: unknown type `what`" in said
    assert "line 3: no `type`" in said

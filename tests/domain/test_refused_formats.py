"""What is no table and no log that the lab reads is refused by its name, and never taken for rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from lab.base import NotReadable
from lab.domain.trace.files import format_of, read

TEXTS = {
    "page.csv": ("<!DOCTYPE html><html><body>404</body></html>\n", "a web page"),
    "page.txt": ("<html>\n<head><title>a, b</title></head>\n</html>\n", "a web page"),
    "rows.txt": ('<?xml version="1.0"?>\n<rows>\n<row id="1"/>\n</rows>\n', "XML"),
    "dump.sql": ("CREATE TABLE t (id int);\nINSERT INTO t VALUES (1);\n", "statements of SQL"),
    "dump.txt": ("-- MySQL dump 10.13\n\nINSERT INTO `t` VALUES (1,'a');\n", "statements of SQL"),
    "copy.txt": ("--\n-- PostgreSQL database dump\n--\nCOPY public.t (id) FROM stdin;\n1\n\\.\n", "statements of SQL"),
    "binlog.txt": ("# at 4\n#190101  0:00:00 server id 1  end_log_pos 123\n### INSERT INTO `t`\n", "mysqlbinlog"),
    "decoded.txt": ("BEGIN 7\ntable public.t: INSERT: id[integer]:1\nCOMMIT 7\n", "test_decoding"),
    "lines.csv": ('{"id":1,"v":"a"}\n{"id":2,"v":"b"}\n', "JSON, though"),
    "psql.txt": (" id | name \n----+------\n  1 | a\n(1 row)\n", "a table that is printed"),
    "markdown.csv": ("| id | name |\n|----|------|\n| 1 | a |\n", "a table that is printed"),
}
CHANGES: dict[str, list[Any]] = {
    "GoldenGate": [{"table": "S.T", "op_type": "I", "op_ts": "2013-06-02 22:14:36.000000", "after": {"ID": 1}}],
    "OpenCDC": [{"position": "c3", "operation": "create", "metadata": {}, "key": {"id": 1}, "payload": {"after": {}}}],
    "Striim": [{"metadata": {"OperationName": "INSERT", "TableName": "T"}, "data": {"ID": 1}, "before": None}],
    "Firehose": [{"recordId": "1", "approximateArrivalTimestamp": 1, "data": "e30="}],
    "DynamoDB's JSON": [{"Item": {"Id": {"N": "1"}, "name": {"S": "x"}}}],
    "oplog": [{"ts": {"$timestamp": {"t": 1, "i": 1}}, "op": "i", "ns": "d.c", "o": {"_id": 1}}],
    "Salesforce": [{"data": {"payload": {"ChangeEventHeader": {"changeType": "UPDATE"}, "Name": "A"}}}],
    "Supabase": [{"type": "INSERT", "table": "t", "schema": "s", "record": {"id": 1}, "old_record": None}],
    "Hasura": [{"id": "1", "trigger": {"name": "t"}, "event": {"op": "INSERT", "data": {"new": {"id": 1}}}}],
    "Elasticsearch's bulk": [{"index": {"_index": "t", "_id": "1"}}, {"id": 1}],
    "Debezium's connector for Cassandra": [
        {"op": "i", "source": {"connector": "cassandra"}, "after": {"id": {"value": 1, "set": True}}, "ts_ms": 1}
    ],
    "TiCDC's simple": [{"version": 1, "type": "WATERMARK", "commitTs": 4, "buildTs": 1}],
    "a format that the lab doesn't know: `what.kind`": [
        {"what": {"kind": kind}, "row": {"id": 1}, "n": n} for n, kind in enumerate(("insert", "update", "delete"))
    ],
    "a format that the lab doesn't know: `op`": [{"op": "Created", "data": {"a": 1}}, {"op": "DELETE", "data": None}],
}  # fmt: skip
KEYED = {
    '{"ts":41,"scm":"d","tbl":"t","t":1}\t{"u":{"id":{"t":3,"v":1}}}\n': "TiCDC's open protocol",
    '[1]\t{"after":{"id":1}}\n': "CockroachDB",
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_that_is_no_data_is_called_by_its_name(name: str, tmp_path: Path) -> None:
    text, words = TEXTS[name]
    (tmp_path / name).write_text(text)
    with pytest.raises(NotReadable, match=words):
        read(name, tmp_path)


@pytest.mark.parametrize("words", CHANGES)
def test_a_change_log_that_is_not_supported_is_called_by_its_name(words: str, tmp_path: Path) -> None:
    (tmp_path / "x.ndjson").write_text("".join(json.dumps(one) + "\n" for one in CHANGES[words]))
    with pytest.raises(NotReadable) as told:
        format_of("x.ndjson", tmp_path)
    assert words in str(told.value)


def test_so_is_one_that_stands_in_a_topic_and_flattened_rows_are_none_of_these(tmp_path: Path) -> None:
    (change,) = CHANGES["GoldenGate"]
    (tmp_path / "x.ndjson").write_text(json.dumps({"key": "1", "value": change, "offset": 1, "partition": 0}) + "\n")
    with pytest.raises(NotReadable, match="GoldenGate"):
        format_of("x.ndjson", tmp_path)
    rows = [{"id": 1, "data": {"a": 1}, "kind": "update", "__op": op} for op in ("c", "d")]
    (tmp_path / "y.ndjson").write_text("".join(json.dumps(one) + "\n" for one in rows))
    assert format_of("y.ndjson", tmp_path) == "flattened"


@pytest.mark.parametrize("text", KEYED)
def test_so_is_one_whose_key_tells_it(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.ndjson").write_text(text)
    with pytest.raises(NotReadable, match=KEYED[text]):
        format_of("x.ndjson", tmp_path)


@pytest.mark.parametrize(
    "rows",
    [
        [{"id": 1, "status": "created", "data": {"a": 1}}, {"id": 2, "status": "paid", "data": {"a": 2}}],
        [{"id": 1, "action": "created", "data": {"a": 1}}, {"id": 2, "action": "created", "data": {"a": 2}}],
        [{"id": 1, "op": "insert", "amount": 5}, {"id": 1, "op": "delete", "amount": 5}],
        [{"id": 1, "type": "PushEvent", "payload": {"action": "deleted"}}],
        [{"id": 1, "N": {"S": 1}, "o": "x"}, {"id": 2, "N": {"S": 1}, "o": "y"}],
    ],
)
def test_rows_that_only_sound_like_changes_are_rows(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "x.ndjson").write_text("".join(json.dumps(one) + "\n" for one in rows))
    assert format_of("x.ndjson", tmp_path) == "ndjson"


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (("id", "_change_type", "_commit_version"), "Delta Lake's change data feed"),
        (("__$start_lsn", "__$operation", "id"), "SQL Server's table of changes"),
    ],
)
def test_a_table_of_changes_is_known_by_its_columns(columns: tuple[str, ...], words: str, tmp_path: Path) -> None:
    frame = pl.DataFrame({name: ["1", "2"] for name in columns})
    frame.write_csv(tmp_path / "x.csv")
    frame.write_parquet(tmp_path / "x.parquet")
    for name in ("x.csv", "x.parquet"):
        with pytest.raises(NotReadable, match=words):
            read(name, tmp_path)
    # A scenario that names the format means the table as it is.
    assert read("x.csv", tmp_path, "csv").frame.height == 2


@pytest.mark.parametrize(
    "text", ["Insert into,use\n1,2\n", "<id>,<v>\n1,a\n", "id,v\n1,DROP TABLE t;\n2,<a/>\n3,---\n"]
)
def test_a_table_that_only_sounds_like_another_text_is_a_table(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(text)
    assert read("x.csv", tmp_path).frame.height == text.count("\n") - 1


DOCUMENTS = {
    '{"meta": {"n": 2}, "data": [{"id": 1}]}': ".data'",
    '{"result": {"items": [{"id": 1}, {"id": 2}]}}': ".result.items'",
    '{"a": {"id": 1, "v": 2}, "b": {"id": 2, "v": 3}}': "to_entries",
    '{"id": {"0": 1, "1": 2}, "v": {"0": "a", "1": "b"}}': "orient='records'",
    '{"id": [1, 2], "v": ["a", "b"]}': "a record on each line",
    '{"columns": ["id"], "index": [0], "data": [[1]]}': "orient='records'",
    '{"Records": [{"eventName": "INSERT", "dynamodb": {"Keys": {}}}]}': "a stream of DynamoDB",
}


@pytest.mark.parametrize("text", DOCUMENTS)
def test_one_object_around_the_records_says_how_they_are_taken_out(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(NotReadable) as told:
        read("x.json", tmp_path)
    assert DOCUMENTS[text] in str(told.value)
    (tmp_path / "one.json").write_text('{"id": 1, "v": "a", "tags": ["x", "y"], "at": {"x": 1}}')
    assert read("one.json", tmp_path).frame.height == 1

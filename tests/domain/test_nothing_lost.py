"""No value and no row gets lost on the way in without a word: bytes, keys that come twice, types, files of a folder."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lab.base import NotReadable
from lab.domain.trace import tables
from lab.domain.trace.files import read
from lab.domain.trace.raw import RUN, TURN


def test_a_line_of_json_that_is_not_utf_8_is_malformed_and_not_repaired(tmp_path: Path) -> None:
    (tmp_path / "x.ndjson").write_bytes('{"id":1,"v":"a"}\n{"id":2,"v":"ä"}\n'.encode("latin-1"))
    (tmp_path / "log.ndjson").write_bytes(
        '{"op":"c","after":{"id":1,"v":"a"},"ts_ms":1}\n{"op":"c","after":{"id":2,"v":"ä"},"ts_ms":1}\n'.encode(
            "cp1252"
        )
    )
    for name in ("x.ndjson", "log.ndjson"):
        raw = read(name, tmp_path)
        assert [str(one) for one in raw.bad] == ["line 2: not text in UTF-8"]
        assert raw.frame["v"].to_list() == ["a"]


def test_a_key_of_json_that_comes_twice_makes_its_line_malformed(tmp_path: Path) -> None:
    (tmp_path / "x.ndjson").write_text('{"id":1,"v":1}\n{"id":2,"v":2,"w":3,"v":4}\n')
    assert [str(one) for one in read("x.ndjson", tmp_path).bad] == ["line 2: the key `v` comes twice"]


def test_a_key_of_json_without_a_name_gets_one(tmp_path: Path) -> None:
    (tmp_path / "x.ndjson").write_text('{"id":1,"":2}\n{"id":2,"":3}\n')
    raw = read("x.ndjson", tmp_path)
    assert (raw.kinds, raw.frame["column_2"].to_list()) == ({"id": "int", "column_2": "int"}, ["2", "3"])
    assert raw.notes == ("Column 2 has no name: it is called `column_2` here.",)


def test_objects_of_json_without_a_line_end_between_are_records(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"id":1,"v":"}{"}{"id":2,"v":"b"} {"id":3,"v":"c"}')
    assert read("x.json", tmp_path).frame["v"].to_list() == ["}{", "b", "c"]


def test_parquet_has_all_rows_whatever_their_types(tmp_path: Path) -> None:
    kinds = pa.struct([("b", pa.binary()), ("l", pa.list_(pa.binary()))])
    table = pa.table({
        "id": [1, 2], "s": pa.array([{"b": b"\x00\xff", "l": [b"\x01"]}, None], kinds),
        "at": pa.array([0, 1_000], pa.timestamp("ms", "+05:30")), "j": pa.array(['{"a":1}', None], pa.json_()),
    })  # fmt: skip
    pq.write_table(table, tmp_path / "x.parquet")
    frame = read("x.parquet", tmp_path).frame
    assert frame["s"].to_list() == ['{"b":"00ff","l":["01"]}', None]
    assert frame["at"].to_list() == ["1970-01-01T00:00:00Z", "1970-01-01T00:00:01Z"]
    assert frame["j"].to_list() == ['{"a":1}', None]


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (pa.array([10**15, 0], pa.timestamp("s")), "column `x` has 1 times more than 262,000 years away"),
        (pa.array([None, None], pa.decimal256(60, 2)), r"column `x` is decimal256\(60, 2\)"),
    ],
)
def test_a_column_of_parquet_that_cannot_be_read_is_named(column: pa.Array, words: str, tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": [1, 2], "x": column}), tmp_path / "x.parquet")
    with pytest.raises(NotReadable, match=words):
        read("x.parquet", tmp_path)


def test_rows_of_parquet_that_are_lost_while_it_is_read_are_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pq.write_table(pa.table({"id": [1, 2, 3], "at": [datetime(2024, 1, 1)] * 3}), tmp_path / "x.parquet")
    scan = tables.pl.scan_parquet
    monkeypatch.setattr(tables.pl, "scan_parquet", lambda path, **how: scan(path, **how).head(2))
    with pytest.raises(NotReadable, match="3 rows are in it, and 2 could be taken out"):
        read("x.parquet", tmp_path)


def change(table: str, number: int) -> str:
    source = {"table": table, "schema": "s", "lsn": number}
    return json.dumps({"op": "c", "after": {"id": number}, "source": source}) + "\n"


def test_logs_of_several_tables_in_a_folder_are_not_mixed(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "a.ndjson").write_text(change("t", 1))
    (folder / "b.ndjson").write_text(change("u", 2))
    with pytest.raises(NotReadable, match=r"a.ndjson of `s.t`, and b.ndjson of `s.u`"):
        read("logs", tmp_path)
    (folder / "b.ndjson").write_text(change("t", 2))
    raw = read("logs", tmp_path)
    # Transactions of one file come after those of the file before it.
    assert (raw.frame[TURN].to_list(), raw.frame[RUN].to_list()) == ([1, 2], [1, 2])


def test_tables_of_other_columns_in_a_folder_are_not_mixed(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "customers.csv").write_text("customer_id,name\n1,a\n")
    (folder / "orders.csv").write_text("order_id,customer_id,total\n1,1,5\n")
    with pytest.raises(NotReadable, match=r"files of several tables: orders.csv has 1 of its 3 columns in common"):
        read("shop", tmp_path)


def test_a_full_load_of_dms_comes_before_what_it_wrote_of_the_changes(tmp_path: Path) -> None:
    folder = tmp_path / "orders"
    folder.mkdir()
    (folder / "20240102-000000000.csv").write_text("Op,id,v\nU,1,b\n")
    (folder / "LOAD0000000A.csv").write_text("Op,id,v\nI,1,a\n")
    assert read("orders", tmp_path).frame["v"].to_list() == ["a", "b"]


def test_numbers_that_are_text_for_a_few_other_values_are_said(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("id,v\n1,a\n2,b\n3,c\nTotal,\n")
    raw = read("x.csv", tmp_path)
    assert raw.kinds["id"] == "str"
    assert "Column `id` has 1 values like 'Total' among its numbers: it is text here." in raw.notes

"""What a file can be wrapped in changes nothing of its rows: gzip, zstd, an array of JSON, folders of partitions."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.base import NotReadable
from lab.domain.trace.files import digest, format_of, read
from lab.domain.trace.raw import LINE, Raw

ROWS: list[dict[str, Any]] = [{"id": 1, "name": "a\nb", "n": 2**53 + 1}, {"id": 2, "name": 'x "y"', "n": -1}]


def zstd(data: bytes) -> bytes:
    return bytes(pa.Codec("zstd").compress(data, asbytes=True))


PACKED = {".gz": gzip.compress, ".zst": zstd, ".GZ": gzip.compress}
TEXTS = {
    "x.csv": b"id,name\n1,a\n2,\xc3\xa9\n",
    "x.tsv": b"id\tname\n1,5\ta\n2\tb\n",
    "x.txt": b"id,name\n1,a\n",
    "x.ndjson": b'{"id": 1, "name": "a"}\n{"id": 2}\n',
    "x.jsonl": b'{"id": 1}\nbroken\n',
    "x.json": b'[{"id": 1},\n {"id": 2}]',
    "log.json": b'{"op": "c", "after": {"id": 1}, "ts_ms": 1}\n{"op": "d", "before": {"id": 1}, "ts_ms": 2}\n',
}


def same(one: Raw, other: Raw) -> None:
    assert one.frame.equals(other.frame)
    assert (one.kinds, one.format, one.bad, one.bad_count, one.notes) == (
        other.kinds, other.format, other.bad, other.bad_count, other.notes,
    )  # fmt: skip


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("end", PACKED)
def test_a_packed_text_reads_as_the_text_itself(tmp_path: Path, name: str, end: str) -> None:
    (tmp_path / name).write_bytes(TEXTS[name])
    (tmp_path / f"{name}{end}").write_bytes(PACKED[end](TEXTS[name]))
    assert format_of(f"{name}{end}", tmp_path) == format_of(name, tmp_path)
    same(read(f"{name}{end}", tmp_path), read(name, tmp_path))


def test_packed_parts_one_after_the_other_are_one_text(tmp_path: Path) -> None:
    for end, pack in PACKED.items():
        (tmp_path / f"x.csv{end}").write_bytes(pack(b"id\n1\n") + pack(b"2\n"))
        assert read(f"x.csv{end}", tmp_path).frame["id"].to_list() == ["1", "2"]


def test_a_packed_file_is_read_again_after_it_changed(tmp_path: Path) -> None:
    (tmp_path / "x.csv.gz").write_bytes(gzip.compress(b"id\n1\n"))
    assert read("x.csv.gz", tmp_path).frame["id"].to_list() == ["1"]
    (tmp_path / "x.csv.gz").write_bytes(gzip.compress(b"id\n1\n2\n"))
    assert read("x.csv.gz", tmp_path).frame["id"].to_list() == ["1", "2"]


# A file's name, its bytes, and what is said.
REFUSED = [
    ("x.csv.gz", gzip.compress(b"id\n1\n" * 9)[:-9], "x.csv.gz: damaged gzip: Truncated"),
    ("x.csv.zst", zstd(b"id\n1\n" * 9)[:-4], "x.csv.zst: damaged zstd: Truncated"),
    ("x.csv.gz", b"id\n1\n", "not gzip, though its name ends in .gz"),
    ("x.xlsx", b"PK\x03\x04...", "Excel workbook .*save a sheet as CSV"),
    ("x.csv", b"PK\x03\x04...", "a zip archive"),
    ("x.csv.bz2", b"BZh9...", "compressed by bzip2 .*gzip and zstd"),
    ("x.csv.xz", b"\xfd7zXZ\x00..", "compressed by xz"),
    ("x.tar.gz", gzip.compress(bytes(257) + b"ustar" + bytes(500)), "a tar archive"),
    ("x.avro", b"Obj\x01....", "an Avro file .*Parquet"),
    ("x.orc", b"ORC.....", "an ORC file"),
    ("x.feather", b"ARROW1..", "an Arrow file"),
    ("x.gz", gzip.compress(b"what"), "no ending is none of the endings"),
]


@pytest.mark.parametrize(("name", "data", "says"), REFUSED, ids=[says for _, _, says in REFUSED])
def test_what_cant_be_unpacked_is_refused_by_name(tmp_path: Path, name: str, data: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(NotReadable, match=says):
        read(name, tmp_path)


# --- JSON in one array ----------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.text(st.characters(exclude_categories=["Cs"]))
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text("abc", min_size=1), inner, max_size=3)
    ),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("containers")


@settings(max_examples=examples(60), deadline=None)
@given(
    records=st.lists(st.dictionaries(st.sampled_from("ab c"), JSON, min_size=1), min_size=2, max_size=4),
    indent=st.sampled_from([None, 0, 2]), ascii_only=st.booleans(), array=st.booleans(),
)  # fmt: skip
def test_an_array_reads_as_its_elements_on_lines(
    place: Path, records: list[dict[str, Any]], indent: int | None, ascii_only: bool, array: bool
) -> None:
    lines = [json.dumps(one, ensure_ascii=ascii_only) for one in records]
    (place / "lines.ndjson").write_text("\n".join(lines), encoding="utf-8")
    printed = [json.dumps(one, indent=indent, ensure_ascii=ascii_only) for one in records]
    text = f"[{', '.join(printed)}]\n" if array else "\n".join(printed)
    (place / "array.json").write_text(text, encoding="utf-8")
    one, other = read("array.json", place), read("lines.ndjson", place)
    assert one.frame.equals(other.frame)
    assert one.kinds == other.kinds


def test_an_elements_number_says_where_it_is_no_object(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('[\n{"id": 1},\n{"id":\n 2}, 7, null]')
    raw = read("x.json", tmp_path)
    assert raw.frame[LINE].to_list() == [1, 2]
    assert [str(one) for one in raw.bad] == ["element 3: no JSON object", "element 4: no JSON object"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[{"id": 1},\n {"id": }]', "line 2, column 9"),
        ('[{"id": 1},\n {"id": 2}', "line 2, column 11"),
        ('[{"id": 1}] [{"id": 2}]', "line 1, column 13"),
        ("[]", "no rows"),
        ('{"more": 3, "tweets": [{"id": 1}, {"id": 2}]}', "records seem to stand in its `tweets` .*jq"),
        ('{\n "more": 3,\n "tweets": [{"id": 1}, {"id": 2}]\n}', "records seem to stand in its `tweets`"),
    ],
)
def test_broken_json_is_refused_with_its_place(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(NotReadable, match=says):
        read("x.json", tmp_path)


def test_json_is_recognised_in_a_text_without_a_telling_name(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text('{"id": 1}\n{"id": 2}\n')
    (tmp_path / "y.gz").write_bytes(gzip.compress(b'[{"id": 1}]'))
    assert (format_of("x.txt", tmp_path), format_of("y.gz", tmp_path)) == ("ndjson", "ndjson")


# --- folders --------------------------------------------------------------------------------------------------------


def partitions(folder: Path, end: str) -> list[dict[str, Any]]:
    found = []
    for number, place in enumerate(("day=2024-01-01/n=01", "day=2024-01-02/n=02", "day=2024-01-02/n=a%2Fb c")):
        rows = [{"id": str(3 * number + one), "v": f"v{one}"} for one in range(3)]
        (folder / place).mkdir(parents=True)
        frame, file = pl.DataFrame(rows), folder / place / f"part-0{end}"
        if end == ".parquet":
            frame.write_parquet(file)
        else:
            text = frame.write_csv() if end.startswith(".csv") else frame.write_ndjson()
            file.write_bytes(gzip.compress(text.encode()) if end.endswith(".gz") else text.encode())
        day, n = place.split("/")
        found += [row | {"day": day[4:], "n": n[2:].replace("%2F", "/")} for row in rows]
    (folder / "_SUCCESS").touch()
    (folder / ".part-0.crc").write_bytes(b"x")
    return found


@pytest.mark.parametrize("end", [".parquet", ".csv", ".csv.gz", ".ndjson"])
def test_partitions_are_columns(tmp_path: Path, end: str) -> None:
    rows = partitions(tmp_path / "t", end)
    raw = read("t", tmp_path)
    assert raw.frame.drop(LINE).cast(pl.String).rows(named=True) == rows
    assert raw.frame[LINE].is_sorted()
    assert raw.frame[LINE].is_unique().all()
    # Leading zeros make text.
    assert (raw.kinds["day"], raw.kinds["n"]) == ("str", "str")


def test_a_partition_of_whole_numbers_is_one_and_the_default_is_null(tmp_path: Path) -> None:
    for name in ("7", "__HIVE_DEFAULT_PARTITION__", "12"):
        (tmp_path / "t" / f"n={name}").mkdir(parents=True)
        pl.DataFrame({"id": [1]}).write_parquet(tmp_path / "t" / f"n={name}" / "a.parquet")
    raw = read("t", tmp_path)
    assert (raw.kinds["n"], raw.frame["n"].to_list()) == ("int", [12, 7, None])


def test_files_of_other_columns_and_types_are_united(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    pl.DataFrame({"a": [1, 2], "b": [0.5, None], "c": [2**60, 1]}).write_parquet(tmp_path / "t" / "1.parquet")
    pl.DataFrame({"a": [3.5], "d": ["x"], "c": [1.5]}).write_parquet(tmp_path / "t" / "2.parquet")
    raw = read("t", tmp_path)
    assert raw.kinds == {"a": "float", "b": "float", "c": "str", "d": "str"}
    assert raw.frame.drop(LINE).rows() == [
        (1.0, 0.5, str(2**60), None), (2.0, None, "1", None), (3.5, None, "1.5", "x")
    ]  # fmt: skip


def test_a_malformed_row_of_a_folder_says_in_which_file(tmp_path: Path) -> None:
    (tmp_path / "t" / "n=1").mkdir(parents=True)
    (tmp_path / "t" / "n=1" / "a.csv").write_text("id,v\n1,2\n3,4,5\n")
    raw = read("t", tmp_path)
    assert (raw.bad_count, raw.bad[0].line) == (1, 3)
    assert raw.bad[0].why.startswith(str(Path("n=1") / "a.csv"))


def test_a_folders_digest_is_that_of_its_files(tmp_path: Path) -> None:
    partitions(tmp_path / "t", ".csv")
    before = digest("t", tmp_path)
    assert digest("t", tmp_path) == before
    (tmp_path / "t" / "day=2024-01-01").rename(tmp_path / "t" / "day=2024-01-03")
    assert digest("t", tmp_path) != before


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"a.csv": "id\n1\n", "b.ndjson": '{"id": 1}\n'}, "several formats: csv, ndjson"),
        ({"a.csv": "id\n1\n", "b.pdf": "x"}, "no data: b.pdf"),
        ({"_a.csv": "id\n1\n"}, "none in it is one that the lab reads"),
        ({"_delta_log/0.json": "{}", "a.csv": "id\n1\n"}, "a Delta table"),
        ({"metadata/v1.metadata.json": "{}", "data/a.csv": "id\n1\n"}, "an Iceberg table"),
        ({"id=1/a.csv": "id,v\n2,3\n"}, "its column `id` is '2' in a row, and its folder says '1'"),
    ],
)
def test_folders_that_are_no_table_are_refused(tmp_path: Path, files: dict[str, str], says: str) -> None:
    for name, text in files.items():
        (tmp_path / "t" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "t" / name).write_text(text)
    with pytest.raises(NotReadable, match=says):
        read("t", tmp_path)


def test_a_column_that_the_folder_repeats_is_one(tmp_path: Path) -> None:
    (tmp_path / "t" / "id=1").mkdir(parents=True)
    (tmp_path / "t" / "id=1" / "a.csv").write_text("id,v\n1,3\n")
    assert read("t", tmp_path).frame.drop(LINE).rows() == [("1", "3")]

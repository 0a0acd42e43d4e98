"""Tables as they are found: of each file, what must be, and every value against another reading of it."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from owndata import new, refused, sound, trace

from lab.domain.trace.frame import entity_names

# Reports have tests of their own.
pytestmark = pytest.mark.usefixtures("quick")

CASES = Path(__file__).parent / "cases"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@dataclass(frozen=True)
class Case:
    """A file and what must come of it.

    `last` has values of the last state of a record by its key (None: it is deleted), `gaps` the seconds between its
    changes, `said` patterns of the notes and reasons. The other reading: `encoding`, `delimiter`, lines `above` the
    header, `null` words, what an empty field is (`blank`), `names` for columns without a name (None: left out), and how
    numbers are rewritten.
    """

    file: str
    records: int
    changes: int
    deletions: int = 0
    key: str = "id"
    types: Mapping[str, str] = field(default_factory=dict)
    last: Mapping[Any, Mapping[str, Any] | None] = field(default_factory=dict)
    gaps: tuple[float, ...] = ()
    said: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    encoding: str = "utf-8-sig"
    delimiter: str = ","
    above: int = 0
    null: tuple[str, ...] = ()
    blank: str | None = None
    names: Mapping[int, str | None] = field(default_factory=dict)
    plain: Callable[[str], str] = str


def german(text: str) -> str:
    return text.replace(".", "").replace(",", ".")


def english(text: str) -> str:
    return text.replace(",", "")


DAY = 86_400.0
TABLES = (
    Case("b02_dms_header.csv", 3, 5, 1, last={2: None, 1: {"balance": 11.5}}, gaps=(1, 1, 1, 1),
         names={0: None, 1: None}, said=("`Op` says", "`dms_timestamp` says")),
    Case("b02_dms_noheader.csv", 3, 5, 1, "column_2", last={2: None, 3: {"column_3": "eve"}},
         options=("--header", "no"), above=-1,
         names={0: None} | {n: f"column_{n + 1}" for n in range(1, 5)}, said=("no header", "`column_1` says")),
    Case("b03_yyyymmdd.csv", 3, 10, key="service_id", types={"date": "int"}, said=("YYYYMMDD",),
         gaps=(DAY, DAY, DAY, DAY, DAY, 26 * DAY, DAY, 305 * DAY, DAY)),
    Case("b04_pandas_index.csv", 2, 3, key="order_id", last={"A1": {"column_1": 2, "amount": 3.5}},
         names={0: "column_1"}, said=("Column 1 has no name",)),
    Case("b05_excel_de.csv", 3, 3, key="Nr", types={"Betrag": "float"}, delimiter=";", plain=german,
         last={1: {"Betrag": 1234.5, "Kunde": "Müller", "Datum": "31.01.2024"}, 3: {"Betrag": 7.25}},
         gaps=(DAY, DAY), said=("like 1.234,50", "day, month, year", "Is it?")),
    Case("b06_latin1.csv", 3, 3, options=("--encoding", "latin-1"), encoding="latin-1",
         last={1: {"city": "Köln"}, 2: {"city": "Málaga"}}),
    Case("b06_latin1_late.csv", 301, 301, options=("--encoding", "latin-1"), encoding="latin-1"),
    Case("b07_utf16.csv", 2, 2, encoding="utf-16", delimiter="\t", last={1: {"amount": 1.5}}),
    Case("b08_mysql_N.csv", 40, 40, types={"qty": "int"}, null=("\\N",), last={3: {"qty": 3, "note": None}},
         said=(r"`note`: 13 words .*\\N",)),
    Case("b08_na.csv", 40, 40, types={"dep_time": "int", "delay": "int"}, null=("NA",),
         last={5: {"dep_time": None, "delay": None}}, said=("`dep_time`: 8 values NA", "`delay`: 8 values NA")),
    Case("b09_newlines.csv", 3, 3, blank="", last={1: {"note": 'first line\nsecond "quoted" line'}}, gaps=(DAY, DAY)),
    Case("b10_header_newline.csv", 2, 2, types={"Amount (EUR)": "float"}, last={2: {"Amount (EUR)": 2.5}},
         names={1: "Amount (EUR)"}),
    Case("b13_us_dates.csv", 2, 3, last={1: {"amount": 3.5}}, said=("month, day, year",)),
    Case("b14_recreate.csv", 2, 5, 1, last={1: {"name": "reborn"}}, gaps=(DAY,) * 4,
         said=("`version` comes twice within a record.*`updated_at` decides",)),
    Case("b15_zones.csv", 3, 6, last={3: {"v": "e"}, 1: {"v": "b"}, 2: {"v": "d"}}),
    Case("b16_javazone.csv", 2, 3, last={1: {"v": "b"}}, gaps=(3600, DAY)),
    Case("b17_phone.csv", 24, 24, types={"phone": "str", "code": "str"},
         last={1: {"phone": "+4915112345001", "code": "1E2"}}),
    Case("b19_zero_date.csv", 3, 3, 1, last={2: None, 1: {"deleted_at": "0000-00-00 00:00:00"}}),
    Case("b20_agency.txt", 2, 2, key="stop_id", types={"stop_lat": "float"}),
    Case("b21_crlf_cr.csv", 2, 2, last={2: {"name": "b"}}),
    Case("b22_excel_serial.csv", 2, 3, types={"date": "float"}, gaps=(0.75 * DAY, 0.75 * DAY), said=("Excel",)),
    Case("b24_sep.csv", 2, 2, delimiter=";", above=1, types={"qty": "int"}),
    Case("b25_blankfirst.csv", 2, 2, above=1),
    Case("b26_trailing.csv", 2, 2, names={2: None}, said=("Column 3 has neither a name nor a value",)),
    Case("b27_case.csv", 2, 2, key="ID"),
    Case("b28_thousands.csv", 2, 2, types={"amount": "float"}, last={1: {"amount": 1234.5}}, plain=english,
         gaps=(DAY,)),
    Case("b29_shortdate.csv", 2, 3, last={1: {"v": "b"}}, gaps=(7 * DAY, 22 * DAY)),
    Case("d01_decimal.parquet", 3, 6, types={"amount": "str"}, last={2: {"amount": "12345678901234567890.13"}}),
    Case("d02_uuid.parquet", 3, 6, said=("hexadecimal",)),
    Case("d03_dict_nested.parquet", 3, 6, said=("JSON text",)),
    Case("d04_int96.parquet", 3, 6),
    Case("d06_rowgroups.parquet", 100, 100, said=("Is it?",)),
    Case("d08_naninf.parquet", 6, 6, said=("NaN 1 times",)),
    Case("d09_dms.parquet", 4, 6, 1, names={0: None, 3: None}, gaps=(1,) * 5),
    Case("d10_types.parquet", 3, 6, types={"big": "str", "n": "str"}),
    Case("d11_zone_mixed.parquet", 3, 6, said=("in UTC",)),
)  # fmt: skip
REFUSED = (
    ("b02_dms_noheader.csv", "line 1: it looks like data"),
    ("b06_latin1.csv", "line 2: not text in UTF-8"),
    ("b06_latin1_late.csv", "line 302: not text in UTF-8"),
    ("b11_dup_header.csv", "two columns are called `name`"),
    ("b12_empty.csv", "an empty file"),
    ("b12_header_only.csv", "no rows"),
    ("b18_exactdup.csv", "`order_id` comes nearest"),
    ("d05_zero.parquet", "no rows"),
    ("d12_dupnames.parquet", "more than one"),
)


@pytest.mark.parametrize("case", TABLES, ids=lambda case: f"{case.file} {' '.join(case.options)}".strip())
def test_a_table_gives_what_it_must_and_every_value_is_what_it_was(case: Case) -> None:
    shutil.copy(CASES / case.file, case.file)
    told = new(case.file, *case.options)
    assert told["guessed"]["key"]["columns"] == [case.key]
    made, entities = trace()
    sound(made)
    ((name, frame),) = made.frames.items()
    assert (frame["key"].n_unique(), frame.height, int(frame["deleted"].sum())) == (
        case.records, case.changes, case.deletions,
    )  # fmt: skip
    called = entity_names(_columns(case))
    for column, kind in case.types.items():
        assert entities[name].columns[called[column]] == kind, column
    last = {row["key"]: row for row in frame.sort("position").iter_rows(named=True)}
    for key, values in case.last.items():
        assert last[key]["deleted"] == (values is None), key
        for column, value in (values or {}).items():
            assert last[key][called[column]] == value, column
    if case.gaps:
        made, _ = trace(options=None)
        scale = float(re.findall(r"time_scale = ([0-9.e+-]+)", Path("mine.toml").read_text())[0])
        between = frame.sort("position")["committed_at"].diff().drop_nulls() * scale
        assert between.to_list() == pytest.approx(list(case.gaps), abs=1e-3)
    said = "\n".join([*told["notes"], *(one["why"] for one in told["guessed"].values())])
    for words in case.said:
        assert re.search(words, said), said
    names = [called[column] for column in _columns(case)]
    found = frame.select(names).rows()
    if case.file.endswith("parquet"):
        schema = pl.scan_parquet(CASES / case.file).collect_schema()
        times = {place for place, name in enumerate(_columns(case)) if isinstance(schema[name], pl.Datetime)}
        found = [tuple(_nanoseconds(one) if place in times else one for place, one in enumerate(row)) for row in found]
        other = _parquet(case)
    else:
        other = _as(entities[name].columns, names, _csv(case), case)
    assert _sorted(found) == _sorted(other)


@pytest.mark.parametrize(("file", "words"), REFUSED)
def test_what_cannot_be_read_for_certain_is_refused_with_its_place(file: str, words: str) -> None:
    shutil.copy(CASES / file, file)
    assert words in refused(file)


def _nanoseconds(text: str | None) -> int | None:
    """ISO 8601 as nanoseconds since 1970, by the standard library."""
    if text is None:
        return None
    whole, _, part = text.removesuffix("Z").partition(".")
    second = datetime.fromisoformat(whole).replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (second.days * 86_400 + second.seconds) * 10**9 + int(part.ljust(9, "0") or 0)


def _sorted(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return sorted(rows, key=repr)


def _columns(case: Case) -> list[str]:
    if case.file.endswith("parquet"):
        header = pl.scan_parquet(CASES / case.file).collect_schema().names()
    else:
        header, _ = _lines(case)
    return [
        name for place, header_name in enumerate(header) if (name := case.names.get(place, header_name)) is not None
    ]


def _lines(case: Case) -> tuple[list[str], list[list[str]]]:
    """The header and the rows, as Python's reader has them. `above` -1: there is no header."""
    with (CASES / case.file).open(encoding=case.encoding, newline="") as file:
        for _ in range(case.above):
            file.readline()
        rows = list(csv.reader(file, delimiter=case.delimiter))
    return ([""] * len(rows[0]), rows) if case.above < 0 else (rows[0], rows[1:])


def _csv(case: Case) -> list[tuple[str | None, ...]]:
    header, rows = _lines(case)
    kept = [place for place in range(len(header)) if case.names.get(place, "") is not None]
    null = {"": case.blank, **dict.fromkeys(case.null)}
    return [tuple(null.get(row[place], row[place]) for place in kept) for row in rows]


def _as(kinds: Mapping[str, str], names: list[str], rows: list[Any], case: Case) -> list[tuple[Any, ...]]:
    """The other reading's values in the kinds of the entity: exactly those numbers, or an error."""

    def convert(name: str, value: Any) -> Any:
        if value is None or not isinstance(value, str) or kinds[name] == "str":
            return value
        if kinds[name] == "bool":
            return {"true": True, "false": False}[value.lower()]
        plain = case.plain(value)
        number = int(plain) if kinds[name] == "int" else float(plain)
        assert Decimal(repr(number)) == Decimal(plain)
        return number

    return [tuple(convert(name, value) for name, value in zip(names, row, strict=True)) for row in rows]


def _parquet(case: Case) -> list[Any]:
    """The rows as DuckDB reads them, with text for what the lab has no type for."""
    wanted = []
    schema = pl.scan_parquet(CASES / case.file).collect_schema()
    for name in _columns(case):
        dtype = schema[name]
        quoted = '"' + name.replace('"', '""') + '"'
        text = f"CAST({quoted} AS VARCHAR)"
        if isinstance(dtype, pl.Datetime):
            wanted.append(f"epoch_ns({quoted} AT TIME ZONE 'UTC')" if dtype.time_zone else f"epoch_ns({quoted})")
        elif isinstance(dtype, pl.Binary):
            wanted.append(f"lower(hex({quoted}))")
        elif dtype.is_nested():
            wanted.append(f"CAST(to_json({quoted}) AS VARCHAR)")
        elif isinstance(dtype, pl.Duration):
            wanted.append(f"{quoted} / 1e6")
        elif dtype.is_float():
            wanted.append(f"CASE WHEN isnan({quoted}) THEN NULL ELSE {quoted} END")
        else:
            wanted.append(quoted if (dtype.is_integer() or dtype == pl.Boolean) and name != "big" else text)
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE t AS SELECT * FROM read_parquet(?)", [str(CASES / case.file)])
        return connection.execute(f"SELECT {', '.join(wanted)} FROM t").fetchall()


# Further files of the same kinds: the text, options, the rows (by name of column) or what is said when it is refused.
FURTHER: tuple[tuple[str, tuple[str, ...], list[dict[str, Any]] | str], ...] = (
    ('"a","b"\n"1",5,"x"\n"2",6,"y"\n', ("--key", "a"),
     [{"column_1": 1, "a": 5, "b": "x"}, {"column_1": 2, "a": 6, "b": "y"}]),
    ("Kontoauszug;;\n\nNr;Tag;Betrag\n1;13.02.2024;-1.234,50\n2;14.02.2024;3,00\n", (),
     [{"Nr": 1, "Tag": "13.02.2024", "Betrag": -1234.5}, {"Nr": 2, "Tag": "14.02.2024", "Betrag": 3.0}]),
    ('id,n\r\n1,2\n3,"a\r\nb"\r\n', (), [{"id": 1, "n": "2"}, {"id": 3, "n": "a\r\nb"}]),
    ("id,d\n1,NULL\n2,2024-01-01\n", ("--deleted", "d"), [{"id": 1, "d": None}, {"id": 2, "d": "2024-01-01"}]),
    ("id,name\n1,NULL\n2,Null\n", (), [{"id": 1, "name": "NULL"}, {"id": 2, "name": "Null"}]),
    ("id,name\n1,NULL\n2,Null\n", ("--null", "NULL"), [{"id": 1, "name": None}, {"id": 2, "name": "Null"}]),
    ('id,name,n\n1,NA,5\n2,"NA",NA\n', (), [{"id": 1, "name": None, "n": 5}, {"id": 2, "name": "NA", "n": None}]),
    ("id,n\n1,9223372036854775807\n2,9223372036854775808\n", (),
     [{"id": 1, "n": "9223372036854775807"}, {"id": 2, "n": "9223372036854775808"}]),
    ("id,x\n1,0.10000000000000001\n2,2.5\n", (), [{"id": 1, "x": 0.1}, {"id": 2, "x": 2.5}]),
    ("id,x\n1,12345678901234567.25\n2,2.5\n", (), [{"id": 1, "x": "12345678901234567.25"}, {"id": 2, "x": "2.5"}]),
    ("id,v\n1,1.10\n2,1.9\n3,1.1\n", (), [{"id": 1, "v": "1.10"}, {"id": 2, "v": "1.9"}, {"id": 3, "v": "1.1"}]),
    ("id;kg;eur\n1;1.234;2,50\n2;7.500;1,25\n", (),
     [{"id": 1, "kg": 1234, "eur": 2.5}, {"id": 2, "kg": 7500, "eur": 1.25}]),
    ("id;n\n1;1,234\n2;7,500\n", ("--decimal", ","), [{"id": 1, "n": 1.234}, {"id": 2, "n": 7.5}]),
    ("id;n\n1;1,234\n2;7,500\n", ("--decimal", "."), [{"id": 1, "n": 1234}, {"id": 2, "n": 7500}]),
    ("id;p\n1;1'234.50\n2;7.5\n", (), [{"id": 1, "p": 1234.5}, {"id": 2, "p": 7.5}]),
    ("id,name\n1,a,\n2,b,\n", (), [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]),
    ("id\tname\n1\ta\n\n2\tb\n\n", (), [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]),
    ("id,yes\n1,TRUE\n2,False\n", (), [{"id": 1, "yes": True}, {"id": 2, "yes": False}]),
    ("id,n\n1,2\nid,n\n3,4\n", (), "line 3: it is the header again"),
    ('id,t\n1,"a\n2,b\n3,c\n', (), "line 2: a quotation mark is opened here and not closed"),
    ('id,t\n1,"a"b\n2,c\n', (), "line 2: Value with unterminated quote found"),
    ("id,n\n" + "".join(f"{n},{n}\n" for n in range(1, 20)) + "20,many\n", (), "line 21: `n` is int"),
    ("id,n\n1,2\n", ("--encoding", "latin-11"), "no encoding of text is called so"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "options", "must"), FURTHER, ids=[f"{text[:24]!r} {''.join(o)}" for text, o, _ in FURTHER]
)
def test_further_files_of_the_same_kinds(text: str, options: tuple[str, ...], must: list[dict[str, Any]] | str) -> None:
    Path("t.csv").write_bytes(text.encode())
    if isinstance(must, str):
        assert must in refused("t.csv", *options)
        return
    new("t.csv", *options)
    made, _ = trace()
    names = entity_names(must[0])
    rows = made.frames["t"].select(names.values()).rows(named=True)
    assert rows == [{names[name]: value for name, value in row.items()} for row in must]


@pytest.mark.parametrize(
    ("values", "dates", "gap"),
    [
        (["1/2/2024", "2/2/2024"], None, 31 * DAY),
        (["1/2/2024", "2/2/2024"], "dmy", DAY),
        (["13.01.24 09:00", "14.01.24 09:00:30"], None, DAY + 30),
        (["31-JAN-24 09.05.00.5 PM", "01-FEB-24 09.05.00.5 AM"], None, DAY / 2),
        (["Wed Oct 10 20:19:24 +0000 2018", "Thu Oct 11 20:19:24 +0100 2018"], None, DAY - 3600),
        (["Wed, 31 Jan 2024 10:00:00 GMT", "Thu, 01 Feb 2024 10:00:00 GMT"], None, DAY),
        (["Jan 31, 2024", "February 1, 2024"], None, DAY),
        (["20240131", "20240201"], None, DAY),
        (["20240131235959", "20240201000000"], None, 1),
        (["2024-10-27T02:30[Europe/Berlin]", "2024-10-27T03:30[Europe/Berlin]"], None, 7200),
        (["1704067200000", "1704067200250"], None, 0.25),
        (["45321.5", "45322.0"], "seconds", 0.5),
    ],
)
def test_times_are_read_as_they_are_written(values: list[str], dates: str | None, gap: float) -> None:
    rows = "".join(f'{place},x,"{value}"\n' for place, value in enumerate(values))
    Path("t.csv").write_text("id,v,updated_at\n" + rows)
    told = new("t.csv", *(("--dates", dates) if dates else ()))
    assert told["guessed"]["time"]["columns"] == ["updated_at"]
    scale = float(re.findall(r"time_scale = ([0-9.e+-]+)", Path("mine.toml").read_text())[0])
    made, _ = trace()
    at = made.frames["t"].sort("id")["committed_at"]
    assert (at[1] - at[0]) * scale == pytest.approx(gap, abs=1e-3)
    ambiguous = any("--dates" in note for note in told["notes"])
    assert ambiguous == (dates is None and values[0] == "1/2/2024")


def test_the_table_source_counts_what_is_read_as_something_else() -> None:
    Path("t.csv").write_text("id;n;when\n1;1.234,5;2024-01-01\n2;NA;0000-00-00\n2;3,5;2024-01-03\n")
    new("t.csv", "--key", "id", "--time", "when")
    made, _ = trace()
    counts = {(row["column"], row["what"]): row["count"] for row in made.source}
    assert (counts[None, "rows"], counts[None, "records"], counts[None, "malformed rows"]) == (3, 2, 0)
    assert counts["n", "words that stand for a missing value (NA)"] == 1
    assert counts["n", "numbers in another notation"] == 2
    assert counts["when", "zero dates, which are no time"] == 1

"""Any table comes back from a file with the values that it had, or is refused; nothing is altered in silence."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from effort import examples
from hypothesis import example, given, settings
from hypothesis import strategies as st
from owndata import new, trace

from lab.base import INT_MAX, INT_MIN, BadInput
from lab.decimals import scale_of
from lab.domain.trace.files import read
from lab.domain.trace.instants import moments
from lab.domain.trace.numerals import NULLS, exact
from lab.domain.trace.typed import typed

texts = st.one_of(
    st.text(max_size=8),
    st.text("a,;\t\"'\n\r |\\#", max_size=6),
    st.sampled_from(["", " ", "NA", "NULL", "NaN", r"\N", "007", "+49", "12E3", "1e5", "true", "1,5", "2024-01-01"]),
    st.from_regex(r"-?[0-9]{1,20}(\.[0-9]{1,20})?", fullmatch=True),
)
wholes = st.integers(INT_MIN, INT_MAX)
decimals = st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-(10**17), max_value=10**17)
floats = st.floats(allow_nan=True, allow_infinity=False)
zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
times = st.datetimes(datetime(1800, 1, 1), datetime(2200, 1, 1), timezones=zones)
KINDS: dict[str, st.SearchStrategy[Any]] = {
    "text": texts, "whole": wholes, "decimal": decimals, "float": floats, "time": times, "bool": st.booleans(),
}  # fmt: skip


@st.composite
def tables(draw: st.DrawFn, kinds: tuple[str, ...] = tuple(KINDS)) -> dict[str, list[Any]]:
    """Columns of one kind each, with nulls; the first one numbers the rows."""
    height = draw(st.integers(1, 8))
    found: dict[str, list[Any]] = {"id": list(range(1, height + 1))}
    for place, kind in enumerate(draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=4))):
        values = st.one_of(st.none(), KINDS[kind]) if draw(st.booleans()) else KINDS[kind]
        found[f"{kind}{place}"] = draw(st.lists(values, min_size=height, max_size=height))
    return found


def written(value: Any) -> str:
    """A value as it stands in a CSV file: text within quotation marks, a number without."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, str):
        return '"' + value.replace('"', '""') + '"'
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value).lower() if isinstance(value, bool) else str(value)


def back(path: Path) -> dict[str, list[Any]] | None:
    """What the lab reads, decimals as such, or None if it refuses the file or some of its rows, with a reason."""
    try:
        raw = read(path.name, path.parent)
        made = typed(raw, raw.kinds)
    except BadInput:
        return None
    if made.bad_count:
        assert all(bad.line and bad.why for bad in made.bad)
        return None
    fixed = {name: scale for name, kind in raw.kinds.items() if (scale := scale_of(kind)) is not None}
    return {
        name: [Decimal(one).scaleb(-fixed[name]) if name in fixed and one is not None else one for one in values]
        for name, values in made.frame.to_dict(as_series=False).items()
    }


def same(found: Any, value: Any) -> bool:
    """Whether a value is what it was. A number in quotation marks may be a number; it must be that number."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return found is None
    if isinstance(value, bytes):
        return bool(found == value.hex().upper())
    if isinstance(value, datetime):
        wanted = value.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
        when = moments(pl.Series([found]))
        seconds = wanted.days * 86_400 + wanted.seconds
        return (when.second[0], when.nano[0]) == (seconds, wanted.microseconds * 1_000)
    if isinstance(value, str) and found is None:
        return value.strip() in ("", *NULLS)
    if isinstance(found, bool) or isinstance(value, bool):
        return str(found).lower() == str(value).strip().lower()
    if isinstance(found, str):
        return found == str(value)
    number = found if isinstance(found, Decimal) else Decimal(repr(found))
    return number == Decimal(str(value).strip()) or (isinstance(found, float) and exact(str(value).strip()))


def compare(path: Path, table: dict[str, list[Any]]) -> None:
    found = back(path)
    if found is None:
        return
    assert len(found["id"]) == len(table["id"])
    for name, values in table.items():
        for got, value in zip(found[name], values, strict=True):
            assert same(got, value), (name, got, value)


@settings(max_examples=examples(60))
@given(tables(), st.sampled_from(",;\t|"), st.sampled_from(["\n", "\r\n"]), st.booleans())
@example({"id": [1, 2], "text0": ["", None]}, ",", "\n", False)
@example({"id": [1, 2], "text0": ["x", "a\r\nb"]}, ";", "\n", True)
@example({"id": [1, 2], "whole0": [INT_MAX, INT_MIN]}, ",", "\n", False)
@example({"id": [1, 2], "decimal0": [Decimal("12345678901234567.25"), None]}, ",", "\n", False)
@example({"id": [1, 2], "text0": ["007", "8"], "text1": ["+49", "50"], "text2": ["12E3", "5"]}, ",", "\n", False)
def test_any_table_comes_back_from_csv(
    new_folder: Callable[[], Path], table: dict[str, list[Any]], delimiter: str, newline: str, mark: bool
) -> None:
    lines = [list(table), *([written(value) for value in row] for row in zip(*table.values(), strict=True))]
    text = newline.join(delimiter.join(line) for line in lines) + newline
    path = new_folder() / "t.csv"
    path.write_bytes(b"\xef\xbb\xbf" * mark + text.encode("utf-8", "surrogatepass"))
    compare(path, table)


@settings(max_examples=examples(40))
@given(tables(), st.booleans())
@example({"id": [1, 2], "whole0": [INT_MAX, INT_MIN]}, False)
@example({"id": [1, 2], "decimal0": [Decimal("12345678901234567.25"), Decimal("0.5")]}, True)
@example({"id": [1, 2], "decimal0": [Decimal("900719925474099.3"), None]}, False)
@example({"id": [1, 2], "decimal0": [Decimal("97037267286964.85"), Decimal("0.00")]}, False)
def test_any_table_comes_back_from_json_lines(
    new_folder: Callable[[], Path], table: dict[str, list[Any]], close: bool
) -> None:
    comma, colon = (",", ":") if close else (", ", ": ")
    lines = [
        "{" + comma.join(json.dumps(name) + colon + as_json(one) for name, one in zip(table, row, strict=True)) + "}"
        for row in zip(*table.values(), strict=True)
    ]
    path = new_folder() / "t.ndjson"
    path.write_text("".join(line + "\n" for line in lines))
    compare(path, table)


def as_json(value: Any) -> str:
    return str(value) if isinstance(value, Decimal) else json.dumps(value, default=datetime.isoformat)


blobs = st.binary(max_size=6)
mixtures = st.one_of(texts, wholes, floats, blobs, st.none(), st.integers(-9, 9))


@settings(max_examples=examples(40))
@given(tables(), st.lists(mixtures, min_size=8, max_size=8))
@example({"id": [1, 2], "whole0": [INT_MAX, INT_MIN]}, [2**53 + 1, 0.5, None, "a", b"\xff", 1, 2, 3])
@example({"id": [1, 2]}, [2**53 + 1, 0.5, 1, 1, 1, 1, 1, 1])
@example({"id": [1, 2]}, [1, 0.5, 1, 1, 1, 1, 1, 1])
@example({"id": [1, 2]}, ["a\0b", "b", 1, 1, 1, 1, 1, 1])
def test_any_table_comes_back_from_sqlite(
    new_folder: Callable[[], Path], table: dict[str, list[Any]], mixed: list[Any]
) -> None:
    rows = {name: [_stored(one) for one in values] for name, values in table.items()}
    rows["mixed"] = mixed[: len(table["id"])]
    path = new_folder() / "t.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"CREATE TABLE t ({', '.join(rows)})")
        marks = ", ".join("?" * len(rows))
        connection.executemany(f"INSERT INTO t VALUES ({marks})", [*zip(*rows.values(), strict=True)])
    compare(path, rows)


def _stored(value: Any) -> Any:
    """A value as a program stores it: decimals and times as text, booleans as numbers."""
    if isinstance(value, Decimal):
        return str(value)
    return int(value) if isinstance(value, bool) else value.isoformat() if isinstance(value, datetime) else value


@settings(max_examples=examples(40))
@given(tables())
@example({"id": [1, 2], "decimal0": [Decimal("12345678901234567.25"), Decimal("12345678901234567.26")]})
def test_any_table_comes_back_from_parquet(new_folder: Callable[[], Path], table: dict[str, list[Any]]) -> None:
    types = {
        "text": pl.String(), "whole": pl.Int64(), "decimal": pl.Decimal(20, 2), "float": pl.Float64(),
        "time": pl.Datetime("us", "UTC"), "bool": pl.Boolean(),
    }  # fmt: skip
    series = [
        pl.Series(name, [_utc(value) for value in values], types.get(name.rstrip("0123456789"), pl.Int64()))
        for name, values in table.items()
    ]
    path = new_folder() / "t.parquet"
    pl.DataFrame(series).write_parquet(path)
    compare(path, table)


def _utc(value: Any) -> Any:
    return value.astimezone(UTC) if isinstance(value, datetime) else value


@pytest.mark.parametrize("values", [["1,234", "5,678"], ["1.234", "5,678"]])
def test_a_number_that_may_be_of_decimals_or_of_thousands_is_text_until_it_is_said(
    tmp_path: Path, values: list[str]
) -> None:
    (tmp_path / "t.csv").write_text("id;n\n" + "".join(f"{place};{value}\n" for place, value in enumerate(values)))
    raw = read("t.csv", tmp_path)
    assert raw.kinds["n"] == "str"
    assert any("--decimal" in note for note in raw.notes)


def test_decimals_that_are_text_are_said_counted_and_not_summed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    amounts = ["1234567890123456789.25", "1234567890123456789.26", "0.50"]
    rows = [{"id": n, "colour": ["red", "blue"][n % 2], "n": amount} for n, amount in enumerate(amounts * 4)]
    pl.DataFrame(rows).write_csv("t.csv", quote_style="never")
    pl.DataFrame(rows).with_columns(pl.col("n").cast(pl.Decimal(30, 2))).write_parquet("t.parquet")
    Path("t.ndjson").write_text(
        "".join(f'{{"id": {row["id"]}, "colour": "{row["colour"]}", "n": {row["n"]}}}\n' for row in rows)
    )
    for form in ("csv", "parquet", "ndjson"):
        told = new(f"t.{form}", name=form)
        assert any("`n`" in note and "text" in note for note in told["notes"]), told
        scenario = Path(f"{form}.toml")
        text = scenario.read_text()
        assert 'n = "str"' in text
        assert "group_by" in text
        assert 'sum = ["n"]' not in text
        assert 'order_by = "n"' not in text
        made, _ = trace(form)
        assert made.frames["t"]["n"].to_list() == [row["n"] for row in rows]
        assert [row["count"] for row in made.source if row["column"] == "n"] == [12]
        scenario.write_text(text.replace('n = "str"', 'n = "float"'))
        made, _ = trace(form)
        assert made.frames["t"]["n"].to_list() == [float(str(row["n"])) for row in rows]
        assert any("8 numbers like 1234567890123456789.2" in note and "rounded" in note for note in made.notes), form
        assert 8 in [row["count"] for row in made.source if row["what"] == "rounded numbers"]

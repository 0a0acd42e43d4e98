"""Decimals in fixed point: exact through every format, store and query, and decimals for whoever reads them."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from effort import examples
from hypothesis import example, given, settings
from hypothesis import strategies as st
from owndata import new, readable, refused, runs, states, trace

from lab.base import INT_MAX, INT_MIN, BadInput, Entity
from lab.decimals import as_text, converted, fitting, fixed, parsed, scale_of, units, visible
from lab.domain.trace.files import read
from lab.domain.trace.instants import moments
from lab.domain.trace.typed import typed
from lab.measure.asked import Wrong
from lab.queries.model import Query
from lab.scenario import Source
from lab.service.requests import own_values, query_parameters
from lab.service.values import named, schema_of
from lab.stores.layout import Layout
from lab.wiring import Plan, plan

# Reports have tests of their own.
pytestmark = pytest.mark.usefixtures("quick", "here")

wholes = st.one_of(st.integers(INT_MIN, INT_MAX), st.integers(-1_000, 1_000))
scales = st.integers(0, 18)
# More digits than a floating-point number has, whatever its scale.
LONG = 2**60 + 1


def decimal(whole: int, scale: int) -> Decimal:
    return Decimal(f"{whole}e-{scale}")


def plain(whole: int, scale: int) -> str:
    return f"{decimal(whole, scale):f}"


@given(wholes, scales)
@example(INT_MIN, 18)
@example(-1, 2)
@example(0, 0)
def test_whole_units_are_the_decimal_that_they_stand_for(whole: int, scale: int) -> None:
    shown = fixed(whole, scale)
    assert shown == decimal(whole, scale)
    assert str(shown) == repr(shown) == plain(whole, scale)
    assert units(str(shown), scale) == units(Decimal(shown), scale) == whole
    frame = pl.DataFrame({"n": [whole, None]})
    text = frame.select(as_text(pl.col("n"), f"decimal({scale})")).to_series()
    assert text.to_list() == [plain(whole, scale), None]
    assert text.to_frame("t").select(parsed(pl.col("t"), scale)).to_series().to_list() == [whole, None]
    (column,) = visible(frame, {"n": scale}, arrow=True)
    assert column.to_list() == [decimal(whole, scale), None]


@given(st.one_of(st.from_regex(r"-?[0-9]{0,21}\.?[0-9]{0,20}", fullmatch=True), st.text(max_size=5)), scales)
@example("1e3", 2)
@example("\N{ARABIC-INDIC DIGIT THREE}", 0)
@example(".5", 1)
@example("5.", 0)
@example("-0.000", 2)
@example("9223372036854775808", 0)
@example("-9223372036854775808", 0)
@example("00000000000000000000001.50", 1)
def test_text_is_read_exactly_or_not_at_all(text: str, scale: int) -> None:
    (found,) = pl.DataFrame({"t": [text]}).select(parsed(pl.col("t"), scale)).to_series()
    assert found == units(text, scale)
    if found is not None:
        assert decimal(found, scale) == Decimal(text)
    elif text.strip("-").replace(".", "", 1).isascii() and text.strip("-").replace(".", "", 1).isdigit():
        scaled = Fraction(Decimal(text)) * 10**scale
        assert text.count("-") > 1 or scaled.denominator > 1 or not INT_MIN <= scaled <= INT_MAX


@st.composite
def columns(draw: st.DrawFn, most: int = INT_MAX) -> tuple[int, list[int | None]]:
    scale = draw(st.integers(1, 18))
    whole = st.one_of(st.none(), st.integers(-most, most), st.integers(-1_000, 1_000))
    return scale, draw(st.lists(whole, min_size=1, max_size=8))


def read_again(path: Path) -> tuple[str, list[Any]]:
    """The kind of the column `n`, and its values."""
    raw = read(path.name, path.parent)
    made = typed(raw, raw.kinds)
    assert not made.bad_count
    scale = scale_of(raw.kinds["n"])
    assert scale is not None, raw.notes
    assert not raw.notes
    return raw.kinds["n"], [None if one is None else decimal(one, scale) for one in made.frame["n"]]


def numbers(column: tuple[int, list[int | None]]) -> list[Decimal | None]:
    scale, values = column
    return [None if one is None else decimal(one, scale) for one in values]


@settings(max_examples=examples(10))
@given(columns())
@example((2, [1050, None, INT_MIN, INT_MAX]))
@example((18, [1, -1, 0]))
def test_decimals_come_back_equal_from_every_format(
    new_folder: Callable[[], Path], column: tuple[int, list[int | None]]
) -> None:
    scale, values = column
    values.append(LONG)
    folder, texts = new_folder(), ["" if one is None else plain(one, scale) for one in values]
    (folder / "t.csv").write_text("id,n\n" + "".join(f"{n},{text}\n" for n, text in enumerate(texts)))
    lines = (f'{{"id": {n}, "n": {text or "null"}}}\n' for n, text in enumerate(texts))
    (folder / "t.ndjson").write_text("".join(lines))
    kind, wanted = f"decimal({scale})", numbers(column)
    assert read_again(folder / "t.csv") == (kind, wanted)
    assert read_again(folder / "t.ndjson") == (kind, wanted)
    frame = pl.DataFrame({"id": range(len(values)), "n": pl.Series(wanted, dtype=pl.Decimal(30, scale))})
    frame.write_parquet(folder / "t.parquet")
    assert read_again(folder / "t.parquet") == (kind, wanted)
    with closing(duckdb.connect(folder / "t.duckdb")) as connection:
        connection.execute(f"CREATE TABLE t (id INT, n DECIMAL(38, {scale}))")
        connection.executemany("INSERT INTO t VALUES (?, ?)", [*enumerate(text or None for text in texts)])
    assert read_again(folder / "t.duckdb") == (kind, wanted)


@settings(max_examples=examples(20))
@given(columns(10**14))
@example((2, [1050, None, 1000, -1]))
@example((18, [1, 10**14]))
def test_decimals_of_sqlite_come_back_equal_where_its_numbers_have_them(
    new_folder: Callable[[], Path], column: tuple[int, list[int | None]]
) -> None:
    scale, values = column
    path = new_folder() / "t.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"CREATE TABLE t (id INTEGER PRIMARY KEY, n DECIMAL(18, {scale}))")
        rows = [(n, None if one is None else float(plain(one, scale))) for n, one in enumerate(values)]
        connection.executemany("INSERT INTO t VALUES (?, ?)", rows)
    assert read_again(path) == (f"decimal({scale})", numbers(column))


@pytest.mark.parametrize(
    ("values", "declared", "scale"),
    [
        (["10.50", "3.25"], None, 2),
        (["10.50", "3.20"], None, 2),
        (["1", "2"], 2, 2),
        (["92233720368547758.07"], None, 2),
        # Zeros that 64 bits have no room for are left out.
        (["922337203685477580.70"], 2, 1),
        (["12345678901234567890.13"], 2, None),
        (["1e5"], None, None),
        (["0.1234567890123456789"], None, None),
        ([], 2, 2),
    ],
)
def test_a_scale_holds_every_number_or_there_is_none(
    values: list[str], declared: int | None, scale: int | None
) -> None:
    assert fitting(pl.Series(values, dtype=pl.String), declared) == scale


@pytest.mark.parametrize(
    ("values", "own", "other", "found"),
    [
        ([1050, 1000, None], "decimal(2)", "int", [None, 10, None]),
        ([7, INT_MAX], "int", "decimal(2)", [700, None]),
        ([1050, 1055], "decimal(2)", "decimal(1)", [105, None]),
        ([105], "decimal(1)", "decimal(3)", [10500]),
        ([1050], "decimal(2)", "str", ["10.50"]),
        ([1050], "decimal(2)", "float", [10.5]),
        (["10.5", "x", "1e3"], "str", "decimal(2)", [1050, None, None]),
        ([10.5, 0.1 + 0.2], "float", "decimal(2)", [1050, None]),
        ([1.5, 2.0, None, 1e300], "float", "int", [None, 2, None, None]),
        ([2**53, 2**53 + 1, None], "int", "float", [2.0**53, None, None]),
    ],
)
def test_a_column_becomes_another_kind_exactly_or_null(
    values: list[Any], own: str, other: str, found: list[Any]
) -> None:
    assert pl.DataFrame({"v": values}).select(converted(pl.col("v"), own, other)).to_series().to_list() == found


# --- a scenario ------------------------------------------------------------------------------------------------------

PRICES = ["10.50", "0.05", "-3.25", "92233720368547758.07", "10.50", "7.00"]


def prices() -> None:
    """A file with prices, two of which no floating-point number tells from their neighbours."""
    rows = (f"{n},{['red', 'blue'][n % 2]},{price},2024-01-0{n + 1}\n" for n, price in enumerate([*PRICES, "0.10"]))
    Path("t.csv").write_text("id,colour,price,updated_at\n" + "".join(rows))


def asked(more: str) -> Plan:
    """The scenario with further queries, of which every projection answers what it can."""
    text = re.sub(r"(?m)^queries = .*$", "", Path("mine.toml").read_text())
    return plan(Source.of_text(text + more, Path("mine.toml").absolute()))


def query(where: str) -> str:
    return f'\n[[query]]\nname = "mine"\nkind = "filter"\nentity = "t"\nwhere = {{ price = {where} }}\n'


def chosen(made: Plan, name: str) -> Query:
    return next(one for item in made.projections for one in item.queries if one.name == name)


def test_a_run_is_exact_in_every_store_and_sums_and_sorts_by_decimals() -> None:
    prices()
    new("t.csv")
    text = Path("mine.toml").read_text()
    assert 'price = "decimal(2)"' in text
    assert 'sum = ["price"]' in text
    assert 'order_by = "price"' in text
    bodies = '\n[[projection]]\nname = "bodies"\nstore = "sqlite.document"\n'
    Path("mine.toml").write_text(text + query("10.50") + bodies)
    made = runs()
    assert {row["verdict"] for row in made["projections"]} == {"pass"}
    found = {key: state["price"] for key, (_, _, state) in states()["t"].items()}
    assert found == {n: Decimal(price) for n, price in enumerate([*PRICES, "0.10"])}


def test_a_filter_is_read_as_a_decimal_or_refused() -> None:
    prices()
    new("t.csv")
    read = {"10.50": 1050, "10.5": 1050, "7": 700, '"92233720368547758.07"': INT_MAX, "-3.25": -325}
    for where, whole in read.items():
        assert [one.value for one in chosen(asked(query(where)), "mine").where] == [whole]
    for where in (
        "10.505",
        "12345678901234567.25",
        "92233720368547758.07",
        "true",
        '"10,50"',
        '"ten"',
        "1e30",
        "inf",
        "nan",
    ):
        with pytest.raises(BadInput, match=r"is no value of `price`, which is decimal\(2\)"):
            asked(query(where))


def test_clients_get_and_give_decimals() -> None:
    prices()
    new("t.csv")
    made = asked(query('"?"'))
    mine = chosen(made, "mine")
    model = query_parameters(mine)
    assert own_values(mine, model.model_validate({"price": ["10.5"]})) == [1050]
    for wrong in ("10.505", "1e3", "92233720368547758.08", "", "10,5"):
        with pytest.raises(ValueError, match="2 digits after the point"):
            model.model_validate({"price": [wrong]})
    (row,) = named(mine, [(0, 1, 0, "red", 1050, "2024-01-01")])
    assert row["price"] == "10.50"
    grouped = next(one for item in made.projections for one in item.queries if one.kind == "aggregate")
    # A sum may need more than 64 bits.
    (row,) = named(grouped, [("red", 2, 2**64 + 50)])
    assert row["sum_price"] == plain(2**64 + 50, 2)
    schema = schema_of("decimal(2)", nullable=True)
    assert schema["type"] == ["string", "null"]


def test_witnesses_have_decimals() -> None:
    prices()
    new("t.csv")
    made = asked(query('"?"'))
    mine = chosen(made, "mine")
    lines = Wrong(mine, (1050,), [(0, 1, 0, "red", 1050, "x")], [(0, 1, 0, "red", 5, "x")]).lines()
    assert lines == [
        "mine(10.50): 1 rows, must be 1", "  must be: (0, 1, 0, 'red', 10.50, 'x')",
        "  answers: (0, 1, 0, 'red', 0.05, 'x')",
    ]  # fmt: skip
    layout = Layout("records", {"t": made.domain.entities["t"]})
    assert str(layout.readable("t", {"key": 1, "price": -325, "colour": None})) == (
        "{'key': 1, 'price': -3.25, 'colour': None}"
    )


def test_a_kind_that_the_values_dont_have_is_told() -> None:
    prices()
    new("t.csv")
    scenario, text = Path("mine.toml"), Path("mine.toml").read_text()
    scenario.write_text(text.replace("decimal(2)", "decimal(1)"))
    with pytest.raises(BadInput, match=r"`price` is decimal\(1\), and its value is not"):
        trace()
    scenario.write_text(text.replace('"decimal(2)"', '"float"'))
    made, _ = trace()
    assert any("1 numbers like 92233720368547758.07 are rounded" in note for note in made.notes)
    scenario.write_text(re.sub(r"(?m)^sum = .*$", "", text).replace('"decimal(2)"', '"str"'))
    made, _ = trace()
    assert made.frames["t"].sort("id")["price"].to_list() == [*PRICES, "0.10"]
    for wrong in ("decimal", "decimal(19)", "decimal(-1)", "decimals"):
        scenario.write_text(text.replace("decimal(2)", wrong))
        with pytest.raises(BadInput, match=r"decimal\(s\) with s digits after the point, 0 to 18"):
            trace()


def test_a_decimal_is_a_key_and_a_revision_exactly() -> None:
    rows = {
        "version": [Decimal("1.10"), Decimal("1.9"), Decimal("1.10"), Decimal("92233720368547758.07")],
        "n": [Decimal("3.00"), Decimal("2.00"), Decimal("1.50"), Decimal("92233720368547758.07")],
        "v": ["c", "b", "a", "d"],
    }
    types = {"version": pl.Decimal(38, 2), "n": pl.Decimal(38, 2)}
    pl.DataFrame(rows, schema_overrides=types).write_parquet("t.parquet")
    new("t.parquet", "--key", "version", "--revision", "n", "--time", "none")
    made, entities = trace()
    assert entities["t"].key == "str"
    found = readable(made.frames["t"].sort("position"), entities["t"])
    assert [(row["key"], row["revision"], row["v"]) for row in found] == [
        ("1.10", 1, "a"), ("1.90", 1, "b"), ("1.10", 2, "c"), ("92233720368547758.07", 1, "d"),
    ]  # fmt: skip
    assert found[0]["version"] == Decimal("1.10")
    runs()


def test_decimals_and_whole_numbers_are_linked_by_a_column_that_is_converted() -> None:
    with closing(sqlite3.connect("shop.db")) as connection, connection:
        connection.executescript(
            """
            CREATE TABLE rates (rate DECIMAL(4, 2) PRIMARY KEY, name TEXT);
            CREATE TABLE orders (id INTEGER PRIMARY KEY, rate REAL REFERENCES rates(rate), other DECIMAL(9, 1)
                REFERENCES people(id));
            CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT);
            INSERT INTO rates VALUES (7, 'low'), (19.5, 'high');
            INSERT INTO people VALUES (1, 'Ann'), (2, 'Bob');
            INSERT INTO orders VALUES (1, 7.0, 1), (2, 19.5, 2.0), (3, 19.5, 1.5), (4, NULL, NULL);
            """
        )
    new("shop.db")
    made, entities = trace()
    tables = asked("").domain.tables  # type: ignore[attr-defined]
    links = {one.to: one.name for one in tables["orders"].link}
    frame = made.frames["orders"].sort("id")
    assert entities["rates"].key == "str"
    assert frame[str(links["rates"])].to_list() == ["7.00", "19.50", "19.50", None]
    assert frame[str(links["people"])].to_list() == [1, 2, None, None]
    runs()
    # Without the converted column, such a join is refused.
    more = '\n[[query]]\nname = "x"\nkind = "join"\nentity = "orders"\non = "other"\nto = "people"\ntake = ["name"]\n'
    with pytest.raises(BadInput, match=r"`other` is decimal\(1\), and the key of `people` is int"):
        asked(more)


def test_times_in_decimals_are_exact() -> None:
    began = datetime(2024, 1, 1, tzinfo=UTC)
    seconds = ["1704067200.000001", "1704067200.123457", "1704067200.999999999"]
    scale = fitting(pl.Series(seconds))
    assert scale == 9
    found = moments(pl.Series([units(one, scale) for one in seconds]), scale=scale)
    assert found.second.to_list() == [int(began.timestamp())] * 3
    assert found.nano.to_list() == [1_000, 123_457_000, 999_999_999]
    Path("t.csv").write_text("id,ts,v\n" + "".join(f"{n},{one},x\n" for n, one in enumerate(seconds)))
    told = new("t.csv")
    assert told["guessed"]["time"]["columns"] == ["ts"]
    small = moments(pl.Series([1_500_000_000_000]), scale=12)
    assert (small.second[0], small.nano[0]) == (1, 500_000_000)
    days = moments(pl.Series([453_225, 453_230]), scale=1)
    assert "Excel" in days.form
    assert (days.second[1] - days.second[0]) == timedelta(days=0.5).total_seconds()


def test_files_of_a_folder_agree_on_a_scale() -> None:
    Path("parts").mkdir()
    for n, (price, scale) in enumerate((("10.5", 1), ("3.125", 3))):
        frame = pl.DataFrame({"id": [n], "price": [Decimal(price)]}, schema_overrides={"price": pl.Decimal(9, scale)})
        frame.write_parquet(f"parts/{n}.parquet")
    pl.DataFrame({"id": [2], "price": [7]}).write_parquet("parts/2.parquet")
    new("parts", "--key", "id")
    made, entities = trace()
    assert entities["parts"].told("price") == "decimal(3)"
    found = {row["id"]: row["price"] for row in readable(made.frames["parts"], entities["parts"])}
    assert found == {0: Decimal("10.5"), 1: Decimal("3.125"), 2: 7}


def test_nested_numbers_keep_their_digits() -> None:
    nested = '{"a":1.50,"b":[0.10,-0,1E5,{"c":12345678901234567.250}],"d":"é\\n","e":10}'
    each = [nested, '{"a":2.0}', "[-0]", '{"a":1E5}', "[1.10]", "7.10", '"text"', "null"]
    lines = [f'{{"id": {n}, "inside": {one}}}' for n, one in enumerate(each)]
    Path("t.ndjson").write_text("\n".join(lines) + "\n")
    told = new("t.ndjson", "--key", "id")
    made, _ = trace()
    assert made.frames["t"].sort("id")["inside"].to_list() == [*each[:6], "text", None]
    assert any("nested values" in note for note in told["notes"])
    assert json.loads(nested)["a"] == 1.5


def test_an_entity_tells_its_kinds() -> None:
    entity = Entity("t", "int", {"price": "int", "n": "int"}, scales={"price": 2})
    assert [entity.told(name) for name in ("price", "n", "key")] == ["decimal(2)", "int", "int"]


def test_decimals_of_more_digits_than_any_reader_has_are_refused_by_their_column() -> None:
    wide = pa.array([Decimal("1.5")], pa.decimal256(50, 10))
    pq.write_table(pa.table({"id": [1], "n": wide}), "t.parquet")
    assert "column `n` is decimal256(50, 10), and 38 digits are the most" in refused("t.parquet")

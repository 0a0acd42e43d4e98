"""Your own data with ugly names and values, and what is proposed for it."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from owndata import new, runs, shop, sound, states, trace
from reachable import unreached
from running import call

from lab.base import BadInput
from lab.domain.trace.frame import entity_names
from lab.domain.trace.instants import instants
from lab.scenario import Source
from lab.stores import STORES, store_class
from lab.stores.catalogue import catalogue
from lab.wiring import plan

pytestmark = pytest.mark.usefixtures("here")


# --- ugly things -----------------------------------------------------------------------------------------------------

# Names that clash with the lab's, with SQL, with each other, and with nothing at all.
UGLY = (
    "key", "position", "revision", "Deleted", "committed_at", "event", "records", "rowid", "select", "order by",
    'say "so"', "it's", "naïve", "数", "9lives", "a.b", "a b", "A B", "group", "t", "text", "n", "before", "rank", "?",
)  # fmt: skip


def ugly_rows() -> list[dict[str, Any]]:
    values = ["", " ", "a|b", "\\", "'; DROP TABLE x; --", 'q"q', "Ünï cödé 数", "null", "NaN", "line\nbreak", "\u200b"]
    return [
        {name: f"{values[(row + place) % len(values)]}{row % (place + 2)}" for place, name in enumerate(UGLY)}
        | {"rank": row, "n": None if row % 4 else row / 8, "rowid": row % 3 * 10**15}
        for row in range(44)
    ]


@pytest.mark.parametrize("ending", ["parquet", "ndjson", "db", "csv"])
def test_ugly_names_and_values_come_through_every_format(ending: str, here: Path) -> None:
    rows = ugly_rows()
    frame = pl.DataFrame(rows)
    if ending == "parquet":
        frame.write_parquet("ugly.parquet")
    elif ending == "ndjson":
        (here / "ugly.ndjson").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    elif ending == "csv":
        (here / "ugly.csv").write_bytes(b"\xef\xbb\xbf" + frame.write_csv(separator=";", quote_style="always").encode())
    else:
        # SQLite takes two names that differ in their case for one.
        rows = [{("A_B" if name == "A B" else name): value for name, value in row.items()} for row in rows]
        names = ", ".join('"' + name.replace('"', '""') + '"' for name in rows[0])
        with closing(sqlite3.connect("ugly.db")) as connection, connection:
            connection.execute(f"CREATE TABLE ugly ({names})")
            marks = ", ".join("?" * len(UGLY))
            connection.executemany(f"INSERT INTO ugly VALUES ({marks})", [tuple(row.values()) for row in rows])
    told = new(f"ugly.{ending}", "--key", "rank", "--revision", "none", "--deleted", "none", "--time", "none")
    assert told["records"] == len(rows)
    runs()
    found = states()["ugly"]
    renamed = entity_names(rows[0])
    assert len({name.lower() for name in renamed.values()}) == len(UGLY)
    for row in rows:
        wanted = {renamed[name]: value for name, value in row.items()}
        assert found[row["rank"]] == (1, False, wanted)


def fits(store: str) -> bool:
    """Whether the server that is reached has what this store needs of it."""
    try:
        store_class(store).begin()
    except BadInput:
        return False
    return True


def test_ugly_names_come_through_every_store(here: Path, quick: None) -> None:
    pl.DataFrame(ugly_rows()).write_parquet("ugly.parquet")
    new("ugly.parquet", "--key", "rank", "--revision", "none", "--deleted", "none", "--time", "none")
    text = Path("mine.toml").read_text()
    head = text[: text.index("[[projection]]")].replace("texts = []", 'texts = ["naïve", "text"]')
    queries = text[text.index("[[query]]") :]
    stores = [row for row in catalogue() if row["installed"] and row["store"] != "null"]
    stores = [row for row in stores if not (row["server"] and unreached(row["server"])) and fits(row["store"])]
    assert len(stores) >= 8
    for row in stores:
        head += f'[[projection]]\nname = "{row["store"].replace(".", "-")}"\nstore = "{row["store"]}"\n'
        head += f'keeps = "{row["holds"][0]}"\n\n'
    for name in UGLY:
        column = entity_names(UGLY)[name]
        where = f'where = {{ "{column}" = "?" }}\norder_by = "{column}"\nlimit = 5'
        queries += f'\n[[query]]\nname = "by_{UGLY.index(name)}"\nkind = "filter"\nentity = "ugly"\n{where}\n'
    queries += '\n[[query]]\nname = "words"\nkind = "search"\nentity = "ugly"\n'
    Path("mine.toml").write_text(head + queries)
    made = runs()
    assert {row["verdict"] for row in made["projections"]} == {"pass"}


def test_wide_numbers_decimals_and_nested_values_are_told_about(here: Path) -> None:
    rows = {
        "id": [1, 2, 3],
        "wide": [2**64 - 1, 1, 2],
        "fits": [10, 11, 12],
        "cents": [Decimal("0.25"), Decimal("12345.50"), None],
        "whole": [Decimal(7), Decimal(8), None],
        "inside": [{"a": 1, "b": [True]}, None, {"a": None, "b": []}],
        "raw": [b"\x00\xff", None, b""],
        "day": [date(2024, 2, 29), None, date(1969, 12, 31)],
        "zoned": [datetime(2024, 6, 1, 12, tzinfo=UTC)] * 3,
        "flag": [True, None, False],
        "not_a_number": [float("nan"), 1.5, float("-inf")],
    }
    frame = pl.DataFrame(
        rows,
        schema_overrides={
            "wide": pl.UInt64, "fits": pl.UInt64, "cents": pl.Decimal(20, 2), "whole": pl.Decimal(38, 0),
        },
    ).with_columns(pl.col("zoned").dt.convert_time_zone("Asia/Kolkata"))  # fmt: skip
    frame.write_parquet("wide.parquet")
    told = new("wide.parquet", "--key", "id")
    said = " ".join(told["notes"])
    for name, words in (("wide", "text"), ("inside", "JSON"), ("raw", "hexadecimal")):
        assert any(f"`{name}`" in note and words in note for note in told["notes"]), said
    for name in ("fits", "cents", "whole", "day", "flag"):
        assert f"`{name}`" not in said
    runs()
    found = {key: state for key, (_, _, state) in states()["wide"].items()}
    assert (found[1]["wide"], found[1]["fits"], found[1]["whole"]) == (str(2**64 - 1), 10, 7)
    assert [found[key]["cents"] for key in (1, 2, 3)] == rows["cents"]
    assert [json.loads(found[key]["inside"] or "0") for key in (1, 2, 3)] == [*rows["inside"][:1], 0, rows["inside"][2]]
    assert [found[key]["raw"] for key in (1, 2, 3)] == ["00ff", None, ""]
    assert [found[key]["day"] for key in (1, 2, 3)] == ["2024-02-29", None, "1969-12-31"]
    assert instants(pl.Series([found[1]["zoned"]])).to_list() == [datetime(2024, 6, 1, 12, tzinfo=UTC).timestamp()]
    assert [found[key]["flag"] for key in (1, 2, 3)] == [True, None, False]
    assert [found[key]["not_a_number"] for key in (1, 2, 3)] == [None, 1.5, float("-inf")]


def test_duplicates_of_a_key_are_revisions_and_mixed_values_are_text(here: Path) -> None:
    with closing(sqlite3.connect("m.db")) as connection, connection:
        connection.execute("CREATE TABLE m (id INTEGER, v, b BLOB)")
        rows = [(1, 1, b"\x01"), (2, "x", None), (1, 2.5, b"\x02"), (1, None, None)]
        connection.executemany("INSERT INTO m VALUES (?, ?, ?)", rows)
    told = new("m.db", "--key", "id")
    assert (told["rows"], told["records"]) == (4, 2)
    assert any("`v` holds integer and real and text values" in note for note in told["notes"])
    assert any("`b`" in note and "hexadecimal" in note for note in told["notes"])
    made, _ = trace()
    sound(made)
    assert [row[2:] for row in made.frames["m"].select("position", "key", "revision", "v", "b").rows()] == [
        (1, "1", "01"), (1, "x", None), (2, "2.5", "02"), (3, None, None),
    ]  # fmt: skip
    runs()


# --- what is proposed ------------------------------------------------------------------------------------------------


def proposed(name: str = "mine") -> tuple[dict[str, str], dict[str, str]]:
    """Stores by projection, and the classes of the queries by their names."""
    made = plan(Source(Path(f"{name}.toml")))
    return {item.table.name: item.table.store for item in made.projections}, {
        item.name: item.kind for item in made.queries
    }


def test_texts_times_and_a_past_bring_questions_and_stores_of_their_own(here: Path) -> None:
    lines = [
        f"{n % 20},2024-01-{1 + n % 28:02},c{n % 3},{n},Some words of number {n} and more" for n in range(60)
    ]  # fmt: skip
    (here / "notes.csv").write_text("id,updated_at,city,size,body\n" + "\n".join(lines) + "\n")
    new("notes.csv", "--key", "id")
    stores, queries = proposed()
    assert queries == {
        "notes_by_key": "get", "notes_by_keys": "get_many", "notes_of_city": "filter", "notes_per_city": "aggregate",
        "notes_since": "filter", "notes_with_words": "search", "notes_as_of": "as_of", "notes_history": "history",
    }  # fmt: skip
    assert {"sqlite.table", "duckdb.columnar", "sqlite.search", "sqlite.log"} <= set(stores.values())
    text = Path("mine.toml").read_text()
    assert 'texts = ["body"]' in text
    assert 'indexes = ["city", "updated_at"]' in text
    keys = [line for line in text.splitlines() if re.match(r'["\w]+ = ', line)]
    assert [line for line in keys if " # " not in line] == []
    runs()
    (here / "plain.csv").write_text("id,city\n1,a\n2,a\n3,b\n4,b\n")
    new("plain.csv", name="plain")
    stores, queries = proposed("plain")
    assert set(queries.values()) == {"get", "get_many", "filter", "aggregate"}
    assert {"sqlite.search", "sqlite.log"}.isdisjoint(stores.values())


def test_a_store_that_is_not_installed_is_mentioned_and_left_out(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "plain.csv").write_text("id,city\n1,a\n2,a\n3,b\n4,b\n")
    missing = replace(STORES["lmdb.keyvalue"], path="not_installed_anywhere:Store")
    monkeypatch.setitem(STORES._shipped, "lmdb.keyvalue", missing)
    new("plain.csv")
    assert "pip install 'polyglot-lab[keyvalue]'" in Path("mine.toml").read_text()
    stores, _ = proposed()
    assert "lmdb.keyvalue" not in stores.values()


def test_an_entity_called_like_a_table_of_the_database_is_that_table(here: Path) -> None:
    shop()
    told = new("shop.db", "--entity", "customers")
    assert (told["rows"], told["entity"]) == (5, "customers")


def test_columns_to_be_searched_or_indexed_must_be_there_and_be_text(here: Path) -> None:
    (here / "orders.csv").write_text("id,city\n1,a\n2,b\n")
    new("orders.csv")
    text = Path("mine.toml").read_text()
    for old, fresh, words in (
        ("texts = []", 'texts = ["id"]', "`id` is int"),
        ("texts = []", 'texts = ["citi"]', "did you mean `city`?"),
        ("indexes = []", 'indexes = ["city", "city"]', "a column comes twice"),
    ):
        assert old in text
        Path("wrong.toml").write_text(text.replace(old, fresh))
        found = call("validate", "wrong.toml")
        assert (found.exit_code, words in found.stderr) == (2, True), found.output

"""Your own data: a file goes in, a scenario that runs comes out, and what it shows is a plain fold of the file."""

from __future__ import annotations

import csv
import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from owndata import debezium, fold, new, notes, runs, shop, sound, states, trace

from lab.domain.model import Options
from lab.domain.trace.frame import gone
from lab.domain.trace.instants import instants
from lab.scenario import Source
from lab.starter import keys
from lab.wiring import plan

# Reports have tests of their own.
pytestmark = pytest.mark.usefixtures("quick", "here")


# --- the four files --------------------------------------------------------------------------------------------------


def lines_of_orders() -> list[dict[str, Any]]:
    began = datetime(2024, 3, 1, 8, 0, tzinfo=UTC)
    return [
        {
            "Order No": f"A{order % 40:03}|{order % 3}",
            "line": line,
            "sku": f"S{(order * 7 + line) % 11}",
            "price": Decimal(order * line) / 4,
            "placed": began + timedelta(minutes=37 * (order * 13 % 41), microseconds=order),
            "ships_on": date(2024, 3, 1) + timedelta(days=order % 5) if order % 4 else None,
            "tags": [f"t{order % 3}", 'say "so"'] if order % 2 else None,
            "position": order % 9,
        }
        for order in range(40)
        for line in range(1, 4)
    ]


def test_a_parquet_table_with_a_composite_key() -> None:
    rows = lines_of_orders()
    pl.DataFrame(rows, schema_overrides={"price": pl.Decimal(10, 2)}).write_parquet("orders.parquet")
    told = new("orders.parquet")
    assert told["guessed"]["key"]["columns"] == ["line", "Order No"] or told["guessed"]["key"]["columns"] == [
        "Order No",
        "line",
    ]
    assert told["guessed"]["time"]["columns"] == ["placed"]
    assert (told["rows"], told["records"], told["bad_rows"]) == (120, 120, 0)
    runs()
    order = [told["guessed"]["key"]["columns"].index(name) for name in ("Order No", "line")]
    changes = []
    for row in rows:
        parts = [row["Order No"].replace("|", "\\|"), str(row["line"])]
        key = "|".join(parts if order == [0, 1] else reversed(parts))
        state = {
            "Order_No": row["Order No"], "line": row["line"], "sku": row["sku"], "price": row["price"],
            "ships_on": row["ships_on"] and row["ships_on"].isoformat(), "position_": row["position"],
            "tags": row["tags"] and json.dumps(row["tags"], separators=(",", ":")),
            "placed": row["placed"].strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }  # fmt: skip
        changes.append((key, False, state))
    found = states()["orders"]
    expected = fold(changes)
    assert found.keys() == expected.keys()
    for key, (revision, deleted, state) in expected.items():
        assert found[key][:2] == (revision, deleted)
        placed = instants(pl.Series([found[key][2].pop("placed"), state.pop("placed")]))
        assert placed[0] == pytest.approx(placed[1], abs=1e-6)
        assert found[key][2] == state
    assert any("`position` is called `position_`" in note for note in notes())


def test_a_csv_with_dates_nulls_and_revisions_of_one_id() -> None:
    rows = []
    for number in range(60):
        person, version = number % 20, number // 20
        when = datetime(2023, 5, 1 + (number * 11) % 28, number % 24)
        rows.append(
            {
                "id": str(person + 1), "full name": f'Nr. {person}, "the {version}th"\nof its name',
                "zip": f"0{person}", "score": "" if number % 7 == 0 else str(number / 8),
                "born": "" if person % 3 else f"19{person + 50}-01-31",
                "updated_at": (when + timedelta(days=30 * version)).strftime("%Y-%m-%d %H:%M"),
                "deleted_at": "2024-01-01" if person == 3 and version == 2 else "",
            }
        )  # fmt: skip
    rows = sorted(rows, key=lambda row: row["full name"])
    with Path("people.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=";")
        writer.writeheader()
        writer.writerows(rows)
    told = new("people.csv", "--entity", "person")
    guessed = {role: found["columns"] for role, found in told["guessed"].items()}
    assert guessed == {"key": ["id"], "time": ["updated_at"], "deleted": ["deleted_at"], "revision": []}
    runs()
    changes = [
        (
            int(row["id"]),
            bool(row["deleted_at"]),
            {
                "id": int(row["id"]), "full_name": row["full name"], "zip": row["zip"], "born": row["born"] or None,
                "score": float(row["score"]) if row["score"] else None, "updated_at": row["updated_at"],
                "deleted_at": row["deleted_at"] or None,
            },
        )
        for row in sorted(rows, key=lambda row: row["updated_at"])
    ]  # fmt: skip
    assert states()["person"] == fold(changes)
    sound(trace()[0])


def test_a_database_gives_its_largest_table_or_the_one_that_is_named() -> None:
    rows = shop()
    told = new("shop.db", "--time", "day")
    assert told["entity"] == "big_orders"
    assert told["guessed"]["deleted"]["columns"] == ["is_deleted"]
    assert told["guessed"]["time"]["told"]
    assert any("shop.db:customers" in note for note in told["notes"])
    runs()
    names = ("id", "customer", "total", "is_deleted", "day")
    assert states()["big_orders"] == fold([(row[0], bool(row[3]), dict(zip(names, row, strict=True))) for row in rows])
    assert new("shop.db:customers", name="people")["rows"] == 5
    runs("people")
    assert states("people")["customers"]["c3"] == (1, False, {"code": "c3", "name": "Name 3"})


@pytest.mark.parametrize("how", [0, 1, 2], ids=["bare", "payload", "key and value"])
def test_a_debezium_log_with_deletes_snapshot_reads_and_tombstones(how: int) -> None:
    events: list[Any] = []
    for n in range(30):
        events.append(("r", n, None, {"id": n, "city": f"C{n % 4}", "n": n, "more": {"a": [1]}}))
    for n in range(0, 30, 2):
        events.append(("u", 5_000 + n, None, {"id": n, "city": "moved", "n": None, "more": None}))
    for n in range(0, 30, 3):
        events.append(("d", 9_000 + n, {"id": n, "city": "last", "n": -n, "more": None}, None))
    events.append(("c", 20_000, None, {"id": 6, "city": "again", "n": 1, "more": None}))
    lines = debezium(events, how)
    lines[50:50] = ["null", ""]
    Path("cities.ndjson").write_text("\n".join(lines) + "\n")
    told = new("cities.ndjson")
    assert told["format"] == "debezium"
    assert told["guessed"]["key"]["columns"] == ["id"]
    runs()
    changes = []
    for op, _, before, after in events:
        state = dict(after or before)
        state["more"] = state["more"] and '{"a":[1]}'
        changes.append((state["id"], op == "d", state))
    assert states()["cities"] == fold(changes)
    assert states()["cities"][6] == (4, False, {"id": 6, "city": "again", "n": 1, "more": None})


def test_lines_of_json_that_are_records() -> None:
    rows: list[dict[str, Any]] = [
        {"uuid": f"u{n}", "ok": n % 2 == 0, "x": n, "mixed": n if n % 2 else "t"} for n in range(50)
    ]
    rows[7]["late"] = 1.5
    del rows[9]["ok"]
    Path("things.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert new("things.jsonl")["format"] == "ndjson"
    runs()
    blank = {"ok": None, "late": None}
    wanted = [(row["uuid"], False, {**blank, **row, "mixed": str(row["mixed"])}) for row in rows]
    assert states()["things"] == fold(wanted)


# --- properties ------------------------------------------------------------------------------------------------------

values = st.one_of(st.none(), st.integers(-5, 5))
texts = st.text('a|\\"é ', max_size=3)
operations = st.lists(
    st.tuples(st.sampled_from("crudd"), st.integers(0, 1), st.integers(0, 50), values, texts, st.booleans()),
    min_size=1, max_size=25,
)  # fmt: skip


@settings(max_examples=examples(15), deadline=None)
@given(operations, st.integers(0, 1))
def test_any_debezium_log_is_a_plain_fold_of_it(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[Any], how: int
) -> None:
    folder = tmp_path_factory.mktemp("log")
    events: list[Any] = []
    last: dict[tuple[Any, str], dict[str, Any]] = {}
    changes = []
    for op, key, at, value, text, told in drawn:
        row = {"a": key, "b": text, "v": value, "w": f"w{value}"}
        known = last.get((key, text))
        if op == "d":
            before = known if known and told else {"a": key, "b": text, "v": None, "w": None}
            events.append(("d", at, before, None))
            state = known or before
        else:
            events.append((op, at, known if told else None, row))
            state = row
        last[key, text] = state
        escaped = text.replace("\\", "\\\\").replace("|", "\\|")
        changes.append((f"{key}|{escaped}", op == "d", state))
    (folder / "log.ndjson").write_text("\n".join(debezium(events, how)))
    columns = {"a": "int", "b": "str", "v": "int", "w": "str"}
    kinds = ", ".join(f"{name} = {kind!r}" for name, kind in columns.items())
    text = f"""
schema = 1
name = "x"
seed = 1
[domain]
name = "trace"
[[domain.entity]]
name = "x"
file = "log.ndjson"
format = "debezium"
key = ["a", "b"]
columns = {{ {kinds} }}
[[projection]]
name = "p"
store = "memory"
"""
    (folder / "x.toml").write_text(text)
    made = plan(Source(folder / "x.toml"))
    found = made.domain.trace(made.options)
    sound(found)
    rows = found.frames["x"].sort("position")
    assert [
        (row["key"], row["deleted"], {name: row[name] for name in columns}) for row in rows.iter_rows(named=True)
    ] == changes


def test_a_deletion_that_tells_the_key_alone_has_the_last_known_state() -> None:
    events: list[Any] = [
        ("c", 1, None, {"id": 1, "v": "old"}), ("u", 2, None, {"id": 1, "v": "new"}),
        ("c", 3, None, {"id": 2, "v": None}), ("d", 4, {"id": 1, "v": None}, None), ("d", 5, {"id": 2}, None),
    ]  # fmt: skip
    Path("log.ndjson").write_text("\n".join(debezium(events, 0)))
    new("log.ndjson")
    runs()
    assert states()["log"] == {1: (3, True, {"id": 1, "v": "new"}), 2: (2, True, {"id": 2, "v": None})}


@pytest.mark.parametrize(("again", "expected"), [(59, ["id", "line"]), (58, ["id", "line", "part"])])
def test_a_key_is_unique_in_all_rows_and_not_only_in_the_first(
    monkeypatch: pytest.MonkeyPatch, again: int, expected: list[str]
) -> None:
    monkeypatch.setattr(keys, "SAMPLE", 4)
    rows = [{"id": n // 4, "line": n % 4, "part": n % 2, "x": 0.5} for n in range(60)]
    # The last row has the id and the line of another one, or those of its own.
    rows[59] |= {"line": again % 4, "part": 1}
    pl.DataFrame(rows).write_parquet("keys.parquet")
    assert new("keys.parquet")["guessed"]["key"]["columns"] == expected


@pytest.mark.parametrize("count", [1, 3])
def test_several_files_share_one_sequence_of_positions(count: int, here: Path) -> None:
    for n in range(count):
        rows = "".join(f"{k},{(k * 7 + n) % 50}\n" for k in range(20))
        (here / f"t{n}.csv").write_text("id,ts\n" + rows)
    entities = "".join(
        f'[[domain.entity]]\nname = "t{n}"\nfile = "t{n}.csv"\nkey = ["id"]\ntime = "ts"\n' for n in range(count)
    )
    head = 'schema = 1\nname = "mine"\nseed = 1\n[domain]\nname = "trace"\ntime_scale = 10.0\n'
    tail = '[truth]\nmodel = "events"\n[[projection]]\nname = "p"\nstore = "sqlite.table"\nsubscribe = "catch-up"\n'
    Path("mine.toml").write_text(head + entities + tail)
    made, _ = trace()
    sound(made)
    assert made.changes == 20 * count
    runs()
    assert trace(options=Options(records=3))[0].changes == 3 * count


def test_a_revision_column_orders_the_changes_of_a_record_and_tombstones_are_revived() -> None:
    Path("r.csv").write_text("id,rev,state,v\n1,30,active,c\n2,1,active,x\n1,10,active,a\n1,20,deleted,b\n")
    new("r.csv", "--deleted", "state", "--text", "v")
    made, _ = trace()
    sound(made)
    rows = made.frames["r"].select("position", "key", "revision", "deleted", "v").rows()
    assert rows == [(1, 1, 1, False, "a"), (2, 2, 1, False, "x"), (3, 1, 2, True, "b"), (4, 1, 3, False, "c")]
    runs()


def test_times_are_read_in_every_unit_and_zone() -> None:
    text = pl.Series(
        ["2024-01-01", "2024-01-01T01:00:00+01:00", "2024/01/01 00:00", "2024-01-01T00:00:00,25Z", "x", None]
    )
    assert instants(text).to_list() == [1704067200.0, 1704067200.0, 1704067200.0, 1704067200.25, None, None]
    for unit in (1, 1_000, 1_000_000, 1_000_000_000):
        assert instants(pl.Series([1_704_067_200 * unit])).to_list() == [1704067200.0]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([True, False, None], [True, False, False]),
        ([1, 0, None], [True, False, False]),
        (["deleted", "active", None], [True, False, False]),
        (["D", "u", "c"], [True, False, False]),
        (["2024-01-01", None, None], [True, False, False]),
        (["shipped", "lost", None], [False, False, False]),
    ],
)
def test_what_says_that_a_record_is_gone(values: list[Any], expected: list[bool]) -> None:
    assert gone(pl.Series(values)).to_list() == expected

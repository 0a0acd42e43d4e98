"""A database of one's own becomes a scenario with all of its tables, which runs unedited, up to advice."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from owndata import new, notes, refused, runs, sound, states, trace
from running import call

from lab.base import BadInput
from lab.scenario import Source
from lab.wiring import plan

# Reports have tests of their own.
pytestmark = pytest.mark.usefixtures("quick", "here")

TABLES = """
CREATE TABLE category (id INTEGER PRIMARY KEY, name TEXT, parent_id INTEGER REFERENCES category(id));
CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT, email TEXT UNIQUE, created_at TEXT);
CREATE TABLE agent (id INTEGER PRIMARY KEY, name TEXT, BirthDate TEXT, lead INT REFERENCES agent(id));
CREATE TABLE product (
    region TEXT, sku TEXT, title TEXT, price REAL, category_id INT REFERENCES category(id), PRIMARY KEY (region, sku)
);
CREATE TABLE orders (
    id INTEGER PRIMARY KEY, customer_id INT REFERENCES customer(id),
    mail TEXT REFERENCES customer(email), placed_at TEXT
);
CREATE TABLE line (
    order_id INT REFERENCES orders(id), n INT, sku TEXT, region TEXT, quantity INT,
    PRIMARY KEY (order_id, n), FOREIGN KEY (region, sku) REFERENCES product(region, sku)
);
CREATE TABLE void (id INTEGER PRIMARY KEY);
CREATE VIEW broken AS SELECT * FROM gone;
"""
ROWS: dict[str, list[tuple[Any, ...]]] = {
    "category": [(n, f"Category {n}", n // 3 or None) for n in range(1, 13)],
    "customer": [(n, f"Ann {n}", f"{n}@x.org", f"2024-01-{n:02} 08:00") for n in range(1, 21)],
    "agent": [(n, f"Bob {n}", f"19{n + 50}-01-31", n // 2 or None) for n in range(1, 9)],
    "product": [(one, f"S|{n}", f"thing no {n}", n / 4, 1 + n % 12) for one in ("eu", "us") for n in range(15)],
    "orders": [(n, 1 + n % 20, None, f"2024-02-{1 + n % 28:02}T12:00:00") for n in range(1, 91)],
    "line": [(n, k, f"S|{n * k % 15}", "eu" if n % 2 else "us", k) for n in range(1, 91) for k in (1, 2)],
}


def sqlite_shop(path: str = "shop.db") -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(TABLES)
        for name, rows in ROWS.items():
            connection.executemany(f"INSERT INTO {name} VALUES ({', '.join('?' * len(rows[0]))})", rows)


def duckdb_shop(path: str = "shop.db") -> None:
    with closing(duckdb.connect(path)) as connection:
        # A view on a table that isn't there is not made by DuckDB: here it is gone afterwards.
        connection.execute("CREATE TABLE gone (id INT)")
        for statement in TABLES.split(";"):
            if statement.strip():
                connection.execute(statement)
        connection.execute("DROP TABLE gone")
        for name, rows in ROWS.items():
            if name in ("agent", "category"):
                # DuckDB wants a record before those that refer to it.
                connection.executemany(f"INSERT INTO {name} VALUES ({', '.join('?' * len(rows[0]))})", rows)
                continue
            frame = pl.DataFrame(rows, orient="row", infer_schema_length=None)
            connection.register("rows", frame.to_arrow())
            connection.execute(f"INSERT INTO {name} SELECT * FROM rows")


SHOPS = {"sqlite": sqlite_shop, "duckdb": duckdb_shop}


@pytest.mark.parametrize("form", SHOPS)
def test_a_shop_becomes_a_scenario_with_an_entity_for_each_table(form: str) -> None:
    SHOPS[form]()
    told = new("shop.db", name="shop")
    found = {one["entity"]: one for one in told["entities"]}
    assert {name: one["guessed"]["key"]["columns"] for name, one in found.items()} == {
        "agent": ["id"], "category": ["id"], "customer": ["id"], "product": ["region", "sku"], "orders": ["id"],
        "line": ["order_id", "n"],
    }  # fmt: skip
    assert {name: [(link["on"], link["to"]) for link in one["links"]] for name, one in found.items()} == {
        "category": [(["parent_id"], "category")],
        "customer": [],
        "agent": [(["lead"], "agent")],
        "product": [(["category_id"], "category")],
        "orders": [(["customer_id"], "customer")],
        "line": [(["order_id"], "orders"), (["region", "sku"], "product")],
    }
    assert {name: one["time_of"] for name, one in found.items() if one["time_of"]} == {"line": "orders"}
    assert {name: one["format"] for name, one in found.items()} == dict.fromkeys(ROWS, form)
    assert told["rows"] == sum(map(len, ROWS.values()))
    # Who is linked to stands before those that link to it.
    order = list(found)
    assert all(order.index(link["to"]) <= order.index(name) for name, one in found.items() for link in one["links"])
    for word in ("`broken` is passed over", "`void` is passed over: no rows", "`email` of `customer`"):
        assert any(word in note for note in told["notes"]), word


@pytest.mark.parametrize("form", SHOPS)
def test_every_record_of_a_shop_is_what_it_was(form: str) -> None:
    SHOPS[form]()
    new("shop.db", name="shop")
    made, entities = trace("shop")
    sound(made)
    with closing(sqlite3.connect("expected.db")) as connection, connection:
        connection.executescript(TABLES)
        for name, rows in ROWS.items():
            connection.executemany(f"INSERT INTO {name} VALUES ({', '.join('?' * len(rows[0]))})", rows)
            names = [row[1] for row in connection.execute(f"PRAGMA table_info({name})")]
            assert (
                made.frames[name].select(names).sort(names).rows()
                == pl.DataFrame(rows, schema={one: made.frames[name].schema[one] for one in names}, orient="row")
                .sort(names)
                .rows()
            )
    assert entities["category"].parent == "parent_id"
    lines = made.frames["line"]
    # The key of a product, as the product has it.
    assert lines["product_key"].is_in(made.frames["product"]["key"].to_list()).all()
    assert lines["product_key"][0] == f"{lines['region'][0]}|{lines['sku'][0].replace('|', chr(92) + '|')}"


def test_rows_without_times_are_as_old_as_what_they_link_to() -> None:
    sqlite_shop()
    told = new("shop.db", name="shop")
    why = {one["entity"]: one["guessed"]["time"]["why"] for one in told["entities"]}
    assert "as old as the records of `orders`" in why["line"]
    assert "there from the beginning" in why["category"]
    assert "has times" in why["orders"]
    frames = trace("shop")[0].frames
    orders = dict(frames["orders"].select("key", "committed_at").rows())
    at = dict(frames["orders"].select("key", "position").rows())
    assert all(row["committed_at"] == orders[row["order_id"]] for row in frames["line"].rows(named=True))
    assert all(row["position"] > at[row["order_id"]] for row in frames["line"].rows(named=True))
    # What has no times at all is there from the beginning.
    assert frames["category"]["committed_at"].unique().to_list() == [0.0]
    # Nobody was committed at birth.
    assert frames["agent"]["committed_at"].unique().to_list() == [0.0]
    assert frames["product"]["committed_at"].unique().to_list() == [0.0]
    assert max(frame["committed_at"].max() for frame in frames.values()) == pytest.approx(60, rel=0.2)


def test_a_shop_runs_unedited_and_gets_advice() -> None:
    sqlite_shop()
    new("shop.db", name="shop")
    # No key of another record is summed or sorted by.
    summed = re.findall(r'(?m)^(?:sum|order_by) = .*?"(.*?)"', Path("shop.toml").read_text())
    assert not [name for name in summed if name.endswith("id")]
    runs("shop")
    asked = {query["name"]: query["kind"] for query in plan(Source(Path("shop.toml"))).scenario.model_dump()["query"]}
    joins = {name for name, kind in asked.items() if kind == "join"}
    assert joins == {
        "agent_with_lead", "category_with_parent", "product_with_category", "orders_with_customer", "line_with_order",
        "line_with_product",
    }  # fmt: skip
    below = {name for name, kind in asked.items() if kind == "traverse"}
    assert below == {"agent_below", "category_below"}
    table = pl.read_parquet("runs/shop/latest/queries.parquet")
    right = table.filter(pl.col("kind").is_in(["join", "traverse"]) & pl.col("answer_ok"))
    # Rows are found along each link, and not only nothing.
    for name in joins | below:
        assert right.filter(pl.col("query") == name)["rows"].max() > 0, name
    assert any("`line` has no column of time: its rows are as old as their records of `orders`" in one
               for one in notes("shop"))  # fmt: skip
    advised = call("advise", "runs/shop/latest", "--json")
    assert advised.exit_code == 0, advised.output
    assert json.loads(advised.stdout)


def test_one_table_is_taken_by_its_name_or_for_its_columns() -> None:
    sqlite_shop()
    assert [one["entity"] for one in new("shop.db:customer", name="a")["entities"]] == ["customer"]
    assert [one["entity"] for one in new("shop.db", "--entity", "product", name="b")["entities"]] == ["product"]
    told = new("shop.db", "--key", "order_id,n", name="c")
    assert (told["entity"], told["rows"]) == ("line", 180)
    assert any("The largest table, `line`, was taken" in note for note in told["notes"])


def test_a_table_that_cant_be_used_costs_no_other() -> None:
    sqlite_shop()
    with closing(sqlite3.connect("shop.db")) as connection, connection:
        connection.execute("CREATE TABLE loose (a INT, b INT)")
        connection.execute("INSERT INTO loose VALUES (1, 1), (1, 1)")
        connection.execute('CREATE TABLE "Orders 2" (id INTEGER PRIMARY KEY, "at" TEXT)')
        connection.execute("INSERT INTO \"Orders 2\" VALUES (1, '2024-01-01'), (2, '2024-01-02')")
        connection.execute("CREATE TABLE totals (id INTEGER PRIMARY KEY)")
        connection.execute("INSERT INTO totals VALUES (1), (2)")
    told = new("shop.db", name="shop")
    assert {one["entity"] for one in told["entities"]} == {*ROWS, "orders_2", "record"}
    assert any("`loose` is passed over: no column or combination is unique" in note for note in told["notes"])


def test_a_database_without_any_table_of_use_is_refused() -> None:
    with closing(sqlite3.connect("shop.db")) as connection, connection:
        connection.execute("CREATE TABLE a (id INTEGER PRIMARY KEY)")
        connection.execute("CREATE TABLE b (id INTEGER PRIMARY KEY)")
    assert "no table of it has rows" in refused("shop.db")


def test_tables_that_link_in_a_circle_are_taken_all_the_same() -> None:
    with closing(sqlite3.connect("shop.db")) as connection, connection:
        connection.executescript(
            "CREATE TABLE team (id INTEGER PRIMARY KEY, name TEXT, lead INT REFERENCES person(id));"
            "CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT, team INT REFERENCES team(id));"
            "INSERT INTO team VALUES (1, 'a b', 1), (2, 'b c', 2);"
            "INSERT INTO person VALUES (1, 'x y', 1), (2, 'y z', 2), (3, 'z a', 1);"
        )
    told = new("shop.db", name="shop")
    assert {one["entity"]: len(one["links"]) for one in told["entities"]} == {"team": 1, "person": 1}
    sound(trace("shop")[0])


SCENARIO = """
schema = 1
name = "s"
seed = 1
[domain]
name = "trace"
[[domain.entity]]
name = "orders"
file = "shop.db:orders"
key = ["id"]
{orders}
[[domain.entity]]
name = "line"
file = "shop.db:line"
key = ["order_id", "n"]
{line}
[[projection]]
name = "p"
store = "sqlite.table"
"""
LINK = '[[domain.entity.link]]\non = ["{}"]\nto = "{}"\n{}'
ORDER = LINK.format("order_id", "orders", "")
MISTAKES = {
    "no such entity": (LINK.format("order_id", "order", ""), "no entity is called `order`", "orders"),
    "no such column": (LINK.format("order", "orders", ""), "no column is called `order`", "order_id"),
    "another kind": (LINK.format("sku", "orders", ""), "not of the kind of the key of `orders`, which is int", "name"),
    "too few columns": (LINK.format("order_id", "line", ""), "1 columns, and the key of `line` has 2", "order_id, n"),
    "a taken name": (LINK.format("order_id", "orders", 'name = "SKU"'), "a column `SKU` already", "another name"),
    "times of no link": ('time_of = "orders"', "no link leads to another table `orders`", "link"),
    "times of two kinds": (f'time_of = "orders"\ntime = "n"\n{ORDER}', "times of their own", "leave"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_links_that_lead_nowhere_are_refused(case: str) -> None:
    sqlite_shop()
    line, what, way_out = MISTAKES[case]
    Path("s.toml").write_text(SCENARIO.format(orders="", line=line))
    with pytest.raises(BadInput) as caught:
        plan(Source(Path("s.toml")))
    assert what in str(caught.value)
    assert way_out in str(caught.value)


def test_a_scenario_without_queries_asks_along_its_links() -> None:
    sqlite_shop()
    Path("s.toml").write_text(SCENARIO.format(orders="", line=ORDER))
    runs("s")
    table = pl.read_parquet("runs/s/latest/queries.parquet").filter(pl.col("kind") == "join")
    assert table["answer_ok"].all()
    assert table.height


def test_an_entity_of_a_table_without_links_is_as_before() -> None:
    sqlite_shop()
    new("shop.db:orders", name="a")
    assert "link" not in Path("a.toml").read_text()
    assert "time_of" not in Path("a.toml").read_text()
    assert states("a")["orders"].keys() == {row[0] for row in ROWS["orders"]}

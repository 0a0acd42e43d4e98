"""Tables of servers: their addresses, decimals as they were, and the servers themselves where they are there."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from running import call

from lab.base import MissingDriver, NotReadable
from lab.domain.trace.addresses import ServerAddress, is_address, parse
from lab.domain.trace.databases import ForeignKey
from lab.domain.trace.files import digest, read, whole_database
from lab.domain.trace.raw import LINE
from lab.domain.trace.servers import _decimals, read_server, server_catalogue

# A test of a server is skipped where the server is not there, unless this says that it is.
THERE = os.environ.get("LAB_SERVERS", "")
DATABASE = "lab_own_data"


@pytest.mark.parametrize(
    ("file", "address"),
    [
        ("postgresql://ann@db.example:5433/shop:orders", ("postgresql", "db.example", 5433, "ann", "shop", "orders")),
        ("postgres://localhost/shop", ("postgresql", "localhost", None, None, "shop", None)),
        ("mariadb://root@127.0.0.1/a%20b:c%2Fd", ("mysql", "127.0.0.1", None, "root", "a b", "c/d")),
        ("postgresql://h/shop:sales.orders?x=1", ("postgresql", "h", None, None, "shop", "sales.orders")),
    ],
)
def test_an_address_says_where_and_which_table(file: str, address: tuple[Any, ...]) -> None:
    assert is_address(file)
    assert parse(file) == ServerAddress(*address)


@pytest.mark.parametrize("file", ["shop.db:orders", "orders.csv", "C:/data/x.csv", "https://host/x.csv"])
def test_what_is_no_address_is_a_path(file: str) -> None:
    assert not is_address(file)


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("postgresql://ann:secret@host/shop", "PGPASSWORD or ~/.pgpass"),
        ("mysql://ann:secret@host/shop", "MYSQL_PWD or ~/.my.cnf"),
        ("postgresql://host", "no database is named .*/shop:orders"),
        ("mysql://host:port/shop", "the port is not a number"),
    ],
)
def test_addresses_that_cant_be_used_are_refused_without_their_password(file: str, says: str) -> None:
    with pytest.raises(NotReadable, match=says) as caught:
        parse(file)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("file", "module", "extra"),
    [
        ("postgresql://h/s:t", "psycopg", "polyglot-lab[postgresql]"),
        ("mysql://h/s:t", "pymysql", "polyglot-lab[mysql]"),
    ],
)
def test_without_its_driver_a_server_is_refused_in_a_line(
    file: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDriver) as caught:
        read_server(file)
    assert extra in str(caught.value)
    assert "\n" not in str(caught.value)
    found = call("new", "mine", "--from", file)
    assert (found.exit_code, found.stdout) == (2, "")
    assert extra in found.stderr


NUMBERS = st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**20), max_value=10**20)


@given(st.lists(st.one_of(st.none(), NUMBERS, st.integers(-(2**70), 2**70).map(Decimal))))
def test_decimals_are_exact(values: list[Decimal | None]) -> None:
    found = _decimals(pl.Series([None if value is None else f"{value:f}" for value in values], dtype=pl.String))
    assert found.dtype.is_decimal()
    assert found.to_list() == values


@pytest.mark.parametrize("text", ["NaN", "Infinity", "1" * 39, "0." + "1" * 39])
def test_numbers_that_no_decimal_holds_stay_text(text: str) -> None:
    assert _decimals(pl.Series([text, None, "1.5"])).to_list() == [text, None, "1.5"]


# --- the servers themselves -----------------------------------------------------------------------------------------


@pytest.fixture
def postgresql() -> Iterator[str]:
    psycopg = pytest.importorskip("psycopg")
    where = {"host": "127.0.0.1", "user": "postgres", "connect_timeout": 3}
    try:
        server = psycopg.connect(**where, dbname="postgres", autocommit=True)
    except psycopg.Error as error:
        if "postgresql" in THERE:
            raise
        pytest.skip(f"no PostgreSQL for its user postgres at 127.0.0.1:5432: {error}")
    name = f"{DATABASE}_{os.getpid()}"
    server.execute(f"DROP DATABASE IF EXISTS {name}")
    server.execute(f"CREATE DATABASE {name}")
    with psycopg.connect(**where, dbname=name, autocommit=True) as connection:
        connection.execute(
            """
            CREATE TABLE customers (id BIGINT PRIMARY KEY, name TEXT, boss BIGINT REFERENCES customers);
            CREATE SCHEMA more;
            CREATE TABLE more.products (region TEXT, sku TEXT, price NUMERIC(12, 2), PRIMARY KEY (sku, region));
            CREATE TABLE odd (
                id INT PRIMARY KEY, r TEXT, s TEXT, twice INT GENERATED ALWAYS AS (id * 2) STORED, b BYTEA, j JSON,
                n NUMERIC, ok BOOLEAN, at TIMESTAMPTZ, day DATE, d DOUBLE PRECISION, list INT[],
                FOREIGN KEY (r, s) REFERENCES more.products (region, sku)
            );
            CREATE TABLE days (id INT, day DATE, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
            CREATE TABLE days_2024 PARTITION OF days FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
            CREATE VIEW names AS SELECT name FROM customers;
            CREATE TABLE hidden (id INT);
            INSERT INTO customers VALUES (9223372036854775807, 'é', NULL), (-1, '', 9223372036854775807);
            INSERT INTO more.products VALUES ('eu', 'x', 10.25), ('eu', 'y', -0.10);
            INSERT INTO days VALUES (1, '2024-02-29');
            INSERT INTO odd VALUES (1, 'eu', 'x', DEFAULT, '\\xff00', '{"a": 1.10}', 'NaN', true,
                '2024-01-01 12:00:00.000001+02', '2024-01-01', 0.1, '{1,NULL}');
            """
        )
        yield f"postgresql://postgres@127.0.0.1/{name}"
    server.execute(f"DROP DATABASE {name} WITH (FORCE)")
    server.close()


def test_tables_of_postgresql(postgresql: str) -> None:
    found = {one.name: one for one in server_catalogue(postgresql).relations}
    assert {name: one.key for name, one in found.items() if one.kind == "table"} == {
        "customers": ("id",), "more.products": ("sku", "region"), "odd": ("id",), "days": ("id", "day"), "hidden": (),
    }  # fmt: skip
    assert found["names"].kind == "view"
    assert found["customers"].links == (ForeignKey(("boss",), "customers", ("id",)),)
    assert found["odd"].links == (ForeignKey(("r", "s"), "more.products", ("region", "sku")),)
    assert found["customers"].rows == 2
    raw = read_server(f"{postgresql}:customers")
    assert raw.frame.drop(LINE).rows() == [(-1, "", 2**63 - 1), (2**63 - 1, "é", None)]
    assert read_server(f"{postgresql}:days").frame.drop(LINE).rows() == [(1, "2024-02-29")]
    prices = read_server(f"{postgresql}:more.products").frame["price"].cast(pl.Float64).to_list()
    assert prices == [10.25, -0.1]
    odd = read_server(f"{postgresql}:odd")
    assert odd.frame.drop(LINE).rows(named=True) == [
        {
            "id": 1, "r": "eu", "s": "x", "twice": 2, "b": "ff00", "j": '{"a": 1.10}', "n": "NaN", "ok": True,
            "at": "2024-01-01 10:00:00.000001+00", "day": "2024-01-01", "d": 0.1, "list": "{1,NULL}",
        }
    ]  # fmt: skip
    assert [note.split()[1] for note in odd.notes] == ["`b`", "`n`"]


@pytest.fixture
def mysql() -> Iterator[str]:
    pymysql = pytest.importorskip("pymysql")
    try:
        server = pymysql.connect(host="127.0.0.1", user="root", autocommit=True, connect_timeout=3)
    except pymysql.Error as error:
        if "mysql" in THERE:
            raise
        pytest.skip(f"no MySQL or MariaDB for its user root at 127.0.0.1:3306: {error}")
    name = f"{DATABASE}_{os.getpid()}"
    statements = f"""
        DROP DATABASE IF EXISTS {name}; CREATE DATABASE {name}; USE {name}; SET SESSION sql_mode = '';
        CREATE TABLE customers (
            id BIGINT UNSIGNED PRIMARY KEY, name VARCHAR(20), boss BIGINT UNSIGNED,
            FOREIGN KEY (boss) REFERENCES customers (id)
        ) ENGINE = InnoDB;
        CREATE TABLE `an odd %s` (
            id INT PRIMARY KEY, twice INT AS (id * 2), b BLOB, n DECIMAL(30, 3), ok BOOLEAN, at TIMESTAMP NULL,
            zero DATETIME, d DOUBLE, bits BIT(3), words ENUM('x', 'y')
        );
        CREATE VIEW names AS SELECT name FROM customers;
        INSERT INTO customers VALUES (18446744073709551615, 'é', NULL), (1, '', 18446744073709551615);
        INSERT INTO `an odd %s` (id, b, n, ok, at, zero, d, bits, words)
            VALUES (1, x'ff00', 123456789012345678901234567.125, TRUE, '2024-01-01 10:00:00', 0, 0.1, 5, 'x')
    """
    with server.cursor() as cursor:
        for statement in statements.split(";"):
            cursor.execute(statement)
    yield f"mysql://root@127.0.0.1/{name}"
    with server.cursor() as cursor:
        cursor.execute(f"DROP DATABASE {name}")
    server.close()


def test_tables_of_mysql(mysql: str) -> None:
    found = {one.name: one for one in server_catalogue(mysql).relations}
    assert {name: (one.kind, one.key, one.rows) for name, one in found.items()} == {
        "customers": ("table", ("id",), 2), "an odd %s": ("table", ("id",), 1), "names": ("view", (), 2),
    }  # fmt: skip
    assert found["customers"].links == (ForeignKey(("boss",), "customers", ("id",)),)
    raw = read_server(f"{mysql}:customers")
    assert raw.frame.drop(LINE).cast(pl.String).rows() == [("1", "", str(2**64 - 1)), (str(2**64 - 1), "é", None)]
    odd = read_server(f"{mysql}:an odd %s")
    (row,) = odd.frame.drop(LINE, "n").rows(named=True)
    assert row == {
        "id": 1, "twice": 2, "b": "FF00", "ok": 1, "at": "2024-01-01 10:00:00", "zero": "0000-00-00 00:00:00",
        "d": 0.1, "bits": 5, "words": "x",
    }  # fmt: skip


def test_a_servers_database_becomes_a_scenario(
    postgresql: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    catalogue = whole_database(postgresql, tmp_path)
    assert catalogue is not None
    assert whole_database(f"{postgresql}:odd", tmp_path) is None
    written = call("new", "mine", "--from", postgresql, "--json")
    assert written.exit_code == 0, written.output
    found = {one["entity"]: one for one in json.loads(written.stdout)["entities"]}
    assert set(found) == {"customers", "days", "more_products", "odd"}
    assert found["odd"]["links"] == [{"on": ["s", "r"], "to": "more_products"}]
    assert f'file = "{postgresql}:customers"' in Path("mine.toml").read_text()
    assert call("validate", "mine.toml").exit_code == 0
    assert digest(f"{postgresql}:days", tmp_path) == digest(f"{postgresql}:days", tmp_path)
    assert read(f"{postgresql}:days", tmp_path).keys == ("id", "day")


@pytest.mark.parametrize("table", ["costumers", "hidden"])
def test_a_table_that_is_not_there_or_empty_is_refused(postgresql: str, table: str, tmp_path: Path) -> None:
    with pytest.raises(NotReadable, match=r"did you mean `customers`|no rows"):
        read(f"{postgresql}:{table}", tmp_path)

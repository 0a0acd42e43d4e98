"""Databases of one's own: what their tables declare, and rows that come out as SQLite's own module reads them."""

from __future__ import annotations

import math
import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from effort import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab.base import NotReadable
from lab.domain.trace.databases import ForeignKey
from lab.domain.trace.raw import LINE, Raw
from lab.domain.trace.sqlite_catalogue import catalogue
from lab.domain.trace.sqlite_file import EXACT, read_sqlite

ORDERS = "CREATE TABLE orders(id INTEGER PRIMARY KEY, total REAL); INSERT INTO orders VALUES (1, 0.5), (2, 1.5);"
VEC = "CREATE VIRTUAL TABLE vec USING vec0(embedding float[4])"
FTS = "CREATE VIRTUAL TABLE notes USING fts5(body); INSERT INTO notes VALUES ('a b'), ('c');"
# SQL, then what must be there: the tables with their keys, and what is passed over.
CASES: dict[str, tuple[str, dict[str, tuple[str, ...]], set[str]]] = {
    "a broken view": (f"{ORDERS} CREATE VIEW big AS SELECT * FROM customers", {"orders": ("id",)}, {"big"}),
    "a view on a view that is broken": (
        f"{ORDERS} CREATE VIEW a AS SELECT nil FROM orders; CREATE VIEW b AS SELECT * FROM a",
        {"orders": ("id",)}, {"a", "b"},
    ),
    "a view with a function that is missing": (
        f"{ORDERS} CREATE VIEW far AS SELECT st_distance(id, total) AS d FROM orders", {"orders": ("id",)}, {"far"},
    ),
    "a module that is missing, and its tables": (
        f"{ORDERS} CREATE TABLE vec_chunks(a); CREATE TABLE vec_vector_chunks00(a); CREATE TABLE vec_items(a);"
        f"PRAGMA writable_schema = 1;"
        f"INSERT INTO sqlite_master VALUES ('table', 'vec', 'vec', 0, '{VEC}')",
        {"orders": ("id",), "vec_items": ()}, {"vec"},
    ),
    "shadow tables": (f"{ORDERS} {FTS} CREATE TABLE notes_archive(a)",
                      {"orders": ("id",), "notes": (), "notes_archive": ()}, set()),
    "an index of words on a table": (
        f"{ORDERS} CREATE VIRTUAL TABLE words USING fts5(total, content='orders', content_rowid='id')",
        {"orders": ("id",)}, {"words"},
    ),
    "the R-tree": (
        f"{ORDERS} CREATE VIRTUAL TABLE boxes USING rtree(id, low, high)", {"orders": ("id",), "boxes": ()}, set()
    ),
    "composite, without row ids, strict": (
        "CREATE TABLE kv(region TEXT, n INT, sku TEXT, PRIMARY KEY (sku, region)) STRICT, WITHOUT ROWID",
        {"kv": ("sku", "region")}, set(),
    ),
    "unique and never null": (
        "CREATE TABLE t(a INT, b TEXT NOT NULL UNIQUE, c INT NOT NULL UNIQUE ON CONFLICT IGNORE)", {"t": ("c",)}, set()
    ),
    "unique, but null is allowed": ("CREATE TABLE t(a INT UNIQUE, b TEXT)", {"t": ()}, set()),
    "unique among a part of the rows": (
        "CREATE TABLE t(a INT NOT NULL, b TEXT); CREATE UNIQUE INDEX u ON t(a) WHERE b IS NULL", {"t": ()}, set()
    ),
}  # fmt: skip


def made(path: Path, sql: str) -> Path:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(sql)
        connection.commit()
    return path


@pytest.mark.parametrize("case", CASES)
def test_each_table_is_listed_for_itself(tmp_path: Path, case: str) -> None:
    sql, tables, passed = CASES[case]
    found = catalogue(made(tmp_path / "x.db", sql))
    assert {one.name: one.key for one in found.relations} == tables
    assert set(found.passed) == passed
    for name in tables:
        same_as_sqlite(tmp_path / "x.db", name, read_sqlite(tmp_path / "x.db", name))
    for name in passed:
        with pytest.raises(NotReadable, match="can't be read"):
            read_sqlite(tmp_path / "x.db", name)


def test_links_are_those_that_lead_to_a_table(tmp_path: Path) -> None:
    path = made(
        tmp_path / "x.db",
        """
        CREATE TABLE Customers(Id INTEGER PRIMARY KEY, email TEXT UNIQUE, boss INT REFERENCES customers);
        CREATE TABLE products(region TEXT, sku TEXT, PRIMARY KEY (region, sku));
        CREATE TABLE orders(
            id INTEGER PRIMARY KEY, Customer INT REFERENCES CUSTOMERS(ID), mail TEXT REFERENCES customers(email),
            sku TEXT, region TEXT, gone INT REFERENCES nowhere(id), odd INT REFERENCES customers(nil),
            FOREIGN KEY (REGION, sku) REFERENCES products
        );
        """,
    )
    found = {one.name: one.links for one in catalogue(path).relations}
    assert found == {
        "Customers": (ForeignKey(("boss",), "Customers", ("Id",)),),
        "products": (),
        "orders": (
            ForeignKey(("Customer",), "Customers", ("Id",)),
            ForeignKey(("mail",), "Customers", ("email",)),
            ForeignKey(("region", "sku"), "products", ("region", "sku")),
        ),
    }


def expected(value: Any, kind: str) -> Any:
    """What a value must be, from the one that Python's own module gives."""
    if value is None:
        return None
    if kind != "str":
        return float(value) if kind == "float" else value
    return value.hex().upper() if isinstance(value, bytes) else value if isinstance(value, str) else repr(value)


def same_as_sqlite(path: Path, table: str, raw: Raw) -> None:
    """Each value is equal to the one that an independent reading gives, in the order of the table."""
    quoted = '"' + table.replace('"', '""') + '"'
    with closing(sqlite3.connect(path)) as connection:
        cursor = connection.execute(f"SELECT * FROM {quoted} NOT INDEXED")
        names = [one[0] for one in cursor.description]
        rows = cursor.fetchall()
    assert list(raw.kinds) == names
    for place, name in enumerate(names):
        kind = raw.kinds[name]
        values = [row[place] for row in rows]
        there = {type(value) for value in values if value is not None}
        if kind == "decimal(2)":
            numbers = [None if value is None else Decimal(repr(value)) for value in values]
            assert there <= {int, float}
            assert [None if text is None else Decimal(text) for text in raw.frame[name]] == numbers
            continue
        assert raw.frame[name].to_list() == [expected(value, kind) for value in values]
        if there == {int}:
            assert kind == "int"
        elif there and there <= {int, float}:
            wide = any(isinstance(value, int) and abs(value) > EXACT for value in values)
            assert kind == ("str" if wide else "float")
        elif there:
            assert kind == "str"
        # What is read as something else is said.
        odd = {str: "", int: "integer", float: "real", bytes: "blob"}
        changed = {odd[one] for one in there if kind == "str" or len(there) > 1} - {""}
        assert all(any(f"`{name}`" in note and word in note for note in raw.notes) for word in changed)
    assert raw.frame[LINE].to_list() == list(range(1, len(rows) + 1))


VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-9, 9),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.binary(max_size=6),
)
TYPES = ("", "INTEGER", "REAL", "TEXT", "BLOB", "NUMERIC", "DECIMAL(10, 2)", "BOOLEAN", "DATETIME")


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[tuple[Any, ...]]]:
    types = draw(st.lists(st.sampled_from(TYPES), min_size=1, max_size=4))
    # Mostly columns of one kind, sometimes of any.
    kinds = [draw(st.sampled_from([VALUES, st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.text()]))
             for _ in types]  # fmt: skip
    return types, draw(st.lists(st.tuples(*kinds), max_size=8))


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("databases")


@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(table=tables(), index=st.booleans())
def test_any_table_comes_back_value_by_value(places: Path, table: tuple[list[str], list[Any]], index: bool) -> None:
    types, rows = table
    path = places / "any.db"
    path.unlink(missing_ok=True)
    columns = ", ".join(f'"c {place}" {kind}' for place, kind in enumerate(types))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"CREATE TABLE t({columns})")
        if index:
            # An index with every column, by which SQLite would rather read than by the table.
            connection.execute(
                "CREATE INDEX all_of_it ON t(" + ", ".join(f'"c {n}" DESC' for n in range(len(types))) + ")"
            )
        try:
            connection.executemany(f"INSERT INTO t VALUES ({', '.join('?' * len(types))})", rows)
        except UnicodeEncodeError:
            return
    same_as_sqlite(path, "t", read_sqlite(path, "t"))


def test_generated_columns_are_columns(tmp_path: Path) -> None:
    path = made(
        tmp_path / "x.db",
        "CREATE TABLE t(a INT, b INT AS (a * 2) STORED, c REAL AS (a / 2.0)); INSERT INTO t(a) VALUES (1), (2), (3)",
    )
    assert read_sqlite(path, None).frame.drop(LINE).rows() == [(1, 2, 0.5), (2, 4, 1.0), (3, 6, 1.5)]


def test_a_generated_column_that_cant_be_computed_is_left_out_and_told(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.create_function("far", 1, lambda value: value, deterministic=True)
        connection.execute("CREATE TABLE t(a INT, b INT AS (far(a)), c INT)")
        connection.execute("INSERT INTO t(a, c) VALUES (1, 2)")
    raw = read_sqlite(path, None)
    assert raw.frame.drop(LINE).rows() == [(1, 2)]
    assert any("`b` is left out" in note and "far" in note for note in raw.notes)


def test_text_that_is_not_in_utf_8_is_a_malformed_row(tmp_path: Path) -> None:
    path = made(
        tmp_path / "x.db",
        "CREATE TABLE t(a INT, b TEXT); INSERT INTO t VALUES (1, 'é'), (2, CAST(x'ff41' AS TEXT)), (3, 'c')",
    )
    raw = read_sqlite(path, None)
    assert raw.frame.drop(LINE).rows() == [(1, "é"), (3, "c")]
    assert (raw.bad_count, list(map(str, raw.bad))) == (1, ["row 2: a text in it is not in UTF-8"])


def test_a_log_that_was_left_and_one_that_is_open(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE t(a INT)")
        connection.execute("INSERT INTO t VALUES (1), (2)")
        connection.commit()
        assert read_sqlite(path, None).frame["a"].to_list() == [1, 2]
        for end in ("", "-wal"):
            (tmp_path / f"crashed.db{end}").write_bytes((tmp_path / f"x.db{end}").read_bytes())
    assert read_sqlite(tmp_path / "crashed.db", None).frame["a"].to_list() == [1, 2]


def test_a_locked_database_is_not_read_behind_its_writers_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.domain.trace.sqlite_catalogue.WAIT", 0.01)
    path = made(tmp_path / "x.db", ORDERS)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        with pytest.raises(NotReadable, match="locked"):
            catalogue(path)


def test_numbers_beyond_a_float_stay_what_they_are(tmp_path: Path) -> None:
    path = made(tmp_path / "x.db", f"CREATE TABLE t(a); INSERT INTO t VALUES ({2**53 + 1}), (0.1), (9e999)")
    raw = read_sqlite(path, None)
    assert raw.frame["a"].to_list() == [str(2**53 + 1), "0.1", "inf"]
    assert math.isinf(float(raw.frame["a"][2]))


def test_a_column_without_values_is_of_its_declared_kind(tmp_path: Path) -> None:
    path = made(
        tmp_path / "x.db",
        "CREATE TABLE t(a BIGINT, b DOUBLE PRECISION, c VARCHAR(9), d, e TEXT, f DECIMAL(9, 2));"
        "INSERT INTO t VALUES (NULL, NULL, NULL, NULL, NULL, NULL)",
    )
    raw = read_sqlite(path, None)
    assert raw.kinds == {"a": "int", "b": "float", "c": "str", "d": "str", "e": "str", "f": "decimal(2)"}
    assert raw.frame.drop(LINE).rows() == [(None,) * 6]


def test_a_key_that_is_null_somewhere_is_no_key(tmp_path: Path) -> None:
    path = made(tmp_path / "x.db", "CREATE TABLE t(a TEXT PRIMARY KEY); INSERT INTO t VALUES ('x'), (NULL)")
    assert catalogue(path).relations[0].key == ("a",)
    assert read_sqlite(path, None).keys == ()

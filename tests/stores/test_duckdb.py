"""The DuckDB stores: a query on the database that is being written can't change it, and sees every commit."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from lab.base import Batch, ReadOnly
from lab.engines import duckdb as engine
from lab.place import FolderPlace
from lab.stores import dump, store_class
from lab.testing.sample import ask, item, items, layout

ONE_FILE = ("duckdb.columnar", "duckdb.document")
ALL = (*ONE_FILE, "duckdb.files")
WRITES = (
    "INSERT INTO item SELECT * FROM item",
    "UPDATE item SET revision = 9",
    "DELETE FROM item",
    "TRUNCATE item",
    "MERGE INTO item USING (SELECT 1 AS key) AS s ON s.key = item.key WHEN MATCHED THEN DELETE",
    "CREATE TABLE mine (x INTEGER)",
    "CREATE TEMP TABLE mine (x INTEGER)",
    "CREATE OR REPLACE VIEW item AS SELECT 1",
    "DROP TABLE item",
    "ALTER TABLE item ADD COLUMN more INTEGER",
    "COMMENT ON TABLE item IS 'mine'",
    "COPY item TO '{folder}/out.csv'",
    "COPY (SELECT 1) TO '{folder}/out.parquet'",
    "EXPORT DATABASE '{folder}/out'",
    "ATTACH '{folder}/other.duckdb' AS other",
    "PRAGMA memory_limit = '1GB'",
    "PRAGMA table_info('item')",
    "SET threads = 1",
    "USE memory",
    "CHECKPOINT",
    "VACUUM",
    "BEGIN",
    "COMMIT",
    "CALL force_checkpoint()",
    "PREPARE mine AS DELETE FROM item",
    "INSTALL httpfs",
    "LOAD httpfs",
    "EXPLAIN ANALYZE DELETE FROM item",
    "SELECT 1; DELETE FROM item",
    "DELETE FROM item; SELECT 1",
    "SELECT 1; COMMIT; DELETE FROM item",
    "WITH one AS (SELECT 1 AS k) DELETE FROM item WHERE key IN (SELECT k FROM one)",
    "",
)
# A query by its kind, which writes all the same.
HIDDEN = (
    "WITH gone AS (DELETE FROM item RETURNING key) SELECT * FROM gone",
    "WITH more AS (INSERT INTO lab_checkpoint VALUES ('x', 1) RETURNING *) SELECT * FROM more",
    "WITH new AS (UPDATE item SET revision = 9 RETURNING key) SELECT count(*) FROM new",
)
FILES = (
    "SELECT * FROM read_csv('{folder}/secret.csv')",
    "SELECT * FROM read_text('{folder}/secret.csv')",
    "SELECT * FROM glob('{folder}/*')",
    "SELECT * FROM read_parquet('{folder}/none.parquet')",
)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Any]:
    stores: list[Any] = []

    def one(name: str) -> Any:
        store: Any = store_class(name)(FolderPlace(tmp_path / "store"), layout())
        store.open()
        store.apply(Batch("item", items(item(1, label="a"), item(2, label="b")), 4))
        stores.append(store)
        return store

    yield one
    for store in stores:
        store.close()


def refused(name: str, statement: str, opened: Any, folder: Path) -> None:
    (folder / "secret.csv").write_text("a,b\n1,2\n")
    store = opened(name)
    before, files = dump(store, "item"), sorted(folder.iterdir())
    with pytest.raises(ReadOnly, match="may not change a projection"):
        store.read(statement.format(folder=folder))
    assert dump(store, "item").equals(before)
    assert store.checkpoint("item") == 4
    assert sorted(folder.iterdir()) == files
    assert sorted(store.read("SELECT key FROM item")) == [(1,), (2,)], "and it still answers"
    store.apply(Batch("item", items(item(3)), 5))
    assert len(store.read("SELECT key FROM item")) == 3


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("statement", WRITES)
def test_any_other_kind_of_statement_is_refused(name: str, statement: str, opened: Any, tmp_path: Path) -> None:
    refused(name, statement, opened, tmp_path)


@pytest.mark.parametrize("name", ONE_FILE)
@pytest.mark.parametrize("statement", HIDDEN)
def test_a_write_within_a_query_is_refused_by_the_engine(
    name: str, statement: str, opened: Any, tmp_path: Path
) -> None:
    refused(name, statement, opened, tmp_path)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("statement", FILES)
def test_a_query_reaches_no_other_file(name: str, statement: str, opened: Any, tmp_path: Path) -> None:
    refused(name, statement, opened, tmp_path)


@pytest.mark.parametrize("name", ALL)
def test_a_variable_of_the_program_is_no_table(name: str, opened: Any) -> None:
    store = opened(name)
    secret = duckdb.sql("SELECT 42 AS answer").to_arrow_table()
    with pytest.raises(duckdb.CatalogException):
        store.read("SELECT * FROM secret")
    assert secret.num_rows == 1


@pytest.mark.parametrize("name", ALL)
def test_a_query_that_fails_leaves_the_next_one_alone(name: str, opened: Any) -> None:
    store = opened(name)
    for wrong in ("SELECT nothing FROM item", "SELECT error('on purpose')", "SELEKT"):
        with pytest.raises(duckdb.Error):
            store.read(wrong)
        assert store.read("SELECT count(*) FROM item") == [(2,)]
    assert store.read("PIVOT (SELECT 1 AS i, 'x' AS v) ON i USING count(*)") == [("x", 1)]


@pytest.mark.parametrize("name", ONE_FILE)
def test_reading_and_writing_take_turns_on_one_open_database(name: str, opened: Any) -> None:
    store = opened(name)
    connection = store._connection
    for revision in range(2, 6):
        store.apply(Batch("item", items(item(1, revision)), 4 + revision))
        assert store.query(ask(kind="get"), (1,))[0][1] == revision
        assert store.revisions("item", [1]) == {1: revision}
    assert store._connection is connection


@pytest.mark.parametrize("name", ONE_FILE)
def test_pages_are_read_while_queries_are_asked(name: str, opened: Any) -> None:
    store = opened(name)
    pages = store.pages("item")
    first = next(pages)
    assert store.query(ask(kind="get"), (2,))[0][0] == 2
    assert first.height == 2
    assert list(pages) == []


ENDLESS = "SELECT COUNT(*) FROM range(1000000000) AS a, range(1000000000) AS b"


@contextlib.contextmanager
def interrupting(connections: Callable[[], list[duckdb.DuckDBPyConnection | None]]) -> Iterator[None]:
    """Interrupt these connections again and again, as a Ctrl-C does that comes while the engine works."""
    ended = threading.Event()

    def press() -> None:
        while not ended.wait(0.02):
            for connection in connections():
                if connection is not None:
                    connection.interrupt()

    presses = threading.Thread(target=press, daemon=True)
    presses.start()
    try:
        yield
    finally:
        ended.set()
        presses.join()


@pytest.mark.parametrize("name", ALL)
def test_a_query_that_is_interrupted_leaves_the_store_usable(name: str, opened: Any) -> None:
    store = opened(name)
    store.read("SELECT 1")

    def reading() -> list[duckdb.DuckDBPyConnection | None]:
        return [getattr(store, attribute, None) for attribute in ("_reader", "_connection")]

    with interrupting(reading), pytest.raises((duckdb.InterruptException, KeyboardInterrupt, RuntimeError)):
        store.read(ENDLESS)
    assert store.query(ask(kind="get"), (1,))
    store.apply(Batch("item", items(item(9, label="after")), 9))
    assert store.query(ask(kind="get"), (9,))


@pytest.mark.parametrize("name", ONE_FILE)
def test_a_batch_that_is_interrupted_is_taken_back_and_the_next_one_lands(
    name: str, opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(name)
    before = dump(store, "item")
    put = type(store)._put

    def slow(self: Any, batch: Batch, replace: bool) -> None:
        put(self, batch, replace)
        self._connection.execute(ENDLESS).fetchall()

    with monkeypatch.context() as patch:
        patch.setattr(type(store), "_put", slow)
        with (
            interrupting(lambda: [store._writer]),
            pytest.raises((duckdb.InterruptException, KeyboardInterrupt, RuntimeError)),
        ):
            store.apply(Batch("item", items(item(1, 9, label="lost"), item(9)), 9))
    assert dump(store, "item").equals(before)
    assert store.checkpoint("item") != 9
    store.apply(Batch("item", items(item(9, label="after")), 10))
    assert store.checkpoint("item") == 10
    assert store.query(ask(kind="get"), (9,))


@pytest.mark.parametrize("name", ALL)
def test_threads_come_with_the_rows_and_go_with_them(name: str, opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    every = str(duckdb.connect().execute("SELECT current_setting('threads')").fetchall()[0][0])
    monkeypatch.setattr(engine, "ROW_GROUP", 20)
    store = opened(name)
    assert store.settings()["threads"] == "1"
    store.apply(Batch("item", items(*(item(key) for key in range(1, 41))), 44))
    assert store.settings()["threads"] == every
    store.close()
    store.open()
    assert store.settings()["threads"] == every, "also when it is opened"
    store.reset()
    assert store.settings()["threads"] == "1"
    store.bulk("item", [Batch("item", items(*(item(key) for key in range(1, 41))), 44)])
    assert store.settings()["threads"] == every


def test_a_database_at_rest_keeps_no_blocks_in_memory(tmp_path: Path) -> None:
    connection = engine.connect(tmp_path / "rest.duckdb")
    connection.execute("CREATE TABLE item AS SELECT range, hash(range) FROM range(1_000_000)")
    connection.execute("CHECKPOINT")

    def held() -> int:
        found = connection.execute("SELECT SUM(memory_usage_bytes) FROM duckdb_memory() WHERE tag = 'BASE_TABLE'")
        return int(found.fetchall()[0][0])

    assert held() > 5_000_000
    limit = engine.settings(connection)["memory_limit"]
    engine.rest(connection)
    # Some blocks stay, as they are in use.
    assert held() < 2_000_000
    assert engine.settings(connection)["memory_limit"] == limit
    connection.close()


def test_a_table_of_many_times_its_memory_is_read_in_order(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "MEMORY_LIMIT", "24MB")
    monkeypatch.setattr(engine, "CONFIG", engine.CONFIG | {"memory_limit": "24MB"})
    store, rows = opened("duckdb.columnar"), 1_500_000
    before = dump(store, "item").height
    values = {"position": "i", "key": "(hash(i) % 1000000)::BIGINT", "revision": "i", "deleted": "false"}
    values |= {"label": "repeat(chr((65 + i % 26)::INTEGER), 60)"}
    chosen = [f"{values.get(name, 'NULL')} AS {name}" for name in store.layout.schema("item")]
    store._connection.execute(f"INSERT INTO item SELECT {', '.join(chosen)} FROM range(1, {rows + 1}) AS r(i)")
    with monkeypatch.context() as patch:
        patch.setattr(engine, "sort_limit", lambda _: 24)
        with pytest.raises(duckdb.OutOfMemoryException):
            list(store.pages("item"))
    last, found = (-(2**63), 0), 0
    for page in store.pages("item"):
        assert page["key"].is_sorted()
        assert last < page.select("key", "revision").row(0)
        last, found = page.select("key", "revision").row(-1), found + page.height
    assert found == before + rows
    assert str(store.settings()["memory_limit"]).startswith(("22", "23", "24"))
    pages = store.pages("item")
    next(pages)
    store.close()
    pages.close()

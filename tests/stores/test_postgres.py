"""The PostgreSQL stores keep the contract of every store, on a real server, and what only a server can do to them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest
from effort import examples

from lab.base import Batch, CannotTake, Damaged, Entity, NoAnswer, Unavailable, stream
from lab.engines import budget
from lab.engines.postgres import Session
from lab.place import FolderPlace
from lab.queries.kinds import translate
from lab.queries.model import Query
from lab.queries.resolve import resolve
from lab.scenario import QueryTable
from lab.servers.postgres import SERVER
from lab.stores import STORES, Layout, dump, store_class
from lab.testing.contracts import store_cases
from lab.testing.promises import Case
from lab.testing.sample import IDS, ask, content, item, items, layout, sums
from lab.wiring import reserved

pytestmark = pytest.mark.server("postgres")

NAMES = [name for name, spec in STORES.items() if spec.server == "postgres"]
CASES = [case for name in NAMES for case in store_cases(store_class(name))]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.store.name}: {case}")
def test_every_store_on_a_server_keeps_the_contract(case: Case, tmp_path: Path) -> None:
    case.run(tmp_path, examples(6))


def store_of(folder: Path, keeps: str = "records", name: str = "postgres.table", durability: str = "normal") -> Any:
    made = store_class(name)(FolderPlace(folder), layout(keeps, dict(IDS), durability))
    made.open()
    return made


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Any]:
    made = store_of(tmp_path / "store")
    yield made
    made.drop()


def ended(*sessions: Session | None) -> None:
    """End sessions as a server that is stopped does."""
    with SERVER.connect() as connection:
        for session in sessions:
            assert session is not None
            pid = session.connection.info.backend_pid
            Session(connection).execute("SELECT pg_terminate_backend(?::integer, 5000)", (pid,))


def test_a_session_that_was_ended_is_told_once_and_then_gone_on_with(store: Any) -> None:
    query = ask(kind="get")
    store.apply(Batch("item", items(item(1, label="a")), 1))
    assert store.query(query, (1,))[0][2] == "a"
    ended(store._writer, store._reader)
    with pytest.raises(Unavailable, match=r"postgres\.table"):
        store.apply(Batch("item", items(item(1, 2, label="b")), 2))
    with pytest.raises(Unavailable, match=r"postgres\.table"):
        store.query(query, (1,))
    assert store.checkpoint("item") == 1
    store.apply(Batch("item", items(item(1, 2, label="b")), 2))
    assert store.query(query, (1,))[0][1:3] == (2, "b")
    assert store.checkpoint("item") == 2


@pytest.mark.parametrize("committed", [True, False])
def test_an_increment_whose_answer_was_lost_is_added_once(
    committed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, execute, lost = store_of(tmp_path / "store", "totals"), Session.execute, list[str]()
    store.apply(Batch("item", sums(("a", True, 1, 10)), 1))

    def losing(session: Session, statement: str, *arguments: Any, **options: Any) -> Any:
        if statement != "COMMIT" or lost:
            return execute(session, statement, *arguments, **options)
        if committed:
            execute(session, statement)
        lost.append(statement)
        session.close()
        raise psycopg.OperationalError("the connection was lost")

    monkeypatch.setattr(Session, "execute", losing)
    batch = Batch("item", sums(("a", True, 1, 5)), 2)
    if committed:
        store.apply(batch)
    else:
        with pytest.raises(Unavailable, match="lost"):
            store.apply(batch)
        assert store.checkpoint("item") == 1
        store.apply(batch)
    assert lost
    assert dump(store, "item").rows() == [("a", True, 2, 15)]
    assert store.checkpoint("item") == 2
    store.drop()


def test_a_second_process_can_not_write_the_same_projection(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.engines.postgres.LOCK_SECONDS", 1)
    with pytest.raises(Unavailable, match="another process may be writing"):
        store_of(store.path)


@pytest.mark.parametrize("durability", ["full", "normal"])
def test_the_durability_is_that_of_the_session(durability: str, tmp_path: Path) -> None:
    store = store_of(tmp_path / "store", durability=durability)
    found = store.settings()
    assert found["durability"] == durability
    assert found["synchronous_commit"] == {"full": "on", "normal": "off"}[durability]
    store.drop()


def test_a_long_text_is_kept_and_one_that_no_index_takes_is_refused(store: Any) -> None:
    rng = stream(7, "long texts")
    long = "".join(map(chr, rng.integers(0x4E00, 0x9FA5, 2**20 // 3)))
    store.apply(Batch("item", items(item(1, label=long)), 1))
    assert dump(store, "item")["label"].to_list() == [long]
    with pytest.raises(CannotTake, match="index row"):
        store.apply(Batch("item", items(item(2, shelf=long)), 2))
    assert store.checkpoint("item") == 1


def test_a_value_with_a_nul_is_compared_as_such(store: Any) -> None:
    texts = ["a", "a\x01", "a!", "b", "A"]
    store.apply(Batch("item", items(*(item(at, label=text) for at, text in enumerate(texts)))))
    for value in ("a\x00", "a\x00b", "\x00", "a\x01\x00"):
        for operator, least in (("at_least", True), ("less_than", False)):
            query = ask(kind="filter", where={"label": {operator: "?"}})
            found = {row[2] for row in store.query(query, (value,))}
            assert found == {text for text in texts if (text >= value) == least}, (operator, value)
        assert store.query(ask(kind="filter", where={"label": "?"}), (value,)) == []


def test_a_statement_without_end_is_ended(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "ANSWER_SECONDS", 0.3)
    endless = "WITH RECURSIVE n AS (SELECT 1 AS x UNION ALL SELECT x + 1 FROM n) SELECT COUNT(*) AS c FROM n, item"
    store.apply(Batch("item", items(item(1))))
    with pytest.raises(NoAnswer, match=r"no answer within 0\.3 s"):
        store.query(ask(kind="sql", sql=endless), ())
    monkeypatch.setattr(budget, "ANSWER_ROWS", 2)
    many = "SELECT i.key FROM item AS i, item AS j, item AS k"
    assert store.query(ask(kind="sql", sql=many), ()) == [(1,)]
    store.apply(Batch("item", items(item(2))))
    with pytest.raises(NoAnswer, match="more than 2 rows"):
        store.query(ask(kind="sql", sql=many), ())


def test_names_that_the_server_would_cut_off_are_refused(tmp_path: Path) -> None:
    long = Entity("x" * 60, "int", {"y" * 64: "str", "z" * 63: "str", "é" * 32: "str"})
    said = [str(one) for one in reserved.in_store(store_class("postgres.table"), [long], "mine.toml: projection.mine")]
    assert len(said) == 3
    assert all("names of" in one and "take another store" in one for one in said)
    fitting = Entity("x" * 47, "int", {"z" * 63: "str"}, indexes=(("z" * 63,),))
    store = store_class("postgres.table")(FolderPlace(tmp_path / "store"), Layout("records", {fitting.name: fitting}))
    store.open()
    rows = pl.DataFrame([(1, 7, 1, False, 0.5, "a")], schema=fitting.schema, orient="row")
    for _ in range(2):
        store.apply(
            Batch(
                fitting.name,
                pl.concat([rows] + [rows.with_columns(key=pl.lit(8 + at, pl.Int64)) for at in range(200)]),
                1,
            )
        )
    assert store.query(ask_of(fitting, "z" * 63), ("a",))[0] == (7, 1, "a")
    assert not reserved.in_store(store_class("postgres.table"), [fitting], "mine.toml: projection.mine")
    store.drop()


def ask_of(one: Entity, column: str) -> Query:
    table = {"name": "asked", "entity": one.name, "kind": "filter", "where": {column: "?"}, "order_by": column}
    query, wrong = resolve(QueryTable.model_validate(table), {one.name: one}, "here")
    assert query is not None, wrong
    return query


def test_a_document_is_found_by_an_index_over_its_body_and_the_index_has_the_order(tmp_path: Path) -> None:
    store = store_of(tmp_path / "store", name="postgres.document")
    rows = [item(at, shelf=f"s{at % 200}", amount=at) for at in range(20_000)]
    store.bulk("item", [Batch("item", items(*rows), 1)])
    query = ask(kind="filter", where={"shelf": "?"}, order_by="amount", limit=10)
    statement, _ = translate(query, "records", "postgres")
    plan = "\n".join(row[0] for row in store.read(f"EXPLAIN {statement}", ("s7",)))
    assert "Index Scan" in plan
    assert "Sort" not in plan
    store.drop()


def test_a_document_of_several_megabytes_comes_back_and_is_embedded(tmp_path: Path) -> None:
    store = store_of(tmp_path / "store", name="postgres.document")
    large = "é" * 2**20
    store.apply(Batch("item", items(item(1, label=large), item(2, parent=1)), 1))
    assert dump(store, "item")["label"].to_list() == [large, None]
    query = ask(kind="join", on="parent", to="item", take=["label"])
    assert [row[-1] for row in store.query(query, ())] == [None, large]
    store.drop()


def test_the_plan_of_a_query_with_an_order_uses_the_index_alone(store: Any) -> None:
    rows = [item(at, shelf=f"s{at % 200}", amount=at) for at in range(20_000)]
    store.bulk("item", [Batch("item", items(*rows), 1)])
    query = ask(kind="filter", where={"shelf": "?"}, order_by="amount", limit=10)
    statement, _ = translate(query, "records", "postgres")
    plan = "\n".join(row[0] for row in store.read(f"EXPLAIN {statement}", ("s7",)))
    assert "Index Scan" in plan
    assert "Sort" not in plan


@pytest.mark.parametrize("many", [5, 3_000])
def test_one_batch_larger_than_a_list_is_written_as_smaller_ones_are(many: int, tmp_path: Path) -> None:
    one, other = store_of(tmp_path / "one"), store_of(tmp_path / "other")
    frame = items(*(item(at % (many - 2), at // (many - 2) + 1, label=f"{at}\t\\") for at in range(many)))
    frame = frame.unique("key", keep="last", maintain_order=True)
    memory = pl.DataFrame({"id": range(many)})
    one.apply(Batch("item", frame, 9, memory))
    for start in range(0, frame.height, 70):
        other.apply(Batch("item", frame[start : start + 70], 9, memory[start : start + 70]))
    other.apply(Batch("item", frame[:0], 9, memory))
    assert content(one) == content(other)
    one.drop()
    other.drop()


def test_where_it_is_not_known_whether_an_increment_landed_the_projection_counts_as_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, execute = store_of(tmp_path / "store", "totals"), Session.execute
    store.apply(Batch("item", sums(("a", True, 1, 10)), 1))

    def losing(session: Session, statement: str, *arguments: Any, **options: Any) -> Any:
        if statement == "COMMIT":
            session.close()
            raise psycopg.OperationalError("the connection was lost")
        return execute(session, statement, *arguments, **options)

    def away(*_: Any, **__: Any) -> Any:
        raise Unavailable("the server is away")

    with monkeypatch.context() as patch:
        patch.setattr(Session, "execute", losing)
        patch.setattr(type(store), "_connect", away)
        with pytest.raises(Damaged, match="it isn't known") as found:
            store.apply(Batch("item", sums(("a", True, 1, 5)), 2))
    # A service builds it anew; tried again, the increment might count twice.
    assert store.damaged(found.value)
    store.drop()


def test_a_schema_that_is_gone_is_damage_and_no_empty_projection_takes_its_place(store: Any) -> None:
    store.apply(Batch("item", items(item(1)), 1))
    with SERVER.connect() as connection:
        Session(connection).execute(f"DROP SCHEMA {store._on.named} CASCADE")
    ended(store._writer)
    with pytest.raises(Unavailable):
        store.apply(Batch("item", items(item(2)), 2))
    with pytest.raises(Damaged, match="is gone from the server"):
        store.apply(Batch("item", items(item(2)), 2))


def test_entities_whose_names_begin_alike_have_indexes_and_tables_of_their_own(tmp_path: Path) -> None:
    long = "entities_with_a_name_as_long_as_any_can_be"
    names = ("customer_order_items_open", "customer_order_items_done", "item", "item_m", f"{long}_a", f"{long}_b")
    entities = {name: Entity(name, "int", {"shelf": "str"}, indexes=(("shelf",),)) for name in names}
    made = store_class("postgres.table")(FolderPlace(tmp_path / "s"), Layout("records", entities, memory=dict(IDS)))
    made.open()
    rows = [(number, number, 1, False, 0.0, "s") for number in range(1, 151)]
    for name, entity in entities.items():
        frame = pl.DataFrame(rows, schema=entity.schema, orient="row")
        made.apply(Batch(name, frame, 150, pl.DataFrame({"id": range(150)})))
        assert dump(made, name).height == 150
    indexed = "SELECT tablename FROM pg_indexes WHERE schemaname = current_schema() AND indexdef LIKE '%shelf%'"
    assert sorted(row[0] for row in made._connection.execute(indexed).fetchall()) == sorted(names)
    made.drop()

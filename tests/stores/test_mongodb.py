"""Documents in MongoDB keep the contract of every store, against an emulator, and what only MongoDB does to them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from effort import examples

pytest.importorskip("pymongo", reason="pip install 'polyglot-lab[mongodb]'")

from bson.decimal128 import Decimal128
from bson.int64 import Int64
from hypothesis import given, settings
from hypothesis import strategies as st
from pymongo import ReplaceOne
from reachable import emulated_mongodb

from lab.base import INT_MAX, INT_MIN, BadInput, Batch, CannotTake, Damaged, Entity, NotAnswered, Unavailable
from lab.engines import mongodb as engine
from lab.place import FolderPlace
from lab.ports import Missing
from lab.queries.model import Condition, Query
from lab.servers.mongodb import SERVER
from lab.servers.mongodb_place import OWNER
from lab.stores import Layout, dump, mongodb_database, store_class
from lab.stores.mongodb_pipelines import field
from lab.testing.contracts import store_cases
from lab.testing.promises import Case
from lab.testing.sample import IDS, ask, content, item, items, layout

NAME = "mongodb.document"
CASES = list(store_cases(store_class(NAME)))


@pytest.fixture(scope="module", autouse=True)
def emulator() -> Iterator[str]:
    """A server of this module's own."""
    with emulated_mongodb() as url, pytest.MonkeyPatch.context() as patch:
        # The emulator compares each key of a list with each.
        patch.setattr(mongodb_database, "LISTED", 50)
        # It takes milliseconds for each document, and many times as long on a busy machine.
        patch.setattr(engine, "SILENT_SECONDS", 300.0)
        patch.setattr(engine, "TRANSACTION_SECONDS", 600.0)
        yield url


@pytest.mark.parametrize("case", CASES, ids=str)
def test_documents_in_mongodb_keep_the_contract(case: Case, tmp_path: Path) -> None:
    case.run(tmp_path, examples(6))


def store_of(folder: Path, of: Layout | None = None) -> Any:
    made = store_class(NAME)(FolderPlace(folder), of or layout("records", dict(IDS)))
    made.open()
    return made


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Any]:
    made = store_of(tmp_path / "store")
    yield made
    made.drop()


def documents(store: Any) -> dict[Any, Any]:
    """What any other client would read."""
    with SERVER.session() as client:
        return {one["_id"]: one for one in client[store._known]["row:item"].find()}


# -- the guard and transactions ----------------------------------------------------------------------------------------


def test_a_row_that_is_older_than_what_is_there_keeps_no_other_from_landing(store: Any) -> None:
    store.apply(Batch("item", items(item(1, 5, label="new")), 1))
    store.apply(Batch("item", items(item(1, 3, label="old"), item(2, label="other")), 2))
    assert dump(store, "item").select("key", "revision", "label").rows() == [(1, 5, "new"), (2, 1, "other")]
    assert store.checkpoint("item") == 2


@settings(max_examples=examples(6), deadline=None)
@given(st.lists(st.dictionaries(st.integers(1, 4), st.integers(1, 6), min_size=1), max_size=5))
def test_in_whatever_order_batches_come_the_highest_revision_stays(batches: list[dict[int, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = store_of(Path(folder) / "store")
        for number, batch in enumerate(batches, 1):
            store.apply(Batch("item", items(*(item(key, revision) for key, revision in batch.items())), number))
        highest: dict[int, int] = {}
        for key, revision in (one for batch in batches for one in batch.items()):
            highest[key] = max(highest.get(key, 0), revision)
        assert store.revisions("item", [1, 2, 3, 4]) == highest
        assert store.checkpoint("item") == len(batches)
        store.drop()


def test_without_the_revision_in_the_filter_an_old_row_comes_through(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def whatever(key: Any, revision: int, document: Any) -> Any:
        return ReplaceOne({"_id": key}, document, upsert=True)

    monkeypatch.setattr("lab.stores.mongodb_database._newer", whatever)
    store.apply(Batch("item", items(item(1, 5)), 1))
    store.apply(Batch("item", items(item(1, 3)), 2))
    assert store.revisions("item", [1]) == {1: 3}


class Cut(Exception):
    pass


def test_what_is_cut_off_within_a_transaction_leaves_nothing(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store.apply(Batch("item", items(item(1)), 1))
    before, write = content(store), store._write

    def cut(session: Any, sent: Any) -> None:
        write(session, {name: some for name, some in sent.items() if name.startswith("row")})
        raise Cut

    with monkeypatch.context() as patch:
        patch.setattr(store, "_write", cut)
        with pytest.raises(Cut):
            store.apply(Batch("item", items(*(item(key, 2) for key in range(1, 150))), 9))
    assert content(store) == before
    store.apply(Batch("item", items(*(item(key, 2) for key in range(1, 150))), 9))
    assert (dump(store, "item").height, store.checkpoint("item")) == (149, 9)


def test_a_transaction_that_meets_another_one_is_tried_again(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store.apply(Batch("item", items(item(1)), 1))
    write, met = store._write, list[int]()

    def meeting(session: Any, sent: Any) -> None:
        if not met:
            # Within this transaction's snapshot, and after it was taken.
            session.client[store._known][OWNER].find_one({"_id": OWNER}, session=session)
            with SERVER.session() as other:
                other[store._known][OWNER].update_one({"_id": OWNER}, {"$inc": {"batches": 1}})
        met.append(1)
        write(session, sent)

    monkeypatch.setattr(store, "_write", meeting)
    store.apply(Batch("item", items(item(1, 2)), 2))
    assert len(met) == 2
    assert (store.revisions("item", [1]), store.checkpoint("item")) == ({1: 2}, 2)


def test_a_writer_that_was_replaced_changes_nothing_more(store: Any, tmp_path: Path) -> None:
    store.apply(Batch("item", items(item(1)), 1))
    other = store_of(tmp_path / "store")
    before = content(other)
    for attempt in (lambda: store.apply(Batch("item", items(item(2)), 2)), store.reset, lambda: store.bulk("item", [])):
        with pytest.raises(Unavailable, match="another process writes this projection now"):
            attempt()
        assert content(other) == before
    store.close()
    store.open()
    store.apply(Batch("item", items(item(2)), 2))
    with pytest.raises(Unavailable):
        other.apply(Batch("item", items(item(3)), 3))
    other.close()


@pytest.mark.parametrize("verb", ["reset", "bulk"])
def test_what_was_interrupted_is_emptied_when_it_is_opened(
    verb: str, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = items(*(item(key) for key in range(120)))
    if verb == "reset":
        store.apply(Batch("item", rows, 4))
    write, sent = store._write, [0]

    def cut(session: Any, parts: Any) -> None:
        sent[0] += 1
        if sent[0] > 2:
            raise Cut
        write(session, parts)

    with monkeypatch.context() as patch:
        patch.setattr(store, "_write", cut)
        with pytest.raises(Cut):
            store.reset() if verb == "reset" else store.bulk("item", [Batch("item", rows, 4), Batch("item", rows, 5)])
    store.close()
    store.open()
    assert (dump(store, "item").height, store.checkpoint("item")) == (0, 0)
    store.apply(Batch("item", rows, 4))
    store.close()
    store.open()
    assert dump(store, "item").height == 120


# -- numbers, names and limits -----------------------------------------------------------------------------------------

WHOLE = st.one_of(st.integers(INT_MIN, INT_MAX), st.sampled_from([INT_MIN, INT_MAX, 2**53 + 1, -(2**53) - 1]))
FLOATS = st.one_of(
    st.floats(allow_nan=False), st.sampled_from([-0.0, 5e-324, 1.7976931348623157e308, 2.0**53 + 2, float("inf")])
)


def test_numbers_come_back_bit_for_bit_and_sums_are_exact(store: Any) -> None:
    @settings(max_examples=examples(6), deadline=None)
    @given(st.lists(st.tuples(WHOLE, FLOATS), min_size=1, max_size=20))
    def check(numbers: list[tuple[int, float]]) -> None:
        store.reset()
        store.apply(Batch("item", items(*(item(at, amount=a, weight=w) for at, (a, w) in enumerate(numbers))), 1))
        back = dump(store, "item")
        assert back["amount"].to_list() == [amount for amount, _ in numbers]
        assert [one.hex() for one in back["weight"]] == [weight.hex() for _, weight in numbers]
        ((_, count, total),) = store.query(ask(kind="aggregate", group_by=["shelf"], sum=["amount"]), ())
        assert (count, total) == (len(numbers), sum(amount for amount, _ in numbers))
        assert type(total) is int

    check()


def test_other_clients_read_a_record_by_the_names_of_its_columns(store: Any) -> None:
    store.apply(Batch("item", items(item(1, amount=2**62, weight=0.5, label="a"), item(2, amount=2**62))))
    found = documents(store)[1]
    assert {"_id", "position", "revision", "deleted", "committed_at", "amount", "weight", "label"} <= found.keys()
    assert isinstance(found["amount"], Int64)
    assert isinstance(found["weight"], float)
    with SERVER.session() as client:
        total = {"$group": {"_id": None, "n": {"$sum": {"$toDecimal": "$amount"}}}}
        (found,) = client[store._known]["row:item"].aggregate([total])
    assert found["n"] == Decimal128(Decimal(2**63))


ODD = ("a.b", "$c", "", "_id", "%", "a%2Eb", "$$ROOT", "x.$[]", "é", "n0", "0", "%n")


def test_names_with_dots_and_dollars_are_columns_like_others(tmp_path: Path) -> None:
    assert len({field(name) for name in (*ODD, "key")}) == len(ODD) + 1
    entity = Entity("odd.$name", "str", dict.fromkeys(ODD, "int"), parent=None)
    store = store_of(tmp_path / "store", Layout("records", {"odd.$name": entity}))
    try:
        keys = ["a.b", "$c", "", "nul\x00", "$$ROOT", "é"]
        rows = [(at, key, 1, False, 1.0, *(at * 100 + n for n, _ in enumerate(ODD))) for at, key in enumerate(keys)]
        frame = pl.DataFrame(rows, schema=entity.schema, orient="row")
        store.apply(Batch("odd.$name", frame, 3))
        assert dump(store, "odd.$name").equals(frame.sort("key"))
        for number, name in enumerate(ODD):
            query = ask_of(entity, name)
            ((key, *_),) = store.query(query, (200 + number,))
            assert key == keys[2], name
        assert store.revisions("odd.$name", keys) == dict.fromkeys(keys, 1)
    finally:
        store.drop()


def ask_of(entity: Entity, column: str) -> Any:
    return Query("by", "filter", entity, where=(Condition(column, "=", "?"),), order_by=column)


def test_a_document_that_is_too_large_is_refused_before_anything_is_written(store: Any) -> None:
    before = content(store)
    large = items(item(1), item(2, label="x" * engine.DOCUMENT_BYTES))
    with pytest.raises(CannotTake, match="MongoDB takes up to 16,777,216"):
        store.apply(Batch("item", large, 3))
    assert content(store) == before
    with pytest.raises(CannotTake, match="NaN"):
        store.apply(Batch("item", items(item(1), item(2, weight=float("nan"))), 3))
    assert content(store) == before


def test_a_parameter_that_no_document_can_hold_is_refused_by_name(store: Any) -> None:
    with pytest.raises(NotAnswered, match="of:"):
        store.query(ask(name="of", kind="filter", where={"amount": "?"}), (2**70,))


# -- ends --------------------------------------------------------------------------------------------------------------


def test_a_database_that_is_gone_is_damage(store: Any) -> None:
    store.apply(Batch("item", items(item(1)), 1))
    SERVER.remove(store._known)
    with pytest.raises(Damaged) as gone:
        store.apply(Batch("item", items(item(2)), 2))
    assert store.damaged(gone.value)
    store.close()
    store.open()
    assert store.checkpoint("item") == 0


def test_a_server_without_a_replica_set_is_refused_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "told", lambda client: {"version": "8", "set": "", "sharded": False})
    with pytest.raises(BadInput, match="is in no replica set, and so has no transactions") as refused:
        store_of(tmp_path / "alone")
    assert "--replSet" in str(refused.value)


def test_a_server_that_is_away_is_said_without_its_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_MONGODB", "mongodb://someone:hunter2@127.0.0.1:1")
    with pytest.raises(Unavailable) as away:
        store_of(tmp_path / "away")
    found = SERVER.find()
    assert isinstance(found, Missing)
    assert "mongodb://someone@127.0.0.1:1" in found.reason
    assert "export LAB_MONGODB=" in found.way_out
    assert "hunter2" not in f"{away.value}{found}"
    for text in ("mongodb://127.0.0.1/?nonsense=1", "mongodb://127.0.0.1/?tlsCAFile=x", "mongodb+srv://a"):
        monkeypatch.setenv("LAB_MONGODB", text)
        assert isinstance(SERVER.find(), Missing)

"""The MariaDB stores keep the contract of every store, on a real server, and what only a server can do to them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pymysql
import pytest
from effort import examples

from lab.base import Batch, CannotTake, Damaged, Unavailable
from lab.engines.mariadb import KEY_CHARACTERS, MariadbSession
from lab.place import FolderPlace
from lab.servers.mariadb import SERVER
from lab.stores import STORES, Layout, dump, store_class
from lab.testing.contracts import store_cases
from lab.testing.promises import Case
from lab.testing.sample import IDS, SHELF, ask, item, items, layout, sums

pytestmark = pytest.mark.server("mariadb")

NAMES = [name for name, spec in STORES.items() if spec.server == "mariadb"]
CASES = [case for name in NAMES for case in store_cases(store_class(name))]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.store.name}: {case}")
def test_every_store_on_mariadb_keeps_the_contract(case: Case, tmp_path: Path) -> None:
    case.run(tmp_path, examples(6))


def store_of(folder: Path, keeps: str = "records") -> Any:
    made = store_class("mariadb.table")(FolderPlace(folder), layout(keeps, dict(IDS)))
    made.open()
    return made


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Any]:
    made = store_of(tmp_path / "store")
    yield made
    made.drop()


def ended(*sessions: MariadbSession | None) -> None:
    """End sessions as a server that is stopped does."""
    other = SERVER.connect()
    for session in sessions:
        assert session is not None
        other.execute(f"KILL {session.connection.thread_id()}")
    other.close()


def test_a_session_that_was_ended_is_told_once_and_then_gone_on_with(store: Any) -> None:
    query = ask(kind="get")
    store.apply(Batch("item", items(item(1, label="a")), 1))
    assert store.query(query, (1,))[0][2] == "a"
    ended(store._writer, store._reader)
    with pytest.raises(Unavailable, match=r"mariadb\.table"):
        store.apply(Batch("item", items(item(1, 2, label="b")), 2))
    with pytest.raises(Unavailable, match=r"mariadb\.table"):
        store.query(query, (1,))
    assert store.checkpoint("item") == 1
    store.apply(Batch("item", items(item(1, 2, label="b")), 2))
    assert store.query(query, (1,))[0][1:3] == (2, "b")
    assert store.checkpoint("item") == 2


@pytest.mark.parametrize("committed", [True, False])
def test_an_increment_whose_answer_was_lost_is_added_once(
    committed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, execute, lost = store_of(tmp_path / "store", "totals"), MariadbSession.execute, list[str]()
    store.apply(Batch("item", sums(("a", True, 1, 10)), 1))

    def losing(session: MariadbSession, statement: str, *arguments: Any) -> Any:
        if statement != "COMMIT" or lost:
            return execute(session, statement, *arguments)
        if committed:
            execute(session, statement)
        lost.append(statement)
        session.close()
        raise pymysql.OperationalError(2013, "the connection was lost")

    monkeypatch.setattr(MariadbSession, "execute", losing)
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
    monkeypatch.setattr("lab.engines.mariadb.LOCK_SECONDS", 1)
    with pytest.raises(Unavailable, match="another process may be writing"):
        store_of(store.path)


def test_a_long_text_is_kept_and_one_that_no_index_takes_is_refused(store: Any) -> None:
    long = "\U0001f600" * 2**18
    store.apply(Batch("item", items(item(1, label=long)), 1))
    assert dump(store, "item")["label"].to_list() == [long]
    store.apply(Batch("item", items(item(1, 2, shelf="\U0001f600" * KEY_CHARACTERS)), 2))
    for many in (1, 2_000):
        rows = (item(at, shelf="x" * (KEY_CHARACTERS + (at == many + 1))) for at in range(2, many + 2))
        with pytest.raises(CannotTake):
            store.apply(Batch("item", items(*rows), 3))
        assert (store.checkpoint("item"), dump(store, "item").height) == (2, 1)


@pytest.mark.parametrize("many", [1, 2_000])
def test_a_number_that_is_not_finite_is_refused_with_its_whole_batch(many: int, store: Any) -> None:
    for weight in (float("nan"), float("inf")):
        rows = (item(at, weight=weight if at == many else 1.5) for at in range(1, many + 1))
        with pytest.raises(CannotTake, match="infinite or not a number"):
            store.apply(Batch("item", items(*rows), 3))
        assert (store.checkpoint("item"), dump(store, "item").height) == (0, 0)


@pytest.mark.parametrize("loads", [True, False])
def test_keys_that_differ_in_case_or_in_blanks_at_the_end_are_different(
    loads: bool, store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MariadbSession, "loads", loads)
    keys = ["a", "A", "a ", "á", "", " ", "\U0001f600", *(f"k{at}" for at in range(600))]
    own = store_class("mariadb.table")(FolderPlace(tmp_path / "own"), Layout("records", {"shelf": SHELF}))
    own.open()
    rows = [(at + 1, key, 1, False, 0.5, *[None] * len(SHELF.columns)) for at, key in enumerate(keys)]
    frame = pl.DataFrame(rows, schema=SHELF.schema, orient="row")
    for revision in (1, 2):
        own.apply(Batch("shelf", frame.with_columns(pl.lit(revision, pl.Int64).alias("revision")), revision))
    assert dump(own, "shelf")["key"].to_list() == sorted(keys)
    assert own.revisions("shelf", [*keys, "nothing", "b "]) == dict.fromkeys(keys, 2)
    own.drop()


def test_a_database_that_is_gone_is_damage(store: Any) -> None:
    other = SERVER.connect()
    other.execute(f"DROP DATABASE {store._on.named}")
    other.close()
    with pytest.raises(Damaged) as caught:
        store.checkpoint("item")
    assert store.damaged(caught.value)

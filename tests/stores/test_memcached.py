"""The Memcached store keeps the contract of every store, on a real server, and what only a cache can do to it."""

from __future__ import annotations

import marshal
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from effort import examples
from pieces import SCENARIO
from reachable import own_instance, small_cache
from running import failed, run_text, witness

from lab.base import BadInput, Batch, CannotTake, Damaged, NotAnswered, Unavailable
from lab.place import FolderPlace
from lab.ports import Missing
from lab.projection.projector import Projector
from lab.scenario import Source
from lab.servers import Instance
from lab.servers.memcached import SERVER
from lab.stores import dump, store_class
from lab.stores.whole import held
from lab.testing.contracts import store_cases
from lab.testing.promises import Case
from lab.testing.sample import IDS, item, items, layout, parked
from lab.wiring import plan

pytestmark = pytest.mark.server("memcached")

NAME = "memcached.keyvalue"
CASES = list(store_cases(store_class(NAME)))
CACHE = f"""{SCENARIO.partition("[[projection]]")[0]}
[[projection]]
name = "directory"
store = "sqlite.table"

[[projection]]
name = "cache"
store = "{NAME}"
"""


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_store_in_memcached_keeps_the_contract(case: Case, tmp_path: Path) -> None:
    case.run(tmp_path, examples(6))


def store_of(folder: Path, memory: dict[str, pl.DataType] | None = None) -> Any:
    made = store_class(NAME)(FolderPlace(folder), layout("records", memory or {}))
    made.open()
    return made


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Any]:
    made = store_of(tmp_path / "store")
    yield made
    made.drop()


@pytest.fixture
def small() -> Iterator[Instance]:
    """A server of the test's own with room for some hundred rows."""
    with small_cache() as one:
        yield one


def labels(store: Any, *keys: Any) -> list[Any]:
    return dump(store, "item", lambda: keys).select("key", "revision", "label").rows()


# -- the guard, and what lands apart -----------------------------------------------------------------------------------


class Crash(Exception):
    pass


@pytest.mark.parametrize("after", ["rows", "memory"])
def test_a_crash_between_data_and_checkpoint_is_made_up_for_by_what_comes_again(
    after: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_of(tmp_path / "store", IDS)
    store.apply(Batch("item", items(item(1, 1, label="a")), 1))
    with monkeypatch.context() as patch:
        # What is put after the rows: the memory, if there is any, and the checkpoint last.
        calls: list[Any] = []

        def crash(_store: Any, _client: Any, entries: Any) -> None:
            calls.append(entries)
            if len(calls) == (1 if after == "rows" else 2):
                raise Crash

        patch.setattr("lab.stores.memcached_keyvalue.MemcachedKeyvalue._put", crash)
        with pytest.raises(Crash):
            store.apply(Batch("item", items(item(1, 3, label="c"), item(2, 1, True)), 3, pl.DataFrame({"id": [3]})))
    store.close()
    store.open()
    assert store.checkpoint("item") == 1
    assert labels(store, 1, 2) == [(1, 3, "c"), (2, 1, None)]
    # The same page again, from the checkpoint on: an older revision changes nothing.
    store.apply(Batch("item", items(item(1, 2, label="b")), 2))
    assert labels(store, 1) == [(1, 3, "c")]
    store.apply(Batch("item", items(item(1, 3, label="c"), item(2, 1, True)), 3, pl.DataFrame({"id": [3]})))
    assert labels(store, 1, 2) == [(1, 3, "c"), (2, 1, None)]
    assert store.checkpoint("item") == 3
    store.drop()


def test_two_writers_at_once_leave_the_highest_revision(store: Any, tmp_path: Path) -> None:
    client, values = store._writing(), []
    real = client.found_to_change

    def overtaken(names: Any) -> Any:
        found = real(names)
        if not values:
            # Another writer comes between the look and the write.
            values.append(1)
            other = SERVER.connect()
            ((name, _),) = store._rows(Batch("item", items(item(1, 7))))
            ((_, value),) = store._rows(Batch("item", items(item(1, 7, label="newer"))))
            other.set(name, value)
            other.close()
        return found

    client.found_to_change = overtaken
    store.apply(Batch("item", items(item(1, 5, label="older")), 5))
    assert labels(store, 1) == [(1, 7, "newer")]
    store.apply(Batch("item", items(item(1, 8, label="newest"))))
    assert labels(store, 1) == [(1, 8, "newest")]


def test_a_writer_that_was_replaced_is_refused(store: Any, tmp_path: Path) -> None:
    store.apply(Batch("item", items(item(1)), 1))
    other = store_of(tmp_path / "store")
    other.apply(Batch("item", items(item(2)), 2))
    for _ in range(3):
        with pytest.raises(Unavailable, match="another process writes this projection now"):
            store.apply(Batch("item", items(item(3)), 3))
    with pytest.raises(Unavailable, match="another process"):
        store.reset()
    assert other.checkpoint("item") == 2
    assert [row[0] for row in labels(other, 1, 2, 3)] == [1, 2]
    other.close()


def test_a_writer_that_was_replaced_stays_so_where_the_owners_entry_is_evicted(store: Any, tmp_path: Path) -> None:
    other, client = store_of(tmp_path / "store"), SERVER.connect()
    owner = f"{store._on.named}:owner"
    for attempt in range(1, 3):
        client.delete(owner)
        with pytest.raises(Unavailable, match="another process"):
            store.apply(Batch("item", items(item(3)), 3))
        other.apply(Batch("item", items(item(attempt)), attempt))
        assert client.get(owner) == other._token.encode()
    assert [row[0] for row in labels(other, 1, 2, 3)] == [1, 2]
    client.close()
    other.close()


def test_a_reader_follows_a_reset_by_the_writer(store: Any, tmp_path: Path) -> None:
    reader = store_class(NAME)(FolderPlace(tmp_path / "store"), layout("records"))
    park = parked(store.layout.entities["item"], "bad", (7, 1, 2, False, 0.5))
    for label in ("first", "second", "third"):
        store.apply(Batch("item", items(item(1, label=label), item(2)), 7, park=park))
        assert labels(reader, 1) == [(1, 1, label)]
        assert (reader.checkpoint("item"), reader.parked("item").height) == (7, 1)
        store.reset()
        assert (reader.checkpoint("item"), reader.parked("item").height, labels(reader, 1, 2)) == (0, 0, [])
    reader.close()


# -- values ------------------------------------------------------------------------------------------------------------


def test_what_is_larger_than_an_entry_is_parked_with_the_reason_and_the_rest_is_in(store: Any) -> None:
    projector = Projector(store, "revision", 100)
    fits, large = "x" * 900_000, "y" * 2**20
    rows = items(item(1, label="a"), item(2, label=large), item(3, label=fits))
    projector.apply("item", rows, 3)
    projector.apply("item", items(item(2, 2, label="b")).with_columns(position=pl.lit(4, pl.Int64)), 4)
    assert store.checkpoint("item") == 4
    assert [(key, len(label)) for key, _, label in labels(store, 1, 2, 3)] == [(1, 1), (3, 900_000)]
    found = store.parked("item")
    assert found["position"].to_list() == [2, 4]
    assert "the server takes up to 1,048,576 (its option -I)" in found["lab_reason"][0]
    assert found["label"][0] == large
    # Parked changes are no entries: they outlive the connection, and a reset ends them.
    store.close()
    store.open()
    assert store.parked("item").equals(found)
    store.reset()
    assert store.parked("item").height == 0


def test_what_is_too_large_leaves_what_was_there(store: Any) -> None:
    store.apply(Batch("item", items(item(1, 1, label="a")), 1))
    with pytest.raises(CannotTake):
        store.apply(Batch("item", items(item(3), item(1, 2, label="y" * 2**20)), 2))
    assert labels(store, 1, 3) == [(1, 1, "a")]
    assert store.checkpoint("item") == 1


def test_keys_that_no_name_can_have_are_kept_apart(store: Any) -> None:
    keys = ["", " ", "a b", "é\n", "k" * 500, "k" * 499 + "l", "ключ" * 100, "%20", "#", "\x00", "\x7f"]
    wide = [(at, key, at, False, 0.5, key[:3], 1.5) for at, key in enumerate(keys, 1)]
    store.apply(Batch("shelf", pl.DataFrame(wide, store.layout.schema("shelf"), orient="row")))
    assert store.revisions("shelf", [*keys, "k", "none"]) == {key: at for at, key in enumerate(keys, 1)}


# -- what a cache does -------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("quick")
def test_an_evicted_entry_is_a_lost_change_which_the_verdict_shows_and_a_rebuild_heals(
    small: Instance, tmp_path: Path
) -> None:
    size = ("domain.records=1_500", "workload.commands=2_000", "measure.samples=5", "measure.warm_up=0")
    lost = run_text(tmp_path, CACHE, *size)
    assert "converged" in failed(lost, "cache")
    assert "shows  : nothing" in witness(lost, "cache", "converged")
    assert failed(lost, "directory") == set()
    client = SERVER.connect()
    assert client.stats()[b"evictions"] > 0
    # With enough memory what was lost is there again, once it was built anew.
    client.cache_memlimit(64)
    client.close()
    healed = run_text(tmp_path, CACHE, *size)
    assert failed(healed, "cache") == set()


def test_a_checkpoint_that_was_evicted_means_that_all_is_read_again(store: Any) -> None:
    projector = Projector(store, "revision", 100)
    projector.apply("item", items(item(1, 1, label="a"), item(2, 1, label="b")), 2)
    client = SERVER.connect()
    client.delete_many([*store._names("checkpoint", "item", [""]), *store._names("row", "item", [1])])
    client.close()
    again = projector.reopened()
    assert again.checkpoint("item") == 0
    # What is there is recognised, what is gone is written.
    applied = again.apply("item", items(item(1, 1, label="a"), item(2, 1, label="b")), 2)
    assert (applied.positions.tolist(), applied.refused.tolist()) == ([1], [2])
    assert labels(store, 1, 2) == [(1, 1, "a"), (2, 1, "b")]


def test_the_owners_entry_can_be_evicted_like_any_other(store: Any) -> None:
    store.apply(Batch("item", items(item(1)), 1))
    client = SERVER.connect()
    client.delete(f"{store._on.named}:owner")
    store.apply(Batch("item", items(item(2)), 2))
    assert client.get(f"{store._on.named}:owner") == store._token.encode()
    client.close()


def test_a_connection_that_was_lost_is_opened_anew_and_a_restart_is_damage(small: Instance, tmp_path: Path) -> None:
    store = store_of(tmp_path / "store")
    store.apply(Batch("item", items(item(1)), 1))
    store._writer.sock.close()
    with pytest.raises(Unavailable):
        store.apply(Batch("item", items(item(2)), 2))
    store.apply(Batch("item", items(item(2)), 2))
    small.stop("kill")
    with pytest.raises(Unavailable):
        store.apply(Batch("item", items(item(3)), 3))
    small.start()
    # Not only once: a later batch must not go on where everything before it is missing.
    for _ in range(3):
        with pytest.raises(Damaged, match="started anew, and what it held is gone") as caught:
            store.apply(Batch("item", items(item(3)), 3))
        assert store.damaged(caught.value)
    with pytest.raises(Damaged, match="started anew"):
        store.reset()
    store.close()
    store.open()
    assert store.checkpoint("item") == 0
    assert labels(store, 1, 2, 3) == []
    store.drop()


# -- what can't be seen ------------------------------------------------------------------------------------------------


def test_rows_are_looked_up_by_keys_that_are_known_and_others_stay_unseen(store: Any) -> None:
    with pytest.raises(NotAnswered, match="can't be listed"):
        list(store.pages("item"))
    with pytest.raises(NotAnswered, match="can't be listed"):
        store.memory("item")
    frame = items(item(1, label="a"), item(2, 1, True))
    store.apply(Batch("item", frame, 2))
    # One row too many, of a record that never was; and a known record that shows what it never was.
    store.apply(Batch("item", items(item(99, label="phantom"))))
    known = partial(held, store, "item", frame["key"].to_list)
    assert [page["key"].to_list() for page in known()] == [[1, 2]]
    store.apply(Batch("item", items(item(1, 9, label="never"))))
    assert [page["label"].to_list() for page in known()] == [["never", None]]


@pytest.mark.parametrize(
    ("line", "where", "said"),
    [
        ('keeps = "totals"', "projection.cache.keeps", "count twice"),
        ('keeps = "revisions"', "projection.cache.keeps", "can't keep revisions"),
        ('guard = "dedupe"', "projection.cache.guard", "item by item"),
        ('guard = "none"', "projection.cache.guard", "refuses older revisions itself"),
    ],
)
def test_what_a_cache_cant_promise_is_refused_when_the_scenario_is_read(
    line: str, where: str, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f"{CACHE}{line}\n" + ('totals = "payroll"\n' if "totals" in line else ""))
    with pytest.raises(BadInput, match=said) as caught:
        plan(Source(path))
    assert len([one for one in caught.value.problems if where in one.where]) == 1


# -- the server --------------------------------------------------------------------------------------------------------


def test_what_a_projection_had_is_removed_with_it(tmp_path: Path) -> None:
    store = store_of(tmp_path / "store")
    store.apply(Batch("item", items(item(1), item(2)), 2))
    before = f"{store._on.named}:".encode()
    assert store.size_bytes() > 100
    client = SERVER.connect()
    assert len(client.listed(before)) == 4, "two rows, the checkpoint, the owner"
    store.drop()
    assert client.listed(before) == []
    client.close()


def test_a_password_is_given_and_shown_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    users = Path("/var/tmp") / f"lab-memcached-users-{os.getpid()}"
    users.write_text("someone:hunter2\n")
    try:
        # Without the password it can't be asked whether it answers, so it isn't started as others are.
        with own_instance("memcached") as one:
            port = int(one.url.rpartition(":")[2])
            one.stop()
            monkeypatch.setattr(type(one.kind), "answers", lambda *_: None)
            one.start({"Y": str(users)})
            monkeypatch.setenv("LAB_MEMCACHED", f"memcached://someone:hunter2@127.0.0.1:{port}")
            store = _when_it_answers(tmp_path)
            store.apply(Batch("item", items(item(1)), 1))
            assert store.checkpoint("item") == 1
            assert "hunter2" not in f"{store._on.shown()} {SERVER.find()} {store.settings()}"
            store.drop()
            monkeypatch.setenv("LAB_MEMCACHED", f"memcached://someone:wrong-one@127.0.0.1:{port}")
            said = str(SERVER.find())
            assert "Missing" in said
            assert "wrong-one" not in said
    finally:
        users.unlink()


@pytest.mark.parametrize("login", ["alice:s3cret-pw", "alice"])
def test_a_server_that_asks_for_no_password_is_told_none(
    login: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would keep the first thing that is said as an entry, in the place of one that has the name."""
    with own_instance("memcached") as one:
        monkeypatch.setenv("LAB_MEMCACHED", one.url)
        plain = SERVER.connect()
        plain.set("lab", b"theirs")
        monkeypatch.setenv("LAB_MEMCACHED", one.url.replace("://", f"://{login}@"))
        found = SERVER.find()
        assert isinstance(found, Missing)
        assert "the server asks for no password" in found.reason
        assert found.way_out == (
            "it answers, and lets everybody in: leave user and password out of LAB_MEMCACHED or LAB_MEMCACHED_FILE"
        )
        with pytest.raises(Unavailable, match="asks for no password"):
            store_of(tmp_path / "store")
        assert "s3cret" not in f"{found}"
        assert [(name, plain.get(name)) for name, _ in plain.listed(b"l")] == [(b"lab", b"theirs")]
        plain.close()


def _when_it_answers(folder: Path) -> Any:
    for _ in range(500):
        try:
            return store_of(folder / "store")
        except Unavailable as error:
            refused = error
    raise refused


@pytest.mark.parametrize(
    "left",
    [b"", marshal.dumps([b"x" * 50])[:20], b"\x00", b"?", marshal.dumps([1]), marshal.dumps(1)],
    ids=["empty", "cut", "null", "unknown", "numbers", "a number"],
)
def test_a_file_of_parked_changes_that_is_damaged_is_told_as_damage(left: bytes, store: Any) -> None:
    store.apply(Batch("item", items(item(1)), 1))
    store._parked_file("item").write_bytes(left)
    with pytest.raises(Damaged, match="what is parked can't be read") as caught:
        store.parked("item")
    assert store.damaged(caught.value)
    store.reset()
    assert store.parked("item").height == 0


def test_parked_changes_are_on_the_disk_before_the_checkpoint_goes_past_them(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced, real = set(), os.fsync

    def fsync(number: int) -> None:
        real(number)
        synced.add(os.fstat(number).st_ino)

    monkeypatch.setattr("os.fsync", fsync)
    nothing = pl.DataFrame(schema=store.layout.schema("item"))
    park = parked(store.layout.entities["item"], "bad", (7, 1, 2, False, 0.5))
    store.apply(Batch("item", nothing, 7, park=park))
    assert {store._parked_file("item").stat().st_ino, store.path.stat().st_ino} <= synced


def test_parked_changes_are_each_entitys_own(store: Any) -> None:
    nothing = pl.DataFrame(schema=store.layout.schema("item"))
    park = parked(store.layout.entities["item"], "bad", (7, 1, 2, False, 0.5))
    store.apply(Batch("item", nothing, 7, park=park))
    assert store.parked("item").height == 1
    assert store.parked("shelf").height == 0

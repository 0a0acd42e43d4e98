"""The Redis store keeps the contract of every store, on a real server, and what only a server can do to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from effort import examples

from lab.base import Batch, Damaged, Entity, Unavailable
from lab.engines.redis import RedisLine
from lab.place import FolderPlace
from lab.servers.redis import SERVER
from lab.servers.redis_ledger import keys_of
from lab.servers.redis_place import owner_key
from lab.stores import Layout, dump, store_class
from lab.testing.contracts import store_cases
from lab.testing.promises import Case
from lab.testing.sample import IDS, content, item, items, layout, sums

pytestmark = pytest.mark.server("redis")

CASES = [*store_cases(store_class("redis.keyvalue"))]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.store.name}: {case}")
def test_every_store_in_redis_keeps_the_contract(case: Case, tmp_path: Path) -> None:
    case.run(tmp_path, examples(6))


def store_of(folder: Path, keeps: str = "records") -> Any:
    made = store_class("redis.keyvalue")(FolderPlace(folder), layout(keeps, dict(IDS)))
    made.open()
    return made


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Any]:
    made = store_of(tmp_path / "store")
    yield made
    made.drop()


def test_a_writer_that_was_replaced_changes_nothing(store: Any, tmp_path: Path) -> None:
    store.apply(Batch("item", items(item(1)), 1))
    other = store_of(tmp_path / "store")
    other.apply(Batch("item", items(item(2)), 2))
    before = content(other)
    with pytest.raises(Unavailable, match="another process"):
        store.reset()
    assert content(other) == before
    for _ in range(10):
        with pytest.raises(Unavailable, match="another process writes this projection now"):
            store.apply(Batch("item", items(item(3)), 3))
        with pytest.raises(Unavailable, match="another process"):
            store.reset()
    assert content(other) == before
    assert other.checkpoint("item") == 2
    other.apply(Batch("item", items(item(4)), 4))
    # Opened again it is the writer, and the other one is refused.
    store.close()
    store.open()
    store.apply(Batch("item", items(item(5)), 5))
    with pytest.raises(Unavailable, match="another process"):
        other.apply(Batch("item", items(item(6)), 6))
    other.close()


def test_a_writer_that_was_replaced_while_its_connection_was_lost_doesnt_take_over_again(
    store: Any, tmp_path: Path
) -> None:
    store.apply(Batch("item", items(item(1)), 1))
    store._disconnect()
    other = store_of(tmp_path / "store")
    with pytest.raises(Unavailable, match="another process"):
        store.apply(Batch("item", items(item(3)), 3))
    other.apply(Batch("item", items(item(2)), 2))
    other.close()


class Cut:
    """A line whose answer is lost, after the commands were carried out or instead of them."""

    def __init__(self, line: Any, carried_out: bool) -> None:
        self.line, self.carried_out = line, carried_out

    def ask(self, commands: Any) -> Any:
        if self.carried_out:
            self.line.ask(commands)
        raise ConnectionResetError("the answer was lost")

    open = True

    def close(self) -> None:
        self.line.close()


class Late(Cut):
    """A line whose commands arrive only once they have been sent again on another one."""

    def __init__(self, line: Any) -> None:
        super().__init__(line, False)
        self.held: list[Any] = []

    def ask(self, commands: Any) -> Any:
        self.held.append(commands)
        return super().ask(commands)

    def close(self) -> None:
        """The other side of the network still has it."""


@pytest.mark.parametrize("keeps", ["records", "totals"])
def test_a_batch_that_arrives_after_it_was_sent_again_changes_nothing(keeps: str, tmp_path: Path) -> None:
    store = store_of(tmp_path / "store", keeps)
    rows = items(item(1)) if keeps == "records" else sums(("a", True, 2, 5))
    store.apply(Batch("item", rows, 1))
    # A connection of its own, which outlives the one that it stands for.
    client = SERVER.connect()
    late = Late(RedisLine(client))
    late.line.ask(store._watching())
    store._line.close()
    store._line = late
    with pytest.raises(Unavailable, match="the answer was lost"):
        store.apply(Batch("item", rows, 2))
    store.apply(Batch("item", rows, 2))
    store.apply(Batch("item", rows, 3))
    before = content(store)
    late.line.ask(late.held[0])
    assert content(store) == before
    assert store.checkpoint("item") == 3
    store.apply(Batch("item", rows, 4))
    late.line.close()
    client.close()
    store.drop()


@pytest.mark.parametrize("carried_out", [True, False])
@pytest.mark.parametrize("keeps", ["records", "totals"])
def test_a_batch_whose_answer_was_lost_is_in_once_or_not_at_all(keeps: str, carried_out: bool, tmp_path: Path) -> None:
    store = store_of(tmp_path / "store", keeps)
    rows = items(item(1)) if keeps == "records" else sums(("a", True, 2, 5))
    store.apply(Batch("item", rows, 1))
    store._line = Cut(store._line, carried_out)
    if carried_out:
        store.apply(Batch("item", rows, 2))
    else:
        with pytest.raises(Unavailable, match="the answer was lost"):
            store.apply(Batch("item", rows, 2))
        store.apply(Batch("item", rows, 2))
    assert store.checkpoint("item") == 2
    if keeps == "totals":
        assert dump(store, "item")["records"].to_list() == [4]
    store.drop()


def test_keys_that_are_gone_are_damage_and_no_empty_projection_takes_their_place(store: Any) -> None:
    store.apply(Batch("item", items(item(1)), 1))
    client = SERVER.connect()
    client.delete(*[key for some in keys_of(client, store._on.named) for key in some])
    with pytest.raises(Damaged, match="are gone from the server") as caught:
        store.apply(Batch("item", items(item(2)), 2))
    assert store.damaged(caught.value)
    store._disconnect()
    with pytest.raises(Damaged):
        store.open()
    client.close()


def test_a_key_of_another_kind_is_damage(store: Any) -> None:
    store.apply(Batch("item", items(item(1)), 1))
    client = SERVER.connect()
    client.delete(store._key("checkpoint"))
    client.set(store._key("checkpoint"), "x")
    with pytest.raises(Damaged, match="WRONGTYPE"):
        store.checkpoint("item")
    with pytest.raises(Damaged, match="WRONGTYPE"):
        store.apply(Batch("item", items(item(2)), 2))
    client.close()


def test_a_rebuild_that_was_interrupted_begins_anew(store: Any) -> None:
    def frames() -> Iterator[Batch]:
        yield Batch("item", items(item(1)), 1)
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        store.bulk("item", frames())
    store.close()
    store.open()
    assert dump(store, "item").height == 0
    assert store.checkpoint("item") == 0


def test_names_with_letters_that_are_patterns_keep_entities_apart(tmp_path: Path) -> None:
    names = ("a", "a*", "ab", "a[b]", "a?", "a:b", "a\\")
    entities = {name: Entity(name, "str", {"n": "int"}) for name in names}
    store = store_class("redis.keyvalue")(FolderPlace(tmp_path / "s"), Layout("records", entities))
    store.open()
    for number, name in enumerate(names):
        frame = items(item(1)).select("position", "key", "revision", "deleted", "committed_at")
        rows = frame.with_columns(key=pl.lit("b:k" if name == "a" else "k"), n=pl.lit(number))
        store.apply(Batch(name, rows.select(list(entities[name].schema)), 1))
    assert [dump(store, name)["n"].to_list() for name in names] == [[number] for number in range(len(names))]
    store.drop()


def test_what_tells_writers_apart_outlives_a_reset(store: Any) -> None:
    store.apply(Batch("item", items(item(1)), 1))
    store.reset()
    client = SERVER.connect()
    left = {key for some in keys_of(client, store._on.named) for key in some}
    assert left == {owner_key(store._on.named).encode(), store._key("batch")}
    store.apply(Batch("item", items(item(2)), 2))
    client.close()

"""What a store promises of writing: all of a batch or nothing, and what is written is what is there."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha512

import polars as pl
import pytest

from lab.base import Batch
from lab.queries.answers import same
from lab.stores import dump
from lab.testing.promises import Trial, promise
from lab.testing.sample import IDS, ITEM, SHELF, ask, content, item, items, parked, sums


@promise()
def a_new_store_is_empty_and_stands_at_position_0(trial: Trial) -> None:
    store = trial.open()
    assert store.checkpoint("item") == 0
    assert dump(store, "item").equals(ITEM.empty())


@promise("records")
def a_record_replaces_the_record_of_its_key(trial: Trial) -> None:
    store = trial.open()
    store.apply(Batch("item", items(item(1, label="old"), item(2, label="stays"))))
    store.apply(Batch("item", items(item(1, 2, label="new"))))
    assert dump(store, "item").select("key", "revision", "label").rows() == [(1, 2, "new"), (2, 1, "stays")]


@promise("records")
def an_older_revision_replaces_a_newer_one_unless_the_store_guards(trial: Trial) -> None:
    store = trial.open()
    store.apply(Batch("item", items(item(1, 5, label="new"))))
    store.apply(Batch("item", items(item(1, 3, label="old"))))
    must = (5, "new") if trial.store.capabilities.guards else (3, "old")
    assert dump(store, "item").select("revision", "label").rows() == [must]


@promise("revisions")
def a_revision_replaces_only_the_row_of_its_key_and_number(trial: Trial) -> None:
    store = trial.open()
    store.apply(Batch("item", items(item(1, 1, label="a"), item(1, 2, label="b"))))
    # It has the position that it had.
    store.apply(Batch("item", items(item(1, 2, label="B"), item(1, 3, True, label="c"), first=2)))
    store.apply(Batch("item", items(item(1, 1, label="A"))))
    assert dump(store, "item").select("revision", "label").rows() == [(1, "A"), (2, "B"), (3, "c")]


@promise()
def a_tombstone_is_a_row_and_stays(trial: Trial) -> None:
    store = trial.open()
    store.apply(Batch("item", items(item(1, 2, True, label="gone"))))
    assert dump(store, "item").select("key", "deleted").rows() == [(1, True)]
    for query, parameters in ((ask(kind="get"), (1,)), (ask(kind="search"), ("gone",))):
        if store.answers_query(query):
            assert store.query(query, parameters) == []


@promise("totals")
def totals_are_added_to_the_group_that_is_there(trial: Trial) -> None:
    store = trial.open()
    store.apply(Batch("item", sums(("a", True, 1, 10), ("b", False, 1, 5))))
    store.apply(Batch("item", sums(("a", True, 2, -3), ("c", True, 1, 1))))
    assert dump(store, "item").rows() == [("a", True, 3, 7), ("b", False, 1, 5), ("c", True, 1, 1)]


@promise("totals")
def a_group_without_a_value_is_one_group(trial: Trial) -> None:
    store = trial.open()
    for _ in range(3):
        store.apply(Batch("item", sums((None, None, 1, 10), ("a", None, 1, 1), (None, True, 1, 2))))
    assert dump(store, "item").rows() == [("a", None, 3, 3), (None, True, 3, 6), (None, None, 3, 30)]


@promise("totals")
def a_group_that_nothing_is_left_of_is_in_no_answer(trial: Trial) -> None:
    store = trial.open()
    store.apply(Batch("item", sums(("a", True, 1, 10), ("b", True, 1, 4))))
    store.apply(Batch("item", sums(("a", True, -1, -10))))
    query = ask(kind="aggregate", group_by=["shelf", "fragile"], sum=["amount"])
    assert same([("b", True, 1, 4)], store.query(query, ()))


@promise()
def an_empty_batch_moves_the_checkpoint_alone(trial: Trial) -> None:
    store = trial.open()
    store.apply(Batch("item", items(item(1)), 3))
    before = dump(store, "item")
    store.apply(Batch("item", ITEM.empty(), 9))
    assert store.checkpoint("item") == 9
    assert dump(store, "item").equals(before)


@promise()
def a_batch_without_a_checkpoint_leaves_it_alone(trial: Trial) -> None:
    store = trial.open()
    store.apply(Batch("item", items(item(1)), 3))
    store.apply(Batch("item", items(item(2))))
    assert store.checkpoint("item") == 3


@promise()
def each_entity_has_its_own_rows_memory_and_checkpoint(trial: Trial) -> None:
    store = trial.open(IDS)
    shelf = pl.DataFrame([(1, "a", 1, False, 0.5, "A", 1.5)], schema=SHELF.schema, orient="row")
    store.apply(Batch("item", items(item(1)), 3, pl.DataFrame({"id": [3]})))
    store.apply(Batch("shelf", shelf, 8, pl.DataFrame({"id": [8]})))
    assert (store.checkpoint("item"), store.checkpoint("shelf")) == (3, 8)
    assert store.memory("item").rows() == [(3,)]
    assert store.memory("shelf").rows() == [(8,)]
    assert dump(store, "shelf").equals(shelf)


@promise()
def the_guards_memory_is_replaced_by_its_id(trial: Trial) -> None:
    store = trial.open({"id": pl.Int64(), "revision": pl.Int64(), "live": pl.Boolean()})
    for revision, live in ((1, True), (2, False)):
        memory = pl.DataFrame({"id": [4], "revision": [revision], "live": [live]})
        store.apply(Batch("item", items(item(4, revision)), None, memory))
    assert store.memory("item").rows() == [(4, 2, False)]
    assert dict(store.memory("item").schema) == store.layout.memory


@promise("records", "revisions", "totals")
def a_frame_that_lacks_a_column_changes_nothing(trial: Trial) -> None:
    store = trial.open(IDS)
    good, bad = (sums(("a", True, 1, 1)), sums(("b", True, 1, 1)))
    if trial.keeps != "totals":
        good, bad = items(item(1, label="a")), items(item(1, 2, label="b"), item(2))
    store.apply(Batch("item", good, 4, pl.DataFrame({"id": [4]})))
    before = content(store)
    with pytest.raises(pl.exceptions.ColumnNotFoundError):
        store.apply(Batch("item", bad.drop(bad.columns[-1]), 5, pl.DataFrame({"id": [5]})))
    assert content(store) == before


@promise("records", "revisions", "totals", durable=True)
def what_an_engine_refuses_last_takes_back_what_came_first(trial: Trial) -> None:
    store = trial.open(IDS)
    rows = sums(("a", True, 1, 1)) if trial.keeps == "totals" else items(item(1, 3, label="a"), item(2))
    store.apply(Batch("item", rows, 4, pl.DataFrame({"id": [4]})))
    before = content(store)
    # No position has more than 64 bits, and no id is a list.
    for checkpoint, memory in ((5, {"id": [[5]]}), (2**70, {"id": [5]})):
        with pytest.raises(Exception):  # noqa: B017, PT011 (each engine has an error of its own)
            store.apply(Batch("item", rows, checkpoint, pl.DataFrame(memory)))
        assert content(store) == before
    store.apply(Batch("item", rows, 6))
    assert store.checkpoint("item") == 6


@promise(durable=True)
def a_bulk_that_breaks_off_leaves_the_store_empty(trial: Trial) -> None:
    store = trial.open()

    def breaking_off() -> Iterator[Batch]:
        yield Batch("item", items(item(1), item(2)), 2)
        raise RuntimeError("the feed is gone")

    with pytest.raises(RuntimeError, match="the feed is gone"):
        store.bulk("item", breaking_off())
    assert content(store)["rows"][0] == []
    assert store.checkpoint("item") == 0
    store.bulk("item", [Batch("item", items(item(1)), 1)])
    assert dump(store, "item").height == 1


@promise()
def reset_throws_everything_away(trial: Trial) -> None:
    store = trial.open(IDS)
    empty = content(store)
    store.apply(Batch("item", items(item(1), item(2)), 5, pl.DataFrame({"id": [1, 2]})))
    store.apply(Batch("item", ITEM.empty(), park=parked(ITEM, "bad", (3, 2, 2, False, 0.5))))
    store.reset()
    assert content(store) == empty
    store.apply(Batch("item", items(item(7)), 1))
    assert dump(store, "item")["key"].to_list() == [7]


@promise("records", "revisions", "totals", durable=True)
def a_successor_on_the_same_path_finds_everything(trial: Trial) -> None:
    store = trial.open(IDS)
    rows = sums(("a", None, 1, 1)) if trial.keeps == "totals" else items(item(1, 3, label="a"), item(2))
    store.apply(Batch("item", rows, 4, pl.DataFrame({"id": [4, 9]})))
    before = content(store)
    store.close()
    assert content(trial.open(IDS)) == before


@promise()
def closing_twice_is_allowed_and_opening_again_forgets_nothing(trial: Trial) -> None:
    store = trial.open()
    store.apply(Batch("item", items(item(1)), 4))
    before = content(store)
    store.close()
    store.close()
    store.open()
    store.open()
    assert content(store) == before


@promise()
def rest_changes_nothing(trial: Trial) -> None:
    store = trial.open()
    settings = store.settings()
    store.apply(Batch("item", items(item(1), item(2)), 2))
    before = content(store)
    store.rest()
    assert content(store) == before
    store.apply(Batch("item", items(item(3)), 3))
    assert store.checkpoint("item") == 3
    store.rest()
    assert store.settings() == settings
    store.close()
    store.rest()


@promise()
def size_is_more_than_nothing(trial: Trial) -> None:
    store = trial.open()
    store.apply(Batch("item", items(*(item(at, label=sha512(bytes([at])).hexdigest()) for at in range(100)))))
    store.close()
    assert store.size_bytes() > 100 * 100


@promise("records", "revisions", "totals")
def bulk_equals_apply(trial: Trial) -> None:
    applied, filled = trial.open(IDS), trial.open(IDS, at="filled")
    frames = [items(*(item(at * 3 + n, label=str(n), shelf="a") for n in range(3))) for at in range(4)]
    if trial.keeps == "totals":
        frames = [sums(("a", True, at, 1), (None, None, 1, at)) for at in range(1, 4)]
    batches = [Batch("item", frame, at, pl.DataFrame({"id": [at]})) for at, frame in enumerate(frames, 1)]
    for batch in batches:
        applied.apply(batch)
    filled.bulk("item", iter(batches))
    assert content(filled) == content(applied)
    filled.apply(batches[-1])
    applied.apply(batches[-1])
    assert content(filled) == content(applied)


@promise(durable=True)
def settings_are_read_back_from_the_engine(trial: Trial) -> None:
    assert trial.open().settings()["library"]


@promise()
def two_stores_share_nothing_and_each_drops_what_it_made(trial: Trial) -> None:
    one, other = trial.open(IDS, at="one"), trial.open(IDS, at="other")
    empty = content(other)
    rows = sums(("a", True, 1, 1)) if trial.keeps == "totals" else items(item(1))
    one.apply(Batch("item", rows, 4, pl.DataFrame({"id": [4]})))
    assert content(other) == empty
    before = content(one)
    other.drop()
    other.drop()
    assert content(one) == before
    one.drop()
    assert not (trial.folder / "one").exists()

"""The contract of every store: what is written is what is there, all of it or nothing, and nobody reads it wrong.

A store that is registered is tested here; `null` keeps nothing on purpose, and has tests of its own at the end.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from hashlib import sha512
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from pieces import ITEM, NASTY, SHELF, ask, item, items, layout, sums

from lab.base import REASON, Batch, Entity, NotAnswered, ReadOnly
from lab.queries.answers import ReferenceTable, same
from lab.queries.kinds import KINDS
from lab.queries.model import Query
from lab.stores import STORES, Layout, Store, dump, store_class

KEEPING = [name for name in STORES if name != "null"]
# `memory` has no engine to refuse a value, takes no statements, and ends with its object, as its docstring says.
ENGINES = [name for name in KEEPING if name != "memory"]
IDS = {"id": pl.Int64()}

# Those that can be told an SQL statement.
SPEAKING = [name for name in ENGINES if hasattr(store_class(name), "read")]


def holding(*wanted: str, among: list[str] = KEEPING) -> pytest.MarkDecorator:
    """Every store, with each thing that it can keep and that is wanted."""
    pairs = [(name, keeps) for name in among for keeps in store_class(name).holds if keeps in wanted]
    return pytest.mark.parametrize(("name", "keeps"), pairs)


def that_keep(keeps: str) -> pytest.MarkDecorator:
    """Every store that can keep this."""
    return pytest.mark.parametrize("name", [name for name in KEEPING if keeps in store_class(name).holds])


each_store = pytest.mark.parametrize("name", KEEPING)
each_engine = pytest.mark.parametrize("name", ENGINES)
each_of_records, each_of_revisions, each_of_totals = map(that_keep, ("records", "revisions", "totals"))
each_way = holding("records", "revisions", "totals")
each_engine_s_way = holding("records", "revisions", "totals", among=ENGINES)
MakeStore = Callable[..., Store]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[MakeStore]:
    """Opens stores; two of one name share a folder, as a process and its successor do. Closes them all at the end."""
    opened: list[Store] = []

    def opening(name: str, keeps: str | None = None, memory: dict[str, pl.DataType] | None = None) -> Store:
        store = store_class(name)(tmp_path / name, layout(keeps or store_class(name).holds[0], memory))
        store.open()
        opened.append(store)
        return store

    yield opening
    for store in opened:
        store.close()


def content(store: Store) -> dict[str, Any]:
    """All that a store holds: rows, the guard's memory, checkpoints, parked changes."""
    entities = list(store.layout.entities)
    memory = [store.memory(name).sort("id").rows() for name in entities] if store.layout.memory else []
    return {
        "rows": [dump(store, name).rows() for name in entities],
        "memory": memory,
        "checkpoints": [store.checkpoint(name) for name in entities],
        "parked": [store.parked(name).rows() for name in entities],
    }


# Writing


@each_store
def test_a_new_store_is_empty_and_stands_at_position_0(name: str, make: MakeStore) -> None:
    store = make(name)
    assert store.checkpoint("item") == 0
    assert dump(store, "item").equals(ITEM.empty())


@each_of_records
def test_a_record_replaces_the_record_of_its_key(name: str, make: MakeStore) -> None:
    store = make(name)
    store.apply(Batch("item", items(item(1, label="old"), item(2, label="stays"))))
    store.apply(Batch("item", items(item(1, 2, label="new"))))
    assert dump(store, "item").select("key", "revision", "label").rows() == [(1, 2, "new"), (2, 1, "stays")]


@each_of_records
def test_a_store_judges_no_revision_and_an_older_one_replaces_a_newer_one(name: str, make: MakeStore) -> None:
    store = make(name)
    store.apply(Batch("item", items(item(1, 5, label="new"))))
    store.apply(Batch("item", items(item(1, 3, label="old"))))
    assert dump(store, "item").select("revision", "label").rows() == [(3, "old")]


@each_of_revisions
def test_a_revision_replaces_only_the_row_of_its_key_and_number(name: str, make: MakeStore) -> None:
    store = make(name, "revisions")
    store.apply(Batch("item", items(item(1, 1, label="a"), item(1, 2, label="b"))))
    store.apply(Batch("item", items(item(1, 2, label="B"), item(1, 3, True, label="c"))))
    assert dump(store, "item").select("revision", "label").rows() == [(1, "a"), (2, "B"), (3, "c")]


@each_store
def test_a_tombstone_is_a_row_and_stays(name: str, make: MakeStore) -> None:
    store = make(name)
    store.apply(Batch("item", items(item(1, 2, True, label="gone"))))
    assert dump(store, "item").select("key", "deleted").rows() == [(1, True)]
    for query, parameters in ((ask(kind="get"), (1,)), (ask(kind="search"), ("gone",))):
        if store.answers_query(query):
            assert store.query(query, parameters) == []


@each_of_totals
def test_totals_are_added_to_the_group_that_is_there(name: str, make: MakeStore) -> None:
    store = make(name, "totals")
    store.apply(Batch("item", sums(("a", True, 1, 10), ("b", False, 1, 5))))
    store.apply(Batch("item", sums(("a", True, 2, -3), ("c", True, 1, 1))))
    assert dump(store, "item").rows() == [("a", True, 3, 7), ("b", False, 1, 5), ("c", True, 1, 1)]


@each_of_totals
def test_a_group_without_a_value_is_one_group(name: str, make: MakeStore) -> None:
    store = make(name, "totals")
    for _ in range(3):
        store.apply(Batch("item", sums((None, None, 1, 10), ("a", None, 1, 1), (None, True, 1, 2))))
    assert dump(store, "item").rows() == [("a", None, 3, 3), (None, True, 3, 6), (None, None, 3, 30)]


@each_of_totals
def test_a_group_that_nothing_is_left_of_is_in_no_answer(name: str, make: MakeStore) -> None:
    store = make(name, "totals")
    store.apply(Batch("item", sums(("a", True, 1, 10), ("b", True, 1, 4))))
    store.apply(Batch("item", sums(("a", True, -1, -10))))
    query = ask(kind="aggregate", group_by=["shelf", "fragile"], sum=["amount"])
    assert same([("b", True, 1, 4)], store.query(query, ()))


@each_store
def test_an_empty_batch_moves_the_checkpoint_alone(name: str, make: MakeStore) -> None:
    store = make(name)
    store.apply(Batch("item", items(item(1)), 3))
    before = dump(store, "item")
    store.apply(Batch("item", ITEM.empty(), 9))
    assert store.checkpoint("item") == 9
    assert dump(store, "item").equals(before)


@each_store
def test_a_batch_without_a_checkpoint_leaves_it_alone(name: str, make: MakeStore) -> None:
    store = make(name)
    store.apply(Batch("item", items(item(1)), 3))
    store.apply(Batch("item", items(item(2))))
    assert store.checkpoint("item") == 3


@each_store
def test_each_entity_has_its_own_rows_memory_and_checkpoint(name: str, make: MakeStore) -> None:
    store = make(name, memory=IDS)
    shelf = pl.DataFrame([(1, "a", 1, False, 0.5, "A", 1.5)], schema=SHELF.schema, orient="row")
    store.apply(Batch("item", items(item(1)), 3, pl.DataFrame({"id": [3]})))
    store.apply(Batch("shelf", shelf, 8, pl.DataFrame({"id": [8]})))
    assert (store.checkpoint("item"), store.checkpoint("shelf")) == (3, 8)
    assert store.memory("item").rows() == [(3,)]
    assert store.memory("shelf").rows() == [(8,)]
    assert dump(store, "shelf").equals(shelf)


@each_store
def test_the_guards_memory_is_replaced_by_its_id(name: str, make: MakeStore) -> None:
    store = make(name, memory={"id": pl.Int64(), "revision": pl.Int64(), "live": pl.Boolean()})
    for revision, live in ((1, True), (2, False)):
        memory = pl.DataFrame({"id": [4], "revision": [revision], "live": [live]})
        store.apply(Batch("item", items(item(4, revision)), None, memory))
    assert store.memory("item").rows() == [(4, 2, False)]
    assert dict(store.memory("item").schema) == store.layout.memory


# All or nothing


@each_way
def test_a_frame_that_lacks_a_column_changes_nothing(name: str, keeps: str, make: MakeStore) -> None:
    store = make(name, keeps, IDS)
    good, bad = (sums(("a", True, 1, 1)), sums(("b", True, 1, 1)))
    if keeps != "totals":
        good, bad = items(item(1, label="a")), items(item(1, 2, label="b"), item(2))
    store.apply(Batch("item", good, 4, pl.DataFrame({"id": [4]})))
    before = content(store)
    with pytest.raises(pl.exceptions.ColumnNotFoundError):
        store.apply(Batch("item", bad.drop(bad.columns[-1]), 5, pl.DataFrame({"id": [5]})))
    assert content(store) == before


@each_engine_s_way
@pytest.mark.parametrize("part", ["memory", "checkpoint"])
def test_what_an_engine_refuses_last_takes_back_what_came_first(
    name: str, keeps: str, part: str, make: MakeStore
) -> None:
    store = make(name, keeps, IDS)
    rows = sums(("a", True, 1, 1)) if keeps == "totals" else items(item(1, 3, label="a"), item(2))
    store.apply(Batch("item", rows, 4, pl.DataFrame({"id": [4]})))
    before = content(store)
    # No engine's integer is as large as this, and no id is a list.
    checkpoint, memory = (5, {"id": [[5]]}) if part == "memory" else (2**70, {"id": [5]})
    with pytest.raises(Exception):  # noqa: B017, PT011 (each engine has an error of its own)
        store.apply(Batch("item", rows, checkpoint, pl.DataFrame(memory)))
    assert content(store) == before
    store.apply(Batch("item", rows, 6))
    assert store.checkpoint("item") == 6


@each_engine
def test_a_bulk_that_breaks_off_leaves_the_store_empty(name: str, make: MakeStore) -> None:
    store = make(name)

    def breaking_off() -> Iterator[Batch]:
        yield Batch("item", items(item(1), item(2)), 2)
        raise RuntimeError("the feed is gone")

    with pytest.raises(RuntimeError, match="the feed is gone"):
        store.bulk("item", breaking_off())
    assert content(store)["rows"][0] == []
    assert store.checkpoint("item") == 0
    store.bulk("item", [Batch("item", items(item(1)), 1)])
    assert dump(store, "item").height == 1


# Looked up by key


@holding("records", "revisions")
def test_the_highest_revision_of_each_key_is_found_tombstones_included(name: str, keeps: str, make: MakeStore) -> None:
    store = make(name, keeps)
    store.apply(Batch("item", items(item(1, 2), item(2, 7, True), item(3, 1))))
    store.apply(Batch("item", items(item(1, 3), item(4, 1))))
    assert store.revisions("item", [1, 2, 4, 9, 1]) == {1: 3, 2: 7, 4: 1}
    assert store.revisions("item", []) == {}


@each_of_revisions
def test_an_older_revision_that_comes_late_does_not_lower_the_highest(name: str, make: MakeStore) -> None:
    store = make(name, "revisions")
    store.apply(Batch("item", items(item(1, 5))))
    store.apply(Batch("item", items(item(1, 2))))
    assert store.revisions("item", [1]) == {1: 5}


@each_of_totals
def test_a_running_aggregate_finds_revisions_in_the_guards_memory(name: str, make: MakeStore) -> None:
    memory = {"id": pl.Int64(), "revision": pl.Int64()}
    store = make(name, "totals", memory)
    kept = pl.DataFrame({"id": [1, 2], "revision": [4, 5]})
    store.apply(Batch("item", sums(("a", True, 1, 1)), None, kept))
    assert store.revisions("item", [2, 3]) == {2: 5}


@each_of_totals
def test_a_running_aggregate_without_such_a_memory_knows_no_revision(name: str, make: MakeStore) -> None:
    store = make(name, "totals", IDS)
    store.apply(Batch("item", sums(("a", True, 1, 1)), None, pl.DataFrame({"id": [4]})))
    assert store.revisions("item", [4]) == {}


@each_store
def test_keys_of_text_are_looked_up_like_numbers(name: str, make: MakeStore) -> None:
    store = make(name)
    rows = [(at, key, at, False, 0.5, "A", 1.5) for at, key in enumerate(NASTY, 1)]
    store.apply(Batch("shelf", pl.DataFrame(rows, schema=SHELF.schema, orient="row")))
    assert store.revisions("shelf", [*NASTY, "none"]) == {key: at for at, key in enumerate(NASTY, 1)}


@each_store
def test_many_keys_are_looked_up_at_once(name: str, make: MakeStore) -> None:
    store = make(name, memory=IDS)
    count = 10_000
    frame = items(*(item(key, key % 7 + 1) for key in range(0, 2 * count, 2)))
    store.bulk("item", [Batch("item", frame, count, pl.DataFrame({"id": range(0, 2 * count, 2)}))])
    asked = range(count)
    assert store.revisions("item", asked) == {key: key % 7 + 1 for key in asked if key % 2 == 0}
    assert sorted(store.memory("item", asked)["id"]) == [key for key in asked if key % 2 == 0]


@each_store
def test_the_guards_memory_is_read_by_its_ids(name: str, make: MakeStore) -> None:
    store = make(name, memory={"id": pl.Int64(), "revision": pl.Int64(), "live": pl.Boolean()})
    kept = pl.DataFrame({"id": [4, 5, 6], "revision": [1, 2, 3], "live": [True, False, True]})
    store.apply(Batch("item", items(item(4)), None, kept))
    found = store.memory("item", [5, 6, 9, 5])
    assert sorted(found.rows()) == [(5, 2, False), (6, 3, True)]
    assert dict(found.schema) == store.layout.memory
    assert store.memory("item", []).rows() == []


@holding("records", "revisions")
def test_pages_are_bounded_and_together_are_everything_in_order(
    name: str, keeps: str, make: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make(name, keeps)
    for module in {type(store).__module__, *(base.__module__ for base in type(store).__mro__)}:
        if hasattr(sys.modules[module], "PAGE_ROWS"):
            monkeypatch.setattr(sys.modules[module], "PAGE_ROWS", 2_048)
    frame = items(*(item(key, key % 3 + 1, label=f"{key}") for key in (*range(5_000, 9_096), *range(5_000))))
    store.bulk("item", [Batch("item", frame, frame.height)])
    pages = list(store.pages("item"))
    assert max(page.height for page in pages) <= 2_048
    assert pl.concat(pages).equals(frame.sort("key", "revision"))


# Parked


def parked(entity: Entity, reason: str, *rows: tuple[Any, ...]) -> pl.DataFrame:
    """Changes of these positions, keys, revisions and what else, to be parked."""
    frame = pl.DataFrame(
        [(*row, *[None] * (len(entity.schema) - len(row))) for row in rows], entity.schema, orient="row"
    )
    return frame.with_columns(pl.lit(reason, pl.String).alias(REASON))


@each_way
def test_parked_changes_are_found_by_position_with_their_reason(name: str, keeps: str, make: MakeStore) -> None:
    store = make(name, keeps)
    assert dict(store.parked("item").schema) == {**ITEM.schema, REASON: pl.String()}
    one = parked(ITEM, "bad", (7, 1, 2, False, 0.5, "nul\x00", None, None, 2**62, float("nan"), True))
    two = parked(ITEM, "behind", (5, 1, 3, True, 0.5))
    empty = pl.DataFrame(schema=store.layout.schema("item"))
    store.apply(Batch("item", empty, 7, park=one))
    store.apply(Batch("item", empty, park=two))
    assert store.parked("item").equals(pl.concat([two, one]), null_equal=True)
    assert store.checkpoint("item") == 7
    store.close()
    assert make(name, keeps).parked("item").height == 2 * (name != "memory")


@each_store
def test_a_change_that_is_parked_again_stays_as_it_was(name: str, make: MakeStore) -> None:
    store = make(name)
    for reason in ("first", "second"):
        store.apply(Batch("item", ITEM.empty(), park=parked(ITEM, reason, (3, 1, 2, False, 0.5))))
    assert store.parked("item").select("position", REASON).rows() == [(3, "first")]


@each_store
def test_released_keys_leave_the_parked_changes_with_the_rows_that_come(name: str, make: MakeStore) -> None:
    store = make(name)
    rows = ((3, 1, 2, False, 0.5), (4, 2, 1, False, 0.5), (5, 1, 3, False, 0.5))
    store.apply(Batch("item", ITEM.empty(), park=parked(ITEM, "bad", *rows)))
    store.apply(Batch("item", items(item(1, 3)), release=[1]))
    assert store.parked("item").select("position", "key").rows() == [(4, 2)]
    assert store.revisions("item", [1]) == {1: 3}
    store.apply(Batch("item", ITEM.empty(), park=parked(ITEM, "again", (9, 2, 2, False, 0.5)), release=[2]))
    assert store.parked("item")["position"].to_list() == [9]


@each_store
def test_parked_keys_of_text_are_released_and_each_entity_has_its_own(name: str, make: MakeStore) -> None:
    store = make(name)
    store.apply(
        Batch(
            "shelf",
            SHELF.empty(),
            park=parked(SHELF, "bad", *((at, key, 1, False, 0.5) for at, key in enumerate(NASTY))),
        )
    )
    store.apply(Batch("shelf", SHELF.empty(), release=NASTY[1:]))
    assert store.parked("shelf")["key"].to_list() == [NASTY[0]]
    assert store.parked("item").height == 0


@each_engine
def test_what_is_parked_is_taken_back_with_a_transaction_that_fails(name: str, make: MakeStore) -> None:
    store = make(name, memory=IDS)
    store.apply(Batch("item", items(item(1)), 4, park=parked(ITEM, "bad", (3, 2, 2, False, 0.5))))
    before = content(store)
    bad = Batch("item", items(item(3)), 2**70, park=parked(ITEM, "bad", (5, 3, 2, False, 0.5)), release=[2])
    with pytest.raises(Exception):  # noqa: B017, PT011 (each engine has an error of its own)
        store.apply(bad)
    assert content(store) == before


@each_of_totals
def test_parked_changes_keep_their_before_images(name: str, make: MakeStore) -> None:
    store = make(name, "totals")
    change = parked(ITEM, "bad", (3, 1, 2, False, 0.5)).select(
        "position", "key", "revision", "deleted", "committed_at", "amount",
        before_live=pl.lit(True), before_amount=pl.lit(7, pl.Int64), lab_reason=pl.lit("bad"),
    )  # fmt: skip
    store.apply(Batch("item", pl.DataFrame(schema=store.layout.schema("item")), park=change))
    assert store.parked("item").equals(change)


# What is there


@holding("records", "revisions")
def test_a_dump_is_canonical(name: str, keeps: str, make: MakeStore) -> None:
    store = make(name, keeps)
    frame = items(item(3, fragile=True), item(1, weight=0.1), item(2, amount=-(2**63)), item(10, amount=2**63 - 1))
    store.apply(Batch("item", frame))
    found = dump(store, "item")
    assert dict(found.schema) == store.layout.schema("item")
    assert found.equals(frame.sort("key", "revision"))


@each_of_totals
def test_a_dump_of_totals_is_sorted_by_group_with_nulls_last(name: str, make: MakeStore) -> None:
    store = make(name, "totals")
    frame = sums((None, True, 1, 1), ("b", None, 1, 1), ("b", False, 1, 1), ("a", True, 1, 1))
    store.apply(Batch("item", frame))
    assert dict(dump(store, "item").schema) == store.layout.schema("item")
    assert [row[:2] for row in dump(store, "item").rows()] == [("a", True), ("b", False), ("b", None), (None, True)]


@each_store
@pytest.mark.parametrize("count", [1, 2_500])
def test_null_bytes_quotes_and_unicode_survive(name: str, count: int, make: MakeStore) -> None:
    # From 2,000 rows on, SQLite is read through another library.
    store = make(name)
    texts = [NASTY[at % len(NASTY)] for at in range(max(count, len(NASTY)))]
    frame = items(*(item(at, label=text, shelf=text) for at, text in enumerate(texts)))
    store.apply(Batch("item", frame))
    assert dump(store, "item")["label"].to_list() == texts
    if store.answers_query(ask(kind="get")):
        assert store.query(ask(kind="get"), (3,))[0][2] == NASTY[3]
    query = ask(kind="filter", where={"shelf": "?"})
    for text in NASTY if store.answers_query(query) else ():
        found = store.query(query, (text,))
        assert {row[2] for row in found} == {text}


@each_store
def test_a_column_that_is_null_at_first_and_real_far_on_is_read_right(name: str, make: MakeStore) -> None:
    store = make(name)
    frame = items(*(item(at, weight=1.5 if at == 2_400 else None) for at in range(2_500)))
    store.apply(Batch("item", frame))
    assert dump(store, "item").equals(frame)


@each_store
def test_reset_throws_everything_away(name: str, make: MakeStore) -> None:
    store = make(name, memory=IDS)
    empty = content(store)
    store.apply(Batch("item", items(item(1), item(2)), 5, pl.DataFrame({"id": [1, 2]})))
    store.apply(Batch("item", ITEM.empty(), park=parked(ITEM, "bad", (3, 2, 2, False, 0.5))))
    store.reset()
    assert content(store) == empty
    store.apply(Batch("item", items(item(7)), 1))
    assert dump(store, "item")["key"].to_list() == [7]


@each_engine_s_way
def test_a_successor_on_the_same_path_finds_everything(name: str, keeps: str, make: MakeStore) -> None:
    store = make(name, keeps, IDS)
    rows = sums(("a", None, 1, 1)) if keeps == "totals" else items(item(1, 3, label="a"), item(2))
    store.apply(Batch("item", rows, 4, pl.DataFrame({"id": [4, 9]})))
    before = content(store)
    store.close()
    assert content(make(name, keeps, IDS)) == before


def test_memory_ends_with_its_object_and_says_so(make: MakeStore) -> None:
    store = make("memory")
    store.apply(Batch("item", items(item(1)), 4))
    assert make("memory").checkpoint("item") == 0
    assert store.durability == "gone with the process"


@each_store
def test_closing_twice_is_allowed_and_opening_again_forgets_nothing(name: str, make: MakeStore) -> None:
    store = make(name)
    store.apply(Batch("item", items(item(1)), 4))
    before = content(store)
    store.close()
    store.close()
    store.open()
    store.open()
    assert content(store) == before


@each_store
def test_size_is_more_than_nothing(name: str, make: MakeStore) -> None:
    store = make(name)
    store.apply(Batch("item", items(*(item(at, label=sha512(bytes([at])).hexdigest()) for at in range(100)))))
    store.close()
    assert store.size_bytes() > 100 * 100


@each_way
def test_bulk_equals_apply(name: str, keeps: str, make: MakeStore, tmp_path: Path) -> None:
    applied = make(name, keeps, IDS)
    filled = store_class(name)(tmp_path / "filled", layout(keeps, IDS))
    filled.open()
    frames = [items(*(item(at * 3 + n, label=str(n), shelf="a") for n in range(3))) for at in range(4)]
    if keeps == "totals":
        frames = [sums(("a", True, at, 1), (None, None, 1, at)) for at in range(1, 4)]
    batches = [Batch("item", frame, at, pl.DataFrame({"id": [at]})) for at, frame in enumerate(frames, 1)]
    for batch in batches:
        applied.apply(batch)
    filled.bulk("item", iter(batches))
    assert content(filled) == content(applied)
    filled.apply(batches[-1])
    applied.apply(batches[-1])
    assert content(filled) == content(applied)
    filled.close()


# Answering

KEYS = range(1, 13)
texts = st.sampled_from([None, "", "a", "b", "B", "é", "nul\x00"])
values = st.fixed_dictionaries(
    {
        "label": texts,
        "shelf": texts,
        "amount": st.one_of(st.none(), st.integers(-3, 3)),
        "weight": st.one_of(st.none(), st.sampled_from([-1.5, -0.0, 0.0, 0.25, 1e6])),
        "fragile": st.one_of(st.none(), st.booleans()),
    }
)


@st.composite
def histories(draw: st.DrawFn) -> pl.DataFrame:
    """Revisions of a few records, many of them alike; a parent always has the lower number. Some end as tombstones."""
    rows = []
    for key in draw(st.lists(st.sampled_from(KEYS), min_size=1, unique=True)):
        last = draw(st.integers(1, 3))
        for revision in range(1, last + 1):
            parent = draw(st.one_of(st.none(), st.integers(0, key - 1)))
            deleted = revision == last and draw(st.integers(0, 3)) == 0
            rows.append(item(key, revision, deleted, parent=parent, **draw(values)))
    return items(*draw(st.permutations(rows)))


shelves = pl.DataFrame(
    [(1, "a", 1, False, 0.0, "first", 1.0), (2, "b", 2, True, 0.0, "gone", None), (3, "é", 1, False, 0.0, None, 0.5)],
    schema=SHELF.schema,
    orient="row",
)

COUNTED = "SELECT shelf, COUNT(*) AS n, SUM(amount) AS total FROM item WHERE fragile GROUP BY shelf ORDER BY shelf"
JOINED = "SELECT i.key, s.title FROM item AS i LEFT JOIN shelf AS s ON s.key = i.shelf WHERE i.amount >= ?"
STEPPED = (
    "WITH light AS (SELECT * FROM item WHERE weight < 1) SELECT key, label FROM light WHERE shelf = ? AND revision > 1"
)
COLUMNS = [*ITEM.columns, "key"]
NOW: list[tuple[Query, tuple[Any, ...]]] = [
    *((ask(kind="get"), (key,)) for key in (1, 5, 99)),
    (ask(kind="get_many", count=4), (3, 1, 99, 3)),
    *((ask(kind="traverse"), (key,)) for key in (0, 1, 2)),
    *((ask(name="near", kind="traverse", walk="near", depth=steps), (5,)) for steps in (1, 2, 5)),
    *((ask(name="path", kind="traverse", walk="path"), keys) for keys in ((2, 9), (9, 2), (1, 12), (7, 7), (1, 99))),
    *((ask(name="words", kind="search"), (words,)) for words in ("a", "b a", "é", "nul", "a zebra", "")),
    (ask(name="best", kind="search", limit=2), ("a",)),
    (ask(name="mine", kind="sql", sql=COUNTED), ()),
    (ask(name="theirs", kind="sql", sql=JOINED, parameters=["amount"]), (0,)),
    (ask(name="with", kind="sql", sql=STEPPED, parameters=["shelf.key"]), ("a",)),
    *((ask(name=f"by_{by}", kind="filter", order_by=by, limit=5), ()) for by in COLUMNS),
    *((ask(name=f"down_{by}", kind="filter", order_by=by, descending=True, limit=5), ()) for by in COLUMNS),
    *((ask(name="of", kind="filter", where={"shelf": "?", "fragile": True}), (text,)) for text in ("a", "")),
    (ask(name="range", kind="filter", where={"amount": {"at_least": "?", "less_than": "?"}}), (-1, 2)),
    (ask(name="text", kind="filter", where={"label": {"at_least": "B"}}, order_by="label"), ()),
    (ask(name="real", kind="filter", where={"weight": {"less_than": 0.25}}), ()),
    (ask(name="sums", kind="aggregate", group_by=["shelf"], sum=["amount", "weight"]), ()),
    (ask(name="groups", kind="aggregate", group_by=["fragile", "amount"], where={"label": "?"}), ("a",)),
    (ask(name="shelved", kind="join", on="shelf", to="shelf", take=["title", "metres"], order_by="amount"), ()),
    (ask(name="titled", kind="join", on="shelf", to="shelf", take=["title"], order_by="label", descending=True), ()),
    (ask(name="above", kind="join", on="parent", to="item", take=["label"], where={"shelf": "?"}, limit=3), ("a",)),
]
PAST: list[tuple[Query, tuple[Any, ...]]] = [
    *((ask(kind="history"), (key,)) for key in (1, 2, 99)),
    *((ask(kind="as_of"), (key, at)) for key in (1, 2, 99) for at in (0.5, 3.0, 7.5, 1e9)),
]


def test_every_class_of_query_is_asked_here() -> None:
    assert {query.kind for query, _ in NOW + PAST} == set(KINDS)


@each_store
def test_what_a_store_does_not_answer_it_declares_with_a_reason(name: str) -> None:
    store = store_class(name)
    assert store.answers | store.gaps.keys() >= set(KINDS)
    assert store.answers.isdisjoint(store.gaps)
    assert all(reason.startswith(("never: ", "not yet: ")) for reason in store.gaps.values())


@holding("records", "revisions")
@settings(max_examples=examples(6))
@given(history=histories())
def test_every_answer_is_the_one_that_plain_frames_give(
    name: str, keeps: str, history: pl.DataFrame, new_folder: Callable[[], Path]
) -> None:
    store = store_class(name)(new_folder(), layout(keeps))
    store.open()
    frame = history
    if keeps == "records":
        frame = history.sort("revision").unique("key", keep="last")
    store.apply(Batch("item", frame))
    store.apply(Batch("shelf", shelves))
    assert dump(store, "item").equals(frame.sort("key", "revision"))
    tables = {"item": ReferenceTable(ITEM, frame), "shelf": ReferenceTable(SHELF, shelves)}
    asked = set()
    for query, parameters in NOW if keeps == "records" else NOW + PAST:
        if store.answers_query(query):
            expected, found = KINDS[query.kind].answer(query, parameters, tables), store.query(query, parameters)
            assert KINDS[query.kind].agrees(query, expected, found), (query, parameters, expected, found)
            asked.add(query.kind)
        else:
            with pytest.raises(NotAnswered):
                store.query(query, parameters)
    past = {"as_of", "history"} if keeps == "records" else set()
    # Some stores look an aggregate up, and don't work it out.
    assert store.answers - past - asked <= {"aggregate"}
    store.close()


@each_of_totals
@settings(max_examples=examples(6))
@given(increments=st.lists(st.tuples(texts, st.one_of(st.none(), st.booleans()), st.integers(-2, 2)), max_size=30))
def test_totals_answer_what_their_increments_amount_to(
    name: str, increments: list[tuple[Any, Any, int]], new_folder: Callable[[], Path]
) -> None:
    store = store_class(name)(new_folder(), layout("totals"))
    store.open()
    expected: dict[tuple[Any, Any], int] = {}
    for shelf, fragile, records in increments:
        store.apply(Batch("item", sums((shelf, fragile, records, 10 * records))))
        expected[shelf, fragile] = expected.get((shelf, fragile), 0) + records
    rows = [(*group, records, 10 * records) for group, records in expected.items()]
    must = sums(*rows).sort("shelf", "fragile", nulls_last=True)
    assert dump(store, "item").equals(must)
    found = store.query(ask(kind="aggregate", group_by=["shelf", "fragile"], sum=["amount"]), ())
    assert same(must.filter(pl.col("records") != 0).rows(), found)
    store.close()


@each_of_records
def test_a_cycle_of_parents_ends_and_is_answered_alike(name: str, make: MakeStore) -> None:
    # No source of truth holds one, and a projection that has diverged may.
    store = make(name)
    store.apply(Batch("item", items(item(1, parent=3), item(2, parent=1), item(3, parent=2), item(4, parent=4))))
    tables = {"item": ReferenceTable(ITEM, dump(store, "item"))}
    for start in (1, 4):
        for query in (ask(kind="traverse"), ask(kind="traverse", walk="near"), ask(kind="traverse", walk="path")):
            parameters = (start, 2) if query.walk == "path" else (start,)
            if store.answers_query(query):
                assert same(KINDS[query.kind].answer(query, parameters, tables), store.query(query, parameters)), query


@each_store
def test_a_parameter_without_a_value_equals_nothing(name: str, make: MakeStore) -> None:
    # `draw` gives one for a column in which no live record has a value.
    store = make(name)
    store.apply(Batch("item", items(item(1), item(2, shelf="a"))))
    query = ask(kind="filter", where={"shelf": "?"})
    if store.answers_query(query):
        assert store.query(query, (None,)) == []
    assert KINDS[query.kind].answer(query, (None,), {"item": ReferenceTable(ITEM, dump(store, "item"))}) == []


@each_of_records
def test_a_query_sees_what_was_written_after_the_query_before(name: str, make: MakeStore) -> None:
    store = make(name)
    query = ask(kind="get")
    for revision in (1, 2, 3):
        store.apply(Batch("item", items(item(1, revision)), revision))
        assert store.query(query, (1,))[0][1] == revision
        assert store.checkpoint("item") == revision


def refused(keeps: str) -> list[Query]:
    """What nobody who keeps this can answer."""
    other = ask(name="other", kind="aggregate", group_by=["shelf"])
    filtered = ask(kind="aggregate", group_by=["shelf", "fragile"], sum=["amount"], where={"label": "a"})
    past = [ask(kind="as_of"), ask(kind="history")]
    return past if keeps == "records" else [*past, ask(kind="get"), ask(kind="filter"), other, filtered]


@holding("records", "totals")
def test_what_it_can_not_answer_is_refused_by_name(name: str, keeps: str, make: MakeStore) -> None:
    store = make(name, keeps)
    for query in refused(keeps):
        assert not store.answers_query(query)
        with pytest.raises(NotAnswered, match=f"{query.name}.*{name}.*{query.kind}"):
            store.query(query, (1,))


@each_store
def test_an_entity_that_it_does_not_hold_is_refused(name: str, tmp_path: Path) -> None:
    store = store_class(name)(tmp_path / "half", Layout(store_class(name).holds[0], {"item": ITEM}))
    store.open()
    with pytest.raises(NotAnswered):
        store.query(ask(kind="join", on="shelf", to="shelf", take=["title"]), ())
    store.close()


WRITES = (
    "DELETE FROM item",
    "UPDATE item SET revision = 9",
    "INSERT INTO lab_checkpoint VALUES ('item', 99)",
    "DROP TABLE item",
    "CREATE TABLE mine (x INTEGER)",
)


@pytest.mark.parametrize("name", SPEAKING)
@pytest.mark.parametrize("statement", WRITES)
def test_a_statement_that_writes_is_refused_and_changes_nothing(name: str, statement: str, make: MakeStore) -> None:
    store: Any = make(name)
    store.apply(Batch("item", items(item(1, label="a")), 4))
    before = content(store)
    with pytest.raises(ReadOnly, match="may not change a projection"):
        store.read(statement)
    assert content(store) == before
    assert store.read("SELECT key FROM item") == [(1,)]


@each_engine
def test_no_parameter_is_ever_read_as_sql(name: str, make: MakeStore) -> None:
    store = make(name)
    store.apply(Batch("item", items(item(1, shelf="a"))))
    for query in (ask(kind="filter", where={"shelf": "?"}), ask(kind="search")):
        if store.answers_query(query):
            assert store.query(query, ("a' OR 1=1; DELETE FROM item --",)) == []
    assert dump(store, "item").height == 1


@each_engine
def test_settings_are_read_back_from_the_engine(name: str, make: MakeStore) -> None:
    assert make(name).settings()["library"]


# The store that keeps nothing


def test_null_keeps_nothing_but_its_place() -> None:
    store = store_class("null")(Path("nowhere"), layout("records", IDS))
    store.open()
    store.apply(Batch("item", items(item(1)), 4, pl.DataFrame({"id": [1]})))
    assert store.checkpoint("item") == 4
    assert dump(store, "item").equals(ITEM.empty())
    assert dict(store.memory("item").schema) == IDS
    assert store.query(ask(kind="get"), (1,)) == []
    assert store.size_bytes() == 0
    assert not Path("nowhere").exists()


def test_null_forgets_its_place_when_it_is_reset() -> None:
    store = store_class("null")(Path("nowhere"), layout())
    store.open()
    store.bulk("item", [Batch("item", items(item(1)), 4)])
    assert store.checkpoint("item") == 4
    store.reset()
    assert store.checkpoint("item") == 0

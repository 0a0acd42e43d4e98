"""Stores of documents: whatever comes in whatever order, each document holds what a join over the store would give."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from pieces import SCENARIO
from running import run_text, verdicts

from lab.base import Batch, CannotTake, Embed, Entity, NotAnswered
from lab.place import FolderPlace
from lab.stores import STORES, Layout, Store, duckdb_document, dump, postgres_document, sqlite_document, store_class
from lab.testing.sample import ITEM, NASTY, SHELF, ask, item, items, layout

# Those that are asked in SQL; documents in Redis and MongoDB embed none, and have tests of their own.
NO_SQL = {"redis", "mongodb"}
DOCUMENTS = [name for name in STORES if STORES[name].family == "document" and STORES[name].server not in NO_SQL]
each = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.server(server)] if (server := STORES[name].server) else [])
        for name in DOCUMENTS
    ],
)
# A few rows are put together in Python, more by the engine.
either_way = pytest.mark.parametrize("few", [0, 256])
NewFolder = Callable[[], Path]


def shelf(key: str, revision: int = 1, deleted: bool = False, title: str | None = None) -> tuple[Any, ...]:
    return (revision, key, revision, deleted, 0.0, title, None)


def shelves(*rows: tuple[Any, ...]) -> pl.DataFrame:
    """A change frame of shelves."""
    return pl.DataFrame(rows, schema=SHELF.schema, orient="row")


def opened(name: str, path: Path, kept: Layout | None = None) -> Any:
    """An open store; of items and shelves, unless it is told otherwise."""
    store = store_class(name)(FolderPlace(path), kept or layout())
    store.open()
    return store


@contextlib.contextmanager
def up_to(few: int) -> Iterator[None]:
    """Stores that put so many documents together in Python, and more of them by the engine."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (sqlite_document, duckdb_document, postgres_document):
            patch.setattr(module, "FEW", few)
        yield


def parts(store: Any, table: str = "item") -> dict[Any, dict[str, dict[str, Any]]]:
    """What each document embeds, read from its body and from nothing else; SQLite's way to write a NUL undone."""
    found = {
        key: (body if isinstance(body, dict) else json.loads(body)).get("_embedded", {})
        for key, body in store.read(f"SELECT key, lab_body FROM {table}")
    }
    if store.name != "sqlite.document":
        return found
    return {
        key: {
            name: {column: plain(value) if isinstance(value, str) else value for column, value in part.items()}
            for name, part in embedded.items()
        }
        for key, embedded in found.items()
    }


def plain(text: str) -> str:
    """A text as it was before SQLite's store wrote it, character by character."""
    characters, read = iter(text), ""
    for character in characters:
        read += "\x00\x01"[ord(next(characters)) - 1] if character == "\x01" else character
    return read


def taken(store: Store, frame: pl.DataFrame) -> pl.DataFrame:
    """A frame with another character in the place of NUL, if this store takes no text with one."""
    if store.capabilities.nul:
        return frame
    return frame.with_columns(pl.col(pl.String).str.replace_all("\x00", "\x02", literal=True))


def joined(store: Store) -> dict[int, tuple[Any, Any]]:
    """The parent's label and the shelf's title of each item, by a plain join over what the store holds."""
    found, racks = dump(store, "item").rows(named=True), dump(store, "shelf").rows(named=True)
    labels = {row["key"]: row["label"] for row in found if not row["deleted"]}
    titles = {row["key"]: row["title"] for row in racks if not row["deleted"]}
    return {row["key"]: (labels.get(row["parent"]), titles.get(row["shelf"])) for row in found}


def embedded(store: Store) -> dict[int, tuple[Any, Any]]:
    """The same from the documents' bodies."""
    return {
        key: (part.get("parent_item", {}).get("label"), part.get("shelf_shelf", {}).get("title"))
        for key, part in parts(store).items()
    }


texts = st.sampled_from([None, "a", "b", *NASTY, "\x01", "\x01\x02", "\x00\x01"])
keys = st.integers(1, 6)
racks = st.sampled_from(["a", "b", "\x00"])
item_rows = st.builds(
    lambda key, revision, deleted, label, parent, rack: item(
        key, revision, deleted, label=label, parent=parent, shelf=rack
    ),
    keys, st.integers(1, 3), st.booleans(), texts, st.one_of(st.none(), keys), st.one_of(st.none(), racks),
)  # fmt: skip
shelf_rows = st.builds(shelf, racks, st.integers(1, 3), st.booleans(), texts)
frames = st.one_of(
    st.lists(item_rows, min_size=1, max_size=5, unique_by=lambda row: row[0]).map(lambda rows: ("item", items(*rows))),
    st.lists(shelf_rows, min_size=1, max_size=3, unique_by=lambda row: row[1]).map(
        lambda rows: ("shelf", shelves(*rows))
    ),
)


@each
@settings(max_examples=examples(7))
@given(batches=st.lists(frames, max_size=10), fews=st.lists(st.sampled_from([0, 256]), min_size=10, max_size=10))
def test_whatever_order_they_come_in_documents_hold_what_a_join_gives(
    name: str, batches: list[tuple[str, pl.DataFrame]], fews: list[int], new_folder: NewFolder
) -> None:
    # Renamed, deleted, revived, pushed back to an older revision; a parent before or after its children, or with them.
    store = opened(name, new_folder())
    for (entity, frame), few in zip(batches, fews, strict=False):
        with up_to(few):
            store.apply(Batch(entity, taken(store, frame)))
        assert embedded(store) == joined(store)
    store.close()


@each
@settings(max_examples=examples(6))
@given(
    rows=st.lists(item_rows, max_size=6, unique_by=lambda row: row[0]),
    rack_rows=st.lists(shelf_rows, max_size=3, unique_by=lambda row: row[1]),
    cut=st.integers(0, 6),
    order=st.permutations(["item", "shelf"]),
    later=st.lists(frames, max_size=3),
)
def test_filled_in_bulk_one_entity_after_the_other_they_hold_the_same(
    name: str,
    rows: list[Any],
    rack_rows: list[Any],
    cut: int,
    order: list[str],
    later: list[Any],
    new_folder: NewFolder,
) -> None:
    store = opened(name, new_folder())
    filling = {"item": [items(*rows[:cut]), items(*rows[cut:])], "shelf": [shelves(*rack_rows)]}
    for entity in order:
        store.bulk(entity, [Batch(entity, taken(store, frame), 7) for frame in filling[entity]])
    assert dump(store, "item").height == len(rows)
    assert embedded(store) == joined(store)
    assert (store.fan_out, store.documents_written) == (0, 0), "only live changes are counted"
    for entity, frame in later:
        store.apply(Batch(entity, taken(store, frame)))
    assert embedded(store) == joined(store)
    store.close()


KINDS = {"text": "str", "number": "int", "real": "float", "flag": "bool"}
WHOLE = Entity("whole", "int", dict(KINDS))  # type: ignore[arg-type]
PART = Entity("part", "int", {"of": "int"}, embeds=(Embed("of", "whole", tuple(KINDS)),))


@each
@settings(max_examples=examples(7))
@given(
    values=st.tuples(
        st.none() | st.text(st.characters(exclude_categories=["Cs"])),
        st.none() | st.integers(-(2**63), 2**63 - 1),
        st.none() | st.floats(allow_nan=False, allow_infinity=False),
        st.none() | st.booleans(),
    )
)
@pytest.mark.parametrize("part_first", [True, False])
@either_way
def test_every_value_comes_back_as_it_was_from_its_own_document_and_from_another(
    name: str, part_first: bool, few: int, values: tuple[Any, ...], new_folder: NewFolder
) -> None:
    store = opened(name, new_folder(), Layout("records", {"whole": WHOLE, "part": PART}))
    whole = taken(store, pl.DataFrame([(1, 1, 1, False, 0.5, *values)], schema=WHOLE.schema, orient="row"))
    part = pl.DataFrame([(2, 2, 1, False, 0.5, 1)], schema=PART.schema, orient="row")
    batches = [Batch("whole", whole), Batch("part", part)]
    with up_to(few):
        for batch in reversed(batches) if part_first else batches:
            store.apply(batch)
    assert dump(store, "whole").equals(whole)
    names = ", ".join(f'"_embedded.of_whole.{column}"' for column in KINDS)
    assert store.read(f"SELECT {names} FROM part") == [whole.row(0)[5:]]
    store.close()


@each
@either_way
def test_fan_out_counts_the_documents_that_are_written_because_of_another(name: str, few: int, tmp_path: Path) -> None:
    store = opened(name, tmp_path)

    def counts(entity: str, frame: pl.DataFrame) -> tuple[int, int]:
        before = store.documents_written, store.fan_out
        with up_to(few):
            store.apply(Batch(entity, frame))
        return store.documents_written - before[0], store.fan_out - before[1]

    children = [item(key, parent=1, shelf="a") for key in (2, 3, 4)]
    assert counts("item", items(*children)) == (3, 0)
    assert counts("item", items(item(1, label="head"))) == (4, 3), "children that came before"
    assert counts("item", items(item(1, 2, label="head", amount=9))) == (1, 0), "nothing that they hold has changed"
    assert counts("item", items(item(1, 3, label="chief"), item(2, 2, parent=1))) == (4, 2), "one came along"
    assert counts("item", items(item(1, 4, True, label="chief"))) == (4, 3), "deleted"
    assert counts("item", items(item(1, 5, label="chief"))) == (4, 3), "revived"
    assert counts("shelf", shelves(shelf("a", title="A"))) == (3, 2), "the second item has left the shelf"
    assert counts("shelf", shelves(shelf("a", title="A"))) == (1, 0), "the same again"
    store.close()


@each
def test_a_transaction_that_breaks_off_leaves_no_document_half_written(name: str, tmp_path: Path) -> None:
    store = opened(name, tmp_path)
    store.apply(Batch("item", items(item(1, label="head"), item(2, parent=1)), 2))
    before = dump(store, "item").rows(), embedded(store), store.documents_written, store.fan_out
    # The documents are written first, what hangs on them next, and no checkpoint is as large as this.
    with pytest.raises(Exception):  # noqa: B017, PT011 (each engine has an error of its own)
        store.apply(Batch("item", items(item(1, 2, label="chief")), 2**70))
    assert (dump(store, "item").rows(), embedded(store), store.documents_written, store.fan_out) == before
    store.close()
    successor = opened(name, tmp_path)
    assert embedded(successor) == {1: (None, None), 2: ("head", None)}
    successor.apply(Batch("item", items(item(1, 2, label="chief")), 3))
    assert embedded(successor)[2] == ("chief", None)
    successor.close()


@each
def test_of_an_entity_that_the_projection_does_not_hold_nothing_is_embedded(name: str, tmp_path: Path) -> None:
    store = opened(name, tmp_path, Layout("records", {"item": ITEM}))
    store.apply(Batch("item", items(item(1, label="head", shelf="a"), item(2, parent=1))))
    assert parts(store)[1].get("shelf_shelf") is None
    assert parts(store)[2] == {"parent_item": {"label": "head"}}
    store.close()


@each
@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_json_has_no_word_for_is_not_taken(name: str, number: float, tmp_path: Path) -> None:
    store = opened(name, tmp_path)
    with pytest.raises(CannotTake, match="not finite"):
        store.apply(Batch("item", items(item(1, weight=number)), 1))
    assert store.checkpoint("item") == 0
    store.close()


@each
def test_a_join_is_answered_where_the_documents_hold_all_of_it_and_nowhere_else(name: str, tmp_path: Path) -> None:
    store = opened(name, tmp_path)
    store.apply(Batch("item", items(item(1, label="head"), item(2, parent=1, shelf="a"), item(3, parent=9))))
    store.apply(Batch("shelf", shelves(shelf("a", title="A"))))
    covered = ask(kind="join", on="parent", to="item", take=["label"])
    assert [row[-1] for row in store.query(covered, ())] == [None, "head", None]
    for other in (
        {"on": "parent", "to": "item", "take": ["label", "amount"]},
        {"on": "shelf", "to": "shelf", "take": ["title", "metres"]},
        {"on": "label", "to": "shelf", "take": ["title"]},
    ):
        query = ask(kind="join", **other)
        assert not store.answers_query(query)
        assert not store_class(name).can_answer(query, layout())
        with pytest.raises(NotAnswered):
            store.query(query, ())
    store.close()


def test_sqlite_finds_documents_by_its_indexes(tmp_path: Path) -> None:
    store = opened("sqlite.document", tmp_path)
    for column in ("shelf", "parent"):
        where = f"{column} = ? AND NOT deleted"
        (step,) = store.read(f"EXPLAIN QUERY PLAN SELECT key FROM item WHERE {where}", ("a",))
        assert f'USING INDEX "item" by "{column}"' in step[3]
    store.close()


WITH_DOCUMENTS = SCENARIO.partition("[[projection]]")[0] + "".join(
    f"""
[[projection]]
name = "{name.replace(".", "-")}"
store = "{name}"
guard = "revision"
batch = 100
linger = 0.05
"""
    for name in DOCUMENTS
)


def test_a_run_under_channel_faults_passes_answers_the_join_and_tells_the_price(tmp_path: Path) -> None:
    measure = SCENARIO[SCENARIO.index("[measure]") :]
    finished = run_text(tmp_path, WITH_DOCUMENTS.replace('service = "modelled"', 'service = "measured"') + measure)
    assert set(verdicts(finished).values()) == {"pass"}
    assert set(finished.table("channel")["fate"]) >= {"lost", "duplicate"}
    joins = finished.table("queries").filter((pl.col("kind") == "join") & (pl.col("projection") != "truth"))
    assert joins.select("store", "answer_ok").rows() == [(name, True) for name in DOCUMENTS]
    prices = finished.table("fan_out").rows(named=True)
    assert sorted(row["store"] for row in prices) == sorted(DOCUMENTS)
    for row in prices:
        assert row["fanned_out"] > 0
        assert row["ratio"] == row["fanned_out"] / row["changes"]
        assert row["fanned_out"] < row["documents_written"] <= row["changes"] + row["fanned_out"]
    assert "joined in advance" in (finished.path / "report.html").read_text(encoding="utf-8")


def test_records_are_rebuilt_after_those_whose_parts_they_hold() -> None:
    whole = Entity("whole", "int", {"part": "int"}, embeds=(Embed("part", "part", ("name",)),))
    part = Entity("part", "int", {"name": "str", "in": "int"}, embeds=(Embed("in", "part", ("name",)),))
    one = Entity("one", "int", {"b": "int"}, embeds=(Embed("b", "other", ("a",)),))
    other = Entity("other", "int", {"a": "int"}, embeds=(Embed("a", "one", ("b",)),))
    named = {entity.name: entity for entity in (whole, part, one, other)}
    ordered = Layout("records", named).embedded_first()
    assert sorted(ordered) == sorted(named)
    assert ordered.index("part") < ordered.index("whole")

"""Graphs: links whose ends come in any order, and what the engines' own ways make of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.base import Batch
from lab.place import FolderPlace
from lab.stores import Store, dump, store_class
from lab.testing.sample import ask, item, items, layout

GRAPHS = ("ladybug.graph", "sqlite.graph")
each = pytest.mark.parametrize("name", GRAPHS)
BELOW, NEAR, PATH = (ask(name=walk, kind="traverse", walk=walk) for walk in ("below", "near", "path"))


def opened(name: str, path: Path) -> Store:
    store = store_class(name)(FolderPlace(path), layout("records"))
    store.open()
    return store


@each
def test_a_link_holds_whichever_of_its_ends_comes_first(name: str, tmp_path: Path) -> None:
    store = opened(name, tmp_path)
    store.apply(Batch("item", items(item(3, parent=2), item(2, parent=1)), 2))
    assert dump(store, "item")["key"].to_list() == [2, 3], "what stands for a record that hasn't come is no record"
    assert store.query(BELOW, (1,)) == []
    assert store.query(ask(kind="get"), (1,)) == []
    store.apply(Batch("item", items(item(1, label="top")), 3))
    assert store.query(BELOW, (1,)) == [(2, 1), (3, 2)]
    assert store.query(PATH, (3, 1)) == [(0, 3), (1, 2), (2, 1)]
    store.close()


@each
def test_nobody_walks_through_a_deleted_record_and_everybody_through_a_revived_one(name: str, tmp_path: Path) -> None:
    store = opened(name, tmp_path)
    store.apply(Batch("item", items(item(1), item(2, parent=1), item(3, parent=2), item(4, parent=1)), 4))
    store.apply(Batch("item", items(item(2, 2, True, parent=1)), 5))
    assert store.query(BELOW, (1,)) == [(4, 1)]
    assert store.query(NEAR, (3,)) == []
    assert store.query(PATH, (3, 4)) == []
    assert store.query(PATH, (2, 2)) == []
    store.apply(Batch("item", items(item(2, 3, parent=1)), 6))
    assert store.query(BELOW, (1,)) == [(2, 1), (4, 1), (3, 2)]
    assert store.query(PATH, (3, 4)) == [(0, 3), (1, 2), (2, 1), (3, 4)]
    store.close()


@each
def test_a_record_that_moves_leaves_no_link_behind(name: str, tmp_path: Path) -> None:
    store = opened(name, tmp_path)
    store.apply(Batch("item", items(item(1), item(2), item(3, parent=1)), 3))
    store.apply(Batch("item", items(item(3, 2, parent=2)), 4))
    assert (store.query(BELOW, (1,)), store.query(BELOW, (2,))) == ([], [(3, 1)])
    store.apply(Batch("item", items(item(3, 3)), 5))
    assert store.query(BELOW, (2,)) == []
    store.close()


def test_the_engine_is_opened_anew_now_and_then_and_nobody_notices(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from lab.stores import ladybug_graph

    monkeypatch.setattr(ladybug_graph, "ROWS_AT_ONCE", 3)
    store = opened("ladybug.graph", tmp_path)
    for number in range(1, 6):
        store.apply(Batch("item", items(item(number, parent=number - 1), item(number + 1, parent=number)), number))
        assert store.checkpoint("item") == number
    assert store.query(BELOW, (1,)) == [(key, key - 1) for key in range(2, 7)]
    store.close()

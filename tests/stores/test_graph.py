"""Graphs: links whose ends come in any order, and what the engines' own ways make of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.base import Batch
from lab.engines import ladybug as engine
from lab.place import FolderPlace
from lab.stores import Store, dump, ladybug_file, store_class
from lab.stores.ladybug_graph import LadybugGraph
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


@pytest.mark.parametrize("rows", [1, 2 * ladybug_file.FEW_ROWS])
def test_what_is_overwritten_is_freed_and_no_statement_is_kept(
    rows: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    most = 4 * 2**20
    monkeypatch.setattr(ladybug_file, "VERSIONS_BYTES", most)
    monkeypatch.setattr(ladybug_file, "LOOKED_AT", 4)
    store = opened("ladybug.graph", tmp_path)
    assert isinstance(store, LadybugGraph)
    used = []
    for number in range(1, 61):
        wide = [item(key, number, parent=key - 1, label=str(number)) for key in range(1, rows + 1)]
        store.apply(Batch("item", items(*wide), number))
        used.append(engine.used_bytes(store._opened()))
    # The first ones bring in what any transaction needs. A statement that is kept costs more than a megabyte.
    assert max(used[20:]) < max(used[:20]) + 2 * most
    assert store.checkpoint("item") == 60
    assert dump(store, "item")["revision"].to_list() == [60] * rows
    assert store.query(BELOW, (1,)) == [(key, key - 1) for key in range(2, rows + 1)]
    store.close()

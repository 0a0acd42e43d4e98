"""To reset a store is one step: whatever ends it, the store holds all that it held, or nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from lab.base import Batch
from lab.place import FolderPlace
from lab.stores import STORES, Store, embedded, store_class
from lab.testing.sample import IDS, ask, content, item, items, layout

# Those that drop their tables and make them anew; what else there is empties them in a single step of the engine.
REMADE = [
    name for name in embedded() if STORES[name].family != "reference" and hasattr(store_class(name), "_make_tables")
]
each = pytest.mark.parametrize("name", REMADE)


def test_the_core_stores_are_among_them() -> None:
    assert {"sqlite.table", "duckdb.columnar"} <= set(REMADE)


def filled(name: str, folder: Path) -> Store:
    kind = store_class(name)
    store = kind(FolderPlace(folder), layout(kind.holds[0], IDS))
    store.open()
    rows = items(item(1, label="one word"), item(2, parent=1, label="two words"))
    store.apply(Batch("item", rows, 2, pl.DataFrame({"id": [1, 2]})))
    return store


@each
def test_a_reset_that_fails_in_the_midst_changes_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = filled(name, tmp_path / "store")
    before = content(store)

    def full(*_: object) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(type(store), "_make_tables", full)
        with pytest.raises(OSError, match="the disk is full"):
            store.reset()
    assert content(store) == before
    store.reset()
    assert store.checkpoint("item") == 0
    store.apply(Batch("item", items(item(3, label="third word")), 1))
    if store.answers_query(ask(kind="search")):
        assert store.query(ask(kind="search"), ("word",)) == [(3,)]
    store.close()


KILLED = """
import os, signal, sys
from pathlib import Path
from test_reset import filled
store = filled(sys.argv[1], Path(sys.argv[2]))
type(store)._make_tables = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
store.reset()
"""


@pytest.mark.parametrize("name", ["sqlite.search", "duckdb.document", "ladybug.graph"])
def test_a_process_that_is_killed_in_a_reset_leaves_what_was_there(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, name, str(tmp_path / "store")]
    ended = subprocess.run(command, cwd=Path(__file__).parent, check=False, timeout=300, capture_output=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    kind = store_class(name)
    store = kind(FolderPlace(tmp_path / "store"), layout(kind.holds[0], IDS))
    store.open()
    there = content(store)
    store.close()
    other = filled(name, tmp_path / "other")
    assert there == content(other)
    other.close()

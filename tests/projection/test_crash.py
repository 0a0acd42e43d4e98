"""A process that is killed while it writes: whatever the engine, data, the guard's memory and the checkpoint agree."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import polars as pl
import pytest
from effort import examples

from lab.base import Batch
from lab.place import FolderPlace
from lab.stores import Store, dump, embedded, store_class
from lab.testing.sample import ask, item, items, layout

ENGINES = [name for name in embedded() if name not in ("memory", "null")]
IDS = {"id": pl.Int64()}
ROWS = 200
# A second kill finds the store as the first has left it.
KILLS = 2 if examples(0) else 1
WRITING = """
import os, sys
sys.path[:0] = [os.getcwd(), "tests", "tests/projection"]
from pathlib import Path
from test_crash import batch, opened

store = opened(sys.argv[1], Path(sys.argv[2]))
for number in range(store.checkpoint("item") + 1, 100_000):
    store.apply(batch(number))
    print(number, flush=True)
"""


def opened(name: str, path: Path) -> Store:
    store = store_class(name)(FolderPlace(path), layout(store_class(name).holds[0], IDS))
    store.open()
    return store


def batch(number: int) -> Batch:
    """Half of the records are new, half of them overwrite; some are deleted, some hang below another."""
    first = number * ROWS // 2
    rows = (
        item(key, number, key % 7 == 0, label=f"item {key} of {number}", parent=key // 2, amount=number)
        for key in range(first, first + ROWS)
    )
    return Batch("item", items(*rows), number, pl.DataFrame({"id": [number]}))


def expected(number: int, keeps: str) -> pl.DataFrame:
    """What is there when so many batches are in."""
    frames = [batch(one).rows for one in range(1, number + 1)]
    if not frames:
        return batch(1).rows.clear()
    identity = ["key"] if keeps == "records" else ["key", "revision"]
    return pl.concat(frames).unique(identity, keep="last", maintain_order=True).sort("key", "revision")


@pytest.mark.parametrize("name", ENGINES)
def test_a_kill_takes_a_batch_as_a_whole_or_not_at_all(name: str, tmp_path: Path) -> None:
    said, wait = 0, random.Random(name)
    for _ in range(KILLS):
        words = [sys.executable, "-c", WRITING, name, str(tmp_path)]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout is not None
        said = int(process.stdout.readline() or -1)
        assert said > 0, process.communicate()[1]
        time.sleep(wait.uniform(0.05, 0.3))
        process.kill()
        said = max([said, *(int(line) for line in process.communicate()[0].split("\n")[:-1])])
        store = opened(name, tmp_path)
        position = store.checkpoint("item")
        assert position in (said, said + 1), "what was told was lost, or more is there than can be"
        found, ids = dump(store, "item"), sorted(store.memory("item")["id"])
        store.close()
        assert found.equals(expected(position, store.layout.keeps))
        assert ids == list(range(1, position + 1))


FILLING = """
import os, sys
sys.path[:0] = [os.getcwd(), "tests", "tests/projection"]
from pathlib import Path
from test_crash import FILLED, bulky, opened

store = opened(sys.argv[1], Path(sys.argv[2]))
print("begun", flush=True)
store.bulk("item", bulky())
print("done", flush=True)
sys.stdin.read()
"""
FILLED, PARTS = 40_000, 4


@cache
def bulky() -> list[Batch]:
    """Parts of a projection that is filled as a whole."""
    size = FILLED // PARTS
    return [
        Batch(
            "item",
            items(*(item(key, label=f"item {key}", parent=key // 2) for key in range(at * size, (at + 1) * size))),
            (at + 1) * size,
        )
        for at in range(PARTS)
    ]


@pytest.mark.parametrize("name", ENGINES)
def test_a_kill_while_it_is_filled_takes_all_or_leaves_what_the_next_changes_mend(name: str, tmp_path: Path) -> None:
    wait = random.Random(name)
    whole = pl.concat([part.rows for part in bulky()])
    for nth in range(KILLS):
        path = tmp_path / str(nth)
        words = [sys.executable, "-c", FILLING, name, str(path)]
        process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        # Anywhere, and by night early too.
        time.sleep(wait.uniform(0.0, 0.3) if nth else wait.uniform(0.0, 1.2))
        process.kill()
        done = "done" in process.communicate()[0]
        store = opened(name, path)
        position = store.checkpoint("item")
        assert position == FILLED if done else position in (0, FILLED)
        if not position:
            store.apply(Batch("item", whole, FILLED))
        assert dump(store, "item").equals(whole)
        below = ask(kind="traverse")
        if store.answers_query(below):
            assert len(store.query(below, (FILLED // 4,))) == 2
        store.close()

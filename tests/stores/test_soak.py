"""A store that takes small batches for a long time keeps its memory, its files and its descriptors within bounds.

By day a few hundred batches, where counters tell: files, descriptors, bytes on disk. `SOAK=50000` (in `make nightly`)
makes it so many, and looks at the memory of the process, too: with `-s` it prints what it saw.
"""

from __future__ import annotations

import gc
import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from lab.base import Batch
from lab.place import FolderPlace
from lab.queries.answers import same
from lab.stores import Store, dump, embedded, store_class
from lab.testing.sample import IDS, ask, item, items, layout

SOAK = int(os.environ.get("SOAK", "0"))
BATCHES = SOAK or 100
RECORDS = 60
KEPT = [name for name in embedded() if name != "null"]
QUERIES = [
    (ask(kind="get"), (7,)),
    (ask(kind="filter", where={"shelf": "?"}), ("a",)),
    (ask(kind="aggregate", group_by=["shelf"], sum=["amount"]), ()),
    (ask(kind="traverse", walk="below"), (1,)),
    (ask(kind="search"), ("word",)),
]
# How far each may grow between the two moments that are compared, in bytes. A log that is folded into its file now and
# then is as long as the engine lets it be; memory settles late, and is looked at after many batches alone.
DISK_MARGIN, MEMORY_MARGIN = 80 * 2**20, 48 * 2**20


@dataclass(frozen=True)
class Sight:
    """What a store holds at a moment: bytes of the process, descriptors, files, and bytes on disk."""

    batches: int
    seconds: float
    memory: int
    descriptors: int
    files: int
    disk: int

    def __str__(self) -> str:
        held = f"{self.memory / 2**20:.0f} MiB, {self.disk / 2**20:.1f} MiB in {self.files} files"
        return f"{self.batches} batches in {self.seconds:.0f} s: {held}, {self.descriptors} descriptors"


def look(folder: Path, batches: int, seconds: float) -> Sight:
    if SOAK:
        gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    descriptors = sum(1 for _ in Path("/proc/self/fd").iterdir())
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return Sight(batches, seconds, pages * os.sysconf("SC_PAGE_SIZE"), descriptors, len(sizes), sum(sizes))


def changes(count: int) -> Iterator[pl.DataFrame]:
    """Single changes of a bounded number of records: new, changed, moved, deleted and revived."""
    draw = random.Random(7)
    revisions: dict[int, int] = {}
    for position in range(1, count + 1):
        key = draw.randrange(1, RECORDS + 1)
        revisions[key] = revision = revisions.get(key, 0) + 1
        values = {
            "label": f"word number {position}", "parent": draw.choice([None, key - 1]), "shelf": draw.choice("abc"),
            "amount": draw.randrange(1_000), "weight": draw.random(), "fragile": draw.random() < 0.5,
        }  # fmt: skip
        row = item(key, revision, draw.random() < 0.2, **values)
        yield items(row).with_columns(position=pl.lit(position, pl.Int64))


def soaked(store: Store, folder: Path, batches: int) -> list[Sight]:
    """Give the store so many batches, with a question now and then, and look at it ten times."""
    seen, began = [], time.monotonic()
    asked = [(query, parameters) for query, parameters in QUERIES if store.answers_query(query)]
    for number, rows in enumerate(changes(batches), 1):
        memory = rows.select(pl.col("position").mod(RECORDS).alias("id"))
        store.apply(Batch("item", rows, number, memory))
        if number % 20 == 0:
            query, parameters = asked[number // 20 % len(asked)]
            store.query(query, parameters)
            store.revisions("item", list(range(1, RECORDS + 1)))
        if number % (batches // 10) == 0:
            seen.append(look(folder, number, time.monotonic() - began))
            if SOAK:
                print(f"{store.name}: {seen[-1]}", flush=True)
    return seen


@pytest.mark.parametrize("name", KEPT)
def test_a_store_stays_within_its_bounds_however_many_batches_it_takes(name: str, tmp_path: Path) -> None:
    kind = store_class(name)
    place = FolderPlace(tmp_path / "store")
    store = kind(place, layout(kind.holds[0], IDS))
    store.open()
    seen = soaked(store, tmp_path, BATCHES)
    early, late = seen[1], seen[-1]
    assert late.descriptors <= early.descriptors + 4
    # Segments of an index are merged now and then, some dozens at once.
    assert late.files <= max(100, 2 * early.files)
    # What keeps every revision grows with them: by some hundred bytes each.
    grown = (late.batches - early.batches) * (1_000 if kind.holds[0] == "revisions" else 0)
    assert late.disk <= early.disk + DISK_MARGIN + grown
    if SOAK and name != "memory":
        assert late.memory <= early.memory + MEMORY_MARGIN + grown // 4
    last = {row[1]: row for frame in changes(BATCHES) for row in frame.rows()}
    found = dump(store, "item").filter(pl.col("revision") == pl.col("revision").max().over("key"))
    assert same([last[key] for key in sorted(last)], found.rows())
    assert store.checkpoint("item") == BATCHES
    store.close()

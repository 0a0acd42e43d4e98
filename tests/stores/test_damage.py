"""Damaged files: each store tells them from a failure of the machine or of a question, whatever its engine raises."""

from __future__ import annotations

import random
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from lab.base import Batch, CannotTake, Damaged, Unavailable
from lab.place import FolderPlace
from lab.stores import Store, dump, embedded, store_class
from lab.testing.sample import item, items, layout

DURABLE = (
    "sqlite.table", "duckdb.columnar", "lmdb.keyvalue", "parquet.files", "parquet.log", "duckdb.files",
    "tantivy.search", "ladybug.graph",
)  # fmt: skip
each = pytest.mark.parametrize("name", DURABLE)
ROWS = items(*(item(key, amount=key % 7) for key in range(1, 3_001)))
WHOLE = pl.concat([ROWS, items(item(3_001))])
# Stores whose engine takes an empty file for a new one; that the rows have gone is told by what the service remembers.
BEGUN_ANEW = {
    "sqlite.table": "projection.sqlite", "lmdb.keyvalue": "data.mdb", "ladybug.graph": "projection.lbug",
}  # fmt: skip
HARMS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "half": lambda data, _: data[: len(data) // 2],
    "garbage": lambda data, rng: rng.randbytes(len(data)),
    "magic": lambda data, rng: rng.randbytes(64) + data[64:],
    "flipped": lambda data, _: bytes(255 - byte if place % 997 == 0 else byte for place, byte in enumerate(data)),
    "zeros": lambda data, _: bytes(len(data)),
    "empty": lambda data, _: b"",
}


def made(name: str, folder: Path) -> Store:
    return store_class(name)(FolderPlace(folder), layout(store_class(name).holds[0]))


def filled(name: str, folder: Path) -> Store:
    store = made(name, folder)
    store.open()
    store.bulk("item", [Batch("item", ROWS, 3_000)])
    store.apply(Batch("item", items(item(3_001)), 3_001))
    store.close()
    return store


def read(store: Store) -> tuple[int, int]:
    """The checkpoint, and how many rows there are."""
    store.open()
    found = store.checkpoint("item"), sum(page.height for page in store.pages("item"))
    store.revisions("item", [1, 3_001])
    return found


def failure(store: Store) -> BaseException | None:
    """What reading raises; a panic of an engine in Rust is no Exception."""
    try:
        read(store)
    except BaseException as error:
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            return error
        raise
    return None


@each
def test_damage_is_told_from_what_reads_well(name: str, tmp_path: Path) -> None:
    filled(name, tmp_path / "whole")
    files = sorted((tmp_path / "whole").iterdir(), key=lambda file: -file.stat().st_size)
    noticed = 0
    for number, file in enumerate(files[:3]):
        for harm, done in HARMS.items():
            folder = tmp_path / f"{number} {harm}"
            shutil.copytree(tmp_path / "whole", folder)
            (folder / file.name).write_bytes(done(file.read_bytes(), random.Random(number)))
            store = made(name, folder)
            raised = failure(store)
            if raised is None:
                if harm == "empty" and file.name == BEGUN_ANEW.get(name):
                    assert read(store) == (0, 0), (file.name, harm)
                else:
                    # What isn't needed to read may be wrong.
                    assert read(store) == (3_001, 3_001), (file.name, harm)
                    assert dump(store, "item").equals(WHOLE), (file.name, harm)
                assert store.readable()
            else:
                noticed += 1
                # It stays so, and nothing is made of what is there.
                assert [store.damaged(raised) for _ in range(2)] == [True, True], (file.name, harm, raised)
            store.close()
    assert noticed >= 3


@each
def test_what_is_no_damage_is_not_taken_for_it(name: str, tmp_path: Path) -> None:
    store = filled(name, tmp_path / "whole")
    for error in (KeyError("nope"), ValueError("nope"), RuntimeError("nope"), OSError(28, "No space left"),
                  PermissionError(13, "no"), MemoryError(), Unavailable("later"), CannotTake("no"),
                  KeyboardInterrupt()):  # fmt: skip
        assert not store.damaged(error), error
    assert store.damaged(Damaged("so it is"))
    assert read(store) == (3_001, 3_001)
    store.close()


# Without a descriptor DuckDB ends the process.
@pytest.mark.parametrize("name", ["sqlite.table", "lmdb.keyvalue", "parquet.files", "tantivy.search"])
def test_too_many_open_files_are_no_damage(name: str, tmp_path: Path) -> None:
    store = filled(name, tmp_path / "whole")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        with pytest.raises(Exception) as told:  # noqa: PT011
            read(store)
        damaged = store.damaged(told.value)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert not damaged, told.value
    store.close()
    assert read(store) == (3_001, 3_001)
    store.close()


def test_every_durable_store_names_its_files(tmp_path: Path) -> None:
    """So that a generation can be removed without what lies beside."""
    for name in embedded():
        if store_class(name).capabilities.durability == "memory":
            continue
        filled(name, tmp_path / name)
        for file in (tmp_path / name).iterdir():
            assert any(file.match(pattern) for pattern in store_class(name).files), (name, file.name)

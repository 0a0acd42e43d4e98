"""Stores of files: parts, what has come since, compaction, and what a process that dies leaves behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet
import pytest
from effort import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab.base import Batch, Damaged
from lab.place import FolderPlace
from lab.queries.answers import ReferenceTable, same
from lab.queries.kinds import KINDS
from lab.stores import dump, parquet_table, store_class
from lab.stores.parquet_disk import MANIFEST
from lab.stores.parquet_folder import ParquetFolder
from lab.stores.slices import rows_within
from lab.testing.sample import ITEM, ask, item, items, layout

FILES = ("parquet.files", "duckdb.files", "parquet.log")
each = pytest.mark.parametrize("name", FILES)
IDS = {"id": pl.Int64()}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of three rows, so that a few records are spread over several and compacted again and again."""
    monkeypatch.setattr(parquet_table, "PART_ROWS", 3)
    monkeypatch.setattr(parquet_table, "GROUP_ROWS", 2)
    monkeypatch.setattr(parquet_table, "RECENT_ROWS", 2)


def opened(name: str, path: Path, memory: dict[str, Any] | None = None) -> ParquetFolder:
    store = store_class(name)(FolderPlace(path), layout(store_class(name).holds[0], memory or {}))
    store.open()
    assert isinstance(store, ParquetFolder)
    return store


batches = st.lists(
    st.lists(
        st.builds(
            lambda key, revision, deleted, amount: item(key, revision, deleted, amount=amount, parent=key // 2),
            st.integers(-4, 12), st.integers(1, 3), st.booleans(), st.integers(0, 9),
        ),
        min_size=1, max_size=6, unique_by=lambda row: row[:2],
    ),
    max_size=8,
)  # fmt: skip


@each
@settings(max_examples=examples(7), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=batches)
def test_whatever_is_compacted_it_is_what_a_dictionary_would_hold(
    name: str, history: list[list[tuple[Any, ...]]], small: None, new_folder: Callable[[], Path]
) -> None:
    path = new_folder()
    store = opened(name, path, IDS)
    identity = store.layout.identity
    expected: dict[Any, tuple[Any, ...]] = {}
    for number, rows in enumerate(history, 1):
        frame = items(*rows).unique(list(identity), keep="last", maintain_order=True)
        store.apply(Batch("item", frame, number, pl.DataFrame({"id": [number % 3]})))
        names = frame.columns
        expected |= {tuple(row[names.index(part)] for part in identity): row for row in frame.rows()}
    right = pl.DataFrame(list(expected.values()), schema=ITEM.schema, orient="row").sort("key", "revision")
    for one in (store, opened(name, path, IDS)):
        assert dump(one, "item").equals(right)
        assert one.checkpoint("item") == len(history)
        assert sorted(one.memory("item")["id"]) == sorted({number % 3 for number in range(1, len(history) + 1)})
        for query, parameters in (
            *((ask(kind="get"), (key,)) for key in (-4, 0, 3, 12)),
            (ask(kind="get_many", count=4), (3, 1, 99, 3)),
            (ask(kind="filter", where={"amount": {"at_least": "?"}}, order_by="amount", limit=4), (3,)),
            (ask(kind="aggregate", group_by=["parent"], sum=["amount"]), ()),
            (ask(kind="join", on="parent", to="item", take=["amount"]), ()),
            (ask(kind="history"), (3,)),
            (ask(kind="as_of"), (3, 1e9)),
        ):
            if one.answers_query(query):
                assert same(
                    KINDS[query.kind].answer(query, parameters, {"item": ReferenceTable(ITEM, right)}),
                    one.query(query, parameters),
                )
    listed = {part.file for table in store._known().values() for part in table.files}
    assert listed == {path.name for path in path.glob("*.parquet")}, "a file that no manifest names"


def test_compaction_leaves_the_parts_alone_whose_records_have_not_changed(small: None, tmp_path: Path) -> None:
    store = opened("parquet.files", tmp_path)
    store.bulk("item", [Batch("item", items(*(item(key) for key in range(9))), 9)])
    before = [part.file for part in store._known()["item"].parts]
    assert len(before) == 3
    store.apply(Batch("item", items(*(item(key, 2) for key in (3, 4, 5)))))
    after = [part.file for part in store._known()["item"].parts]
    assert (after[0], after[-1]) == (before[0], before[-1])
    assert before[1] not in after


def test_a_segment_of_a_log_is_never_written_again(small: None, tmp_path: Path) -> None:
    store = opened("parquet.log", tmp_path)
    seen: dict[str, bytes] = {}
    for revision in range(1, 7):
        store.apply(Batch("item", items(*(item(key, revision) for key in range(3))), revision))
        for part in store._known()["item"].parts:
            content = (tmp_path / part.file).read_bytes()
            assert seen.setdefault(part.file, content) == content
    assert len(seen) == 6
    assert seen.keys() == {part.file for part in store._known()["item"].parts}


DYING = """
import os, sys
sys.path[:0] = [os.getcwd(), "tests", "tests/stores"]
from pathlib import Path
from test_files import opened, items, item, Batch, IDS
from lab.stores import parquet_table as folder
import polars as pl
import pyarrow.parquet

folder.PART_ROWS, folder.GROUP_ROWS, folder.RECENT_ROWS = 3, 2, 2
store = opened(sys.argv[1], Path(sys.argv[2]), IDS)
countdown = int(sys.argv[3])

def counting(function):
    def counted(*arguments, **options):
        global countdown
        countdown -= 1
        if countdown < 0:
            os._exit(9)
        return function(*arguments, **options)
    return counted

# It dies before or after any file that it writes, and before it removes any.
pl.DataFrame.write_parquet = counting(pl.DataFrame.write_parquet)
Path.stat = counting(Path.stat)
Path.replace = counting(Path.replace)
Path.unlink = counting(Path.unlink)
for number in range(1, 6):
    rows = items(*(item(key, number, amount=number) for key in range(number, number + 4)))
    store.apply(Batch("item", rows, number, pl.DataFrame({"id": [number]})))
print("done")
"""


@each
def test_a_process_that_dies_anywhere_leaves_data_memory_and_checkpoint_that_agree(name: str, tmp_path: Path) -> None:
    checkpoints = set()
    for moment in (0, 4, 9, 13, 20, 10_000):
        path = tmp_path / str(moment)
        died = subprocess.run(
            [sys.executable, "-c", DYING, name, str(path), str(moment)],
            capture_output=True, text=True, check=False, env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        )  # fmt: skip
        assert died.returncode == (0 if "done" in died.stdout else 9), died.stderr
        store = opened(name, path, IDS)
        position = store.checkpoint("item")
        checkpoints.add(position)
        whole = opened(name, tmp_path / f"whole-{moment}", IDS)
        for number in range(1, position + 1):
            rows = items(*(item(key, number, amount=number) for key in range(number, number + 4)))
            whole.apply(Batch("item", rows, number, pl.DataFrame({"id": [number]})))
        assert dump(store, "item").equals(dump(whole, "item"))
        assert sorted(store.memory("item")["id"]) == list(range(1, position + 1))
        listed = {part.file for table in store._known().values() for part in table.files}
        assert {file.name for file in path.iterdir() if file.name != MANIFEST} == listed
    assert {0, 5} < checkpoints


@each
@pytest.mark.parametrize("harm", ["cut", "gone", "manifest"])
def test_files_that_are_not_whole_are_damaged_and_left_as_they_are(name: str, harm: str, tmp_path: Path) -> None:
    store = opened(name, tmp_path, IDS)
    store.apply(Batch("item", items(item(1), item(2)), 7, pl.DataFrame({"id": [1]})))
    file = tmp_path / store._known()["item"].files[0].file
    if harm == "cut":
        file.write_bytes(file.read_bytes()[:-10])
    elif harm == "gone":
        file.unlink()
    else:
        (tmp_path / MANIFEST).write_text('{"sequence": 3, "tab')
    left = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    for _ in range(2):
        with pytest.raises(Damaged) as told:
            opened(name, tmp_path, IDS)
        assert store.damaged(told.value)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == left


@each
def test_the_files_of_others_are_not_swept_away(name: str, tmp_path: Path) -> None:
    opened(name, tmp_path, IDS).apply(Batch("item", items(item(1)), 7))
    theirs = [tmp_path / file for file in ("mine.parquet", "item-2024.parquet", "sales-00000001.parquet")]
    left = tmp_path / "item-00000099.parquet"
    for file in [*theirs, left]:
        file.write_bytes(b"mine")
    opened(name, tmp_path, IDS)
    assert [file.read_bytes() for file in theirs] == [b"mine"] * 3
    assert not left.exists()


@each
def test_large_rows_are_cut_by_their_bytes(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_table, "PART_BYTES", 2**20)
    monkeypatch.setattr(parquet_table, "GROUP_BYTES", 2**18)
    monkeypatch.setattr(parquet_table, "RECENT_BYTES", 2**20)
    store = opened(name, tmp_path)
    long = "a text of a kilobyte ".ljust(1_024, "-")
    for begin in range(0, 4_000, 500):
        rows = [item(key, label=f"{key} {long}", amount=key) for key in range(begin, begin + 500)]
        store.apply(Batch("item", items(*rows)))
    table = store._known()["item"]
    assert table.recent.estimated_size() <= 2**20
    assert len(table.parts) >= 3
    for part in table.parts:
        rows_of = pl.read_parquet(tmp_path / part.file)
        assert rows_of.estimated_size() <= 1.5 * 2**20
        group = pyarrow.parquet.ParquetFile(tmp_path / part.file).metadata.row_group(0)
        assert group.num_rows * len(long) <= 1.5 * 2**18
    assert dump(store, "item")["amount"].to_list() == list(range(4_000))
    assert store.query(ask(kind="get"), (3_999,))[0][0] == 3_999
    store.close()


@given(heights=st.integers(0, 50), size=st.integers(0, 5_000), rows=st.integers(1, 100), most=st.integers(1, 10_000))
def test_so_many_rows_take_so_many_bytes(heights: int, size: int, rows: int, most: int) -> None:
    frame = pl.DataFrame({"text": ["x" * size] * heights}, schema={"text": pl.String()})
    found = rows_within(frame, rows, most)
    assert 1 <= found <= rows
    if found > 1:
        assert found * frame.estimated_size() <= most * max(1, heights)

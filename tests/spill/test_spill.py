"""What is spilled to disk is what was put there, wherever the cuts fall; memory is given back in between."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab import mapped, spill
from lab.mapped import breathe, release
from lab.spill import Spill, here, reordered, sized, spilling, taken, widened

SCHEMA = {"number": pl.Int64(), "text": pl.String(), "flag": pl.Boolean()}


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is spilled, in chunks of seven rows."""
    monkeypatch.setattr(spill, "LEAST_BYTES", 1)
    monkeypatch.setattr(spill, "LEAST_OWN_BYTES", 1)
    monkeypatch.setattr(spill, "ROWS", 7)


def frame(rows: int) -> pl.DataFrame:
    texts = [None if number % 5 == 0 else f"a text that is longer than twelve bytes {number}" for number in range(rows)]
    return pl.DataFrame({"number": range(rows), "text": texts, "flag": [n % 3 == 0 for n in range(rows)]}, SCHEMA)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    "values", [np.arange(5), np.array([1.5, np.inf, np.nan]), np.array([True, False]), np.empty(0)]
)
def test_an_array_comes_back_as_it_was(tmp_path: Path, values: np.ndarray) -> None:
    kept = Spill(tmp_path)
    found = [kept.array(values), kept.array(values + 1), kept.array(values)]
    release()
    for one, must in zip(found, (values, values + 1, values), strict=True):
        assert one.dtype == must.dtype
        assert np.array_equal(one, must, equal_nan=must.dtype == np.float64)
    assert not values.size or not found[0].flags.writeable


@pytest.mark.usefixtures("tiny")
def test_an_array_of_zeros_keeps_what_is_written_to_it(tmp_path: Path) -> None:
    made = Spill(tmp_path).empty(1_000, np.float64)
    assert not made.any()
    made[::2] = 3.0
    release()
    assert made.sum() == 1_500.0


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("cut", [1, 6, 7, 8, 100])
def test_a_frame_comes_back_as_it_was_however_it_came(tmp_path: Path, cut: int) -> None:
    must = frame(40)
    found = Spill(tmp_path).frame(must.iter_slices(cut), SCHEMA)
    release()
    assert found.equals(must)
    assert found.n_chunks() > 1
    assert found.schema == must.schema


@pytest.mark.usefixtures("tiny")
def test_a_slice_is_written_without_the_texts_of_the_whole(tmp_path: Path) -> None:
    many = pl.DataFrame({"text": ["x" * 1_000] * 1_000})
    kept = Spill(tmp_path)
    found = kept.frame([many[:1]], {"text": pl.String()})
    assert found.equals(many[:1])
    assert sum(int(one.nbytes) for one in found.to_arrow()["text"].chunks) < 5_000


@pytest.mark.usefixtures("tiny")
def test_nothing_is_left_in_the_folder_and_a_frame_that_is_on_disk_is_not_written_again(tmp_path: Path) -> None:
    kept = Spill(tmp_path)
    found = kept.kept(frame(20))
    assert kept.kept(found) is found
    kept.array(np.arange(100))
    assert not list(tmp_path.iterdir())


def test_without_a_folder_and_below_the_least_size_everything_stays_in_memory(tmp_path: Path) -> None:
    values, rows = np.arange(10), frame(10)
    for one in (Spill(), Spill(tmp_path / "unused")):
        assert one.array(values) is values
        assert one.kept(rows).equals(rows)
        assert one.empty(3, np.int64).tolist() == [0, 0, 0]
    assert Spill().frame([], SCHEMA).equals(frame(0))
    assert not (tmp_path / "unused").exists()


@given(st.lists(st.integers(0, 59), max_size=80), st.integers(1, 4))
def test_rows_are_taken_in_their_order(rows: list[int], near: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(spill, "ROWS", 7)
        patched.setattr(spill, "_NEAR", near)
        chunked = pl.concat(frame(60).iter_slices(7))
        chosen = np.array(rows, np.int64)
        assert taken(chunked, chosen).equals(frame(60)[chosen])


@given(st.data(), st.sampled_from(["permutation", "subset", "repeated"]))
def test_a_frame_on_disk_is_brought_into_another_order(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, kind: str
) -> None:
    height = data.draw(st.integers(30, 80))
    rows = np.array(data.draw(st.permutations(range(height))))
    if kind == "subset":
        rows = rows[: data.draw(st.integers(20, height))]
    elif kind == "repeated":
        rows[data.draw(st.integers(0, height - 1))] = rows[0]
    folder = tmp_path_factory.mktemp("spill")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("ROWS", 4), ("LEAST_OWN_BYTES", 1), ("_TOGETHER_BYTES", 1), ("_PASSES", 2)):
            patch.setattr(spill, name, value)
        patch.setattr(spill, "_PARTS", data.draw(st.sampled_from([1, 3, 256])))
        texts = [None if n % 7 == 0 else f"é{n}" * (n % 5) for n in range(height)]
        frame = Spill(folder).kept(
            pl.DataFrame({"key": range(height), "text": texts, "list": [[n] for n in range(height)]})
        )
        assert frame.n_chunks() > 1
        found = reordered(frame, rows, Spill(folder))
    assert found.equals(frame[rows])
    assert list(folder.iterdir()) == []


def test_each_row_is_read_once_for_any_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("ROWS", 10), ("LEAST_OWN_BYTES", 1), ("_TOGETHER_BYTES", 1)):
        monkeypatch.setattr(spill, name, value)
    frame = Spill(tmp_path).kept(pl.DataFrame({"key": range(1_000)}))
    looked: list[int] = []
    monkeypatch.setattr(spill, "taken", lambda part, some: (looked.append(part.height), taken(part, some))[1])
    order = np.random.default_rng(1).permutation(1_000)
    assert reordered(frame, order, Spill(tmp_path))["key"].to_list() == order.tolist()
    assert looked == []


def test_readers_spill_where_they_are_told_to(tmp_path: Path) -> None:
    made = Spill(tmp_path)
    assert here().folder is None
    with spilling(made):
        assert here() is made
    assert here() is not made


@pytest.mark.skipif(not mapped._STATM.exists(), reason="only Linux says what of files is in memory")
def test_what_was_looked_at_is_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spill, "LEAST_BYTES", 1)
    monkeypatch.setattr(mapped, "RESIDENT_BYTES", 0)
    values = Spill(tmp_path).array(np.arange(4_000_000))
    assert values.sum() == 7_999_998_000_000
    looked = resident()
    breathe()
    assert resident() < looked - 20_000_000
    assert values[-1] == 3_999_999


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[2]) * 4096


def room(folder: Path) -> int:
    """The bytes of the unnamed files of a folder that this process has open."""
    found = {}
    for file in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            if str(file.readlink()).startswith(f"{folder}/"):
                about = file.stat()
                found[about.st_ino] = about.st_blocks * 512
    return sum(found.values())


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="only Linux lists the files that a process has open")
def test_the_room_of_a_large_array_is_free_when_the_array_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spill, "_ALONE_BYTES", 1 << 20)
    kept = Spill(tmp_path)
    small, large = kept.array(np.arange(10_000)), kept.array(np.arange(1_000_000))
    assert room(tmp_path) > 8_000_000
    assert int(large[-1]) == 999_999
    del large
    assert 0 < room(tmp_path) < 1_000_000
    assert int(small[-1]) == 9_999


@pytest.mark.usefixtures("tiny")
def test_columns_beside_a_frame_on_disk_are_not_written(tmp_path: Path) -> None:
    kept = Spill(tmp_path)
    found = kept.frame(frame(40).iter_slices(7), SCHEMA)
    before = room(tmp_path)
    wide = widened(found, [found["text"].alias("again")], ["again", "number", "text"])
    assert wide.equals(frame(40).select(pl.col("text").alias("again"), "number", "text"))
    assert kept.kept(wide) is wide
    assert room(tmp_path) == before


@pytest.mark.skipif(not mapped._STATM.exists(), reason="only Linux says what of files is in memory")
def test_where_much_is_on_disk_pages_are_given_back_within_a_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No part of the pass does so by itself."""
    monkeypatch.setattr(mapped, "RESIDENT_BYTES", 0)
    monkeypatch.setattr(mapped, "WATCHED_EVERY", 0.001)
    there = sum(one.room for one in mapped._maps())
    monkeypatch.setattr(mapped, "WATCHED_BYTES", there + (1 << 20))
    given_back = threading.Event()
    monkeypatch.setattr(mapped, "release", given_back.set)
    values = Spill(tmp_path).array(np.arange(1_000_000))
    assert given_back.wait(60)
    assert mapped._watcher is not None
    del values
    mapped._watcher.join(60)
    assert not mapped._watcher.is_alive()


def test_a_run_with_little_on_disk_has_no_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped, "_watcher", None)
    assert Spill(tmp_path).array(np.arange(100_000)).size
    assert mapped._watcher is None


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("rows", [0, 5, 7, 40])
def test_the_size_of_a_frame_is_found_without_looking_at_all_of_it_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    whole = frame(rows)
    kept = Spill(tmp_path).frame(iter([whole]), SCHEMA)
    estimated, looked_at = pl.DataFrame.estimated_size, []

    def noted(self: pl.DataFrame) -> int:
        looked_at.append(self.height)
        return int(estimated(self))

    monkeypatch.setattr(pl.DataFrame, "estimated_size", noted)
    assert sized(kept) == pytest.approx(estimated(whole), abs=8 * (rows // 7 + 2))
    assert max(looked_at, default=0) <= 7

"""Places on disk: what is swapped, what survives a crash between two steps, and that only the lab's own is removed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.place import FolderPlace
from lab.ports import Place


def filled(place: FolderPlace, text: str = "rows") -> FolderPlace:
    """The place with a file in it."""
    place.path.mkdir(parents=True)
    (place.path / "data").write_text(text)
    return place


def test_a_folder_is_a_place(tmp_path: Path) -> None:
    place: Place = FolderPlace(tmp_path / "directory")
    assert place.namespace == "directory"
    assert place.shown() == str(tmp_path / "directory")
    assert place.size_bytes() == 0
    place.drop()


def test_the_winner_is_current_and_the_former_one_is_gone(tmp_path: Path) -> None:
    place = filled(FolderPlace(tmp_path / "directory"))
    green = filled(place.beside(), "more rows")
    assert place.current == place
    assert green.size_bytes() == 9
    place.swap(green)
    assert place.current == green == FolderPlace(tmp_path / "directory").current
    assert not place.path.exists()
    assert (green.path / "data").read_text() == "more rows"


def test_a_folder_that_the_lab_did_not_make_is_never_removed(tmp_path: Path) -> None:
    """A user's `directory.2024` looks like a generation and is none."""
    users = [tmp_path / name for name in ("directory.2024", "directory.1", "directory.old")]
    for folder in users:
        folder.mkdir()
        (folder / "accounts.csv").write_text("mine")
    place = filled(FolderPlace(tmp_path / "directory"))
    for _ in range(3):
        green = filled(place.current.beside())
        place.swap(green)
        place.sweep()
    with pytest.raises(FileExistsError, match=r"directory\.2024"):
        place.beside(2024)
    assert [(folder / "accounts.csv").read_text() for folder in users] == ["mine"] * 3
    assert {path.name for path in tmp_path.iterdir() if path.name[0] != "."} == {
        *(folder.name for folder in users), place.current.path.name,
    }  # fmt: skip


def test_what_an_interrupted_rebuild_left_is_removed(tmp_path: Path) -> None:
    place = filled(FolderPlace(tmp_path / "directory"))
    left = filled(place.beside())
    # The process died here; the next one knows the place from its ledger alone.
    again = FolderPlace(tmp_path / "directory")
    assert not again.beside(left.generation).path.exists()
    filled(left)
    again.sweep()
    assert not left.path.exists()
    assert place.path.exists()


def test_a_crash_between_pointer_and_removal_is_made_good_by_the_next_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = filled(FolderPlace(tmp_path / "directory"))
    green = filled(place.beside())
    with monkeypatch.context() as patch:
        patch.setattr(FolderPlace, "sweep", lambda _: None)
        place.swap(green)
    assert place.path.exists()
    place.sweep()
    assert not place.path.exists()
    assert place.current == green


def test_places_below_a_place_share_nothing(tmp_path: Path) -> None:
    one, other = (FolderPlace(tmp_path).within(name) for name in ("one", "other"))
    filled(one)
    filled(other)
    one.swap(filled(one.beside()))
    one.current.drop()
    assert (other.path / "data").exists()
    assert other.current == other


@given(steps=st.lists(st.sampled_from(["build", "crash", "swap", "sweep"]), max_size=12))
def test_whatever_happens_one_generation_counts_and_strangers_stay(
    steps: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("place")
    stranger = root / "directory.2"
    stranger.mkdir()
    place = filled(FolderPlace(root / "directory"), "0")
    built: FolderPlace | None = None
    made = 0
    for step in steps:
        if step == "build":
            made += 1
            built = filled(place.beside(), str(made))
        elif step == "crash":
            built = None
        elif step == "swap" and built is not None:
            place.swap(built)
            assert (place.current.path / "data").read_text() == str(made)
            built = None
        elif step == "sweep":
            place.sweep()
            built = None
        assert stranger.is_dir()
        assert (place.current.path / "data").exists()
    place.sweep()
    assert {path for path in root.iterdir() if path.name[0] != "."} == {stranger, place.current.path}

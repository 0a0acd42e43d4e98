"""Places on disk: what is swapped, what survives a crash between two steps, and that only the lab's own is removed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.place import IDENTITY, FolderPlace
from lab.ports import Place


def filled(place: FolderPlace, text: str = "rows") -> FolderPlace:
    """The place with a file in it."""
    place.path.mkdir(parents=True)
    (place.path / IDENTITY).write_text("the lab's")
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


OWN = ("data", "data-*")


def own(folder: Path) -> FolderPlace:
    return FolderPlace(folder / "directory", files=OWN)


@pytest.mark.parametrize("said", ["", "x", "-1", "1.5", "9" * 5_000, "\x00", "1\n2"])
def test_a_pointer_that_cannot_be_understood_stands_for_the_last_generation_there_is(said: str, tmp_path: Path) -> None:
    place = filled(own(tmp_path))
    green = filled(place.beside(), "newer")
    place.swap(green)
    (tmp_path / ".directory.generation").write_text(said)
    assert own(tmp_path).current == green
    # And a ledger that is none records nothing: what is there stays.
    (tmp_path / ".directory.generations").write_text(said)
    again = own(tmp_path)
    again.sweep()
    assert (green.path / "data").read_text() == "newer"
    assert not again.set_aside


def test_of_a_folder_only_what_a_store_makes_there_is_removed(tmp_path: Path) -> None:
    place = filled(own(tmp_path))
    (place.path / "data-wal").write_text("log")
    (place.path / "notes.txt").write_text("mine")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "data").write_text("mine")
    (place.path / "data-link").symlink_to(tmp_path / "elsewhere")
    place.swap(filled(place.beside()))
    assert [file.name for file in (tmp_path / "directory").iterdir()] == ["notes.txt"]
    assert (tmp_path / "elsewhere" / "data").read_text() == "mine"


def test_a_link_in_the_place_of_a_folder_or_a_pointer_is_not_followed(tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    other.mkdir()
    (other / IDENTITY).write_text("of another")
    (other / "data").write_text("mine")
    (tmp_path / "directory").symlink_to(other)
    place = own(tmp_path)
    assert place.strange
    place.drop()
    place.erase()
    (tmp_path / "number").write_text("7")
    (tmp_path / ".directory.generation").symlink_to(tmp_path / "number")
    with pytest.raises(OSError, match="symbolic"):
        _ = own(tmp_path).current
    assert (other / "data").read_text() == "mine"
    assert (tmp_path / "directory").is_symlink()


def test_what_is_set_aside_is_kept_with_its_reason_until_all_is_erased(tmp_path: Path) -> None:
    place = filled(own(tmp_path), "first")
    (tmp_path / "directory.aside-1").mkdir()
    (tmp_path / "directory.aside-1" / "data").write_text("mine")
    assert place.put_aside("the first\nreason") == "directory.aside-2"
    assert filled(place, "second").put_aside("another reason") == "directory.aside-3"
    filled(place, "third")
    place.swap(filled(place.beside()))
    assert own(tmp_path).set_aside == {"directory.aside-2": "the first reason", "directory.aside-3": "another reason"}
    assert (tmp_path / "directory.aside-2" / "data").read_text() == "first"
    own(tmp_path).erase()
    own(tmp_path).erase()
    assert [path.name for path in tmp_path.iterdir()] == ["directory.aside-1"]
    assert (tmp_path / "directory.aside-1" / "data").read_text() == "mine"


def test_a_folder_of_another_in_the_place_of_a_generation_that_was_made_once_is_not_swept(tmp_path: Path) -> None:
    place = filled(FolderPlace(tmp_path / "directory"))
    green = place.beside()
    # The process died before it made anything there, and a user makes a folder of that name.
    green.path.mkdir()
    (green.path / "accounts.csv").write_text("mine")
    place.sweep()
    assert (green.path / "accounts.csv").read_text() == "mine"

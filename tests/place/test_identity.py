"""Whose data a folder holds: what goes on, what is refused in one line, and nothing that is adopted in silence."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab import identity
from lab.base import BadInput
from lab.identity import Identity, Trait, begin, claim, confirm, read
from lab.place import IDENTITY, FolderPlace, read_file

COLUMNS = ("key int", "name str", "salary int")
MADE = Identity("a source of truth", {"truth.model": "events", "seed": 7, "entity employee": COLUMNS})


def refused(place: FolderPlace, wanted: Identity = MADE) -> str:
    """The one line with which the folder is refused; nothing in it may have changed."""
    before = content(place)
    with pytest.raises(BadInput) as one:
        claim(place, wanted)
    with pytest.raises(BadInput) as other:
        confirm(place, wanted)
    said = str(one.value)
    assert str(other.value) == said
    assert "\n" not in said
    assert said.startswith(f"{place.path}: ")
    assert said.endswith(")")
    assert content(place) == before
    return said


def content(place: FolderPlace) -> dict[str, bytes]:
    if not place.path.is_dir():
        return {}
    return {path.name: path.read_bytes() for path in place.path.iterdir() if path.is_file()}


@pytest.fixture
def place(tmp_path: Path) -> FolderPlace:
    return FolderPlace(tmp_path / "truth")


def test_the_first_claim_makes_it_and_the_next_one_finds_it(place: FolderPlace) -> None:
    assert confirm(place, MADE) is None
    assert not place.path.exists()
    made = claim(place, MADE)
    assert made.epoch == MADE.epoch
    again = replace(MADE, epoch="another", notes={"sqlite": "9"})
    found = claim(place, again)
    assert found.epoch == made.epoch
    assert (found.what, dict(found.traits)) == (MADE.what, dict(MADE.traits))
    assert set(found.notes) == {"lab", "python"}
    assert place.size_bytes() == 0
    assert not list(place.path.glob("*.partial"))


def test_two_folders_made_alike_are_two() -> None:
    assert len({Identity("a projection", {}).epoch for _ in range(50)}) == 50


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"truth.model": "history"}, "was made with truth.model = events, and history was asked for"),
        ({"seed": 8}, "was made with seed = 7, and 8 was asked for"),
        ({"seed": None}, "was made with seed = 7, and none was asked for"),
        ({"workload.skew": "0.8"}, "was made without workload.skew, and 0.8 was asked for"),
        (
            {"entity employee": ("key int", "name str", "salary float")},
            "was made with entity employee = salary int, and salary float was asked for",
        ),
        ({"entity employee": COLUMNS[:2]}, "was made with entity employee = salary int, and none was asked for"),
        (
            {"entity employee": COLUMNS[::-1]},
            "was made with entity employee = key int, name str, salary int, and salary int, name str, key int was",
        ),
        (
            # What follows from the model isn't told too.
            {"truth.model": "history", "seed": 8, "events": ("hired", "dismissed")},
            "was made with truth.model = events, and history was asked for; was made with seed = 7, and 8 was asked",
        ),
    ],
)
def test_another_one_is_refused_in_words(place: FolderPlace, wanted: dict[str, Trait | None], said: str) -> None:
    claim(place, MADE)
    traits = {name: value for name, value in {**MADE.traits, **wanted}.items() if value is not None}
    line = refused(place, Identity(MADE.what, traits))
    assert said in line
    assert "--fresh" in line
    assert claim(place, MADE).epoch == MADE.epoch


def test_a_projection_is_no_source_of_truth(place: FolderPlace) -> None:
    claim(place, MADE)
    said = refused(place, Identity("a projection", MADE.traits))
    assert "holds a source of truth, and a projection was asked for" in said


TRAITS = st.dictionaries(
    st.text(min_size=1, max_size=8),
    st.one_of(st.text(max_size=8), st.integers(), st.lists(st.text(max_size=4), min_size=1, max_size=3).map(tuple)),
    max_size=4,
)


@given(made=TRAITS, wanted=TRAITS)
def test_whatever_was_asked_for_goes_on_if_it_is_the_same_and_only_then(
    made: dict[str, Trait], wanted: dict[str, Trait], new_folder: Callable[[], Path]
) -> None:
    place = FolderPlace(new_folder() / "made")
    first = claim(place, Identity("a projection", made))
    assert dict(claim(place, Identity("a projection", made)).traits) == made
    if made == wanted:
        assert claim(place, Identity("a projection", wanted)).epoch == first.epoch
    else:
        with pytest.raises(BadInput, match="was asked for"):
            claim(place, Identity("a projection", wanted))


@given(data=st.data())
def test_no_damaged_identity_is_taken_for_another(data: st.DataObject, new_folder: Callable[[], Path]) -> None:
    """Cut off anywhere, or with a byte changed: it is refused, unless what it says is what it said."""
    place = FolderPlace(new_folder() / "made")
    claim(place, MADE)
    file = place.path / IDENTITY
    whole = file.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    other = data.draw(st.integers(0, 255))
    cut = data.draw(st.booleans())
    damaged = whole[:at] if cut else whole[:at] + bytes([other]) + whole[at + 1 :]
    file.write_bytes(damaged)
    found = None
    with suppress(BadInput):
        found = claim(place, MADE)
    assert found is None or (found.epoch, dict(found.traits)) == (MADE.epoch, dict(MADE.traits))


def test_data_of_unknown_origin_are_not_adopted(place: FolderPlace) -> None:
    place.path.mkdir()
    (place.path / "truth.sqlite").write_text("rows")
    said = refused(place)
    assert f"holds truth.sqlite and no {IDENTITY}: made by an older version of the lab, or not by it" in said


def test_a_folder_that_is_begun_while_it_is_read_is_not_of_unknown_origin(
    place: FolderPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begun_by_another(file: Path, errors: str = "replace") -> str | None:
        text = read_file(file, errors)
        monkeypatch.undo()
        claim(place, MADE)
        (place.path / "truth.sqlite").write_text("rows")
        return text

    monkeypatch.setattr("lab.identity.read_file", begun_by_another)
    assert read(place) is None
    found = read(place)
    assert found is not None
    assert found.what == MADE.what


def test_what_can_not_be_read_is_told(place: FolderPlace, tmp_path: Path) -> None:
    place.path.write_text("a file")
    assert "can't be read: Not a directory" in refused(place)
    place.path.unlink()
    place.path.mkdir()
    file = place.path / IDENTITY
    file.symlink_to(tmp_path / "elsewhere")
    assert "can't be read" in refused(place)
    file.unlink()
    os.mkfifo(file)
    assert "can't be read" in refused(place)
    file.unlink()
    file.write_bytes(b"\xff\xfe")
    assert "can't be read" in refused(place)
    file.write_text("[" * 100_000)
    assert "is damaged" in refused(place)


def test_another_format_is_another_version(place: FolderPlace) -> None:
    claim(place, MADE)
    file = place.path / IDENTITY
    said = json.loads(file.read_text()) | {"format": 2, "more": "that is not known here"}
    file.write_text(json.dumps(said))
    assert "has format 2, this one knows 1" in refused(place)


def test_data_that_are_gone_are_missed(place: FolderPlace) -> None:
    made = claim(place, MADE)
    # The process died before it had made anything.
    assert claim(place, MADE).epoch == made.epoch
    begun = begin(place, made)
    assert begin(place, begun) is begun
    assert "a source of truth was made here, and its data are gone" in refused(place)
    (place.path / "truth.sqlite").write_text("rows")
    assert claim(place, MADE) == begun


def test_nothing_is_written_through_a_link(place: FolderPlace, tmp_path: Path) -> None:
    place.path.mkdir()
    users = tmp_path / "accounts.csv"
    users.write_text("mine")
    (place.path / f"{IDENTITY}.partial").symlink_to(users)
    with pytest.raises(OSError, match="partial"):
        claim(place, MADE)
    assert users.read_text() == "mine"


def test_a_copy_takes_it_along_and_a_dropped_place_leaves_none(place: FolderPlace, tmp_path: Path) -> None:
    made = begin(place, claim(place, MADE))
    (place.path / "data").write_text("rows")
    copy = FolderPlace(tmp_path / "copy")
    place.path.rename(copy.path)
    assert claim(copy, MADE) == made
    assert copy.size_bytes() == 4
    copy.drop()
    assert identity.read(copy) is None

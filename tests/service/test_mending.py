"""The folder of a projection: whose it is, what is set aside, and what of others is left alone."""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from effort import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serving import SMALL, TEXT, Served, hire, lived, until, written

from lab.base import BadInput, Damaged
from lab.domain.model import Command
from lab.identity import read
from lab.place import IDENTITY, FolderPlace
from lab.service.folder import confirm, enrol, erase
from lab.service.locking import owned
from lab.service.mending import Origin, ProjectionHome
from lab.wiring import Plan

TWO = SMALL.partition('[[projection]]\nname = "gossip"')[0]


def home(made: Plan, folder: Path, said: list[str] | None = None) -> ProjectionHome:
    return ProjectionHome(made, made.projections[0], folder, [].append if said is None else said.append)


Used = Callable[[Plan, Path], ProjectionHome]


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Used:
    """Makes a folder that a service of `TWO` has been at work in: a copy of one that is made once."""
    root = tmp_path_factory.mktemp("used")
    worked = written(root, text=TWO)

    async def story(service: Served) -> None:
        for key in range(1, 6):
            await service.command(hire(key))
        await service.settled("directory")

    (root / "shop").mkdir()
    lived(worked, root / "shop", story)
    enrol(worked, root / "shop", journal=False)

    def copied(made: Plan, folder: Path) -> ProjectionHome:
        shutil.copytree(root / "shop", folder)
        return home(made, folder)

    return copied


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("projection.directory.store=duckdb.columnar",), ["directory.store = sqlite.table, and duckdb.columnar was"]),
        (("projection.directory.guard=dedupe",), ["directory.guard = revision"]),
        (("projection.directory.keeps=revisions",), ["directory.keeps = records"]),
        (("projection.directory.store=lmdb.keyvalue", "projection.directory.guard=dedupe"), ["store", "guard"]),
    ],
)
def test_a_folder_of_other_settings_is_refused_difference_by_difference(
    overrides: tuple[str, ...], said: list[str], tmp_path: Path, used: Used
) -> None:
    used(written(tmp_path, text=TWO), tmp_path / "shop")
    before = {path: path.read_bytes() for path in (tmp_path / "shop").rglob("*") if path.is_file()}
    with pytest.raises(BadInput) as told:
        confirm(written(tmp_path, *overrides, text=TWO), tmp_path / "shop", journal=False)
    assert len(told.value.problems) == len(said)
    for problem, words in zip(told.value.problems, said, strict=True):
        assert words in problem.what
        assert "--fresh" in problem.way_out
    assert {path: path.read_bytes() for path in (tmp_path / "shop").rglob("*") if path.is_file()} == before
    # What makes no difference to the files is no difference.
    confirm(written(tmp_path, "projection.directory.batch=7", "name=other", text=TWO), tmp_path / "shop", journal=False)


def test_what_was_left_goes_on_and_a_swapped_generation_has_an_identity_too(tmp_path: Path, used: Used) -> None:
    made = written(tmp_path, text=TWO)
    place = used(made, tmp_path / "shop").place
    first = read(place.current)

    async def story(service: Served) -> None:
        assert service.projections["directory"].position == 5
        await service.client.post("/projections/directory/rebuild")
        await until(lambda: service.projections["directory"].rebuild.state == "done")

    lived(made, tmp_path / "shop", story)
    second = read(place.current)
    assert place.current.generation == 1
    assert first is not None
    assert second is not None
    assert first.traits == second.traits
    assert first.epoch != second.epoch
    assert home(made, tmp_path / "shop").origin(place.current).begun


Harm = Callable[[Path], object]
HARMS: dict[str, Harm] = {
    "garbage": lambda folder: (folder / "projection.sqlite").write_bytes(os.urandom(20_000)),
    "empty": lambda folder: (folder / "projection.sqlite").write_bytes(b""),
    "gone": lambda folder: (folder / "projection.sqlite").unlink(),
    "identity": lambda folder: (folder / IDENTITY).write_text("{"),
    "link": lambda folder: (
        shutil.copy(folder / "projection.sqlite", folder.parent.parent / "other.sqlite"),
        (folder / "projection.sqlite").unlink(),
        (folder / "projection.sqlite").symlink_to(folder.parent.parent / "other.sqlite"),
    ),
}


@pytest.mark.parametrize("harm", HARMS)
def test_what_is_damaged_is_set_aside_and_built_anew(harm: str, tmp_path: Path, used: Used) -> None:
    made, said = written(tmp_path, text=TWO), list[str]()
    place = used(made, tmp_path / "shop").place
    HARMS[harm](place.path)
    projector = home(made, tmp_path / "shop", said).open()
    assert projector.checkpoint("employee") == 0
    projector.store.close()
    (line,) = said
    assert "set aside as directory.aside-1, and it is built anew" in line
    assert str(tmp_path) not in line
    assert [*place.set_aside] == ["directory.aside-1"]
    assert (place.path.parent / "directory.aside-1").is_dir()
    other = tmp_path / "other.sqlite"
    before = other.read_bytes() if other.exists() else b""

    async def story(service: Served) -> None:
        await service.settled("directory")
        assert len((await service.query("directory/employee", key=3)).json()["rows"]) == 1
        health = (await service.client.get("/health")).json()
        assert [*health["set_aside"]["directory"]] == ["directory.aside-1"]

    lived(made, tmp_path / "shop", story)
    assert not other.exists() or other.read_bytes() == before


def test_what_the_machine_is_to_blame_for_is_not_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, used: Used
) -> None:
    made = written(tmp_path, text=TWO)
    place = used(made, tmp_path / "shop").place
    store = type(made.projections[0].store(place))

    def refuses(self: object) -> None:
        raise failure

    failure: BaseException
    for failure in (OSError(28, "No space left on device"), RuntimeError("of an engine"), Damaged("not whole")):
        with monkeypatch.context() as patch:
            # An empty one can't be opened either.
            patch.setattr(store, "open", refuses)
            with pytest.raises(type(failure)):
                home(made, tmp_path / "shop").open()
    assert not place.set_aside
    assert not [path.name for path in place.path.parent.iterdir() if path.name.startswith("directory.")]
    projector = home(made, tmp_path / "shop").open()
    assert projector.checkpoint("employee") == 5
    projector.store.close()


def test_a_projection_that_messages_alone_feed_is_told_not_to_be_rebuilt(tmp_path: Path, used: Used) -> None:
    made, said = written(tmp_path, "projection.directory.subscribe=channel", text=TWO), list[str]()
    place = used(written(tmp_path, text=TWO), tmp_path / "shop").place
    (place.path / "projection.sqlite").write_bytes(os.urandom(20_000))
    home(made, tmp_path / "shop", said).open().store.close()
    assert "messages alone feed it" in said[0]


def test_damage_that_is_met_in_mid_life_ends_the_work_and_nothing_is_answered(tmp_path: Path) -> None:
    made = written(tmp_path, text=TWO)

    async def story(service: Served) -> None:
        await service.command(hire(1))
        await service.settled("directory")
        directory = service.projections["directory"]
        assert not directory.suspect(ValueError("of a question"))
        directory.worker.projector.store.query = raising  # type: ignore[method-assign]
        refused = await service.query("directory/employee", key=1)
        assert (refused.status_code, directory.unfit) == (503, "cut off")
        assert "built anew" in refused.json()["detail"]
        await service.command(hire(2))
        assert (await service.query("directory/employee", key=1)).status_code == 503
        assert (await service.client.post("/projections/directory/rebuild")).status_code == 503
        assert directory.position == 1

    def raising(*_: object) -> list[tuple[object, ...]]:
        raise Damaged("cut off")

    lived(made, tmp_path, story)


def test_a_source_of_truth_that_was_put_back_is_noticed(tmp_path: Path, used: Used) -> None:
    """By what was to be written, not by the checkpoint alone: messages run ahead of it."""
    shop = tmp_path / "shop"
    used(written(tmp_path, text=TWO), shop)
    made = written(tmp_path, "catch_up.every=3600", text=TWO)
    shutil.copytree(shop / "truth", tmp_path / "backup")

    async def further(service: Served) -> None:
        for key in range(6, 10):
            await service.command(hire(key))
        await until(lambda: service.projections["directory"].worker.newest == 9)

    lived(made, shop, further)
    shutil.rmtree(shop / "truth")
    shutil.copytree(tmp_path / "backup", shop / "truth")

    async def noticed(service: Served) -> None:
        directory = service.projections["directory"]
        await until(lambda: bool(directory.unfit))
        assert "(it has come to position 9, the source to 5)" in directory.unfit
        assert (await service.query("directory/employee", key=9)).status_code == 503

    with pytest.raises(Exception, match="position 9"):
        lived(made, shop, noticed)
    again = home(made, shop)
    again.set_aside("ahead")
    assert again.reached().position == 0


def test_a_source_that_branched_and_has_gone_on_since_is_noticed_and_a_restart_of_it_is_no_branch(
    tmp_path: Path, used: Used
) -> None:
    made, shop = written(tmp_path, text=TWO), tmp_path / "shop"
    used(made, shop)
    shutil.copytree(shop / "truth", tmp_path / "backup")
    for _ in range(2):
        # Opened again and again, it is the same history.
        lived(made, shop, hiring(3))
    assert not home(made, shop).place.set_aside
    shutil.rmtree(shop / "truth")
    shutil.copytree(tmp_path / "backup", shop / "truth")
    # Without the projection it goes on, further than the projection had come.
    truth = made.truth(FolderPlace(shop / "truth"))
    for key in range(100, 120):
        truth.execute(Command("employee", "hire", key, hire(key)["fields"]))
    truth.close()

    async def noticed(service: Served) -> None:
        await until(lambda: bool(service.projections["directory"].unfit))
        assert "another one, or an older state" in service.projections["directory"].unfit

    with pytest.raises(Exception, match="an older state"):
        lived(made, shop, noticed)


def hiring(number: int) -> Callable[[Served], Awaitable[None]]:
    async def story(service: Served) -> None:
        for _ in range(number):
            await service.command(hire(service.executor.head + 1))
        await service.settled("directory")

    return story


def test_a_damaged_source_of_truth_is_not_taken_for_damage_of_the_projection(tmp_path: Path) -> None:
    made, shop = written(tmp_path, text=TWO), tmp_path / "shop"

    async def story(service: Served) -> None:
        await service.command(hire(1))
        await service.settled("directory")
        directory = service.projections["directory"]

        asked = 0

        def raising(*_: object) -> int:
            nonlocal asked
            asked += 1
            raise error

        error = sqlite3.DatabaseError("database disk image is malformed")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        assert directory.source.truth is not None
        directory.source.truth.head = raising  # type: ignore[method-assign]
        polls = directory.journal.counts["polls"]
        await until(lambda: asked >= 3)
        assert not directory.unfit
        assert len((await service.query("directory/employee", key=1)).json()["rows"]) == 1
        assert directory.journal.counts["polls"] == polls

    lived(made, shop, story)


names = st.sampled_from(
    ["notes.txt", "directory.1", "directory.2024", "directory.old", "directory.aside-1", ".directory", "Directory",
     "truth.bak", "gossip", ".notes", "x" * 255, "directory-1", ".directory.generations.old", "a b", "ä"]
)  # fmt: skip
inside = st.sampled_from(["", "directory/", "truth/"])
theirs = st.dictionaries(st.tuples(inside, names), st.binary(max_size=8), max_size=6)


@settings(max_examples=examples(4), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=theirs, after=theirs)
def test_what_lies_beside_or_inside_is_never_changed(
    before: dict[tuple[str, str], bytes],
    after: dict[tuple[str, str], bytes],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    root = tmp_path_factory.mktemp("theirs")
    made, shop = written(root, text=TWO), root / "shop"
    shop.mkdir()
    kept: dict[Path, bytes] = {}

    def add(files: dict[tuple[str, str], bytes], within: tuple[str, ...]) -> None:
        for (folder, name), data in files.items():
            # As a folder with a file in it where a name looks like a generation.
            path = shop / folder / name / "file" if name.startswith("directory.") else shop / folder / name
            if folder in within and path not in kept and not os.path.lexists(shop / folder / name):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
                kept[path] = data

    async def story(service: Served) -> None:
        await service.command(hire(len(kept) + 1))
        await service.settled("directory")
        await service.client.post("/projections/directory/rebuild")
        await until(lambda: service.projections["directory"].rebuild.state == "done")

    add(before, ("", "directory/"))
    lived(made, shop, story)
    enrol(made, shop, journal=False)
    add(after, ("", "directory/", "truth/"))
    lived(made, shop, story)
    home(made, shop).set_aside("for a trial")
    erase(made, shop)
    assert {path: path.read_bytes() for path in kept if path.exists()} == kept
    left = {path for path in shop.rglob("*") if path.is_file() and path.name != ".service.lock"}
    assert left == set(kept)


def test_begun_anew_twice_and_on_an_empty_folder(tmp_path: Path, used: Used) -> None:
    made = written(tmp_path, text=TEXT)
    erase(made, tmp_path / "none")
    used(written(tmp_path, text=TWO), tmp_path / "shop")
    for _ in range(2):
        erase(made, tmp_path / "shop")
        assert [*(tmp_path / "shop").iterdir()] == []
    assert Origin() == home(made, tmp_path / "shop").origin(home(made, tmp_path / "shop").place)


@pytest.mark.parametrize("damaged", [False, True])
def test_begun_anew_with_another_engine_nothing_of_the_former_one_is_left(
    damaged: bool, tmp_path: Path, used: Used
) -> None:
    shop = tmp_path / "shop"
    used(written(tmp_path, text=TWO), shop)
    for engine in ("duckdb", "sqlite"):
        made = written(tmp_path, f"truth.engine={engine}", text=TWO)
        with pytest.raises(BadInput, match=r"truth\.engine"):
            made.confirm_truth(FolderPlace(shop / "truth"))
        (shop / "truth" / "notes.txt").write_text("a user's")
        if damaged:
            (shop / "truth" / IDENTITY).write_text("{")
        erase(made, shop)
        assert [path.name for path in shop.rglob("*")] == ["truth", "notes.txt"]
        (shop / "truth" / "notes.txt").unlink()
        lived(made, shop, hiring(2))
        enrol(made, shop, journal=False)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text[:-20], "is damaged"),
        (lambda text: text.replace("directory", "archive"), "is damaged"),
        (lambda text: text.replace('"format": 1', '"format": 2'), "has format 2, this one knows 1"),
    ],
)
def test_what_a_service_noted_and_can_not_be_read_is_not_written_over(
    change: Callable[[str], str], said: str, tmp_path: Path, used: Used
) -> None:
    made, shop = written(tmp_path, text=TWO), tmp_path / "shop"
    used(made, shop)
    text = change((shop / IDENTITY).read_text())
    (shop / IDENTITY).write_text(text)
    for record in (confirm, enrol):
        with pytest.raises(BadInput, match=said):
            record(made, shop, journal=True)
    assert (shop / IDENTITY).read_text() == text
    erase(made, shop)
    assert [*shop.iterdir()] == []


def test_a_lock_that_its_holder_removed_excludes_no_one_and_the_next_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, flock = tmp_path / ".part.lock", fcntl.flock

    def late(file: int, how: int) -> None:
        # Between the two steps of the one that waits, the holder removes the file and ends.
        monkeypatch.setattr(fcntl, "flock", flock)
        lock.unlink()
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with owned(tmp_path, "part", 1.0):
        assert lock.exists()
        with pytest.raises(BadInput, match="another process is at work on `part`"), owned(tmp_path, "part"):
            pass
    with owned(tmp_path, "part"):
        pass


@pytest.mark.parametrize(
    ("name", "said"),
    [("service", "its folder"), ("Truth", "reserved for the source of truth"), ("DIRECTORY", "case alone")],
)
def test_a_name_whose_folder_would_be_of_another_is_refused(name: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=said):
        written(tmp_path, text=SMALL.replace('name = "gossip"', f'name = "{name}"'))

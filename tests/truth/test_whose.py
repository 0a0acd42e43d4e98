"""Whose source of truth a place holds: what goes on, what is refused, and what is missed when files are exchanged."""

from __future__ import annotations

import itertools
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from pieces import IN_FILES, commands

from lab.base import BadInput, SourceLost
from lab.domain.employees import EMPLOYEES
from lab.domain.model import Domain
from lab.engines import sqlite as driver
from lab.place import IDENTITY, FolderPlace
from lab.scenario import Source
from lab.truth import Opening, Truth, follows, open_beside, open_truth
from lab.wiring import Plan, plan

MODELS = ("snapshot", "history", "events")
each = pytest.mark.parametrize(("engine", "model"), list(itertools.product(IN_FILES, MODELS)))
ORDERS = commands(60, seed=3, records=20, deletes=0.1, invalid=0.0)


def opened(place: FolderPlace, engine: str = "sqlite", model: str = "history", **more: Any) -> Truth:
    return open_truth(engine, model, place, more.pop("domain", EMPLOYEES), "normal", **more)


def file_of(place: FolderPlace, engine: str) -> Path:
    return place.path / f"truth.{engine}"


def changed(**kinds: str) -> Domain:
    """The domain with columns of another type, or more of them."""
    employee = EMPLOYEES.entities["employee"]
    other = replace(employee, columns={**employee.columns, **kinds})
    members = {name: getattr(EMPLOYEES, name) for name in dir(EMPLOYEES) if not name.startswith("_")}
    return SimpleNamespace(**members | {"entities": {"employee": other}})  # type: ignore[return-value]


@each
def test_another_one_is_refused_and_nothing_is_changed(engine: str, model: str, tmp_path: Path) -> None:
    place = FolderPlace(tmp_path / "truth")
    truth = opened(place, engine, model, more={"seed": 7})
    truth.execute(ORDERS[0])
    truth.close()
    before = {path.name: path.read_bytes() for path in place.path.iterdir()}
    for other in {*MODELS} - {model}:
        with pytest.raises(BadInput, match=f"was made with truth.model = {model}, and {other} was asked for"):
            opened(place, engine, other, more={"seed": 7})
    for other in {*IN_FILES} - {engine}:
        with pytest.raises(BadInput, match=f"was made with truth.engine = {engine}, and {other} was asked for"):
            opened(place, other, model, more={"seed": 7})
    with pytest.raises(BadInput, match="was made with seed = 7, and 8 was asked for"):
        opened(place, engine, model, more={"seed": 8})
    with pytest.raises(BadInput, match="entity employee = salary int, and salary float was asked for"):
        opened(place, engine, model, more={"seed": 7}, domain=changed(salary="float"))
    with pytest.raises(BadInput, match="and bonus int was asked for"):
        opened(place, engine, model, more={"seed": 7}, domain=changed(bonus="int"))
    assert {path.name: path.read_bytes() for path in place.path.iterdir()} == before
    truth = opened(place, engine, model, more={"seed": 7})
    assert truth.head("employee") == 1
    truth.close()


def test_a_reader_beside_it_asks_for_what_it_must_understand(tmp_path: Path) -> None:
    place = FolderPlace(tmp_path / "truth")
    assert open_beside("sqlite", "events", place, EMPLOYEES, "normal") is None
    assert not place.path.exists()
    truth = opened(place, more={"seed": 7})
    beside = open_beside("sqlite", "history", place, EMPLOYEES, "normal")
    assert beside is not None
    assert beside.timeline() == truth.timeline()
    beside.close()
    with pytest.raises(BadInput, match=r"was made with truth\.model = history, and events was asked for"):
        open_beside("sqlite", "events", place, EMPLOYEES, "normal")
    with pytest.raises(BadInput, match="salary float was asked for"):
        open_beside("sqlite", "history", place, changed(salary="float"), "normal")
    truth.close()


@pytest.mark.parametrize("engine", IN_FILES)
def test_files_that_are_gone_or_anothers_are_missed(engine: str, tmp_path: Path) -> None:
    place, other = FolderPlace(tmp_path / "truth"), FolderPlace(tmp_path / "other")
    for one in (place, other):
        opened(one, engine).close()
    file, log = file_of(place, engine), file_of(place, engine).with_name("truth.sqlite-wal")
    kept = file.read_bytes()
    file.write_bytes(file_of(other, engine).read_bytes())
    with pytest.raises(SourceLost, match="the file of another source of truth is in the place"):
        opened(place, engine)
    file.unlink()
    log.write_text("what may be the last that there is of it")
    with pytest.raises(SourceLost, match=rf"the source of truth was here, and truth\.{engine} is gone"):
        opened(place, engine)
    # The engine would have removed the log of a missing file.
    assert log.exists()
    log.unlink()
    with pytest.raises(BadInput, match="a source of truth was made here, and its data are gone"):
        opened(place, engine)
    if engine == "sqlite":
        sqlite3.connect(file).close()
        file.touch()
        with pytest.raises(SourceLost, match="an empty file is in its place"):
            opened(place, engine)
        log.unlink(missing_ok=True)
    file.write_bytes(kept)
    opened(place, engine).close()


def test_a_reader_of_anothers_file_is_refused_and_leaves_no_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, other = FolderPlace(tmp_path / "truth"), FolderPlace(tmp_path / "other")
    for one in (place, other):
        opened(one).close()
    shutil.copy(file_of(other, "sqlite"), file_of(place, "sqlite"))
    made, connect = list[sqlite3.Connection](), driver.connect_beside

    def remembered(file: Path) -> sqlite3.Connection:
        made.append(connect(file))
        return made[-1]

    monkeypatch.setattr(driver, "connect_beside", remembered)
    with pytest.raises(SourceLost, match="the file of another source of truth"):
        open_beside("sqlite", "history", place, EMPLOYEES, "normal")
    truth = opened(other)
    assert truth.identity is not None
    truth.identity = replace(truth.identity, epoch="another")
    with pytest.raises(SourceLost, match="the file of another source of truth"):
        truth.beside()
    truth.close()
    assert len(made) == 2
    for connection in made:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")


@pytest.mark.parametrize("engine", IN_FILES)
def test_a_file_with_two_names_is_refused(engine: str, tmp_path: Path) -> None:
    place = FolderPlace(tmp_path / "truth")
    opened(place, engine).close()
    file = file_of(place, engine)
    (tmp_path / "second").hardlink_to(file)
    with pytest.raises(BadInput, match="has a second name"):
        opened(place, engine)
    file.unlink()
    file.symlink_to(tmp_path / "second")
    with pytest.raises(BadInput, match="is a symbolic link"):
        opened(place, engine)
    # A folder may have a second name: its files have one each in it.
    file.unlink()
    (tmp_path / "second").rename(file)
    (tmp_path / "linked").symlink_to(place.path)
    opened(FolderPlace(tmp_path / "linked"), engine).close()


def test_with_an_epoch_none_is_begun_and_no_other_one_is_opened(tmp_path: Path) -> None:
    place = FolderPlace(tmp_path / "truth")
    with pytest.raises(SourceLost, match="is gone, and none is begun in its place"):
        opened(place, epoch="0123")
    assert not place.path.exists()
    truth = opened(place)
    assert truth.identity is not None
    truth.close()
    with pytest.raises(SourceLost, match="another source of truth was put in the place"):
        opened(place, epoch="0123")
    opened(place, epoch=truth.identity.epoch).close()


@each
def test_what_becomes_of_an_open_file_is_seen(engine: str, model: str, tmp_path: Path) -> None:
    place = FolderPlace(tmp_path / "truth")
    truth = opened(place, engine, model)
    for order in ORDERS:
        truth.execute(order)
        assert truth.lost() is None
    if engine == "duckdb":
        # A checkpoint removes the log, and so does a query that takes the connection.
        truth.begin()
        truth.rollback()
        truth._execute("CHECKPOINT")  # type: ignore[attr-defined]
        assert truth.lost() is None
        truth.execute(replace(ORDERS[0], key=1_000))
    file = file_of(place, engine)
    copy = shutil.copy(file, tmp_path / "copy")
    file.rename(tmp_path / "moved")
    assert truth.lost() == f"{file.name} was deleted"
    Path(copy).rename(file)
    assert truth.lost() == f"{file.name} was replaced by another file"
    (tmp_path / "moved").rename(file)
    assert truth.lost() is None
    kept = file.read_bytes()
    file.write_bytes(b"")
    assert truth.lost() == f"{file.name} was emptied"
    file.write_bytes(kept)
    assert truth.lost() is None
    # What was committed last is in the log alone.
    log = file.with_name({"sqlite": "truth.sqlite-wal", "duckdb": "truth.duckdb.wal"}[engine])
    log.rename(tmp_path / "log")
    assert truth.lost() == f"{log.name} was deleted"
    (tmp_path / "log").rename(log)
    assert truth.lost() is None
    place.path.rename(tmp_path / "elsewhere")
    assert truth.lost() == f"{file.name} was deleted"
    (tmp_path / "elsewhere").rename(place.path)
    truth.close()


@each
def test_the_newest_commit_is_found(engine: str, model: str, tmp_path: Path) -> None:
    truth = opened(FolderPlace(tmp_path / "truth"), engine, model)
    assert truth.newest_commit() == 0.0
    truth.execute(replace(ORDERS[0], at=1e9))
    truth.execute(replace(ORDERS[1], at=2e9))
    truth.execute(replace(ORDERS[2], at=5.0))
    assert truth.newest_commit() == 2e9
    truth.close()


class Story:
    """A folder that is written, backed up and put back, and a reader that remembers where it was."""

    def __init__(self, folder: Path, engine: str, model: str) -> None:
        self.folder, self.engine, self.model = folder, engine, model
        self.place, self.orders = FolderPlace(folder / "truth"), itertools.count()
        # What is there, by a name of its own for each change; and the same for backups and for what the reader read.
        self.there: list[int] = []
        self.backups: list[tuple[Path, list[int]]] = []
        self.read: tuple[str, list[int]] | None = None
        self.truth = opened(self.place, engine, model)

    def write(self, count: int) -> None:
        for number in itertools.islice(self.orders, count):
            order = replace(ORDERS[0], key=number + 1, fields={**ORDERS[0].fields, "manager": None})
            assert self.truth.execute(order).position == len(self.there) + 1
            self.there.append(number)

    def again(self) -> None:
        self.truth.close()
        self.truth = opened(self.place, self.engine, self.model)

    def back_up(self) -> None:
        self.truth.close()
        copy = self.folder / f"backup-{len(self.backups)}"
        shutil.copytree(self.place.path, copy)
        self.backups.append((copy, [*self.there]))
        self.truth = opened(self.place, self.engine, self.model)

    def restore(self, number: int) -> None:
        copy, there = self.backups[number % len(self.backups)]
        self.truth.close()
        self.place.drop()
        shutil.copytree(copy, self.place.path)
        self.there = [*there]
        self.truth = opened(self.place, self.engine, self.model)

    def look(self, share: int) -> None:
        """Read up to some position, as a projection does."""
        self.read = self.truth.timeline()[-1].id, self.there[: len(self.there) * share // 4]

    def check(self) -> None:
        openings, head = self.truth.timeline(), self.truth.head("employee")
        assert head == len(self.there)
        assert [one.head for one in openings] == sorted(one.head for one in openings)
        if self.read is not None:
            last, content = self.read
            said = follows(openings, last, len(content), head)
            # An opening that is missing may be a false alarm; nothing that is gone is taken to be there.
            assert not said or self.there[: len(content)] == content
            assert said or last not in {one.id for one in openings} or self.there[: len(content)] != content


STEPS = st.one_of(
    st.tuples(st.just("write"), st.integers(1, 4)),
    st.tuples(st.just("look"), st.integers(0, 4)),
    st.tuples(st.just("restore"), st.integers(0, 3)),
    st.tuples(st.sampled_from(["again", "back_up"]), st.none()),
)


def told(story: Story, steps: list[tuple[str, int | None]]) -> None:
    for name, argument in steps:
        if name != "restore" or story.backups:
            getattr(story, name)(*([] if argument is None else [argument]))
        story.check()
    story.truth.close()


@settings(max_examples=examples(15))
@given(steps=st.lists(STEPS, max_size=16), model=st.sampled_from(["history", "events"]))
def test_an_older_state_that_was_put_back_is_found_out_whatever_came_since(
    steps: list[tuple[str, int | None]], model: str, new_folder: Callable[[], Path]
) -> None:
    told(Story(new_folder(), "sqlite", model), steps)


def test_an_older_state_is_found_out_in_duckdb_too(tmp_path: Path) -> None:
    story = Story(tmp_path, "duckdb", "history")
    told(story, [("write", 2), ("back_up", None), ("write", 2), ("look", 4), ("restore", 0), ("write", 4)])
    assert story.read is not None


def test_positions_that_another_branch_has_taken_are_not_those_that_were_read() -> None:
    openings = [Opening("a", 0), Opening("b", 10), Opening("c", 20)]
    assert follows(openings, "a", 10, 30)
    assert not follows(openings, "a", 11, 30)
    assert follows(openings, "c", 30, 30)
    assert not follows(openings, "c", 31, 30)
    assert not follows(openings, "lost", 1, 30)


def test_each_opening_by_a_writer_is_in_the_timeline_and_a_load_is_none(tmp_path: Path) -> None:
    place = FolderPlace(tmp_path / "truth")
    truth = opened(place)
    assert truth.identity is not None
    first = truth.identity.epoch
    assert truth.timeline() == [Opening(first, 0)]
    truth.execute(ORDERS[0])
    truth.close()
    truth = opened(place)
    assert [(one.id == first, one.head) for one in truth.timeline()] == [(True, 0), (False, 1)]
    assert truth.settings()["durability"] == "normal"
    truth.close()


OWN = """
schema = 1
name = "orders"
seed = 1
[domain]
name = "trace"
[[domain.entity]]
name = "order"
file = "FILE"
key = ["id"]
time = "at"
[[projection]]
name = "table"
store = "memory"
"""
ROWS = "id,at,total\n1,2024-01-01 10:00:00,10\n2,2024-01-01 11:00:00,20\n"


def own(folder: Path, file: str = "orders.csv") -> Plan:
    path = folder / "orders.toml"
    path.write_text(OWN.replace("FILE", file))
    return plan(Source(path))


def test_own_data_that_have_changed_are_refused(tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text(ROWS)
    place = FolderPlace(tmp_path / "truth")
    own(tmp_path).truth(place).close()
    own(tmp_path).truth(place).close()
    (tmp_path / "orders.csv").write_text(ROWS.replace("20", "21"))
    with pytest.raises(BadInput, match=r"was made with the content of orders.csv = SHA-256 [0-9a-f]{16}, and SHA-256"):
        own(tmp_path).confirm_truth(place)
    with pytest.raises(BadInput, match="was asked for"):
        own(tmp_path).truth(place)


def test_a_database_is_known_by_its_rows_and_not_by_its_file(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "shop.db")
    database.executescript("CREATE TABLE orders (id INTEGER, at TEXT, total INTEGER); CREATE TABLE other (a)")
    database.execute("INSERT INTO orders VALUES (1, '2024-01-01 10:00:00', 10)")
    database.commit()
    place = FolderPlace(tmp_path / "truth")
    own(tmp_path, "shop.db:orders").truth(place).close()
    database.execute("INSERT INTO other VALUES (1)")
    database.commit()
    own(tmp_path, "shop.db:orders").truth(place).close()
    database.execute("UPDATE orders SET total = 11")
    database.commit()
    database.close()
    with pytest.raises(BadInput, match=r"the content of shop.db:orders"):
        own(tmp_path, "shop.db:orders").truth(place)


def test_a_copy_of_a_folder_is_opened_as_what_it_is(tmp_path: Path) -> None:
    place, copy = FolderPlace(tmp_path / "truth"), FolderPlace(tmp_path / "copy")
    opened(place).close()
    shutil.copytree(place.path, copy.path)
    opened(copy).close()
    (copy.path / IDENTITY).unlink()
    with pytest.raises(BadInput, match="made by an older version of the lab, or not by it"):
        opened(copy)

"""The source of truth in PostgreSQL: writers at the same time, crashes, lost connections, and what it can't hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pieces import commands

from lab.base import BadInput, CannotTake, ReadOnly, SourceLost
from lab.domain.employees import EMPLOYEES
from lab.domain.model import Command
from lab.place import FolderPlace
from lab.servers.postgres import SERVER
from lab.truth import Truth, join_truth, open_beside, open_truth
from lab.truth.postgres import Postgres

pytestmark = pytest.mark.server("postgres")
MODELS = ("snapshot", "history", "events")
each_model = pytest.mark.parametrize("model", MODELS)
Joined = Callable[[], Postgres]


@pytest.fixture
def model() -> str:
    """The write model, unless a test has several."""
    return "history"


@pytest.fixture
def joined(model: str, tmp_path: Path) -> Iterator[Joined]:
    """A source of truth that is open, and a function that joins it: for a writer of its own."""
    place = FolderPlace(tmp_path / "truth")
    first = open_truth("postgres", model, place, EMPLOYEES, "normal")
    others: list[Truth] = []

    def join() -> Postgres:
        truth = join_truth("postgres", model, place, EMPLOYEES, "normal")
        assert isinstance(truth, Postgres)
        others.append(truth)
        return truth

    yield join
    for other in others:
        other.close()
    first.drop()


def hire(key: int, manager: int | None = None, **more: Any) -> Command:
    fields = {"name": f"Number {key}", "manager": manager, "department": "Sales", "salary": 3_000}
    return Command("employee", "hire", key, fields | more)


def move(key: int, manager: int) -> Command:
    return Command("employee", "move", key, {"manager": manager, "department": "Legal"})


def rows(truth: Postgres) -> list[tuple[int, int, int]]:
    """Position, key and revision of every row, read by a connection that has nothing to do with the lab's reading."""
    with SERVER.connect() as other:
        found = other.execute(f"SELECT position, key, revision FROM {truth.on.schema}.employee ORDER BY position")
        return [(int(position), int(key), int(revision)) for position, key, revision in found.fetchall()]


def terminate(truth: Postgres) -> None:
    """Have the server end the writer's connection."""
    with SERVER.connect() as other:
        process = truth.on.session.connection.info.backend_pid
        other.execute("SELECT pg_terminate_backend($1::integer, 5000)", [process])


# Writers at the same time


# Crashes and lost connections


def test_a_schema_that_is_gone_or_another_is_missed(tmp_path: Path) -> None:
    place = FolderPlace(tmp_path / "truth")
    truth = open_truth("postgres", "history", place, EMPLOYEES, "normal")
    assert isinstance(truth, Postgres)
    truth.execute(hire(1))
    assert truth.lost() is None
    schema = truth.on.schema
    with SERVER.connect() as other:
        other.execute(f"ALTER SCHEMA {schema} RENAME TO {schema}x")
        assert truth.lost() == f"schema {schema} was dropped"
        other.execute(f"ALTER SCHEMA {schema}x RENAME TO {schema}")
        assert truth.lost() is None
        terminate(truth)
        assert truth.lost() is None
        other.execute(f"DROP SCHEMA {schema} CASCADE")
        assert truth.lost() == f"schema {schema} was dropped"
        truth.close()
        for again in (open_truth, join_truth, open_beside):
            with pytest.raises(SourceLost, match="the source of truth was here, and its schema is gone"):
                again("postgres", "history", place, EMPLOYEES, "normal")
        other.execute(f"CREATE SCHEMA {schema}")
    with pytest.raises(SourceLost):
        open_truth("postgres", "history", place, EMPLOYEES, "normal")
    truth.drop()
    assert not place.path.exists()


def test_another_ones_schema_is_refused(tmp_path: Path) -> None:
    place, other = FolderPlace(tmp_path / "truth"), FolderPlace(tmp_path / "other")
    truths = [open_truth("postgres", "history", one, EMPLOYEES, "normal") for one in (place, other)]
    (place.path / ".lab-on-server").write_text((other.path / ".lab-on-server").read_text())
    with pytest.raises(SourceLost, match="another source of truth"):
        open_truth("postgres", "history", place, EMPLOYEES, "normal")
    with pytest.raises(BadInput, match=r"was made with truth\.model = history, and events was asked for"):
        join_truth("postgres", "events", place, EMPLOYEES, "normal")
    for truth in truths:
        truth.drop()


# What it holds


@each_model
def test_values_come_back_as_they_were(model: str, joined: Joined) -> None:
    truth, long = joined(), "\u00e4\U0001f986 'quoted' \\ \t\n" * 60_000
    salaries = (2**63 - 1, 1, 3_000, 4_000)
    names = (long, "e\u0301", "\u00e9", "\uffff\U00010000")
    for key, (name, salary) in enumerate(zip(names, salaries, strict=True), 1):
        assert truth.execute(hire(key, None if key == 1 else 1, name=name, salary=salary)).status == "accepted"
    for key, (name, salary) in enumerate(zip(names, salaries, strict=True), 1):
        record = truth.get("employee", key)
        assert record is not None
        assert (record.state["name"], record.state["salary"]) == (name, salary)
    small = truth.changes_since("employee", 0, 10)
    assert small["name"].to_list() == list(names)
    assert small["manager"].to_list() == [None, 1, 1, 1]
    # A large page goes another way.
    copied = truth.on.frame(truth._page("employee", small.columns), (0, 10**6), dict(small.schema))
    assert copied.equals(small)
    beside = truth.beside()
    assert beside.changes_since("employee", 0, 10).equals(small)
    with pytest.raises(ReadOnly):
        beside.execute(hire(9, 1))
    beside.close()


@each_model
def test_what_it_cannot_hold_is_one_clear_error_and_leaves_nothing(model: str, joined: Joined) -> None:
    truth = joined()
    truth.execute(hire(1))
    with pytest.raises(CannotTake, match=r"employee 2: `name`: PostgreSQL holds no text with a NUL.* truth\.engine"):
        truth.execute_together([(hire(3, 1), "three"), (hire(2, 1, name="a\0b"), "two")])
    with pytest.raises(CannotTake):
        truth.execute(hire(2, 1, salary=2**63), "two")
    assert truth.answered("three") is None
    assert truth.head("employee") == 1
    assert truth.execute(hire(2, 1), "two").status == "accepted"


def test_a_page_reads_through_large_loads_and_positions_go_on_above(joined: Joined) -> None:
    truth = joined()
    made = [truth.execute(order) for order in commands(40, invalid=0.0)]
    whole = truth.changes_since("employee", 0, 100)
    many = pl.concat(
        whole.with_columns(pl.col("position") + 100 * turn, pl.col("key") + 1_000 * turn) for turn in range(1, 40)
    ).with_columns(event=pl.lit("hired"))
    truth.load("employee", many)
    found = truth.changes_since("employee", 100, 10**6)
    assert found.equals(many.drop("event"))
    newest = int(many["position"].max())  # type: ignore[arg-type]
    assert truth.execute(replace(hire(10**6), fields=hire(10**6, 1).fields)).position in (newest + 1, None)
    assert made

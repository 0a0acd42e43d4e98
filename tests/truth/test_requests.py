"""Requests: a command that is sent again gets the outcome that it had, and is not done twice."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from pieces import TRUTHS, commands

from lab.domain.employees import EMPLOYEES
from lab.feed.reader import ChangeReader
from lab.place import FolderPlace
from lab.truth import Truth, make_truth, open_truth

MODELS = ("snapshot", "history", "events")


def states(truth: Truth) -> pl.DataFrame:
    return ChangeReader(truth).changes_since("employee", 0, 10**6)


# A commit takes DuckDB milliseconds, and a server some round trips.
COUNTS = {"sqlite": 120, "duckdb": 12, "postgres": 30, "mariadb": 30}


@pytest.mark.parametrize("engine", TRUTHS)
@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=examples(4))
@given(again=st.lists(st.integers(0, 119), max_size=60), reopened=st.sets(st.integers(0, 119), max_size=3))
def test_sent_again_a_command_is_answered_and_not_done(
    model: str, engine: str, again: list[int], reopened: set[int], new_folder: Callable[[], Path]
) -> None:
    """Any request may come again at any later time, before and after the process has started anew."""
    count, folder = COUNTS[engine], new_folder()
    work = commands(count, invalid=0.2, records=min(count, 30))
    again, reopened = [number % count for number in again][:count], {number % count for number in reopened}
    once = open_truth(engine, model, FolderPlace(folder / "once"), EMPLOYEES, "normal")
    wanted = [once.execute(command) for command in work]
    truth = open_truth(engine, model, FolderPlace(folder / "again"), EMPLOYEES, "normal")
    published: list[int] = []
    truth.publish = lambda change: published.append(change.position)
    for number, command in enumerate(work):
        assert truth.execute(command, request=f"r{number}") == wanted[number]
        if number in reopened:
            truth.close()
            truth.open()
        for former in (one for one in again if one <= number):
            assert truth.execute(work[former], request=f"r{former}") == wanted[former]
    assert states(truth).equals(states(once))
    # What was not done again was not published again either.
    assert published == [outcome.position for outcome in wanted if outcome.position is not None]
    for one in (once, truth):
        one.drop()


@pytest.mark.parametrize("engine", TRUTHS)
@pytest.mark.parametrize("model", MODELS)
def test_another_command_under_the_same_id_is_not_decided_and_gets_no_others_answer(
    model: str, engine: str, tmp_path: Path
) -> None:
    first, second = commands(2)
    truth = open_truth(engine, model, FolderPlace(tmp_path), EMPLOYEES, "normal")
    outcome = truth.execute(first, request="one")
    for other in (second, replace(first, expected=0), replace(first, name="rename"), replace(first, fields={})):
        reused = truth.execute(other, request="one")
        assert (reused.status, reused.position, reused.state) == ("reused", None, None)
    # The same command, whenever it comes and in whatever order its fields are.
    again = replace(first, at=first.at + 9, fields=dict(reversed(first.fields.items())))
    assert truth.execute(again, request="one") == outcome
    assert truth.answered("two") is None
    assert truth.head("employee") == 1
    truth.close()


@pytest.mark.parametrize("engine", TRUTHS)
def test_of_a_group_with_one_id_the_first_one_wins(engine: str, tmp_path: Path) -> None:
    work = commands(20, records=20)
    truth = open_truth(engine, "history", FolderPlace(tmp_path), EMPLOYEES, "normal")
    outcomes = truth.execute_together([(order, "one") for order in [*work, work[0]]])
    assert [outcome.status for outcome in outcomes] == ["accepted", *["reused"] * 19, "accepted"]
    assert outcomes[0] == outcomes[-1]
    assert truth.head("employee") == 1
    truth.close()


def test_of_a_command_that_failed_nothing_is_kept(tmp_path: Path) -> None:
    """Its id is free: nothing of it was committed."""
    first, second = commands(2)
    truth = open_truth("sqlite", "history", FolderPlace(tmp_path), EMPLOYEES, "normal")
    with pytest.raises(OverflowError):
        truth.execute_together([(first, "one"), (replace(second, fields={**second.fields, "salary": 2**70}), "two")])
    assert (truth.answered("one"), truth.answered("two")) == (None, None)
    assert truth.execute(replace(first, fields={**first.fields, "salary": 1}), "one").status == "accepted"
    truth.close()


def test_without_an_id_nothing_is_remembered(tmp_path: Path) -> None:
    truth = open_truth("sqlite", "history", FolderPlace(tmp_path), EMPLOYEES, "normal")
    (hire,) = commands(1)
    assert [truth.execute(hire).status for _ in range(2)] == ["accepted", "rejected"]
    truth.close()


@pytest.mark.parametrize("model", MODELS)
def test_beside_another_process_it_reads_the_same_and_cannot_write(model: str, tmp_path: Path) -> None:
    beside = make_truth("sqlite", model, FolderPlace(tmp_path), EMPLOYEES, "normal")
    assert not beside.open_shared()
    truth = open_truth("sqlite", model, FolderPlace(tmp_path), EMPLOYEES, "normal")
    # More than are read row by row: beside a writer they all are.
    for command in commands(2_500, records=500):
        truth.execute(command)
    assert beside.open_shared()
    assert states(beside).equals(states(truth))
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        beside.execute(commands(1)[0])
    truth.execute(commands(2_501, records=500)[-1])
    assert beside.head("employee") == truth.head("employee")
    beside.close()
    truth.close()

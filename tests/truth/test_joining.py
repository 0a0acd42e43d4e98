"""Several writers of one source of truth: those that join, what each may do, and what a reader beside them can know."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from pieces import commands

from lab.base import BadInput, SourceLost
from lab.domain.employees import EMPLOYEES
from lab.feed.reader import ChangeReader
from lab.place import FolderPlace
from lab.truth import Change, join_truth, open_beside, open_truth

MODELS = ("snapshot", "history", "events")
ORDERS = commands(60, seed=3, records=20, deletes=0.1, invalid=0.0)
KIND = ("sqlite", "history")


@pytest.mark.parametrize("model", MODELS)
def test_writers_that_join_write_on_and_note_no_opening(model: str, tmp_path: Path) -> None:
    place = FolderPlace(tmp_path / "truth")
    first = open_truth("sqlite", model, place, EMPLOYEES, "normal")
    first.execute(ORDERS[0])
    openings = first.timeline()
    others = [join_truth("sqlite", model, place, EMPLOYEES, "normal") for _ in "ab"]
    alone = open_truth("sqlite", model, FolderPlace(tmp_path / "alone"), EMPLOYEES, "normal")
    wanted = [alone.execute(order, f"r{number}") for number, order in enumerate(ORDERS)]
    found = [(first, *others)[number % 3].execute(order, f"r{number}") for number, order in enumerate(ORDERS[1:], 1)]
    assert found == wanted[1:]
    # A request that another one has executed is known to all.
    assert others[0].execute(ORDERS[1], "r1") == wanted[1]
    assert first.timeline() == openings
    beside = open_beside("sqlite", model, place, EMPLOYEES, "normal")
    assert beside is not None
    assert (
        ChangeReader(beside)
        .changes_since("employee", 0, 10**6)
        .equals(ChangeReader(alone).changes_since("employee", 0, 10**6))
    )
    for truth in (first, *others, alone, beside):
        truth.close()


def test_writers_in_threads_of_their_own_lose_and_double_nothing(tmp_path: Path) -> None:
    """Each takes the write lock in turn, and waits for the others."""
    place = FolderPlace(tmp_path / "truth")
    open_truth(*KIND, place, EMPLOYEES, "normal").close()
    accepted = list[int]()

    def write(number: int) -> None:
        truth = join_truth(*KIND, place, EMPLOYEES, "normal")
        for order in commands(60, seed=number, records=20):
            position = truth.execute(order).position
            if position is not None:
                accepted.append(position)
        truth.close()

    threads = [threading.Thread(target=write, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    truth = open_truth(*KIND, place, EMPLOYEES, "normal")
    found = truth.changes_since("employee", 0, 10**6)
    assert sorted(accepted) == found["position"].to_list() == list(range(1, len(accepted) + 1))
    for _, record in found.group_by("key"):
        assert record["revision"].to_list() == list(range(1, record.height + 1))
    truth.close()


def test_there_must_be_something_to_join_and_it_must_be_what_is_asked_for(tmp_path: Path) -> None:
    place = FolderPlace(tmp_path / "truth")
    with pytest.raises(SourceLost, match="there is no source of truth to join"):
        join_truth(*KIND, place, EMPLOYEES, "normal")
    assert not place.path.exists()
    open_truth(*KIND, place, EMPLOYEES, "normal").close()
    with pytest.raises(BadInput, match=r"was made with truth\.model = history, and events was asked for"):
        join_truth("sqlite", "events", place, EMPLOYEES, "normal")
    (place.path / "truth.sqlite").unlink()
    with pytest.raises(BadInput, match="its data are gone"):
        join_truth(*KIND, place, EMPLOYEES, "normal")
    (place.path / "notes.txt").write_text("a user's")
    with pytest.raises(SourceLost, match=r"truth\.sqlite is gone"):
        join_truth(*KIND, place, EMPLOYEES, "normal")


def test_an_engine_with_one_process_is_refused_with_the_way_out(tmp_path: Path) -> None:
    place = FolderPlace(tmp_path / "truth")
    open_truth("duckdb", "history", place, EMPLOYEES, "normal").close()
    with pytest.raises(BadInput, match=r"truth\.engine: a file of `duckdb` has one process at a time.*\"sqlite\""):
        join_truth("duckdb", "history", place, EMPLOYEES, "normal")


@pytest.mark.parametrize("model", MODELS)
def test_of_writers_that_queue_everything_that_is_seen_is_settled(model: str, tmp_path: Path) -> None:
    truth = open_truth("sqlite", model, FolderPlace(tmp_path), EMPLOYEES, "normal")
    evidence = truth.evidence()
    assert (evidence.newest(), evidence.settled(), evidence.shown(0).tolist()) == (0, 0, [])
    for order in ORDERS:
        truth.execute(order)
    head = truth.head("employee")
    assert evidence.newest() == evidence.settled() == head
    # What a snapshot has overwritten is not shown, and nobody will write it.
    shown = truth.changes_since("employee", 3, 10**6)["position"].to_list()
    assert evidence.shown(3).tolist() == shown
    assert evidence.blockers(0.0) == []
    truth.close()


@pytest.mark.parametrize("engine", ["sqlite", "duckdb"])
def test_what_is_called_before_a_commit_sees_its_changes_and_can_roll_it_back(engine: str, tmp_path: Path) -> None:
    truth = open_truth(engine, "history", FolderPlace(tmp_path), EMPLOYEES, "normal")
    seen, published = list[list[int]](), list[Change]()
    truth.publish = published.append
    truth.committing = lambda changes: seen.append([one.position for one in changes])
    outcomes = truth.execute_together([(order, None) for order in ORDERS[:3]])
    truth.execute(ORDERS[0])
    assert seen == [[one.position for one in outcomes]] == [[one.position for one in published]]

    def rolls_back(_: object) -> None:
        raise KeyError("on purpose")

    truth.committing = rolls_back
    with pytest.raises(KeyError, match="on purpose"):
        truth.execute(ORDERS[3], "r3")
    truth.committing = None
    assert truth.head("employee") == 3
    assert truth.execute(ORDERS[3], "r3").position == 4
    truth.close()

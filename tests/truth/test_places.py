"""A write model in its place: namespaces keep two apart, what was made is dropped, positions come from the engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pieces import TRUTHS, commands

from lab.domain.employees import EMPLOYEES
from lab.place import FolderPlace
from lab.ports import WriteModel
from lab.truth import open_truth

MODELS = ("snapshot", "history", "events")


def each(test: Callable[..., None]) -> Callable[..., None]:
    """Each engine with each model."""
    return pytest.mark.parametrize("engine", TRUTHS)(pytest.mark.parametrize("model", MODELS)(test))


ORDERS = commands(60, seed=3, records=20, deletes=0.1, invalid=0.0)


def changes(truth: WriteModel) -> list[tuple[object, ...]]:
    """Everything that its feed shows."""
    return truth.changes_since("employee", 0, 10**6).rows()


@each
def test_two_write_models_of_one_folder_do_not_interfere(engine: str, model: str, tmp_path: Path) -> None:
    root = FolderPlace(tmp_path)
    alone, one, other = (
        open_truth(engine, model, root.within(name), EMPLOYEES, "normal") for name in ("alone", "one", "other")
    )
    for order in ORDERS:
        alone.execute(order)
    for order, earlier in zip(ORDERS, [*ORDERS[30:], *ORDERS[:30]], strict=True):
        one.execute(order)
        other.execute(earlier)
    assert changes(one) == changes(alone)
    other.drop()
    assert changes(one) == changes(alone)
    for truth in (alone, one):
        truth.drop()


@each
def test_what_it_made_is_dropped_and_nothing_else(engine: str, model: str, tmp_path: Path) -> None:
    place = FolderPlace(tmp_path / "truth")
    truth: WriteModel = open_truth(engine, model, place, EMPLOYEES, "normal")
    truth.execute(ORDERS[0])
    truth.drop()
    assert not place.path.exists()
    truth = open_truth(engine, model, place, EMPLOYEES, "normal")
    assert truth.head("employee") == 0
    (place.path / "notes.txt").write_text("a user's")
    truth.execute(ORDERS[0])
    truth.drop()
    truth.drop()
    assert [path.name for path in place.path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("model", MODELS)
def test_two_writers_of_one_place_share_the_positions(model: str, tmp_path: Path) -> None:
    """Groups of two connections, in turn: a position that is counted in memory would be given out twice."""
    place = FolderPlace(tmp_path)
    writers = [open_truth("sqlite", model, place, EMPLOYEES, "normal") for _ in "ab"]
    found = []
    for number, first in enumerate(range(0, len(ORDERS), 6)):
        outcomes = writers[number % 2].execute_together([(order, None) for order in ORDERS[first : first + 6]])
        found += [outcome.position for outcome in outcomes if outcome.position is not None]
    assert found == list(range(1, len(found) + 1))
    assert len(found) > 30
    for truth in writers:
        truth.close()

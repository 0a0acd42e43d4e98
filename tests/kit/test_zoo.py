"""Projectors of many styles: those that are right pass without a false alarm, those that look like them don't.

HISTORIES says on how many each property is tried: `make nightly` takes 10,000.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
import zoo

from lab.base import BadInput
from lab.kit.examples.mended import handle
from lab.kit.history import Planned, Shape, build
from lab.kit.properties import PROPERTIES
from lab.kit.reader import Observer
from lab.kit.script import Commit, Die, Poll, TrialCase
from lab.kit.subject import subject
from lab.kit.trial import run
from lab.testing import check

# Of all properties together, each right one is tried on hundreds of histories.
HISTORIES = int(os.environ.get("HISTORIES", "15"))
# Those that write files take a share of a long night.
SLOW = (handle, zoo.texts, zoo.JsonFile)


def name(projector: Any) -> str:
    return str(projector.__name__)


@pytest.mark.parametrize("projector", zoo.RIGHT, ids=name)
def test_a_right_projector_passes_in_whatever_style_it_is_written(projector: Any) -> None:
    tried = max(10, HISTORIES // 40) if projector in SLOW else HISTORIES
    result = check(projector, histories=tried, **zoo.RIGHT[projector])
    assert result.verdict == "pass", result.text()
    unknown = {item.prop for item in result.verdicts if item.verdict == "unknown"}
    assert unknown <= {"one_owner", "survives_crash", "checkpoint_sound"}


@pytest.mark.parametrize("projector", zoo.WRONG, ids=name)
def test_a_wrong_one_of_the_same_style_is_caught(projector: Any) -> None:
    for seed in (1087, 1, 2):
        (found,) = check(projector, seed=seed, histories=60, properties=[zoo.WRONG[projector]]).verdicts
        assert found.verdict == "fail"
        assert found.deliveries <= 12


def test_there_are_at_least_fifteen() -> None:
    assert len(zoo.RIGHT) >= 15
    assert all(projector.__doc__ for projector in (*zoo.RIGHT, *zoo.WRONG))


def test_what_comes_back_as_text_is_said() -> None:
    text = check(zoo.Hashes, histories=5).text()
    assert "keys come back as text: they are read as whole numbers" in text
    assert "`amount` comes back as text: it is read as int" in text
    assert "come back as text" not in check(zoo.Guarded, histories=5).text()


def test_what_a_poller_asks_is_in_the_witness() -> None:
    (found,) = check(zoo.ReadsAfterLast, histories=60, properties=["no_skipped_gap"]).verdicts
    assert "asks SELECT * FROM changes WHERE position > ? ORDER BY position, 0: 1 row" in found.witness


def test_a_delete_that_a_crash_interrupted_is_not_said_to_be_lost() -> None:
    """What is read by SQL was handed over, whatever columns were asked for."""

    class NoPosition(zoo.WaitsAtGaps):
        def poll(self, source: Any) -> None:
            for row in source.execute("SELECT key, revision, deleted, name, amount, price FROM changes"):
                self.inner.take(dict(row))

    history = build([Planned(1), Planned(1, True)], Shape())
    script = (Commit((1,)), Poll(4), Commit((2,)), Die("after-checkpoint"), Poll(4))
    for poller in (zoo.WaitsAtGaps, NoPosition):
        outcome = run(subject(poller).under("out-of-order"), TrialCase(history, script, drain=True))
        assert [len(seen.rows) for seen in outcome.seen[:3]] == [1, 0, 0]
        look = PROPERTIES["survives_crash"].look
        assert look(Observer(outcome), lambda case, made=poller: run(subject(made).under("out-of-order"), case)) is None


def test_the_text_says_what_a_total_should_be() -> None:
    result = check(zoo.CountsAgain, histories=60)
    verdicts = {item.prop: item.verdict for item in result.verdicts}
    assert verdicts["converged"] == "pass"
    assert verdicts["batch_independent"] == "pass"
    witness = next(item.witness for item in result.verdicts if item.prop == "no_double_effect")
    assert witness.startswith("double effect: count of row '")
    assert "should show: count 1" in witness


# What is wrong with groups, and all properties that say so.
BLAMED: dict[Any, set[str]] = {
    zoo.CountsWhatCameLast: {"no_resurrection", "per_key_order"},
    zoo.ForgetsDeletes: {"no_resurrection"},
    zoo.DeletedForEver: {"created_again"},
    zoo.StaysInItsGroup: {"converged"},
}


@pytest.mark.parametrize("projector", BLAMED, ids=name)
def test_groups_are_blamed_for_what_is_wrong_with_them_and_for_nothing_else(projector: Any) -> None:
    result = check(projector, histories=40)
    failed = {item.prop: item.witness for item in result.verdicts if item.verdict == "fail"}
    assert failed.keys() == BLAMED[projector], result.text()
    # A record came back after its delete, or was deleted before it was created again.
    assert all("a delete" in failed[prop] for prop in ("no_resurrection", "created_again") if prop in failed)


def test_a_group_that_never_fills_again_is_neither_a_resurrection_nor_a_lost_return() -> None:
    verdicts = {item.prop: item.verdict for item in check(zoo.EmptiedForEver, histories=60).verdicts}
    assert (verdicts["converged"], verdicts["no_resurrection"], verdicts["created_again"]) == ("fail", "pass", "pass")


@pytest.mark.parametrize("column", ["amount", "count"])
def test_a_group_without_a_column_that_was_declared_is_wrong(column: str) -> None:
    class Without(zoo.Totals):
        def rows(self) -> list[dict[str, Any]]:
            return [{name: row[name] for name in row if name != column} for row in super().rows() if row["count"]]

    result = check(Without, histories=5)
    witness = next(item.witness for item in result.verdicts if item.prop == "converged")
    assert result.verdict == "fail"
    assert f"has no {column}" in witness.splitlines()[0]


@pytest.mark.parametrize(
    ("declared", "what"),
    [
        ({"lab_view": "joined"}, "`lab_view` is 'joined'"),
        ({"lab_view": {"by": "city", "sum": []}}, "`city` is no column of type str"),
        ({"lab_view": {"by": "name", "sum": ["name"]}}, "`name` is no column of type int or float"),
        ({"lab_view": "join", "lab_key": "str"}, "can't be had together"),
        ({"lab_key": {"region": "str"}}, "two or more"),
        ({"lab_bits": 128}, "from 8 to 64"),
    ],
)
def test_what_is_declared_wrongly_is_one_clear_error(declared: dict[str, Any], what: str) -> None:
    with pytest.raises(BadInput, match="1 mistake|" + what.replace("(", r"\(")) as caught:
        check(type("Odd", (zoo.Guarded,), declared), histories=1)
    assert what in str(caught.value) + str(caught.value.problems)


def test_the_records_of_groups_have_keys_like_all_others() -> None:
    seen: set[type] = set()

    class Looking(zoo.Totals):
        def take(self, change: dict[str, Any]) -> bool:
            seen.add(type(change["key"]))
            return super().take(change)

    assert check(Looking, histories=2).verdict == "pass"
    assert seen == {int}


def test_what_can_not_be_told_of_a_poller_or_of_groups_is_refused() -> None:
    with pytest.raises(BadInput, match="nothing is delivered"):
        check(zoo.Follows, delivery="in-order")
    with pytest.raises(BadInput, match="polls"):
        check(zoo.Follows, properties=["per_key_order"])
    with pytest.raises(BadInput, match="groups or of a join"):
        check(zoo.Totals, properties=["monotonic_reads"])

"""Gap strategies on MariaDB itself: what a reader loses that goes by what it sees, and what waiting costs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from beside import Slow, Table, hire, race, read
from click.testing import CliRunner
from documents import ROOT

from lab.cli import lab

pytestmark = pytest.mark.server("mariadb")


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Table]:
    """An empty one."""
    made = Table(tmp_path / "truth", "mariadb")
    yield made
    made.first.drop()


def test_naive_loses_what_commits_behind_it_and_hold_waits(table: Table) -> None:
    table.first.execute(hire(1))
    slow = Slow(table, "naive", hire(2))
    table.first.execute(hire(3))
    with table.feed("naive") as naive, table.feed("hold") as hold:
        found = {"naive": read(naive), "hold": read(hold)}
        assert (found["naive"][0], found["hold"][0]) == ([1, 3], [1])
        slow.end()
        assert read(naive, found["naive"][1])[0] == []
        assert read(hold, found["hold"][1])[0] == [2, 3]
        assert hold.skipped == []


def test_with_serialise_a_writer_has_the_turn_for_itself(table: Table) -> None:
    table.first.execute(hire(1))
    slow = Slow(table, "serialise", hire(2))
    done = threading.Event()

    def other() -> None:
        with table.writer("serialise") as truth:
            truth.execute(hire(3))
            done.set()

    thread = threading.Thread(target=other)
    thread.start()
    assert not done.wait(0.3)
    slow.end()
    thread.join(20)
    with table.feed("serialise") as feed:
        assert read(feed)[0] == [1, 2, 3]


def test_what_was_rolled_back_is_waited_for_and_given_up_with_a_report(table: Table) -> None:
    table.first.execute(hire(1))

    def rolls_back(_: object) -> None:
        raise KeyError("on purpose")

    with table.writer() as truth:
        truth.committing = rolls_back
        with pytest.raises(KeyError, match="on purpose"):
            truth.execute(hire(2))
    table.first.execute(hire(3))
    with table.feed("hold", limit=0.0) as impatient, table.feed("hold", limit=60.0) as patient:
        assert read(impatient)[0] == [1, 3]
        assert len(impatient.skipped) == 1
        assert read(patient)[0] == [1]
        assert patient.skipped == []


@pytest.mark.parametrize("gaps", ["serialise", "hold"])
def test_of_eight_writers_at_once_nothing_is_lost_on_mariadb(gaps: str, table: Table) -> None:
    found, there = race(table, gaps, 1.5, until_lost=False)
    assert found == sorted(there)
    assert len(there) > 20


def test_of_eight_writers_at_once_naive_loses_a_change_within_seconds(table: Table) -> None:
    found, there = race(table, "naive", 20.0, until_lost=True)
    lost = there - set(found)
    assert lost
    assert min(lost) < max(found)


@pytest.mark.parametrize(("gaps", "why"), [("horizon", "is a cache"), ("xmin", "shows none")])
def test_what_mariadb_gives_no_ground_for_is_refused_with_the_reason(gaps: str, why: str) -> None:
    given = ["validate", str(ROOT / "scenarios" / "gaps-live-mariadb.toml"), "--set", f"projection.hold.gaps={gaps}"]
    found = CliRunner().invoke(lab, given)
    assert found.exit_code == 2
    assert f"projection.hold.gaps: `{gaps}`" in found.output
    assert why in " ".join(found.output.split())

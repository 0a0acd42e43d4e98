"""Batches that end where transactions end: pages are covered, no transaction is cut, and a planted cut is caught."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from running import failed, run_text

from lab.base import BadInput
from lab.running.batches import batches, transaction_ends, without_rest
from lab.runs import Run
from lab.scenario import Source
from lab.wiring import plan

pytestmark = pytest.mark.usefixtures("quick")

TEXT = """
schema = 1
name = "mine"
seed = 1087
[domain]
name = "bank"
records = 40
[workload]
commands = 300
rate = 500.0
[truth]
model = "history"
[catch_up]
every = 0.2
page = 10
[channel]
delay = { mean = 0.01 }
[time]
service = "modelled"
[measure]
rebuild = false
samples = 1
blocks = 0
trials = false
truth = false
[[projection]]
name = "in-sevens"
store = "memory"
subscribe = "catch-up"
batch = 7
atomic = "transaction"
"""


@given(st.lists(st.integers(1, 5), max_size=20), st.integers(1, 9))
def test_no_batch_ends_within_a_transaction(sizes: list[int], batch: int) -> None:
    ends = np.array([place == size - 1 for size in sizes for place in range(size)], bool)
    found = list(batches(ends.size, True, batch, True, ends))
    assert [first for first, _, _ in found] == [0, *(last for _, last, _ in found[:-1])]
    assert found[-1][1] == ends.size
    assert all(ends[last - 1] for _, last, _ in found if last)
    # Each is the smallest that has so many rows, but for the last.
    assert all(batch <= last - first < batch + 5 for first, last, _ in found[:-1])


@given(st.integers(0, 40), st.integers(1, 9), st.booleans())
def test_without_transactions_batches_are_as_large_as_they_may_be(rows: int, batch: int, ended: bool) -> None:
    found = list(batches(rows, ended, batch, every_revision=False))
    assert [last - first for first, last, _ in found[:-1]] == [batch] * (len(found) - 1)
    assert [moves for _, _, moves in found] == [False] * (len(found) - 1) + [ended]


def test_a_page_that_holds_no_whole_transaction_is_refused() -> None:
    assert without_rest(np.arange(3), np.array([False, True, False]), "account").tolist() == [0, 1]
    with pytest.raises(BadInput, match=r"catch_up\.page.*more records of `account` than a page holds"):
        without_rest(np.arange(3), np.zeros(3, bool), "account")


def run_of(root: Path, *overrides: str) -> Run:
    root.mkdir(exist_ok=True)
    return run_text(root, TEXT, *overrides)


def test_a_run_in_such_batches_tears_nothing_and_otherwise_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: each change is said to be a transaction of its own."""
    assert failed(run_of(tmp_path / "a")) == set()
    monkeypatch.setattr(
        "lab.experiment.project.transaction_ends", lambda published, positions: np.ones(positions.size, bool)
    )
    assert failed(run_of(tmp_path / "b", "projection.in-sevens.expect=fail")) == {"no_torn_transaction"}


def test_a_crash_between_data_and_checkpoint_tears_nothing(tmp_path: Path) -> None:
    crash = 'projection.in-sevens.faults={ crashes = [{ at = 0.2 }, { at = 0.4, step = "before-apply" }] }'
    assert failed(run_of(tmp_path, crash)) == set()


def test_changes_without_a_transaction_end_one_each() -> None:
    class Bare:
        transaction = None

    assert transaction_ends(Bare(), np.array([3, 4])).all()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("projection.in-sevens.subscribe=both", "messages bring each change by itself"),
        ("truth.model=snapshot", "leaves out what was overwritten"),
        ("time.mode=live", "on the simulated clock only"),
    ],
)
def test_where_transactions_can_be_parted_all_the_same_it_is_refused(key: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(TEXT)
    with pytest.raises(BadInput, match=said):
        plan(Source(tmp_path / "mine.toml", [key]))

"""The bank: its sum is 0 after every command, and what a command changes it changes in one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.base import Unsound, stream
from lab.domain.bank import BANK, Bank
from lab.domain.bank_workload import OWN
from lab.domain.model import Command, Event, Options, Rejection, View
from lab.place import FolderPlace
from lab.scenario import Source
from lab.truth import Change, Truth, open_truth
from lab.verdict.oracle import Oracle
from lab.wiring import plan

MODELS = ("snapshot", "history", "events")


def commands(count: int = 300, seed: int = 7, **options: Any) -> list[Command]:
    known = {"records": 20, "skew": 0.8, "deletes": 0.05, "invalid": 0.1} | options
    return list(BANK.workload(Options(commands=count, rate=100.0, **known), stream(seed, "workload")))


def opened(key: int, deposit: int = 0) -> Command:
    return Command("account", "open", key, {"owner": "Ada", "branch": "Mill", "deposit": deposit})


def moved(key: int, to: int, amount: int) -> Command:
    return Command("account", "transfer", key, {"to": to, "amount": amount})


@pytest.fixture(params=MODELS)
def truth(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Truth]:
    found = open_truth("sqlite", request.param, FolderPlace(tmp_path / "truth"), BANK, "normal")
    yield found
    found.drop()


def balances(frame: pl.DataFrame) -> Iterator[int]:
    """The sum of all balances after each change."""
    known: dict[int, int] = {}
    for key, balance in frame.select("key", "balance").rows():
        known[key] = balance
        yield sum(known.values())


@settings(max_examples=examples(8))
@given(seed=st.integers(0, 10**6), records=st.integers(1, 40), deletes=st.sampled_from([0.0, 0.2, 1.0]))
def test_the_sum_is_0_after_every_command_and_not_between(seed: int, records: int, deletes: float) -> None:
    oracle = Oracle.of_commands(BANK, commands(150, seed, records=records, deletes=deletes))
    frame = oracle.revisions["account"]
    # Changes of one command have one time of commit.
    sums = list(zip(frame["committed_at"], balances(frame), strict=True))
    for _, legs in groupby(sums, key=lambda one: one[0]):
        *between, last = [total for _, total in legs]
        assert last == 0
        assert all(between)
    assert frame.filter(pl.col("key") != OWN)["balance"].min() >= 0  # type: ignore[operator]


@settings(max_examples=examples(8))
@given(seed=st.integers(0, 10**6), records=st.integers(1, 40), deletes=st.sampled_from([0.0, 0.3, 1.0]))
def test_without_invalid_ones_every_command_is_accepted(seed: int, records: int, deletes: float) -> None:
    oracle = Oracle.of_commands(BANK, commands(150, seed, records=records, deletes=deletes, invalid=0.0))
    assert oracle.outcomes == {"accepted": 150, "rejected": 0, "conflict": 0}


def test_invalid_commands_are_rejected_each_for_its_reason() -> None:
    oracle = Oracle.of_commands(BANK, commands(600, invalid=0.5, deletes=0.2))
    assert 100 < oracle.outcomes["rejected"] < 400


def test_every_write_model_commits_both_legs_under_one_transaction(truth: Truth) -> None:
    changes: list[Change] = []
    truth.publish = changes.append
    work = commands()
    for command in work:
        truth.execute(command)
    expected = Oracle.of_commands(BANK, work).revisions["account"]
    found = [(one.position, one.key, one.revision, one.deleted, one.state["balance"]) for one in changes]
    assert found == expected.select("position", "key", "revision", "deleted", "balance").rows()
    legs = [list(some) for _, some in groupby(changes, key=lambda one: one.transaction)]
    assert all(some[0].position == some[0].transaction for some in legs)
    assert {len(some) for some in legs} == {1, 2}
    for some in legs:
        assert len({one.committed_at for one in some}) == 1


def test_an_outcome_is_about_the_commands_own_account_and_waits_for_both(truth: Truth) -> None:
    for command in (opened(OWN), opened(1, 100), opened(2)):
        truth.execute(command)
    outcome = truth.execute(moved(1, 2, 30))
    assert (outcome.event, outcome.revision, outcome.state and outcome.state["balance"]) == ("debited", 2, 70)
    assert outcome.position == truth.head("account") == 6
    assert truth.execute(Command("account", "close", 1)).reasons == ("there are 70 left on the account",)
    assert truth.execute(moved(1, 2, 71)).reasons == ("the account has 70, and 71 is asked for",)
    assert truth.execute(moved(1, 9, 1)).reasons == ("there is no account 9 to transfer to",)
    truth.execute(moved(1, 2, 70))
    assert truth.execute(Command("account", "close", 1)).deleted
    assert truth.execute(moved(2, 1, 1)).reasons == ("the account 1 has been closed",)
    known = truth.get("account", 2)
    assert known is not None
    assert (known.state["balance"], known.revision) == (100, 3)


def test_a_transaction_that_fails_leaves_neither_leg(truth: Truth) -> None:
    for command in (opened(OWN), opened(1, 100), opened(2)):
        truth.execute(command)
    append, head = truth.append, truth.head("account")

    def fails(entity: str, key: Any, *more: Any) -> int:
        if key == 2:
            raise RuntimeError("the disk is full")
        return append(entity, key, *more)

    truth.append = fails  # type: ignore[method-assign]
    with pytest.raises(RuntimeError):
        truth.execute(moved(1, 2, 30))
    known = truth.get("account", 1)
    assert known is not None
    assert known.state["balance"] == 100
    assert truth.head("account") == head


class Untold(Bank):
    """Changes an account that nobody was told to lock."""

    def decide(self, view: View, command: Command) -> tuple[Event, ...] | Rejection:
        found = super().decide(view, command)
        if command.name != "transfer" or isinstance(found, Rejection):
            return found
        return (*found, Event("credited", {"balance": 0}, ("account", OWN)))


def test_a_change_of_a_record_that_was_not_told_before_is_refused(tmp_path: Path) -> None:
    truth = open_truth("sqlite", "history", FolderPlace(tmp_path), Untold(), "normal")
    try:
        for command in (opened(OWN), opened(1, 100), opened(2)):
            truth.execute(command)
        with pytest.raises(Unsound, match="changes account 0, which `changes_too` doesn't tell of"):
            truth.execute(moved(1, 2, 30))
    finally:
        truth.drop()


def test_simulated_concurrent_writers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'schema = 1\nname = "mine"\nseed = 1\n[domain]\nname = "bank"\n'
        "[workload]\ncommands = 100\n[writers]\ncount = 4\n"
        '[[projection]]\nname = "accounts"\nstore = "memory"\n'
    )
    with pytest.raises(Exception, match="commands of `bank` change several records"):
        plan(Source(path))

"""Torn transactions: what the check says, against looking at every moment; and projections that tear on purpose."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import polars as pl
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from running import failed, run_text, witness

from lab.domain.bank import BANK
from lab.feed.published import Published
from lab.measure.lag import shown
from lab.measure.windows import Window
from lab.projection.applied import NOTHING
from lab.running.journal import Journal
from lab.runs import Run
from lab.spill import Spill
from lab.verdict.halves import impossible, impossible_again, legs_of, numbers_of, parts

INF = float("inf")

TEXT = """
schema = 1
name = "mine"
seed = 1087

[domain]
name = "bank"
records = 60

[workload]
commands = 600
rate = 500.0
skew = 0.5
invalid = 0.05

[truth]
model = "history"

[catch_up]
every = 0.2
page = 1_000

[channel]
delay = { kind = "lognormal", mean = 0.020, sigma = 1.0 }

[time]
service = "modelled"

[measure]
rebuild = false
samples = 5
warm_up = 0
blocks = 2

[[projection]]
name = "by-messages"
store = "memory"
guard = "revision"
subscribe = "both"
expect = "fail"

[[projection]]
name = "in-sevens"
store = "memory"
guard = "revision"
subscribe = "catch-up"
batch = 7
expect = "fail"

[[projection]]
name = "whole-polls"
store = "memory"
guard = "revision"
subscribe = "catch-up"
batch = 1_000

[[projection]]
name = "sum-by-messages"
store = "memory"
keeps = "totals"
totals = "balance_sheet"
guard = "ordered"
subscribe = "both"
expect = "fail"

[[projection]]
name = "sum-of-whole-polls"
store = "memory"
keeps = "totals"
totals = "balance_sheet"
guard = "ordered"
subscribe = "catch-up"
batch = 1_000
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run_text(tmp_path_factory.mktemp("torn"), TEXT)


def row(finished: Run, projection: str) -> dict[str, float]:
    return finished.table("transactions").filter(projection=projection).row(0, named=True)


@st.composite
def histories(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Transactions of one to four changes, and when each change was visible."""
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=12))
    ends = np.cumsum(sizes)
    transaction = np.repeat(ends - sizes + 1, sizes)
    times = st.one_of(st.integers(0, 9).map(float), st.just(INF))
    count = int(ends[-1])
    return transaction, np.array(draw(st.lists(times, min_size=count, max_size=count)))


@settings(max_examples=examples(60))
@given(history=histories(), block=st.sampled_from([1, 3, 200_000]), data=st.data())
def test_it_is_what_is_seen_at_every_moment(
    history: tuple[np.ndarray, np.ndarray], block: int, data: st.DataObject
) -> None:
    """Times are whole, so what is seen is asked half-way between them; in blocks of any size."""
    transaction, visible = history
    # Nothing is visible of what was there before the projection was thrown away.
    visible = np.maximum(visible, 2.0)
    chosen = np.flatnonzero(data.draw(st.lists(st.booleans(), min_size=visible.size, max_size=visible.size)))
    blocks = patch("lab.statistics.grouped.BLOCK", block)
    with blocks, patch("lab.verdict.halves.BLOCK", block), patch("lab.verdict.halves.TOGETHER", 2 * block):
        legs = legs_of(transaction, chosen, Spill())
        numbers, window = numbers_of(transaction, legs, Spill()), Window(2.0, 8.0, visible)
        found, seconds = parts(transaction, legs, [window]), impossible(window, legs, numbers)
    groups = [legs[transaction[legs] == number] for number in np.unique(transaction[legs])]
    assert all(group.size > 1 for group in groups)
    assert found.transactions == len(groups)
    moments = np.arange(2.5, 8.0)
    halves = np.array([[0 < np.sum(visible[group] < at) < group.size for at in moments] for group in groups])
    halves = halves.reshape(len(groups), moments.size)
    assert found.torn == halves.any(axis=1).sum()
    assert found.seconds == halves.sum()
    assert seconds == halves.any(axis=0).sum()
    assert (found.longest.lasts if found.longest else 0.0) == max(halves.sum(axis=1), default=0)
    assert (found.first is None) == (not halves.any())
    if found.first is not None:
        assert found.first.since == 2.0 + np.flatnonzero(halves.any(axis=0))[0]


def changes() -> Published:
    """Two transfers: from account 1 to 2, and then from 2 to 1."""
    rows = [(1, 1, 1), (2, 2, 1), (3, 2, 2), (4, 1, 2)]
    names = ("position", "key", "revision")
    values = [dict(zip(names, one, strict=True)) | {"deleted": False, "committed_at": 0.0} for one in rows]
    for value in values:
        value |= {"owner": "A", "branch": "Mill", "currency": "EUR", "balance": 0}
    frame = pl.DataFrame(values, schema=BANK.entities["account"].schema)
    return Published.of({"account": frame}, transaction=np.array([1, 1, 3, 3]))


def test_an_older_revision_that_is_shown_again_takes_back_what_was_seen() -> None:
    published, journal = changes(), Journal()
    for at, positions in ((1.0, [1, 2]), (2.0, [3, 4]), (5.0, [1]), (7.0, [4])):
        applied = replace(NOTHING, positions=np.array(positions), trigger=np.arange(len(positions)))
        journal.note("account", applied, np.array(positions), 0, at, at)
    legs = legs_of(published.transaction, np.arange(4), Spill())  # type: ignore[arg-type]
    numbers = numbers_of(published.transaction, legs, Spill())  # type: ignore[arg-type]
    assert impossible_again(shown(published, journal), published, legs, numbers, 10.0) == 2.0
    # By when each was first visible, there was nothing to be seen.
    assert impossible(Window(0.0, 10.0, np.array([1.0, 1.0, 2.0, 2.0])), legs, numbers) == 0.0


def test_a_transaction_is_torn_by_messages_and_by_batches_and_not_by_whole_polls(finished: Run) -> None:
    torn = {name for name in finished.table("verdicts")["projection"].unique() if failed(finished, name)}
    assert torn == {"by-messages", "in-sevens", "sum-by-messages"}
    for name in torn:
        assert failed(finished, name) == {"no_torn_transaction"}
        assert row(finished, name)["impossible_share"] > 0
    for name in ("whole-polls", "sum-of-whole-polls"):
        known = row(finished, name)
        assert known["transactions"] > 300
        assert (known["torn"], known["impossible_share"], known["longest_seconds"]) == (0, 0.0, 0.0)


def test_the_witness_tells_which_leg_was_there_and_for_how_long(finished: Run) -> None:
    told = witness(finished, "in-sevens", "no_torn_transaction")
    assert told.startswith("torn transaction: from 0.2")
    assert "there: account" in told
    assert "not there: account" in told
    known = row(finished, "in-sevens")
    assert f"{known['torn']} of {known['transactions']} transactions were seen in part" in told


def test_a_batch_cuts_one_in_so_many_transactions(finished: Run) -> None:
    """Two changes stand on both sides of a cut with probability 1 in the size of a batch."""
    known = row(finished, "in-sevens")
    expected, size = 1 / 7, known["transactions"]
    spread = (expected * (1 - expected) / size) ** 0.5
    assert abs(known["torn"] / size - expected) < 4 * spread


def test_a_leg_that_is_lost_is_missing_until_its_record_changes_again(tmp_path: Path) -> None:
    text = TEXT[: TEXT.index('[[projection]]\nname = "in-sevens"')].replace('"both"', '"channel"')
    lost = run_text(tmp_path, text, "channel.lose=0.3", "channel.delay.mean=0.000_1")
    assert "no_torn_transaction" in failed(lost)
    # No message is as late.
    assert row(lost, "by-messages")["longest_seconds"] > 0.2


def test_a_domain_without_such_transactions_is_not_judged(tmp_path: Path) -> None:
    text = TEXT[: TEXT.index('[[projection]]\nname = "in-sevens"')].replace('"bank"', '"employees"')
    plain = run_text(tmp_path, text.replace("expect", "# expect"))
    found = plain.table("verdicts").filter(check="no_torn_transaction").row(0, named=True)
    assert found["verdict"] == "unknown"
    assert found["witness"].startswith("does not apply")
    assert plain.table("transactions").is_empty()

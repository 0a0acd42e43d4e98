"""The simulated channel: every copy is accounted for, faults have their shares, and nothing travels back in time."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.base import stream
from lab.channel.simulated import Deliveries, summary, transmit
from lab.scenario import ChannelTable, Delay, Outage, Reorder
from lab.scenario.draws import delays
from lab.statistics import grouped

MANY = 100_000


def sent(count: int, records: int = 50, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """When messages are sent, a hundred in a second, and to which record each belongs."""
    rng = stream(seed, "sent")
    return np.cumsum(rng.exponential(0.01, count)), rng.integers(records, size=count)


def through(count: int = 2_000, seed: int = 1, **options: Any) -> Deliveries:
    """What the channel with these options makes of `count` messages."""
    return transmit(*sent(count), ChannelTable.model_validate(options), stream(seed, "channel"))


def within(found: float, share: float, count: int) -> bool:
    """Whether a binomial share is within four standard deviations of its mean."""
    return bool(abs(found - share) <= 4 * np.sqrt(share * (1 - share) / count))


FAULTY: dict[str, Any] = {
    "delay": {"kind": "lognormal", "mean": 0.05, "sigma": 1.0},
    "duplicate": 0.1,
    "lose": 0.05,
    "reorder": {"share": 0.2, "extra": {"kind": "exponential", "mean": 0.5}},
}

# Anything that a scenario may say of a channel.
durations = st.sampled_from([0.0, 0.001, 0.05, 0.5, 30.0])
delaying = st.builds(Delay, kind=st.sampled_from(["constant", "exponential"]), mean=durations) | st.builds(
    Delay, kind=st.just("lognormal"), mean=durations, sigma=st.sampled_from([0.0, 0.5, 2.0])
)
shares = st.sampled_from([0.0, 0.1, 0.5, 1.0])
channels = st.builds(
    ChannelTable,
    delay=delaying,
    duplicate=shares,
    lose=shares,
    reorder=st.builds(Reorder, share=shares, extra=delaying),
    ordered_by_key=st.booleans(),
    outages=st.lists(st.builds(Outage, at=st.floats(0, 3), lasts=st.floats(0, 3), loses=st.booleans()), max_size=3).map(
        tuple
    ),
)
any_channel = given(options=channels, count=st.integers(0, 120), seed=st.integers(0, 1_000))


# What always holds


@any_channel
def test_nothing_arrives_before_it_is_sent(options: ChannelTable, count: int, seed: int) -> None:
    at, record = sent(count, 5)
    found = transmit(at, record, options, stream(seed, "channel"))
    assert (found.arrives_at >= at[found.message]).all()


@any_channel
def test_what_arrives_arrives_in_the_order_of_its_time(options: ChannelTable, count: int, seed: int) -> None:
    found = transmit(*sent(count, 5), options, stream(seed, "channel"))
    assert (np.diff(found.arrives_at) >= 0).all()
    assert found.message.size == found.arrives_at.size


@any_channel
def test_the_journal_accounts_for_every_copy(options: ChannelTable, count: int, seed: int) -> None:
    found = transmit(*sent(count, 5), options, stream(seed, "channel"))
    journal = found.journal
    fates = dict(journal["fate"].value_counts().iter_rows())
    assert sum(fates.values()) == journal.height
    assert found.message.size == fates.get("delivered", 0) + fates.get("duplicate", 0)
    assert sorted(journal.filter(pl.col("copy") == 0)["message"]) == list(range(count))
    assert not journal.select("message", "copy").is_duplicated().any()
    arrived = journal.filter(pl.col("arrives_at").is_not_null())
    assert sorted(arrived.select("arrives_at", "message").rows()) == sorted(
        zip(found.arrives_at.tolist(), found.message.tolist(), strict=True)
    )
    assert set(journal.filter(pl.col("arrives_at").is_null())["fate"]) <= {"lost"}


@any_channel
def test_nothing_arrives_during_an_outage(options: ChannelTable, count: int, seed: int) -> None:
    found = transmit(*sent(count, 5), options, stream(seed, "channel"))
    for outage in options.outages:
        inside = (found.arrives_at >= outage.at) & (found.arrives_at < outage.at + outage.lasts)
        assert not inside.any()


@any_channel
def test_in_order_of_a_record_no_first_copy_overtakes_another(options: ChannelTable, count: int, seed: int) -> None:
    at, record = sent(count, 5)
    ordered = options.model_copy(update={"ordered_by_key": True, "duplicate": 0.0})
    found = transmit(at, record, ordered, stream(seed, "channel"))
    for one in range(5):
        messages = found.message[record[found.message] == one]
        assert (np.diff(messages) > 0).all()
    assert not found.journal["overtaken"].any()


@given(options=channels, seed=st.integers(0, 1_000))
def test_a_copy_is_overtaken_when_a_later_change_of_its_record_came_first(options: ChannelTable, seed: int) -> None:
    at, record = sent(60, 3)
    found = transmit(at, record, options, stream(seed, "channel"))
    newest: dict[int, int] = {}
    overtaken = []
    for message in found.message.tolist():
        overtaken.append(newest.get(record[message], -1) > message)
        newest[record[message]] = max(message, newest.get(record[message], -1))
    assert found.journal["overtaken"].sum() == sum(overtaken)


@given(options=channels, seed=st.integers(0, 1_000))
def test_the_same_seed_is_the_same_channel(options: ChannelTable, seed: int) -> None:
    once, again = (transmit(*sent(80), options, stream(seed, "channel")) for _ in range(2))
    assert np.array_equal(once.message, again.message)
    assert np.array_equal(once.arrives_at, again.arrives_at)
    assert once.journal.equals(again.journal)


LAWS = [
    Delay(kind="gamma", mean=0.05, shape=0.7),
    Delay(kind="pareto", scale=0.01, shape=1.5),
    Delay(kind="empirical", values=(0.1, 0.2, 0.5)),
    Delay.model_validate({"kind": "mixture", "parts": [{"share": 0.5, "mean": 0.1}, {"share": 0.5, "mean": 0.2}]}),
]


@given(channels, st.none() | st.sampled_from(LAWS), st.integers(0, 99), st.integers(1, 50))
def test_drawn_by_blocks_it_is_the_same_channel(
    options: ChannelTable, law: Delay | None, seed: int, block: int
) -> None:
    options = options if law is None else options.model_copy(update={"delay": law})
    once = transmit(*sent(120), options, stream(seed, "channel"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(grouped, "BLOCK", block)
        patched.setattr(grouped, "TOGETHER", block)
        by_blocks = transmit(*sent(120), options, stream(seed, "channel"))
    assert by_blocks.message.tolist() == once.message.tolist()
    assert by_blocks.arrives_at.tolist() == once.arrives_at.tolist()
    assert by_blocks.journal.equals(once.journal)


# Faults, one by one


def test_another_seed_is_another_channel() -> None:
    assert not np.array_equal(through(seed=1, **FAULTY).message, through(seed=2, **FAULTY).message)


def test_every_fault_is_zero_by_default() -> None:
    at, _ = sent(2_000)
    found = through()
    assert np.array_equal(found.message, np.arange(2_000))
    assert np.array_equal(found.arrives_at, at)
    assert set(found.journal["fate"]) == {"delivered"}
    assert not found.journal["held"].any()
    assert not found.journal["overtaken"].any()


def test_without_faults_every_message_comes_once_at_its_delay_and_in_order() -> None:
    at, _ = sent(2_000)
    found = through(delay={"mean": 0.25})
    assert np.array_equal(found.message, np.arange(2_000))
    assert np.array_equal(found.arrives_at, at + 0.25)


def test_messages_of_one_moment_keep_their_order() -> None:
    found = transmit(np.zeros(50), np.zeros(50, int), ChannelTable(delay=Delay(mean=1.0)), stream(1, "channel"))
    assert np.array_equal(found.message, np.arange(50))


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 1.0])
def test_duplicates_have_their_share(share: float) -> None:
    journal = through(MANY, duplicate=share).journal
    again = journal.filter(pl.col("fate") == "duplicate").height
    assert within(again / MANY, share, MANY)
    assert journal.height == MANY + again


@pytest.mark.parametrize("share", [0.0, 0.01, 0.4, 1.0])
def test_losses_have_their_share_of_all_copies(share: float) -> None:
    journal = through(MANY, lose=share, duplicate=0.5).journal
    for copy in (0, 1):
        copies = journal.filter(pl.col("copy") == copy)
        lost = copies.filter(pl.col("fate") == "lost").height
        assert within(lost / copies.height, share, copies.height)


def test_copies_of_one_message_fare_independently() -> None:
    journal = through(MANY, lose=0.2, duplicate=1.0).journal
    lost = journal.group_by("message").agg((pl.col("fate") == "lost").sum())["fate"]
    assert within((lost == 2).mean(), 0.04, MANY)
    assert within((lost == 1).mean(), 0.32, MANY)


@pytest.mark.parametrize("kind", ["constant", "exponential", "lognormal"])
@pytest.mark.parametrize("mean", [0.0, 0.02, 3.0])
def test_a_delay_has_the_mean_that_it_is_given(kind: str, mean: float) -> None:
    drawn = delays(Delay.model_validate({"kind": kind, "mean": mean}), 400_000, stream(1, kind))
    assert drawn.size == 400_000
    assert (drawn >= 0).all()
    assert drawn.mean() == pytest.approx(mean, rel=0.02)


def test_delays_have_the_shape_that_they_are_given() -> None:
    constant, exponential, lognormal = (
        delays(Delay.model_validate({"kind": kind, "mean": 2.0} | more), MANY, stream(1, kind))
        for kind, more in (("constant", {}), ("exponential", {}), ("lognormal", {"sigma": 0.5}))
    )
    assert constant.std() == 0.0
    assert exponential.std() == pytest.approx(2.0, rel=0.03)
    assert np.log(lognormal).std() == pytest.approx(0.5, rel=0.03)


def test_a_share_of_the_messages_takes_a_detour() -> None:
    at, _ = sent(MANY)
    found = through(MANY, reorder={"share": 0.3, "extra": {"mean": 5.0}})
    late = found.journal["arrives_at"].to_numpy() - at
    assert within((late > 4.9).mean(), 0.3, MANY)
    assert found.journal["overtaken"].any()


def test_an_outage_holds_what_would_have_arrived_until_it_is_over() -> None:
    at, _ = sent(2_000)
    found = through(outages=[{"at": 5.0, "lasts": 3.0}])
    cut = (at >= 5.0) & (at < 8.0)
    held = found.journal.filter(pl.col("held"))
    assert np.array_equal(held["message"].to_numpy(), np.flatnonzero(cut))
    assert held["arrives_at"].unique().to_list() == [8.0]
    assert np.array_equal(found.message, np.arange(2_000))


def test_an_outage_that_loses_loses_what_would_have_arrived() -> None:
    at, _ = sent(2_000)
    found = through(outages=[{"at": 5.0, "lasts": 3.0, "loses": True}])
    assert np.array_equal(found.message, np.flatnonzero((at < 5.0) | (at >= 8.0)))
    assert not found.journal["held"].any()


def test_outages_may_follow_each_other_and_overlap() -> None:
    found = through(outages=[{"at": 6.0, "lasts": 3.0}, {"at": 5.0, "lasts": 2.0}])
    assert found.journal.filter(pl.col("held"))["arrives_at"].unique().to_list() == [9.0]


def test_a_lost_message_keeps_no_other_waiting() -> None:
    slow = {"kind": "exponential", "mean": 100.0}
    at, record = np.arange(3.0), np.zeros(3, int)
    options = ChannelTable.model_validate(
        {"ordered_by_key": True, "lose": 0.5, "reorder": {"share": 0.5, "extra": slow}}
    )
    for seed in range(40):
        found = transmit(at, record, options, stream(seed, "channel"))
        first = found.journal.filter((pl.col("copy") == 0) & (pl.col("fate") != "lost"))
        # What arrives last is no later than the slowest of those that arrive at all.
        own = transmit(at, np.arange(3), options, stream(seed, "channel")).journal
        slowest = own.filter(pl.col("fate") != "lost")["arrives_at"].max()
        assert first["arrives_at"].max() == slowest


def test_the_summary_counts_every_fate_once() -> None:
    found = through(MANY, **FAULTY, outages=[{"at": 5.0, "lasts": 3.0}])
    table = {row["fate"]: row for row in summary(found.journal).rows(named=True)}
    assert set(table) == {"delivered", "duplicate", "lost", "held", "overtaken"}
    assert sum(table[fate]["messages"] for fate in ("delivered", "duplicate", "lost")) == found.journal.height
    assert sum(table[fate]["share"] for fate in ("delivered", "duplicate", "lost")) == pytest.approx(1.0)
    assert table["lost"]["delay_p50_seconds"] is None
    assert table["delivered"]["delay_p50_seconds"] > 0

"""The queueing model of a plan against formulas: one server, batches, polls, saturation."""

from __future__ import annotations

import math

import pytest

from benchmarks.validity.theory import quantile_md1
from lab.planning.queue import QueueSettings, enough, queue
from lab.running.lane import Pace
from lab.scenario import ChannelTable

ONE_BY_ONE = QueueSettings(Pace(1, 0.0, 1.0, polls=False, capacity=1_000_000), 10_000, ChannelTable())
POLLED = QueueSettings(Pace(1_000, 0.0, 0.5, polls=True, capacity=1), 100_000, None)


def test_one_server_has_the_lags_of_m_d_1() -> None:
    found = [queue(ONE_BY_ONE, 1_000.0, 0.0007, 0.0, seed, 15_000) for seed in range(2)]
    p99 = sum(each.p99 or math.inf for each in found) / len(found)
    assert sum(each.busy for each in found) / len(found) == pytest.approx(0.7, rel=0.02)
    assert p99 == pytest.approx(quantile_md1(1_000.0, 0.0007, 0.99, 100), rel=0.12)


def test_a_row_costs_what_it_costs_in_a_batch_or_alone() -> None:
    assert queue(ONE_BY_ONE, 100.0, 0.0, 0.002, 1, 4_000).busy == pytest.approx(0.2, rel=0.03)
    assert queue(POLLED, 100.0, 0.0, 0.002, 1).busy == pytest.approx(0.2, rel=0.03)


def test_polls_have_half_an_interval_and_a_batch() -> None:
    found = queue(POLLED, 200.0, 0.02, 0.000_4, 1)
    batch = 0.02 + 0.000_4 * 101
    assert found.p50 == pytest.approx(0.25 + batch, rel=0.03)
    assert found.p99 == pytest.approx(0.99 * 0.5 + batch, rel=0.03)
    assert found.busy == pytest.approx(batch / 0.5, rel=0.03)


def test_both_have_what_the_channel_lost_at_the_next_poll() -> None:
    lossy = ChannelTable.model_validate({"lose": 0.05})
    pace = Pace(1_000, 0.0, 1.0, polls=True, capacity=1_000)
    by_both = queue(QueueSettings(pace, 100_000, lossy), 500.0, 0.000_1, 0.0, 1, 10_000)
    assert by_both.p50 == pytest.approx(0.000_1, rel=0.5)
    # Of those that are lost a fifth have a longer wait than 0.8 s.
    assert by_both.p99 == pytest.approx(0.8, rel=0.1)
    alone = queue(QueueSettings(ONE_BY_ONE.pace, 1, lossy), 500.0, 0.000_1, 0.0, 1, 1_000)
    assert alone.p99 is None


def test_a_server_that_cannot_keep_up_is_told() -> None:
    assert queue(ONE_BY_ONE, 1_000.0, 0.000_8, 0.0, 1, 5_000).keeps_up
    assert not queue(ONE_BY_ONE, 1_000.0, 0.001_1, 0.0, 1, 5_000).keeps_up
    # Larger batches are what saves it.
    batched = QueueSettings(Pace(100, 0.0, 1.0, polls=False, capacity=1_000_000), 10_000, ChannelTable())
    assert queue(batched, 1_000.0, 0.001_1, 0.0, 1, 5_000).keeps_up


def test_many_polls_are_simulated_at_any_rate() -> None:
    assert enough(POLLED, 1.0) == 20_000
    assert enough(POLLED, 10_000.0) == 150_000
    assert enough(ONE_BY_ONE, 1e6) == 20_000

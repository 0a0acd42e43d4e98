"""How busy a lane is, and how busy it would be with a quarter more to do."""

from __future__ import annotations

import numpy as np
import pytest
from test_parts import followed_up

from lab.measure.utilisation import fitted, utilisation
from lab.running.lane import Pace
from lab.scenario import ServiceModel


def told(
    pace: Pace, rate: float, service: ServiceModel, by_messages: bool = True, count: int = 50_000
) -> dict[str, float]:
    """The row of `utilisation` of Poisson commits."""
    parts, _ = followed_up(pace, rate, count, service, by_messages)
    return utilisation("p", parts.journal, parts.published.end, pace)  # type: ignore[return-value]


@pytest.mark.parametrize("load", [0.3, 0.7])
def test_one_at_a_time_it_is_busy_for_its_load(load: float) -> None:
    row = told(Pace(1, 0.0, 1.0, polls=False, capacity=10**6), 1_000.0, ServiceModel(per_batch=load / 1e3, per_row=0.0))
    assert row["busy_share"] == pytest.approx(load, rel=0.02)
    assert row["busy_share_foretold"] == pytest.approx(1.25 * load, rel=0.02)


def messages(batch: int, linger: float) -> Pace:
    return Pace(batch, linger, 1.0, polls=False, capacity=10**6)


def polls(batch: int, every: float) -> Pace:
    return Pace(batch, 0.0, every, polls=True, capacity=1)


@pytest.mark.parametrize(
    ("pace", "rate", "by_messages"),
    [
        (messages(1_000, 0.1), 1_000.0, True),
        (messages(20, 0.1), 1_000.0, True),
        # Without linger a batch is what came during the one before it, or a single message that found the lane idle.
        (messages(1_000, 0.0), 20.0, True),
        (messages(1_000, 0.0), 100.0, True),
        (messages(1_000, 0.0), 400.0, True),
        (messages(1_000, 0.0), 4_000.0, True),
        (messages(1_000, 0.01), 60.0, True),
        (messages(1_000, 0.002), 300.0, True),
        (messages(4, 0.0), 300.0, True),
        (polls(10**6, 0.5), 1_000.0, False),
        # Half of the polls find nothing; a poll finds several batches.
        (polls(1_000, 0.02), 35.0, False),
        (polls(100, 0.5), 1_000.0, False),
    ],
)
def test_what_is_foretold_is_what_a_quarter_more_gives(pace: Pace, rate: float, by_messages: bool) -> None:
    service = ServiceModel(per_batch=0.005, per_row=0.000_1)
    now, more = (told(pace, each, service, by_messages, 10_000) for each in (rate, 1.25 * rate))
    assert now["busy_share_foretold"] == pytest.approx(more["busy_share"], rel=0.03)


def test_the_fit_finds_what_a_batch_and_a_row_take() -> None:
    rows = np.array([1.0, 5.0, 20.0, 100.0])
    assert fitted(rows, 0.01 + 0.002 * rows) == pytest.approx((0.01, 0.002))
    assert fitted(np.full(3, 10.0), np.full(3, 0.5)) == pytest.approx((0.5, 0.0))
    assert fitted(np.empty(0), np.empty(0)) == (0.0, 0.0)

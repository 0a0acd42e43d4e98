"""Growth without end is told from a queue that wanders, and the warm-up from what follows it."""

from __future__ import annotations

import numpy as np
import pytest

from lab.base import stream
from lab.running.theory import single_server
from lab.statistics.steady import BOUND, SAMPLES_MIN, growth, steepness, warm_up


def queue(load: float, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """An M/D/1 queue that begins empty, with a service of 1 s: arrivals, and the time that each is in it."""
    at = np.cumsum(rng.exponential(1 / load, count))
    return at, single_server(at, 1.0) - at


def alarms(load: float, count: int, runs: int = 200) -> float:
    """The share of queues that are said to grow without end."""
    rng = stream(1, "queues", str(load))
    return float(np.mean([growth(*queue(load, count, rng)).endless for _ in range(runs)]))


@pytest.mark.parametrize("load", [0.5, 0.7, 0.9, 0.95, 0.98])
@pytest.mark.parametrize("count", [2_000, 10_000])
def test_a_queue_that_can_do_its_work_is_stable(load: float, count: int) -> None:
    assert alarms(load, count) <= 0.02


def test_at_its_limit_a_queue_is_said_to_grow_in_less_than_5_of_100_runs() -> None:
    assert alarms(1.0, 10_000, 400) < 0.05


@pytest.mark.parametrize(("load", "count"), [(1.05, 40_000), (1.1, 10_000), (1.2, 4_000)])
def test_one_that_can_not_is_found(load: float, count: int) -> None:
    assert alarms(load, count) >= 0.98


def test_the_bound_is_what_25_of_1000_walks_at_the_limit_exceed() -> None:
    rng = stream(2, "walks")
    found = []
    for _ in range(2_000):
        walk = np.cumsum(rng.standard_normal(3_200))
        found.append(steepness(np.arange(walk.size), walk - np.minimum(np.minimum.accumulate(walk), 0.0)))
    assert np.mean(np.array(found) > BOUND) == pytest.approx(0.025, abs=0.011)


def test_overload_grows_as_theory_says() -> None:
    at = np.arange(1, 10_001) / 1.2
    found = growth(at, single_server(at, 1.0) - at)
    assert found.endless
    assert found.slope == pytest.approx(0.2, rel=1e-6)
    assert found.low is not None
    assert found.high is not None
    assert found.low <= 0.2 <= found.high


@pytest.mark.parametrize("polls", [5, 20, 100, 401])
def test_a_saw_tooth_is_stable(polls: int) -> None:
    rng = stream(3, "polls")
    for _ in range(50):
        at = np.sort(rng.uniform(0, polls * 0.5, 4_000))
        assert growth(at, np.ceil(at / 0.5) * 0.5 - at).endless is False


def test_a_store_that_gets_a_little_slower_has_an_end() -> None:
    at = np.arange(4_000) / 100
    found = growth(at, 1.0 + 0.2 * at / at[-1])
    assert found.endless is False
    assert found.slope == pytest.approx(0.2 / at[-1])


def test_too_few_changes_tell_nothing() -> None:
    found = growth(np.arange(SAMPLES_MIN - 1), np.arange(SAMPLES_MIN - 1))
    assert found.endless is None
    assert "320 are needed" in found.reason
    assert growth(np.zeros(1_000), np.arange(1_000)).reason


def test_what_never_became_visible_is_left_out() -> None:
    at, lags = queue(0.5, 2_000, stream(4, "lost"))
    lags[::10] = np.inf
    assert growth(at, lags).endless is False


def test_a_warm_up_is_found_where_it_ends() -> None:
    rng = stream(5, "warm")
    for long in (0, 200, 600):
        values = rng.normal(1.0, 0.1, 3_000)
        values[:long] += 5.0
        assert warm_up(values) == pytest.approx(long, abs=60)


def test_what_never_settles_has_no_warm_up() -> None:
    assert warm_up(np.arange(1_000.0)) is None
    assert warm_up(np.ones(20)) is None
    # By brute force: the first place at which the standard error of the rest is smallest.
    values = np.concatenate([np.linspace(5, 1, 100), stream(6, "rest").normal(1, 0.3, 400)])
    fives = values.reshape(-1, 5).mean(axis=1)
    errors = [np.square(fives[k:] - fives[k:].mean()).sum() / (fives.size - k) ** 2 for k in range(fives.size - 5)]
    assert warm_up(values) == 5 * int(np.argmin(errors))

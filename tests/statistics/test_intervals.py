"""Intervals: exact for independent samples, wider for dependent ones, and left out where a run is too short."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from lab.base import stream
from lab.statistics.dependence import (
    WORTH_MIN,
    autocorrelation_time,
    batch_means,
    common,
    dependent,
    likeness,
    ranks,
    worth,
)
from lab.statistics.intervals import Interval, bounded, difference, intervals
from lab.statistics.quantiles import median, quantile

SEED = 3


def autoregressive(of: float, count: int, seed: int) -> np.ndarray:
    """A stationary series whose neighbours have the correlation `of`: standard normal."""
    shocks = stream(SEED, "autoregressive", str(of), str(seed)).standard_normal(count)
    found = np.empty(count)
    found[0] = shocks[0]
    for at in range(1, count):
        found[at] = of * found[at - 1] + math.sqrt(1 - of * of) * shocks[at]
    return found


@pytest.mark.parametrize(
    ("count", "share", "ends"),
    [(50, 0.5, (18, 33)), (6, 0.5, (1, 6)), (5, 0.5, (None, None)), (368, 0.99, (360, 368)), (150, 0.99, (146, None))],
)
def test_an_interval_lies_between_the_ranks_that_tables_give(
    count: int, share: float, ends: tuple[float | None, float | None]
) -> None:
    (found,) = intervals(stream(SEED, "ranks").permutation(np.arange(1, count + 1)), [share])
    assert (found.low, found.high) == ends
    assert bool(found.reason) == (None in ends)


@pytest.mark.parametrize("share", [0.5, 0.99])
def test_an_interval_holds_the_true_quantile_as_often_as_it_says(share: float) -> None:
    random = stream(SEED, "holds", str(share))
    held = 0
    for _ in range(1_000):
        (found,) = intervals(random.random(400), [share])
        low, high = (0.0 if found.low is None else found.low), (1.0 if found.high is None else found.high)
        held += low <= share <= high
    assert held / 1_000 >= 0.94


INDEPENDENT = st.lists(st.integers(0, 50) | st.just(math.inf), min_size=1, max_size=120)
DEPENDENT = st.builds(autoregressive, st.sampled_from([0.6, 0.9]), st.integers(300, 3_000), st.integers(0, 50))


@given(INDEPENDENT | DEPENDENT.map(np.ndarray.tolist))
@settings(deadline=None)
def test_an_interval_lies_around_its_quantile_or_says_why_not(samples: list[float]) -> None:
    for share, found in zip((0.5, 0.9, 0.99), intervals(samples, (0.5, 0.9, 0.99)), strict=True):
        value = quantile(samples, share)
        assert found.low is None or found.low <= value
        assert found.high is None or found.high >= value
        assert bool(found.reason) == (found.low is None or found.high is None)


@given(DEPENDENT, st.integers(0, 50))
@settings(deadline=None)
def test_dependent_samples_get_wider_intervals_than_the_same_in_another_order(samples: np.ndarray, seed: int) -> None:
    (found,) = intervals(samples, [0.5])
    (alone,) = intervals(stream(seed, "order").permutation(samples), [0.5])
    event("given" if found.reason == "" else "withheld")
    if found.low is not None and found.high is not None and not alone.reason:
        assert alone.low is not None
        assert alone.high is not None
        assert found.high - found.low > alone.high - alone.low


def test_the_number_of_samples_that_an_upper_end_needs() -> None:
    assert [bounded(share) for share in (0.5, 0.9, 0.99)] == [6, 36, 368]
    # On one side alone, 5 % may be left over.
    assert bounded(0.99, 0.90) == 299
    samples = stream(SEED, "alone").exponential(1.0, 368)
    assert intervals(samples, [0.99])[0].high == samples.max()
    assert intervals(samples[:367], [0.99])[0].reason == "367 samples; 368 are needed for an upper end"
    assert intervals(samples[:367], [0.99])[0].low is not None
    assert intervals(samples[:99], [0.99]) == [Interval(reason="99 samples; 100 are needed")]


@pytest.mark.parametrize("of", [0.3, 0.6, 0.9])
def test_the_autocorrelation_time_of_an_autoregressive_series(of: float) -> None:
    # (1 + r) / (1 - r): Sokal, "Monte Carlo methods in statistical mechanics", 1997, equation 2.16.
    times = [autocorrelation_time(autoregressive(of, 20_000, seed)) for seed in range(3)]
    assert np.mean(times) == pytest.approx((1 + of) / (1 - of), rel=0.12)


@pytest.mark.parametrize(("of", "long"), [(0.3, False), (0.95, False), (0.999, True)])
def test_of_a_long_series_only_the_first_distances_are_looked_at(
    of: float, long: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    series = autoregressive(of, 40_000, SEED)
    whole = autocorrelation_time(series)
    monkeypatch.setattr("lab.statistics.dependence._LONG", 1_600)
    found = autocorrelation_time(series)
    # What is too long to be told exactly is worth too few samples, either way.
    assert (series.size / whole < WORTH_MIN) is long
    assert series.size / found < WORTH_MIN if long else found == pytest.approx(whole)


def test_dependence_is_seen_and_independence_is_not_taken_for_it() -> None:
    seen = [dependent(ranks(autoregressive(0.6, 200, seed))) for seed in range(50)]
    assert sum(seen) == 50
    alone = [dependent(ranks(stream(SEED, "alone", str(seed)).random(400))) for seed in range(300)]
    # Two tests at 1 % each; twelve and more of 300 have a chance of 1 %.
    assert sum(alone) < 12


def test_slow_drift_is_seen_that_hides_between_neighbours() -> None:
    noise = stream(SEED, "noise").standard_normal(6_400)
    drifting = ranks(noise + np.repeat([0.0, 0.3] * 2, 1_600))
    assert likeness(drifting) < likeness(batch_means(drifting))
    assert dependent(drifting)


def test_rounding_of_the_clock_is_no_dependence() -> None:
    at = np.cumsum(stream(SEED, "clock").exponential(0.001, 20_000))
    lags = (at + 0.0005) - at
    assert np.unique(lags).size > 1
    assert dependent(ranks(lags))
    assert intervals(lags, [0.5])[0].reason == ""


def test_a_series_that_grows_without_end_has_no_interval() -> None:
    noise = stream(SEED, "noise").standard_normal(20_000)
    for found in intervals(np.arange(20_000) / 1_000 + noise, (0.5, 0.99)):
        assert (found.low, found.high) == (None, None)
        assert found.reason.startswith("20,000 dependent samples are worth")


def test_repeated_samples_are_worth_as_many_as_were_drawn() -> None:
    drawn = stream(SEED, "drawn").random(2_000)
    repeated = np.repeat(drawn, 20)
    found = worth(ranks(repeated), repeated > median(repeated))
    assert found.dependent
    assert found.count == pytest.approx(2_000, rel=0.5)


def test_equal_samples_share_a_rank() -> None:
    assert ranks([3.0, 1.0, math.inf, 3.0, math.inf]).tolist() == [1.5, 0.0, 3.5, 1.5, 3.5]
    assert ranks([]).size == 0


def test_a_difference_of_independent_runs_is_as_wide_as_both_together() -> None:
    a, b = (stream(SEED, name).normal(10.0, 1.0, 2_000) for name in "ab")
    between, found = difference(a, b + 1.0, 0.5, paired=False)
    assert found.low is not None
    assert found.high is not None
    assert found.low < between < found.high
    # The standard error of a median is 1.2533 / sqrt(n), that of the difference of two sqrt(2) times as much.
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * 1.2533 * math.sqrt(2 / 2_000), rel=0.25)


def test_what_paired_runs_have_in_common_is_no_part_of_their_difference() -> None:
    a = stream(SEED, "a").normal(10.0, 1.0, 4_000)
    b = a + stream(SEED, "b").normal(0.2, 0.05, 4_000)
    widths = []
    for paired in (False, True):
        between, found = difference(a, b, 0.5, paired)
        assert found.low is not None
        assert found.high is not None
        assert found.low <= between <= found.high
        widths.append(found.high - found.low)
    assert widths[1] < 0.75 * widths[0]


def test_a_difference_says_why_it_has_no_interval() -> None:
    few, many = np.arange(50.0), stream(SEED, "many").random(5_000)
    assert difference(few, many, 0.99, paired=False)[1].reason == "50 samples; 100 are needed"
    assert difference(many, np.full(5_000, math.inf), 0.5, paired=False)[1].reason == "the upper end is infinite"


def test_runs_that_move_in_opposite_directions_have_nothing_in_common() -> None:
    a = autoregressive(0.9, 5_000, 1) > 0
    assert common(a, ~a) == 0.0
    assert common(a, a) == 1.0

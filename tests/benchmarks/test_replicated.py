"""A small form of the coverage of intervals over repetitions, and faults that it must find."""

from __future__ import annotations

from benchmarks.validity.replicated import COLUMNS, coverage, exponential, lognormal, percentiles, queue, table
from lab.statistics.quantiles import quantile


def test_intervals_over_repetitions_hold_for_medians_tails_and_ratios() -> None:
    found = coverage(400, (lognormal(0.5, 100), exponential(400)))
    assert found["holds"].all(), table(found)
    assert found["coverage"].min() > 0.9
    assert found["coverage"].max() < 0.99
    assert all(len(row) == len(COLUMNS) for row in table(found))


def test_they_hold_for_lags_that_depend_on_each_other() -> None:
    found = coverage(200, (lognormal(0.5, 1_000, 0.6), queue(0.5, 1_000)))
    assert found["holds"].all(), table(found)


def test_a_bootstrap_over_few_repetitions_is_found_out() -> None:
    found = coverage(200, (lognormal(0.5, 100),), by=lambda values: percentiles(values, 200))
    median = found.filter(figure="p50", repetitions=5)
    assert not median["holds"].any(), table(found)


def test_tails_with_their_bias_are_found_out() -> None:
    found = coverage(200, (lognormal(0.5, 100),), estimate=quantile).filter(figure="p99", repetitions=10)
    assert not found["holds"].any(), table(found)

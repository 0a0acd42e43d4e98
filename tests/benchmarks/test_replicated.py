"""A small form of the coverage of intervals over repetitions, and faults that it must find."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from benchmarks.validity.replicated import COLUMNS, coverage, exponential, lognormal, percentiles, queue, table
from benchmarks.validity.theory import quantile_md1, wait_mg1
from lab.base import stream
from lab.running.theory import single_server
from lab.statistics.quantiles import quantile


def test_intervals_over_repetitions_hold_for_medians_tails_and_ratios() -> None:
    found = coverage(400, (lognormal(0.5, 100), exponential(400)))
    assert found["holds"].all(), table(found)
    assert found["coverage"].min() > 0.9
    assert found["coverage"].max() < 0.99
    assert all(len(row) == len(COLUMNS) for row in table(found))


def test_they_hold_for_lags_that_depend_on_each_other() -> None:
    found = coverage(200, (lognormal(0.5, 1_000, 0.6), queue(0.5, 1_000))).filter("claimed")
    assert found["holds"].all(), table(found)


def test_of_short_runs_of_a_queue_the_steady_state_is_told_apart() -> None:
    found = coverage(100, (queue(0.9, 1_000),)).filter(figure="p99")
    mean, steady = found.filter("claimed"), found.filter(~pl.col("claimed"))
    assert mean["holds"].all(), table(found)
    assert not steady["holds"].any(), table(found)
    assert all(text.startswith("mean over such runs, ") for text in mean["of"])
    assert set(steady["of"]) == {f"steady state, {quantile_md1(1.0, 0.9, 0.99):.3g}"}
    assert {row[-1] for row in table(steady)} == {"not contained"}


def test_the_steady_state_of_a_queue_is_that_of_theory_and_of_a_long_run() -> None:
    # An arrival waits with the probability of the load; the mean is that of Pollaczek and Khinchine.
    assert quantile_md1(1.0, 0.6, 0.4) == 0.6
    assert quantile_md1(1.0, 0.6, 0.41) > 0.6
    shares = (np.arange(400) + 0.5) / 400
    mean = np.mean([quantile_md1(2.0, 0.25, share, 40) for share in shares])
    assert mean == pytest.approx(wait_mg1(2.0, 0.25, 0.0625) + 0.25, rel=0.005)
    at = np.cumsum(stream(1, "long").exponential(1.0, 1_000_000))
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        theory = (queue(0.8, 10).steady or {})[name]
        assert quantile(single_server(at, 0.8) - at, share) == pytest.approx(theory, rel=0.03)


def test_a_bootstrap_over_few_repetitions_is_found_out() -> None:
    found = coverage(200, (lognormal(0.5, 100),), by=lambda values: percentiles(values, 200))
    median = found.filter(figure="p50", repetitions=5)
    assert not median["holds"].any(), table(found)


def test_tails_with_their_bias_are_found_out() -> None:
    found = coverage(200, (lognormal(0.5, 100),), estimate=quantile).filter(figure="p99", repetitions=10)
    assert not found["holds"].any(), table(found)

"""A small form of the table of coverages, and a fault that it must find: blocks that are short beside the memory."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from benchmarks.validity.coverage import CASES, COLUMNS, Series, autoregressive, contains, coverage, proportion, table
from lab.statistics.intervals import Interval
from lab.statistics.quantiles import quantile

NAMED = {case.name: case for case in CASES}
BLOCK = 20


def by_short_blocks(series: Series) -> list[Interval]:
    """Intervals that take blocks of a fixed length for independent, however long the memory is."""
    found = []
    for share in (0.5, 0.99):
        above = series > quantile(series, share)
        means = above[: above.size - above.size % BLOCK].reshape(-1, BLOCK).mean(axis=1)
        worth = max(int(share * (1 - share) / (means.var() * BLOCK) * series.size), 1)
        half = 1.96 * np.sqrt(share * (1 - share) / worth)
        ordered = np.sort(series)
        known = half < min(share, 1 - share)
        places = [int(end * (series.size - 1)) for end in (share - half, share + half)] if known else []
        found.append(Interval(*(float(ordered[place]) for place in places)) if known else Interval(reason="few"))
    return found


def test_intervals_hold_wherever_they_are_given() -> None:
    cases = tuple(
        NAMED[name] for name in ("independent, exponential, 400", "autoregressive 0.6, 5,000", "M/D/1, load 0.8")
    )
    found = coverage(40, cases, truth_samples=400_000)
    assert found["holds"].all(), table(found)
    assert (found.filter(quantile="p50")["given"] > 0.85).all()
    assert all(len(row) == len(COLUMNS) for row in table(found))


def test_no_interval_is_given_where_the_memory_is_too_long_for_the_run() -> None:
    found = coverage(20, (NAMED["M/D/1, load 0.95"],), truth_samples=200_000)
    assert (found["given"] <= 0.1).all()


def test_short_blocks_are_found_out() -> None:
    found = coverage(60, (NAMED["M/D/1, load 0.95"],), by_short_blocks, truth_samples=400_000)
    assert not found["holds"].any(), table(found)


def test_intervals_that_are_never_given_don_t_hold() -> None:
    def none(series: Series) -> list[Interval]:
        return [Interval(reason="none"), Interval(reason="none")]

    chosen = tuple(NAMED[name] for name in ("independent, exponential, 400", "M/D/1, load 0.95"))
    found = coverage(20, chosen, none, truth_samples=40_000)
    assert found["holds"].to_list() == [False, False, True, True]
    assert [row[-1] for row in table(found)] == ["**outside**"] * 2 + ["none given"] * 2


def test_a_coverage_has_an_interval_of_its_own() -> None:
    # E. B. Wilson's example: 1927, "Probable inference, the law of succession, and statistical inference".
    low, high = proportion(90, 100)
    assert (low, high) == (pytest.approx(0.8256, abs=1e-4), pytest.approx(0.9448, abs=1e-4))
    assert proportion(0, 0) == (0.0, 1.0)
    assert not contains(Interval(1.0, None, "why"), 2.0)


def test_a_series_has_the_correlation_that_its_name_says() -> None:
    logs = np.log(autoregressive(0.9, 100_000, 1))
    assert float(np.corrcoef(logs[1:], logs[:-1])[0, 1]) == pytest.approx(0.9, abs=0.01)
    assert logs.std() == pytest.approx(0.5, rel=0.05)
    assert pl.Series(logs).is_finite().all()

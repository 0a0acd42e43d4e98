"""The one definition of a quantile: an order statistic, the same in NumPy and in Polars, with infinite values."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.statistics.quantiles import median, quantile, quantile_of, rank, reached, samples_needed, told

SAMPLES = st.lists(st.floats(0, 1e6) | st.just(math.inf), min_size=1, max_size=300)
SHARES = st.sampled_from([0.0, 0.01, 0.07, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0])


@given(SAMPLES, SHARES)
def test_it_is_the_smallest_sample_that_a_share_of_all_does_not_exceed(samples: list[float], share: float) -> None:
    value = quantile(samples, share)
    assert value in samples
    assert sum(sample <= value for sample in samples) >= share * len(samples) - 1e-6
    assert sum(sample < value for sample in samples) < max(share * len(samples), 1e-6)


@given(st.lists(st.none() | st.floats(0, 1e6) | st.just(math.inf), max_size=200), SHARES)
def test_the_expression_of_polars_is_the_same_definition(samples: list[float | None], share: float) -> None:
    frame = pl.DataFrame({"x": samples}, schema={"x": pl.Float64})
    known = [sample for sample in samples if sample is not None]
    found = frame.select(quantile_of(pl.col("x"), share)).item()
    assert found == (quantile(known, share) if known else None)


def test_the_expression_of_polars_works_within_groups() -> None:
    frame = pl.DataFrame({"g": ["a"] * 4 + ["b"] * 3 + ["c"], "x": [4.0, 1.0, 2.0, 3.0, 9.0, 7.0, 8.0, None]})
    found = dict(frame.group_by("g").agg(quantile_of(pl.col("x"), 0.5)).iter_rows())
    assert found == {"a": 2.0, "b": 8.0, "c": None}


def test_products_that_are_whole_numbers_are_taken_as_such() -> None:
    for count in range(1, 20_001):
        for hundredths in (1, 7, 50, 90, 99):
            assert rank(count, hundredths / 100) == -(-hundredths * count // 100)


@pytest.mark.parametrize(
    ("share", "needed"), [(0.01, 1), (0.5, 1), (0.75, 4), (0.9, 10), (0.95, 20), (0.99, 100), (0.999, 1000), (1.0, 1)]
)
def test_a_quantile_is_told_from_where_a_sample_lies_beyond_it(share: float, needed: int) -> None:
    assert samples_needed(share) == needed
    samples = np.arange(1.0, needed + 1.0)
    assert told(samples, share) == quantile(samples, share)
    assert told(samples[1:], share) is None
    if 0.5 < share < 1.0:
        assert quantile(samples, share) < samples[-1]
        assert quantile(samples[1:], share) == samples[-1]


def test_what_never_came_is_infinitely_late_and_is_not_told() -> None:
    assert quantile([1.0, math.inf], 0.5) == 1.0
    assert quantile([1.0, math.inf], 0.51) == math.inf
    assert reached([1.0, math.inf], 0.51) is None
    assert reached([], 0.5) is None
    assert told([], 0.5) is None
    with pytest.raises(ValueError, match="no samples"):
        median([])

"""Each interval of `lab.statistics` contains the true value in 93 to 97 % of 2,000 simulated experiments.

The seeds are fixed, so the shares are always the same. Some intervals promise at least 95 %, and order statistics can't
hit a confidence exactly: those are tried with so many samples that they come near it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from lab.statistics import bootstrap
from lab.statistics.bootstrap import of_groups, ratio_of_medians
from lab.statistics.covariance import adjusted
from lab.statistics.equivalence import equivalence
from lab.statistics.intervals import Interval, difference, intervals
from lab.statistics.lines import line
from lab.statistics.powers import power
from lab.statistics.replicated import interval, of_median, ratio

EXPERIMENTS = 2_000
GENERATOR = np.random.Generator
# One simulated experiment: the interval that it gives, and the true value.
Experiment = Callable[[GENERATOR], tuple[Interval, float]]


def quantile_of_times(drawn: GENERATOR) -> tuple[Interval, float]:
    return intervals(drawn.lognormal(0.0, 0.5, 400), [0.5])[0], 1.0


def quantile_in_the_tail(drawn: GENERATOR) -> tuple[Interval, float]:
    return intervals(drawn.exponential(1.0, 500), [0.9])[0], math.log(10)


def difference_of_quantiles(drawn: GENERATOR) -> tuple[Interval, float]:
    return difference(drawn.exponential(1.0, 400), drawn.exponential(2.0, 400), 0.5, False)[1], math.log(2)


def figure_over_repetitions(drawn: GENERATOR) -> tuple[Interval, float]:
    return interval(list(drawn.lognormal(1.0, 0.3, 5))), math.exp(1.0)


def figure_with_a_sign(drawn: GENERATOR) -> tuple[Interval, float]:
    return interval(list(drawn.normal(0.0, 1.0, 6)), logarithmic=False), 0.0


def median_of_repetitions(drawn: GENERATOR) -> tuple[Interval, float]:
    return Interval(*of_median(list(drawn.exponential(1.0, 30)))), math.log(2)


def ratio_of_runs(drawn: GENERATOR) -> tuple[Interval, float]:
    found = ratio(list(drawn.lognormal(0.0, 0.1, 5)), list(drawn.lognormal(0.2, 0.3, 7)), False)
    return Interval(found.low, found.high), math.exp(0.2)


def ratio_of_paired_runs(drawn: GENERATOR) -> tuple[Interval, float]:
    common = drawn.lognormal(0.0, 1.0, 5)
    found = ratio(list(common * drawn.lognormal(0.0, 0.1, 5)), list(common * drawn.lognormal(0.2, 0.1, 5)), True)
    return Interval(found.low, found.high), math.exp(0.2)


def ratio_beside_a_control(drawn: GENERATOR) -> tuple[Interval, float]:
    machine = drawn.normal(0.0, 0.3, (2, 6))
    figures = np.exp(0.8 * machine + drawn.normal(0.0, 0.1, (2, 6)) + [[0.0], [0.2]])
    found = adjusted((list(figures[0]), list(figures[1])), tuple(map(list, np.exp(machine))), False)  # type: ignore[arg-type]
    return Interval(found.low, found.high), math.exp(0.2)


def mean_of_groups(drawn: GENERATOR) -> tuple[Interval, float]:
    levels = drawn.normal(10.0, 1.0, (12, 1))
    return of_groups((levels + drawn.normal(0.0, 2.0, (12, 8))).tolist(), int(drawn.integers(2**31))), 10.0


def quantile_of_groups(drawn: GENERATOR) -> tuple[Interval, float]:
    samples = np.exp(drawn.normal(0.0, 0.3, (20, 1)) + drawn.normal(0.0, 0.5, (20, 3)))
    return of_groups(samples.tolist(), int(drawn.integers(2**31)), share=0.5), 1.0


def ratio_of_rounds(drawn: GENERATOR) -> tuple[Interval, float]:
    drift = drawn.lognormal(0.0, 0.1, 5)
    above, below = drift * drawn.lognormal(0.5, 0.2, 5), drift * drawn.lognormal(0.0, 0.2, 5)
    return Interval(*ratio_of_medians(list(above), list(below), int(drawn.integers(2**31)))), math.exp(0.5)


def exponent_of_growth(drawn: GENERATOR) -> tuple[Interval, float]:
    sizes = [1e3, 1e3, 1e4, 1e4, 1e5, 1e5]
    return power(sizes, list(np.array(sizes) ** 1.2 * drawn.lognormal(0.0, 0.2, 6))).interval, 1.2


def figure_of_a_larger_size(drawn: GENERATOR) -> tuple[Interval, float]:
    sizes = [1e3, 1e3, 1e4, 1e4, 1e5, 1e5]
    found = power(sizes, list(np.array(sizes) ** 1.2 * drawn.lognormal(0.0, 0.2, 6)))
    return found.at(1e6)[1], 1e6**1.2 * float(drawn.lognormal(0.0, 0.2))


def figure_with_a_fixed_part(drawn: GENERATOR) -> tuple[Interval, float]:
    sizes = np.repeat([1e4, 3e4, 1e5], 3)
    found = line(list(sizes), list((2.0 + 1e-4 * sizes) * drawn.lognormal(0.0, 0.1, 9)))
    assert found is not None
    return found.at(5e5)[1], 52.0 * float(drawn.lognormal(0.0, 0.1))


EXPERIMENTS_BY_NAME: list[Experiment] = [
    quantile_of_times, quantile_in_the_tail, difference_of_quantiles, figure_over_repetitions, figure_with_a_sign,
    median_of_repetitions, ratio_of_runs, ratio_of_paired_runs, ratio_beside_a_control, mean_of_groups,
    quantile_of_groups, ratio_of_rounds, exponent_of_growth, figure_of_a_larger_size,
    figure_with_a_fixed_part,
]  # fmt: skip


def coverage(experiment: Experiment, experiments: int = EXPERIMENTS) -> float:
    """The share of intervals that hold the true value; nearly every experiment must have one.

    A few series of independent samples look dependent by chance, and may be called too short for an interval.
    """
    drawn = np.random.default_rng(20_240_611)
    within = told = 0
    for _ in range(experiments):
        found, true = experiment(drawn)
        if found.low is not None and found.high is not None:
            told += 1
            within += found.low <= true <= found.high
    assert told >= 0.98 * experiments
    return within / told


@pytest.fixture(autouse=True)
def fewer_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Percentiles of 600 draws are uncertain by little, and 2,000 experiments have them again and again."""
    monkeypatch.setattr(bootstrap, "RESAMPLES", 600)


@pytest.mark.parametrize("experiment", EXPERIMENTS_BY_NAME, ids=lambda each: each.__name__)
def test_an_interval_holds_the_true_value_as_often_as_it_says(experiment: Experiment) -> None:
    assert 0.93 <= coverage(experiment) <= 0.97


def test_an_interval_that_is_too_narrow_is_seen() -> None:
    def narrow(drawn: GENERATOR) -> tuple[Interval, float]:
        return interval(list(drawn.lognormal(1.0, 0.3, 5)), confidence=0.9), math.exp(1.0)

    assert coverage(narrow) < 0.93


def test_two_figures_that_differ_by_the_factor_itself_are_called_equivalent_in_one_of_twenty() -> None:
    drawn = np.random.default_rng(7)
    called = 0
    for _ in range(EXPERIMENTS):
        found = ratio(list(drawn.lognormal(0.0, 0.05, 8)), list(drawn.lognormal(math.log(1.1), 0.05, 8)), True)
        called += bool(equivalence(found, 1.1).equivalent)
    assert 0.03 <= called / EXPERIMENTS <= 0.07

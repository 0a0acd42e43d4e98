"""The statistics of the lab beside SciPy's, which the lab itself doesn't need."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lab.statistics.bootstrap import RESAMPLES, of_groups, ratio_of_medians
from lab.statistics.changes import VALUES_MIN, change_points
from lab.statistics.equivalence import Equivalence, equivalence
from lab.statistics.intervals import intervals
from lab.statistics.powers import power
from lab.statistics.quantiles import quantile
from lab.statistics.replicated import Ratio, interval, of_median, ratio
from lab.statistics.several import discoveries, holm
from lab.statistics.steady import warm_up
from lab.statistics.student import t_below, t_quantile, two_sided

DRAWN = np.random.default_rng(3).lognormal(0.0, 0.5, 1_000)
P = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=12)


@pytest.mark.parametrize("freedom", [1, 2.5, 4, 30, 200])
def test_student_s_t_is_scipy_s(freedom: float) -> None:
    for share in (0.6, 0.9, 0.975, 0.995):
        assert t_quantile(freedom, share) == pytest.approx(stats.t.ppf(share, freedom), rel=1e-6)
    for value in (-3.0, -0.2, 0.0, 1.7):
        assert t_below(freedom, value) == pytest.approx(stats.t.cdf(value, freedom), abs=1e-8)
        assert two_sided(freedom, value) == pytest.approx(2 * stats.t.sf(abs(value), freedom), abs=1e-8)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_a_quantile_s_interval_is_scipy_s(share: float) -> None:
    found = stats.quantile_test(DRAWN, q=quantile(DRAWN, share), p=share).confidence_interval(0.95)
    own = intervals(DRAWN, [share])[0]
    assert (own.low, own.high) == (found.low, found.high)


def test_a_median_s_interval_is_scipy_s() -> None:
    found = stats.quantile_test(DRAWN[:30], q=quantile(DRAWN[:30], 0.5), p=0.5).confidence_interval(0.95)
    assert of_median(list(DRAWN[:30])) == (found.low, found.high)


def test_intervals_of_repetitions_and_ratios_are_scipy_s() -> None:
    one, other = list(DRAWN[:6]), list(DRAWN[6:14])
    logs = [np.log(each) for each in (one, other)]
    low, high = stats.t.interval(0.95, 5, logs[0].mean(), stats.sem(logs[0]))
    own = interval(one)
    assert (own.low, own.high) == pytest.approx((math.exp(low), math.exp(high)))
    welch = stats.ttest_ind(logs[1], logs[0], equal_var=False)
    ends = welch.confidence_interval(0.95)
    found = ratio(one, other, False)
    assert (found.p, found.low, found.high) == pytest.approx((welch.pvalue, math.exp(ends.low), math.exp(ends.high)))
    paired = stats.ttest_rel(logs[1][:6], logs[0])
    ends = paired.confidence_interval(0.95)
    found = ratio(one, other[:6], True)
    assert (found.p, found.low, found.high) == pytest.approx((paired.pvalue, math.exp(ends.low), math.exp(ends.high)))


def test_equivalence_is_two_one_sided_tests_of_scipy() -> None:
    one, other = list(DRAWN[:6] ** 0.1), list(DRAWN[6:14] ** 0.1)
    logs, margin = [np.log(each) for each in (one, other)], math.log(1.2)
    p = max(
        stats.ttest_ind(logs[1] + margin, logs[0], equal_var=False, alternative="greater").pvalue,
        stats.ttest_ind(logs[1] - margin, logs[0], equal_var=False, alternative="less").pvalue,
    )
    found = equivalence(ratio(one, other, False), 1.2)
    assert found.p == pytest.approx(p)
    assert found.low is not None
    assert found.high is not None
    assert found.equivalent == (p <= 0.05) == (found.low > 1 / 1.2 and found.high < 1.2)


def test_equivalence_needs_a_spread_and_a_factor_above_1() -> None:
    assert equivalence(Ratio(1.0, reason="one repetition"), 1.1) == Equivalence()
    assert equivalence(ratio([2.0, 2.0], [2.0, 2.0], False), 1.1).equivalent
    assert equivalence(ratio([2.0, 2.0], [4.0, 4.0], False), 1.1).equivalent is False
    with pytest.raises(ValueError, match="no factor"):
        equivalence(Ratio(1.0), 1.0)


@given(p=P)
def test_benjamini_and_hochberg_s_are_scipy_s(p: list[float]) -> None:
    expected = stats.false_discovery_control(p)
    for shown, corrected in zip(discoveries(p)[0], expected, strict=True):
        assert shown == (corrected <= 0.05) or corrected == pytest.approx(0.05)


@given(p=P)
def test_holm_s_correction_rejects_what_the_procedure_rejects(p: list[float]) -> None:
    found = holm([None, *p])
    assert found[0] is None
    # The procedure as it is defined: from the smallest on, until one is too large for what is left.
    order, rejected = sorted(range(len(p)), key=p.__getitem__), set()
    for before, place in enumerate(order):
        if p[place] * (len(p) - before) > 0.05:
            break
        rejected.add(place)
    assert {place for place, value in enumerate(found[1:]) if value is not None and value <= 0.05} == rejected


def test_the_bootstrap_of_a_mean_is_scipy_s() -> None:
    groups = np.random.default_rng(1).normal(10.0, 2.0, (40, 5))
    found = of_groups(groups.tolist(), 1)
    means = groups.mean(axis=1)
    theirs = stats.bootstrap((means,), np.mean, n_resamples=20_000, method="percentile", rng=1).confidence_interval
    # Theirs lacks the factor for the number of groups: 2.6 % at 40.
    wide = math.sqrt(40 / 39) * stats.t.ppf(0.975, 39) / stats.norm.ppf(0.975)
    assert found.low is not None
    assert found.high is not None
    assert found.high - found.low == pytest.approx(wide * (theirs.high - theirs.low), rel=0.06)


def test_a_bootstrap_of_a_quantile_takes_infinite_samples_and_says_what_it_lacks() -> None:
    groups = [[1.0, 2.0, math.inf], [1.5, 3.0]] * 5
    found = of_groups(groups, 1, share=0.5)
    assert (found.low, found.high) == (2.0, 2.0) or (found.low is not None and found.high is not None)
    assert of_groups(groups, 1, share=0.9).reason == "an end is infinite"
    assert of_groups(groups[:5], 1).reason == "5 groups; 8 are needed"
    assert of_groups([*groups, []], 1).reason == "a group without samples"


def test_the_interval_of_a_ratio_by_hand() -> None:
    assert ratio_of_medians([2.0, 2.0, 2.0], [1.0, 1.0, 1.0], 1) == (2.0, 2.0)
    # What drifts drifts for both: every round has the ratio 2, but medians come of different rounds alone.
    assert ratio_of_medians([2.0, 20.0, 200.0], [1.0, 10.0, 100.0], 1) == (2.0, 2.0)
    # Of five rounds one is off; all five being that one has a chance of 3 in 10,000, a median of it one of 6 in 100.
    assert ratio_of_medians([1.0, 1.0, 1.0, 1.0, 5.0], [1.0] * 5, 1) == (1.0, 5.0)
    # The ends are those of the samples where these are few.
    assert ratio_of_medians([1.0, 2.0, 3.0], [1.0] * 3, 1) == (1.0, 3.0)
    with pytest.raises(ValueError, match="each round"):
        ratio_of_medians([1.0], [1.0, 2.0], 1)


def test_the_ratio_of_medians_is_that_of_each_draw() -> None:
    above, below = DRAWN[:7], DRAWN[7:14]
    rounds = np.random.default_rng(5).integers(0, 7, (RESAMPLES, 7))
    ratios = [quantile(above[each], 0.5) / quantile(below[each], 0.5) for each in rounds]
    assert ratio_of_medians(list(above), list(below), 5) == (quantile(ratios, 0.025), quantile(ratios, 0.975))


def test_an_exponent_and_its_interval_are_scipy_s() -> None:
    sizes, values = [10, 100, 1_000, 10_000], [2.0, 21.0, 180.0, 2_100.0]
    found, theirs = power(sizes, values), stats.linregress(np.log(sizes), np.log(values))
    wide = stats.t.ppf(0.975, 2) * theirs.stderr
    assert (found.exponent, found.interval.low, found.interval.high) == pytest.approx(
        (theirs.slope, theirs.slope - wide, theirs.slope + wide)
    )
    assert power([10, 100, 1_000], [2.0, 20.0, 200.0]).exponent == pytest.approx(1.0)
    assert power([10, 100], [1.0, 100.0]).interval.reason.startswith("two measurements")


def test_nothing_is_foretold_beyond_ten_times_the_largest_size() -> None:
    found = power([10, 100, 1_000], [2.0, 21.0, 200.0])
    value, ends = found.at(10_000)
    assert value == pytest.approx(2_000, rel=0.1)
    assert ends.low is not None
    assert ends.low < value
    with pytest.raises(ValueError, match="beyond 10 times"):
        found.at(10_001)
    with pytest.raises(ValueError, match="two different sizes"):
        power([10, 10], [1.0, 2.0])


def test_a_change_of_level_is_where_wilcoxon_s_test_says_that_it_is() -> None:
    drawn = np.random.default_rng(4)
    series = np.concatenate([drawn.normal(0, 1, 30), drawn.normal(3, 1, 20), drawn.normal(0, 1, 40)])
    found = change_points(series)
    assert [change.at for change in found] == pytest.approx([30, 50], abs=2)
    assert [round(change.after - change.before) for change in found] == pytest.approx([3, -3], abs=1)
    # Alone, each is where the test of both sides shows most.
    part = series[:50]
    by_rank = [abs(stats.mannwhitneyu(part[:at], part[at:]).statistic - at * (50 - at) / 2) for at in range(1, 50)]
    assert change_points(part)[0].at == int(np.argmax(by_rank)) + 1


def test_a_series_without_a_change_has_none_in_19_of_20() -> None:
    drawn = np.random.default_rng(8)
    alarms = sum(bool(change_points(drawn.standard_cauchy(60))) for _ in range(2_000))
    assert alarms / 2_000 <= 0.06
    assert change_points([1.0] * 100) == []
    assert change_points([0.0] * (VALUES_MIN // 2) + [1.0] * (VALUES_MIN // 2 - 1)) == []


def test_mser_5_is_the_place_of_the_smallest_standard_error() -> None:
    series = np.concatenate([np.linspace(50, 0, 60), np.random.default_rng(2).normal(0, 1, 400)])
    fives = series.reshape(-1, 5).mean(axis=1)
    errors = [stats.sem(fives[at:], ddof=0) ** 2 for at in range(fives.size - 5)]
    assert warm_up(series) == 5 * int(np.argmin(errors))

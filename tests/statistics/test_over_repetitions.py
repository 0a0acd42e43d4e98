"""Figures over repetitions: intervals, the ratio of two runs, what could have been seen, many comparisons at once."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.base import stream
from lab.statistics.intervals import Interval
from lab.statistics.replicated import Ratio, detectable, interval, middle, of_median, ratio
from lab.statistics.several import discoveries
from lab.statistics.student import shift, t_below, t_quantile, two_sided

POSITIVE = st.lists(st.floats(1e-6, 1e6), min_size=2, max_size=12)


@pytest.mark.parametrize(("freedom", "share", "table"), [(4, 0.975, 2.7764), (9, 0.975, 2.2622)])
def test_student_s_t_is_that_of_the_tables(freedom: float, share: float, table: float) -> None:
    assert t_quantile(freedom, share) == pytest.approx(table, abs=2e-4)
    assert t_below(freedom, t_quantile(freedom, share)) == pytest.approx(share, abs=1e-9)
    assert two_sided(freedom, -t_quantile(freedom, share)) == pytest.approx(2 * (1 - share), abs=1e-8)
    assert t_below(freedom, 0.0) == 0.5
    assert t_below(freedom, math.inf) == 1
    assert t_below(freedom, -math.inf) == 0


def test_degrees_of_freedom_need_not_be_whole() -> None:
    # The density is proportional to (1 + t^2 / f) ^ (-(f + 1) / 2); the integral to infinity, by t = tan(u).
    freedom, value = 2.5, 1.3
    at = np.tan(np.linspace(-math.pi / 2, math.pi / 2, 400_003)[1:-1])
    mass = (1 + at * at / freedom) ** (-(freedom + 1) / 2) * (1 + at * at)
    assert t_below(freedom, value) == pytest.approx(float(mass[at <= value].sum() / mass.sum()), abs=1e-5)


def test_the_interval_is_student_s_over_the_logarithms() -> None:
    values = [1.0, 2.0, 4.0, 2.0, 2.0]
    logs = np.log(values)
    wide = t_quantile(4, 0.975) * logs.std(ddof=1) / math.sqrt(5)
    found = interval(values)
    assert found.low == pytest.approx(math.exp(logs.mean() - wide))
    assert found.high == pytest.approx(math.exp(logs.mean() + wide))


@given(values=POSITIVE, scale=st.floats(1e-3, 1e3))
def test_an_interval_holds_the_median_and_does_not_depend_on_the_unit(values: list[float], scale: float) -> None:
    found, scaled = interval(values), interval([value * scale for value in values])
    shown = middle(values)
    assert found.low is not None
    assert found.high is not None
    assert shown is not None
    assert found.low <= shown <= found.high
    assert scaled.low == pytest.approx(found.low * scale, rel=1e-6)
    assert scaled.high == pytest.approx(found.high * scale, rel=1e-6)


def test_values_without_a_logarithm_have_an_interval_all_the_same() -> None:
    found = interval([0.0, 0.1, 0.2])
    assert found.low is not None
    assert found.high is not None
    assert found.low < 0.0 < 0.2 < found.high
    assert interval([0.0, 0.0]) == Interval(0.0, 0.0)
    assert interval([3.0, 3.0, 3.0]) == Interval(3.0, 3.0)


def test_what_is_not_told_has_no_interval_and_says_why() -> None:
    assert interval([1.0]).reason == "one repetition"
    assert interval([1.0, None, 2.0]) == Interval(reason="not told in 1 of 3 repetitions")
    several = [1.0, 2.0, 3.0, 4.0, 5.0, math.inf]
    assert interval(several) == Interval(1.0, None, "infinite in 1 of 6 repetitions")
    assert interval([math.inf] * 3) == Interval(None, None, "infinite in 3 of 3 repetitions")
    assert (middle([3.0, None]), middle([]), middle([1.0, 4.0]), middle([1.0, math.inf, 2.0])) == (None, None, 2.5, 2.0)


def test_values_with_infinite_ones_have_the_interval_of_their_median() -> None:
    # Of n values the l-th smallest lies above the median with the chance P(B < l), B binomial (n, 1/2).
    assert of_median([3.0, 1.0, 2.0, 5.0, 4.0]) == (None, None)
    assert of_median([3.0, 1.0, 2.0, 5.0, 4.0, math.inf]) == (1.0, math.inf)
    assert of_median([-math.inf, *map(float, range(7)), math.inf]) == (0.0, 6.0)
    assert interval([*map(float, range(8)), math.inf]) == Interval(1.0, 7.0)
    assert interval([*map(float, range(7)), math.inf]) == Interval(0.0, None, "infinite in 1 of 8 repetitions")


@pytest.mark.parametrize("many", [6, 9, 17])
def test_the_interval_of_the_median_holds_it(many: int) -> None:
    rng = stream(many, "median")
    held = 0
    for values in rng.exponential(1.0, (2_000, many)):
        low, high = of_median(list(values))
        assert low is not None
        assert high is not None
        held += low <= math.log(2) <= high
    assert held / 2_000 > 0.95 - 3 * math.sqrt(0.95 * 0.05 / 2_000)


def test_an_interval_can_be_that_of_the_values_themselves() -> None:
    values = [1.0, 2.0, 4.0]
    wide = t_quantile(2, 0.975) * np.std(values, ddof=1) / math.sqrt(3)
    found = interval(values, logarithmic=False)
    assert (found.low, found.high) == (pytest.approx(7 / 3 - wide), pytest.approx(7 / 3 + wide))


def test_values_of_all_sizes_have_an_interval() -> None:
    assert interval([1e-200, 1e200]).high == math.inf


@given(a=POSITIVE, b=POSITIVE, factor=st.floats(0.1, 10), paired=st.booleans())
def test_a_ratio_turns_round_with_its_runs(a: list[float], b: list[float], factor: float, paired: bool) -> None:
    there, back = ratio(a, b, paired), ratio(b, a, paired)
    assert there.value is not None
    assert back.value is not None
    assert there.p is not None
    assert back.p is not None
    assert there.value == pytest.approx(1 / back.value)
    assert there.p == pytest.approx(back.p, abs=1e-6)
    if there.low is not None and back.high is not None:
        assert there.low == pytest.approx(1 / back.high, rel=1e-6)
    moved = ratio(a, [value * factor for value in b], paired)
    assert moved.value == pytest.approx(there.value * factor)


def test_pairs_share_what_moves_both() -> None:
    common = np.array([1.0, 2.0, 5.0, 3.0, 9.0])
    found = ratio(common.tolist(), (common * [1.10, 1.11, 1.09, 1.10, 1.10]).tolist(), paired=True)
    assert found.value == pytest.approx(1.1, abs=0.001)
    assert found.p is not None
    assert found.p < 1e-4
    alone = ratio(common.tolist(), (common * 1.1).tolist(), paired=False)
    assert alone.p is not None
    assert alone.p > 0.5


def test_one_repetition_has_a_ratio_and_no_more() -> None:
    found = ratio([2.0], [3.0], paired=True)
    assert found.value == pytest.approx(1.5)
    assert found.p is None
    assert found.reason == "one repetition"
    assert ratio([0.0, 1.0], [1.0, 1.0], False).value is None
    assert ratio([0.0, 0.0], [0.0, 0.0], True).value == 1.0
    assert ratio([1.0, None], [1.0, 1.0], True).reason == "not told in every repetition"


def test_figures_that_never_vary_differ_surely_or_not_at_all() -> None:
    same, other = ratio([2.0, 2.0], [2.0, 2.0], True), ratio([2.0, 2.0], [3.0, 3.0], True)
    assert (same.p, other.p) == (1.0, 0.0)
    assert other.low == other.value == pytest.approx(1.5)
    assert discoveries([same.p, other.p])[0] == [False, True]


def by_hand(p: list[float], rate: float) -> list[bool]:
    """Benjamini and Hochberg from their definition: the largest k of which the k-th smallest is at most k rate / m."""
    ordered = sorted(p)
    k = max((k for k in range(1, len(p) + 1) if ordered[k - 1] <= rate * k / len(p)), default=0)
    return [value <= ordered[k - 1] if k else False for value in p]


@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_discoveries_are_those_of_the_definition(p: list[float]) -> None:
    found, needed = discoveries(p)
    assert found == by_hand(p, 0.05)
    assert discoveries([None, *p])[0] == [False, *found]
    if not all(found):
        # One more comparison, just below what is said to be needed, is one more discovery.
        place = next(place for place, one in enumerate(found) if not one)
        assert sum(discoveries([*p[:place], needed * 0.999, *p[place + 1 :]])[0]) > sum(found) or sum(found) == 0


@pytest.mark.parametrize("beyond", [1.0, 1.03, 1.3])
@pytest.mark.parametrize("alpha", [0.05, 0.002])
@pytest.mark.parametrize(("repetitions", "spread"), [(5, 0.02), (10, 0.1)])
def test_what_could_have_been_seen_is_found_in_four_of_five_cases(
    repetitions: int, spread: float, alpha: float, beyond: float
) -> None:
    rng = stream(7, "power", str(repetitions), str(spread))

    def tried(factor: float) -> Ratio:
        a, b = np.exp(spread * rng.standard_normal((2, repetitions)))
        return ratio(a.tolist(), (b * factor).tolist(), True)

    smallest = [detectable(tried(1.0), alpha, beyond) for _ in range(300)]
    typical = float(np.median([one for one in smallest if one is not None]))
    found = [tried(typical) for _ in range(600)]
    # As `lab.report.judged` calls one: not chance, and the whole interval is beyond what the control did.
    called = [one.p is not None and one.p <= alpha and one.low is not None and one.low > beyond for one in found]
    assert 0.74 <= np.mean(called) <= 0.86


def test_a_shift_is_that_of_the_noncentral_t_distribution() -> None:
    # J. Cohen, "Statistical power analysis" (1988): 10 pairs, two-sided 5 %, power 0.8: a difference of 1.0 sigma.
    assert shift(9, 0.8, [(0.0, t_quantile(9, 0.975))]) / math.sqrt(10) == pytest.approx(0.996, abs=0.005)
    # Of so many degrees of freedom the spread is known: normal quantiles.
    assert shift(1e6, 0.8, [(0.0, 1.959964)]) == pytest.approx(1.959964 + 0.841621, abs=1e-3)
    assert shift(1e6, 0.8, [(0.0, 1.959964), (5.0, 1.0)]) == pytest.approx(6.841621, abs=1e-3)


def test_what_must_be_exceeded_is_never_less_than_the_control() -> None:
    assert detectable(Ratio(1.0, 1.0, 1.0, 1.0, 0.0, 4.0), 0.05, 1.2) == pytest.approx(1.2)
    assert detectable(Ratio(1.1, reason="one repetition"), 0.05) is None

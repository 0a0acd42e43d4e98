"""A claim is verified, refuted or inconclusive by the interval of what is between its sides, and says why."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.base import stream
from lab.claims import INCONCLUSIVE, REFUTED, VERIFIED, judge_one, read
from lab.claims.expression import Call
from lab.claims.judging import JudgedClaim
from lab.claims.readings import ClaimReading

INF = math.inf


@dataclass
class Fake:
    """Readings by the name of a projection."""

    told: dict[str, ClaimReading] = field(default_factory=dict)
    repetitions: int = 5
    modelled: bool = False

    def of(self, call: Call) -> ClaimReading:
        return self.told[call.arguments[0]]


def judged(text: str, least: int = 1, modelled: bool = False, **values: Sequence[float] | ClaimReading) -> JudgedClaim:
    told = {
        n: each if isinstance(each, ClaimReading) else ClaimReading(tuple(map(float, each)))
        for n, each in values.items()
    }
    many = max(len(each.values) for each in told.values())
    return judge_one(read(text), Fake(told, many or 5, modelled), least)  # type: ignore[arg-type]


# --- several repetitions ---------------------------------------------------------------------------------------------


def test_a_clear_difference_is_verified_and_its_opposite_refuted() -> None:
    a, b = [1.0, 1.1, 0.9], [3.0, 3.2, 2.9]
    found = judged("lag_p99(a) < lag_p99(b)", a=a, b=b)
    assert found.verdict == VERIFIED
    assert found.compared == "ratio"
    assert (found.left, found.right) == (1.0, 3.0)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 1 / 3 < found.high < 1
    for opposite in ("lag_p99(a) > lag_p99(b)", "lag_p99(a) >= lag_p99(b)", "lag_p99(a) ~ lag_p99(b) within 10 %"):
        assert judged(opposite, a=a, b=b).verdict == REFUTED


def test_repetitions_are_compared_one_by_one() -> None:
    """What moves both sides of a repetition alike is no difference between them."""
    a = [1.0, 2.0, 4.0, 8.0, 16.0]
    assert judged("rebuild(a) < rebuild(b)", a=a, b=[1.1 * each for each in a]).verdict == VERIFIED
    assert judged("rebuild(a) < rebuild(b)", a=a, b=[1.1 * each for each in reversed(a)]).verdict == INCONCLUSIVE


def test_an_inconclusive_claim_says_how_many_repetitions_would_decide_it() -> None:
    a, b = [1.0, 1.2, 0.9, 1.1, 1.0], [1.1, 1.0, 1.2, 1.3, 1.0]
    found = judged("rebuild(a) < rebuild(b)", a=a, b=b)
    assert found.verdict == INCONCLUSIVE
    assert "the interval reaches to both sides: if further repetitions spread like these, --repeat" in found.reason
    number = int(found.reason.split("--repeat ")[1].split()[0])
    more = judged("rebuild(a) < rebuild(b)", a=a * (number // 5 + 2), b=b * (number // 5 + 2))
    assert more.verdict != INCONCLUSIVE


def test_two_that_are_equal_are_never_told_apart() -> None:
    a = [1.0, 2.0, 3.0, 4.0]
    found = judged("rebuild(a) < rebuild(b)", a=a, b=[2.0, 1.0, 4.0, 3.0])
    assert found.verdict == INCONCLUSIVE
    assert "more than 1,000 repetitions" in found.reason


def test_near_is_verified_only_if_the_whole_interval_is() -> None:
    a = [1.00, 1.01, 0.99, 1.02, 0.98]
    assert judged("lag_p50(a) ~ 1 s within 5 %", a=a).verdict == VERIFIED
    assert judged("lag_p50(a) ~ 1 s within 1 %", a=a).verdict == INCONCLUSIVE
    assert judged("lag_p50(a) ~ 2 s within 5 %", a=a).verdict == REFUTED
    assert judged("lag_p50(a) ~ 1 s within 50 ms", a=a).verdict == VERIFIED
    assert judged("lag_p50(a) ~ 1.3 s within 200 ms", a=a).verdict == REFUTED


def test_shares_of_0_are_compared_by_their_difference() -> None:
    found = judged("never_visible(a) < never_visible(b)", a=[0.0, 0.0, 0.0], b=[0.01, 0.011, 0.009])
    assert (found.verdict, found.compared) == (VERIFIED, "difference")


def test_counts_are_exact() -> None:
    assert judged("violations(a) = 0", a=[0.0] * 3).verdict == VERIFIED
    assert judged("violations(a) > 0", a=[0.0] * 3).verdict == REFUTED
    assert judged("violations(a) < 0", a=[0.0] * 3).verdict == REFUTED
    assert judged("violations(a) <= 0", a=[0.0] * 3).verdict == VERIFIED
    assert judged("violations(a) = 0", a=[4.0, 5.0, 3.0]).verdict == REFUTED


@pytest.mark.parametrize(
    ("text", "counts", "often", "where"),
    [
        ("violations(a) = 0", [0, 0, 0, 0, 1], 1, "1 against 0 in repetition 5"),
        ("violations(a) <= 2", [0, 3, 1, 3, 1], 2, "3 against 2 in repetition 2"),
        ("violations(a) < 3", [0, 2, 1, 3, 1], 1, "3 against 3 in repetition 4"),
        ("violations(a) > 0", [4, 5, 0, 7, 9], 1, "0 against 0 in repetition 3"),
        ("0 < violations(a)", [4, 5, 0, 7, 9], 1, "0 against 0 in repetition 3"),
        ("violations(a) >= 4", [4, 5, 4, 7, 3], 1, "3 against 4 in repetition 5"),
        ("violations(a) ~ 100 within 10 %", [100, 110, 90, 89, 111], 2, "89 against 100 in repetition 4"),
        ("violations(a) ~ 100 within 10", [100, 110, 90, 89, 100], 1, "89 against 100 in repetition 4"),
    ],
)
def test_one_repetition_refutes_a_claim_of_counts(text: str, counts: list[int], often: int, where: str) -> None:
    """Such a claim is about every run, and what is between the runs is no matter of chance for it."""
    found = judged(text, a=counts)
    assert found.verdict == REFUTED
    assert found.reason == f"it doesn't hold in {often} of 5 repetitions: {where}"
    held = [count for count in counts if judged(text, a=[count]).verdict == VERIFIED]
    assert len(held) == 5 - often
    assert judged(text, a=held).verdict == VERIFIED


def test_counts_are_compared_without_the_rounding_of_their_sums() -> None:
    assert judged("0.1 * parked(a) = 0.3", a=[3.0]).verdict == VERIFIED
    assert judged("0.1 * parked(a) < 0.3", a=[3.0]).verdict == REFUTED
    assert judged("0.1 * parked(a) <= 0.3", a=[3.0]).verdict == VERIFIED
    assert judged("parked(a) ~ 100 within 29 %", a=[129.0, 71.0]).verdict == VERIFIED


def test_what_divides_by_0_has_no_verdict_and_says_so() -> None:
    found = judged("parked(a) / parked(b) > 3", a=[1.0, 4.0, 8.0], b=[1.0, 0.0, 0.0])
    assert (found.verdict, found.reason) == (INCONCLUSIVE, "`parked(a) / parked(b)` divides by 0 in 2 of 3 repetitions")
    for left in (0.0, 1.0):
        found = judged("2 * ratio(parked(a), parked(b) - parked(b)) > 3", a=[left], b=[1.0])
        assert found.verdict == INCONCLUSIVE
        assert found.reason == "`parked(a) / (parked(b) - parked(b))` divides by 0"
    found = judged("rebuild(a) > 1 s / stale(b)", a=[1.0, 2.0], b=[0.0, 0.0])
    assert found.reason == "`1 s / stale(b)` divides by 0 in 2 of 2 repetitions"


def test_a_side_that_is_too_large_has_no_verdict() -> None:
    for text in ("rebuild(a) * 1e200 > 1", "rebuild(a) * 1e200 * 1e200 > 1", "1 < 1e99 * 1e99 * rebuild(a)"):
        found = judged(text, a=[1.0, 2.0])
        assert found.verdict == INCONCLUSIVE
        assert "is too large a number in 2 of 2 repetitions" in found.reason
    assert judged("1e99 * rebuild(a) > 1", a=[1.0, 2.0]).verdict != INCONCLUSIVE
    assert judged("1e99 * lag_p50(a) > 1", a=[INF] * 6).verdict == VERIFIED


def test_what_is_near_to_0_is_judged_by_the_difference() -> None:
    """Ten per cent of a right side that is 0 are 0; of one below 0 they are above 0."""
    assert judged("rebuild(a) ~ rebuild(b) within 10 %", a=[0.0] * 3, b=[0.0] * 3).verdict == VERIFIED
    assert judged("rebuild(a) ~ rebuild(b) within 10 %", a=[1.0] * 3, b=[0.0] * 3).verdict == REFUTED
    assert judged("-rebuild(a) ~ -rebuild(b) within 10 %", a=[1.0, 1.01, 0.99], b=[1.0] * 3).verdict == VERIFIED
    assert judged("-rebuild(a) ~ -rebuild(b) within 10 %", a=[2.0, 2.01, 1.99], b=[1.0] * 3).verdict == REFUTED
    # Each repetition has its own right side: 10 % of 100 in one, of 1 in the other.
    apart = judged("-rebuild(a) ~ -rebuild(b) within 10 %", a=[101.0, 2.0] * 4, b=[100.0, 1.0] * 4)
    assert apart.verdict == INCONCLUSIVE


def test_a_claim_that_asks_for_more_repetitions_than_there_are_is_inconclusive() -> None:
    found = judged("lag_p50(a) < 2 s", least=5, a=[1.0, 1.0])
    assert found.verdict == INCONCLUSIVE
    assert found.reason == "it asks for 5 repetitions, and there are 2: --repeat 5"


def test_what_is_withheld_is_inconclusive_with_its_reason() -> None:
    found = judged("lag_p50(a) < lag_p50(b)", a=[1.0], b=ClaimReading(reason="`b` has the verdict fail"))
    assert (found.verdict, found.reason, found.left) == (INCONCLUSIVE, "`b` has the verdict fail", None)


# --- infinite lags ---------------------------------------------------------------------------------------------------


def test_what_never_comes_is_later_than_what_does() -> None:
    a, never = [1.0, 2.0] * 3, [INF] * 6
    assert judged("lag_p99(a) < lag_p99(b)", a=a, b=never).verdict == VERIFIED
    assert judged("lag_p99(a) > lag_p99(b)", a=a, b=never).verdict == REFUTED
    assert judged("lag_p99(a) ~ lag_p99(b) within 10 %", a=a, b=never).verdict == REFUTED
    assert judged("lag_p99(b) ~ lag_p99(a) within 10 %", a=a, b=never).verdict == REFUTED
    assert judged("lag_p99(a) < 1 s", a=never).verdict == REFUTED


@pytest.mark.parametrize("many", [2, 5])
def test_few_infinite_repetitions_are_no_proof(many: int) -> None:
    """Of two that are equal five repetitions have the same sign in one of 16 cases."""
    found = judged("lag_p99(a) < 1 s", a=[INF] * many)
    assert found.verdict == INCONCLUSIVE
    said = f"infinite in {many} of {many} repetitions, and the interval of their median takes 6: --repeat 6 gives one"
    assert found.reason == said


def test_two_that_never_come_are_not_compared() -> None:
    found = judged("lag_p99(a) < lag_p99(b)", a=[INF, INF, 1.0], b=[INF, INF, 2.0])
    assert found.verdict == INCONCLUSIVE
    assert found.reason == "both sides are infinite in 2 of 3 repetitions, so nothing is between them"


def test_infinite_repetitions_are_judged_by_the_interval_of_their_median() -> None:
    b = [INF, 5.0, INF, 6.0, 7.0, INF]
    assert judged("lag_p99(a) < lag_p99(b)", a=[1.0] * 6, b=b).verdict == VERIFIED
    assert judged("lag_p99(a) < lag_p99(b)", a=[*[1.0] * 5, 8.0], b=[*b[:5], 7.0]).verdict == INCONCLUSIVE
    # Of nine the interval leaves out the smallest and the largest: 20 / 2^9 < 0.05.
    found = judged("lag_p99(a) < 6 s", a=[1.0, 2.0, 3.0, 3.0, 4.0, 4.0, 5.0, 5.5, INF])
    assert (found.verdict, found.low, found.high) == (VERIFIED, 2.0 - 6.0, 5.5 - 6.0)


def test_it_is_said_how_many_infinite_repetitions_would_decide() -> None:
    a = [1.0] * 5 + [INF]
    found = judged("lag_p99(a) < 6 s", a=a)
    assert found.verdict == INCONCLUSIVE
    number = int(found.reason.split("--repeat ")[1].split()[0])
    assert judged("lag_p99(a) < 6 s", a=[*[1.0] * (number - number // 6), *[INF] * (number // 6)]).verdict == VERIFIED
    even = judged("lag_p99(a) < 6 s", a=[1.0, INF] * 4)
    assert "more than 1,000 repetitions" in even.reason


@pytest.mark.parametrize("many", [6, 9, 20])
def test_a_median_at_the_limit_is_seldom_taken_for_one_beyond_it(many: int) -> None:
    rng, often = stream(many, "claims"), 2_000
    draws = np.where(rng.random((often, many)) < 0.4, INF, rng.lognormal(0.0, 1.0, (often, many)))
    # The median of all: the 0.5 quantile of the mixture, at 0.5 / 0.6 of the finite part.
    limit = math.exp(0.967421566)
    found = [judged(f"lag_p99(a) < {limit} s", a=list(each)).verdict for each in draws if np.isinf(each).any()]
    for verdict in (VERIFIED, REFUTED):
        assert found.count(verdict) / often < 0.025 + 3 * math.sqrt(0.025 * 0.975 / often)


# --- one repetition --------------------------------------------------------------------------------------------------


def one(value: float, low: float, high: float) -> ClaimReading:
    return ClaimReading((value,), within=(low, high))


def test_one_repetition_judges_modelled_lags_by_the_intervals_within_it() -> None:
    a, b = one(1.0, 0.9, 1.1), one(2.0, 1.8, 2.2)
    assert judged("lag_p50(a) < lag_p50(b)", modelled=True, a=a, b=b).verdict == VERIFIED
    assert judged("lag_p50(a) > lag_p50(b)", modelled=True, a=a, b=b).verdict == REFUTED
    found = judged("lag_p50(a) < 0.5 * lag_p50(b)", modelled=True, a=a, b=b)
    assert found.verdict == INCONCLUSIVE
    assert (found.low, found.high) == (pytest.approx(0.9 / 1.1), pytest.approx(1.1 / 0.9))


def test_one_repetition_says_nothing_of_what_is_measured() -> None:
    a, b = one(1.0, 0.9, 1.1), one(20.0, 18.0, 22.0)
    for text in ("lag_p50(a) < lag_p50(b)", "rebuild(a) < rebuild(b)"):
        found = judged(text, a=a, b=b)
        assert found.verdict == INCONCLUSIVE
        assert found.reason == f"one repetition shows nothing of how {text.split(' ')[0]} varies: --repeat 5"


def test_one_repetition_counts_exactly() -> None:
    assert judged("violations(a) = 0", a=[0.0]).verdict == VERIFIED
    assert judged("parked(a) > parked(b)", a=[3.0], b=[0.0]).verdict == VERIFIED


def test_an_interval_with_one_end_is_enough_if_it_is_the_right_one() -> None:
    a = ClaimReading((5.0,), within=(4.0, INF), within_reason="too few samples")
    assert judged("lag_p99(a) > 3 s", modelled=True, a=a).verdict == VERIFIED
    found = judged("lag_p99(a) > 4.5 s", modelled=True, a=a)
    assert found.verdict == INCONCLUSIVE
    assert "too few samples" in found.reason


def test_a_right_side_that_may_be_0_refutes_nothing() -> None:
    """Its interval reaches to both sides of 0, so what is near to it may be anywhere."""
    a, b = one(1.0, 0.9, 1.1), one(1.2, 0.1, 2.3)
    for text in ("lag_p50(a) ~ lag_p50(b) - 1.2 s within 10 %", "lag_p50(a) / (lag_p50(b) - 1.2 s) > 3"):
        found = judged(text, modelled=True, a=a, b=one(1.3, 0.1, 2.3))
        assert found.verdict == INCONCLUSIVE, text
    assert judged("lag_p50(b) ~ 10 * lag_p50(a) within 10 %", modelled=True, a=a, b=b).verdict == REFUTED
    assert judged("0 - lag_p50(a) ~ 0 - lag_p50(a) within 30 %", modelled=True, a=a).verdict == VERIFIED
    never = judged("lag_p50(a) ~ 1 s within 10 %", modelled=True, a=one(INF, 0.0, INF))
    assert never.verdict == INCONCLUSIVE


ends = st.tuples(st.floats(-3, 3), st.floats(0, 2), st.floats(0, 1))


@given(ends, ends, st.sampled_from(["<", "<=", ">", ">=", "~"]), st.sampled_from(["a", "a - 2 * b", "b / a"]))
def test_what_one_repetition_decides_holds_wherever_its_quantities_lie(
    a: tuple[float, float, float], b: tuple[float, float, float], sign: str, left: str
) -> None:
    """Every value within the intervals agrees with the verdict."""
    readings = {name: one(low + part * wide, low, low + wide) for name, (low, wide, part) in (("a", a), ("b", b))}
    sides = [re.sub("[ab]", "stale(\\g<0>)", side) for side in (left, "b")]
    text = f"{sides[0]} {sign} {sides[1]}" + (" within 20 %" if sign == "~" else "")
    found = judged(text, modelled=True, **readings)
    for part in (0.0, 0.5, 1.0):
        for other in (0.0, 0.5, 1.0):
            x, y = a[0] + part * a[1], b[0] + other * b[1]
            if left == "b / a" and x == 0:
                continue
            side = {"a": x, "a - 2 * b": x - 2 * y, "b / a": y / x if x else math.nan}[left]
            held = {
                "<": side < y,
                "<=": side <= y,
                ">": side > y,
                ">=": side >= y,
                "~": abs(side - y) <= 0.2 * abs(y),
            }[sign]
            near = abs(side - y) <= 1e-9 or (sign == "~" and abs(abs(side - y) - 0.2 * abs(y)) <= 1e-9)
            if found.verdict != INCONCLUSIVE and not near:
                assert held == (found.verdict == VERIFIED)


def test_without_an_interval_one_repetition_tells_what_would_give_one() -> None:
    found = judged("stale(a) < 50 %", modelled=True, a=ClaimReading((0.2,), within_reason="one repetition"))
    assert found.verdict == INCONCLUSIVE
    assert "--repeat 5" in found.reason


# --- how often it is wrong -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("repetitions", [3, 5, 10])
def test_of_two_that_are_equal_a_claim_is_verified_once_in_forty(repetitions: int) -> None:
    """The interval has two ends, and one of them decides for each verdict: 2.5 % each."""
    rng = stream(repetitions, "claims")
    often = 2_000
    found = [
        judged(
            "rebuild(a) < rebuild(b)",
            a=list(rng.lognormal(0.0, 0.1, repetitions)),
            b=list(rng.lognormal(0.0, 0.1, repetitions)),
        ).verdict
        for _ in range(often)
    ]
    for verdict in (VERIFIED, REFUTED):
        # Three standard deviations of a binomial.
        assert abs(found.count(verdict) / often - 0.025) < 3 * math.sqrt(0.025 * 0.975 / often)


def test_a_claim_that_holds_by_a_factor_of_three_is_verified_with_three_repetitions() -> None:
    rng = stream(7, "claims")
    found = [
        judged("rebuild(a) < rebuild(b)", a=list(rng.lognormal(0, 0.1, 3)), b=list(rng.lognormal(np.log(3), 0.1, 3)))
        for _ in range(500)
    ]
    assert np.mean([each.verdict == VERIFIED for each in found]) > 0.99


numbers = st.one_of(st.floats(1e-6, 1e6), st.just(INF), st.just(0.0))


@given(st.lists(st.tuples(numbers, numbers), min_size=2, max_size=8), st.sampled_from(["<", "<=", ">", ">="]))
def test_a_claim_and_its_opposite_are_never_both_verified(pairs: list[tuple[float, float]], sign: str) -> None:
    opposite = {"<": ">=", "<=": ">", ">": "<=", ">=": "<"}
    a, b = zip(*pairs, strict=True)
    found, other = (judged(f"lag_max(a) {each} lag_max(b)", a=a, b=b) for each in (sign, opposite[sign]))
    assert {found.verdict, other.verdict} in ({VERIFIED, REFUTED}, {INCONCLUSIVE})
    assert bool(found.reason) == (found.verdict == INCONCLUSIVE)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=8), st.sampled_from("<>="))
def test_a_claim_of_counts_is_what_holds_in_every_repetition(pairs: list[tuple[int, int]], sign: str) -> None:
    a, b = zip(*pairs, strict=True)
    found = judged(f"parked(a) {sign} parked(b)", a=a, b=b)
    held = [{"<": one < other, ">": one > other, "=": one == other}[sign] for one, other in pairs]
    assert found.verdict == (VERIFIED if all(held) else REFUTED)
    assert bool(found.reason) == (len(pairs) > 1 and not all(held))

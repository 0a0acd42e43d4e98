"""A claim's text is read as it says, and every mistake in it is told with its place and a way out."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.base import TRUTH
from lab.claims import Names, problems, read
from lab.claims.expression import Call, Misstated, bounds, value
from lab.claims.grammar import DEPTH_MAX, LENGTH_MAX
from lab.claims.quantities import QUANTITIES
from lab.scenario import ClaimTable

NAMES = Names(
    {"directory": ["employee", "named"], "messages-only": ["employee"], TRUTH: ["employee"]},
    {
        "fresh_p99": ("there are no replicas", "it needs a table [replicas]"),
        "hot": ("nothing is asked hot", "claim the time that is `cold`"),
        "survives_crash": ("no store is tried", "leave the claim out"),
    },
    pages=["people"],
)


def told(text: str) -> list[str]:
    return [str(problem) for problem in problems([ClaimTable(that=text)], NAMES, "mine.toml")]


@pytest.mark.parametrize(
    "text",
    [
        "lag_p99(directory) < 0.5 * lag_p99(messages-only)",
        "lag_p50(directory)-lag_p50(messages-only) < 2 s",
        "lag_p50(directory) <= 2",
        "ratio(lag_p50(directory), lag_p99(directory)) < 3",
        "never_visible(messages-only) ~ 1 % within 10 %",
        "lag_p50(directory) ~ 500 ms within 20 ms",
        "violations(messages-only, no_loss) > 0",
        "violations(directory) = 0",
        "query(truth, employee, cold) > query(directory, employee)",
        "rate() > 1_000",
        "disk(directory) < 5 MB + 2 * disk(messages-only)",
        "-(lag_p50(directory)) < 1e-3",
        "lag_p99(directory) * rate() < 100 * 2 s * 1_000 / 1 s",
        "never_visible(messages-only) ~ 1 %within 10 %",
        "stale(directory) ~ 0 within 0.01",
        "100 * stale(directory) < 5",
    ],
)
def test_what_can_be_claimed_is_taken(text: str) -> None:
    assert told(text) == []


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("lag_p99(directry) < 1", 9, "no projection is called `directry` (did you mean `directory`?)"),
        ("lagp99(directory) < 1", 1, "no quantity is called `lagp99` (did you mean `lag_p99`?)"),
        ("lag_p99(directory) < 10 MB", 20, "seconds can't be set against bytes"),
        ("lag_p99(directory) < 10 %", 20, "seconds can't be set against a share"),
        ("lag_p99(directory) + disk(directory) < 1", 20, "seconds can't be set against bytes"),
        ("rate() * lag_p50(directory) < 5 s", 29, "a share or a plain number can't be set against seconds"),
        ("query(directory, emploee) < 1", 18, "no query is called `emploee` (did you mean `employee`?)"),
        ("query(messages-only, named) < 1", 22, "is not asked `named` (asked it are: directory)"),
        ("query(directory, named, warm) < 1", 25, "no temperature is called `warm`"),
        ("violations(directory, no_los) = 0", 23, "no check is called `no_los` (did you mean `no_loss`?)"),
        ("lag_p99(truth) < 1", 9, "the source of truth is no projection"),
        ("fresh_p99() < 1", 1, "there are no replicas (it needs a table [replicas])"),
        ("query(directory, named, hot) < 1", 25, "nothing is asked hot (claim the time that is `cold`)"),
        ("violations(directory, survives_crash) = 0", 23, "no store is tried (leave the claim out)"),
        ("stale(directory) < 5", 20, "a share is never above 1 (a share of five in 100 is written 5 % or 0.05)"),
        ("120 % > never_visible(directory)", 1, "a share is never above 1"),
        ("stale(directory) ~ 0 within 10 %", 18, "nothing is near to it (say it in the unit of both, without %"),
        ("1 < 2", 1, "nothing that is measured"),
        ("lag_p99(directory)", 19, "nothing is compared here"),
        ("lag_p99(directory) = 0", 20, "never equal to the last digit"),
        ("lag_p99(directory) ~ 1 s", 25, "how near the two must be"),
        ("lag_p99(directory) ~ 1 s within 5 B", 33, "seconds can't be set against bytes"),
        ("lag_p99(directory) ~ 1 s within 0", 33, "not a number above 0"),
        ("1 < lag_p99(directory) < 2", 24, "there can be only one comparison"),
        ("lag_p99() < 1", 1, "(it is written lag_p99(PROJECTION))"),
        ("lag_p99(directory, named) < 1", 1, "with 2 names"),
        ("lag_p99(directory", 18, "the end: a comma or `)` is missing"),
        ("lag_p99(directory) < 3 min", 24, "no unit is called `min`"),
        ("lag_p99(directory) < ", 22, "the end: a quantity or a number is missing"),
        ("", 1, "a quantity or a number is missing"),
        ("__import__('os')", 1, "no quantity is called `__import__`"),
        ("lag_p99(directory).real < 1", 19, "nothing is compared here"),
        ("lag_p99(directory) < 1e999", 22, "too large a number"),
        ("(" * (DEPTH_MAX + 1) + "1", DEPTH_MAX + 1, "deep"),
        ("-" * (DEPTH_MAX + 1) + "1", DEPTH_MAX + 1, "deep"),
        ("1" + " + 1" * LENGTH_MAX + " < rate()", LENGTH_MAX + 1, "longer than"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_a_way_out(text: str, place: int, said: str) -> None:
    if not text:
        with pytest.raises(Misstated, match=said):
            read(text)
        return
    (found,) = told(text)
    assert found.startswith(f"mine.toml: claim.#1.that: at {place}, "), found
    assert said in found


def test_several_mistakes_of_several_claims_are_told_at_once() -> None:
    claims = [ClaimTable(that="lag_p50(a) < lag_p50(b)"), ClaimTable(that="x", name="second")]
    found = [str(problem) for problem in problems(claims, NAMES, "mine.toml")]
    assert len(found) == 3
    assert "claim.second.that" in found[-1]


# --- values ----------------------------------------------------------------------------------------------------------

LAGS = {"a": 3.0, "b": 2.0, "c": 0.5}


def lag(call: Call) -> float:
    return LAGS[call.arguments[0]]


sums = st.recursive(
    st.sampled_from(["lag_p50(a)", "lag_p50(b)", "lag_p50(c)"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-"), inner).map(lambda parts: f"({' '.join(parts)})"),
        st.tuples(inner, st.sampled_from("*/"), st.sampled_from(["2", "0.5"])).map(" ".join),
    ),
    max_leaves=8,
)


@given(sums)
def test_a_sum_is_worked_out_as_python_does(text: str) -> None:
    expected = eval(text, {"lag_p50": LAGS.get, **{name: name for name in LAGS}})
    assert value(read(f"{text} < 1 s").left, lag) == pytest.approx(expected)


@given(sums, st.data())
def test_bounds_hold_every_value_within(text: str, data: st.DataObject) -> None:
    expression = read(f"{text} < 1 s").left
    drawn = {name: data.draw(st.floats(middle - 0.4, middle + 0.4)) for name, middle in LAGS.items()}
    low, high = bounds(expression, lambda call: (lag(call) - 0.4, lag(call) + 0.4))
    found = value(expression, lambda call: drawn[call.arguments[0]])
    assert low - 1e-9 <= found <= high + 1e-9


def test_infinite_lags_are_worked_out() -> None:
    def never(call: Call) -> float:
        return math.inf if call.arguments[0] == "a" else 1.0

    assert value(read("2 * lag_p50(a) < 1").left, never) == math.inf
    assert value(read("lag_p50(b) / lag_p50(a) < 1").left, never) == 0.0
    assert math.isnan(value(read("lag_p50(a) - lag_p50(a) < 1").left, never))
    assert math.isnan(value(read("(lag_p50(b) - lag_p50(b)) / (lag_p50(b) - lag_p50(b)) < 1").left, never))


def test_units_are_those_of_the_si() -> None:
    def one(text: str) -> float:
        return value(read(f"{text} < rate() * 1 s").left, lag)

    units: dict[str, Any] = {
        "1500 ms / 1 s": 1.5,
        "250 us / 1 ms": 0.25,
        "250 \u00b5s / 1 ms": 0.25,
        "250 \u03bcs / 1 ms": 0.25,
        "5 %": 0.05,
        "3 MB / 1 kB": 3_000,
        "1_000": 1_000,
    }
    assert {text: one(text) for text in units} == pytest.approx(units)


def test_two_claims_can_not_have_one_name() -> None:
    claims = [ClaimTable(that="rate() > 1"), ClaimTable(that="rate() > 2", name="Claim-1")]
    (found,) = problems(claims, NAMES, "mine.toml")
    assert str(found) == (
        "mine.toml: claim.#1: without a name it is called `claim-1`, and another claim has that name "
        "(give it a name, or rename the other one)"
    )
    assert problems(list(reversed(claims)), NAMES, "mine.toml") == []


def test_every_quantity_can_be_claimed_and_says_how_it_is_written() -> None:
    for quantity in QUANTITIES.values():
        said = {"projection": "directory", "query": "employee", "check": "no_loss", "page": "people", "policy": "none"}
        names = [said.get(kind.rstrip("?"), "cold") for kind in quantity.arguments]
        text = f"{quantity.name}({', '.join(names)}) > 0"
        assert all("replicas" in one for one in told(text)), text
        assert quantity.usage.startswith(f"{quantity.name}(")

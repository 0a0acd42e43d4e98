"""What a claim's sides came to is told in words that a reader understands at once."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.claims import read
from lab.claims.telling import shown, sides, unit_of
from lab.report.claims import on_claims

INF = math.inf


def told(unit: str, left: float | None, right: float | None, compared: str = "difference", **more: Any) -> str:
    row = {"left": left, "right": right, "unit": unit, "compared": compared, "repetitions": 1}
    return sides(row | dict.fromkeys(("value", "low", "high")) | more)


def between(value: float, low: float, high: float) -> dict[str, float]:
    return {"value": value, "low": low, "high": high}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (told("s", 0.02, 0.5, "ratio", **between(0.04, 0.03, 0.05)),
         "20.0 ms against 500 ms; 0.0400 times as much (95 %: 0.0300 to 0.0500)"),
        (told("s", 0.0, 5.0, **between(-5.0, -6.0, 1.0), repetitions=5),
         "0 s against 5.00 s; 5.00 s less (95 %: 6.00 s less to 1.00 s more); 5 repetitions"),
        (told("s", 1.0, INF, **between(-INF, -INF, -2.0), repetitions=6),
         "1.00 s against never; infinitely much less (95 %: infinitely much less to 2.00 s less); 6 repetitions"),
        (told("s", 1.0, 1.0, **between(0.0, 0.0, 0.0)), "1.00 s against 1.00 s; no difference"),
        (told("", 3.0, 0.0, value=3.0), "3 against 0"),
        (told("", 1_204.0, 0.0, value=1_204.0, repetitions=5), "1,204 against 0; 5 repetitions"),
        (told("", -3.0, 0.25, **between(-3.25, -4.0, -2.0)), "−3 against 0.250; 3.25 less (95 %: 4 less to 2 less)"),
        (told("share", 0.05, 0.02, **between(0.03, -0.01, 0.05)),
         "5 % against 2 %; 3 percentage points more (95 %: 1 percentage point less to 5 percentage points more)"),
        (told("1/s", 1_500.0, 2e3, "ratio", **between(0.75, 0.7, 0.8)),
         "1,500/s against 2,000/s; 0.750 times as much (95 %: 0.700 to 0.800)"),
        (told("bytes", 5e6, 4e6, **between(1e6, 1e6, 1e6)), "5.00 MB against 4.00 MB; 1.00 MB more"),
        (told("s", None, 1.0), ""),
        (told("s", 1.0, 2.0), "1.00 s against 2.00 s"),
    ],
)  # fmt: skip
def test_it_reads_as_one_would_say_it(text: str, said: str) -> None:
    assert text == said


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("stale(a) < 5 %", "share"),
        ("stale(a) < 2 * stale(b) + 0.1", "share"),
        ("stale(a) / stale(b) < 5", ""),
        ("100 * stale(a) < 5", ""),
        ("never_visible(a) * parked(b) < 5", ""),
        ("lag_p50(a) < 5", "s"),
        ("disk(a) < 5 MB", "bytes"),
        ("disk(a) / rebuild(a) > 5 MB / 1 s", "bytes per s"),
        ("parked(a) = 0", ""),
        ("1 / rate() < 1 ms", "s"),
    ],
)
def test_the_unit_of_a_claim_is_that_of_its_sides(text: str, unit: str) -> None:
    assert unit_of(read(text)) == unit


@given(st.floats(allow_nan=False), st.sampled_from(["s", "bytes", "share", "1/s", "", "seconds^2"]))
def test_every_value_can_be_told(value: float, unit: str) -> None:
    said = shown(value, unit)
    assert said.startswith("−") == (value < 0)
    assert "inf" not in said
    assert "-" not in said or "e-" in said
    assert "–" not in said


def test_the_report_says_how_claims_are_judged() -> None:
    rows = [{"verdict": "verified"}, {"verdict": "refuted"}, {"verdict": "verified"}]
    once = on_claims(rows, 1)
    assert once.startswith("3 claims: 2 verified and 1 refuted. ")
    assert "repetition" not in once
    assert "in each of the 5 repetitions" in on_claims(rows, 5)

"""Numbers, durations and shares as a person reads them."""

from __future__ import annotations

import pytest

from lab import formatting


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "–"),
        (0, "0 s"),
        (12e-6, "12.0 µs"),
        (0.0123, "12.3 ms"),
        (0.9999, "1.00 s"),
        (200, "3 min 20 s"),
        (-0.5, "−500 ms"),
    ],
)
def test_durations_are_said_in_human_units(seconds: float | None, said: str) -> None:
    assert formatting.duration(seconds) == said


def test_a_share_is_never_rounded_to_nothing_or_to_all() -> None:
    assert formatting.share(0.00001) == "under 0.01 %"
    assert formatting.share(0.99999) == "over 99.99 %"
    assert formatting.share(0.5) == "50 %"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        ([1.0, 2.5], ["1.000 s", "2.500 s"]),
        ([1.2, 1.200012], ["1.200000 s", "1.200012 s"]),
        ([1.0, 1.0], ["1.000 s", "1.000 s"]),
        ([], []),
    ],
)
def test_moments_are_told_apart(seconds: list[float], said: list[str]) -> None:
    assert formatting.moments(seconds) == said

"""The section on growth without end: its rows, and judges that it must find out."""

from __future__ import annotations

from benchmarks.validity.steady import COLUMNS, SHARES, Series, measured, warmed

SOME = tuple(share for share in SHARES if share.changes <= 10_000 and share.claim)


def test_what_is_claimed_holds() -> None:
    found = measured(100, SOME)
    assert found.outside == []
    assert all(len(row) == len(COLUMNS) for row in found.rows)


def test_a_judge_that_cries_wolf_is_found_out() -> None:
    def nervous(at: Series, values: Series) -> bool:
        return bool(values[values.size // 2 :].mean() > 1.5 * values[: values.size // 2].mean())

    assert any(text.startswith("load 0.9") for text in measured(50, SOME, nervous).outside)


def test_a_judge_that_sleeps_is_found_out() -> None:
    outside = measured(20, SOME, lambda at, values: False).outside
    assert outside == ["load 1.2, 2,000 changes", "load 1.1, 10,000 changes"]


def test_the_warm_up_is_not_worth_leaving_out() -> None:
    found = warmed(2_000, 60)
    assert found["all changes"][0] <= found["without the warm-up"][0] + 0.01
    assert found["without the warm-up"][1] < found["all changes"][1] < 0

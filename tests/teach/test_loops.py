"""Loads of a store with a known service time: what each loop sends, counts and leaves out. No time is asserted."""

from __future__ import annotations

from types import SimpleNamespace

import polars as pl
import pytest

from lab.runs import Run
from lab.teach import loading, loops


def requests(*rows: tuple[float, float, float]) -> pl.DataFrame:
    """Requests by when they were meant, sent and done."""
    return pl.DataFrame(rows, schema=loops.COLUMNS, orient="row")


def store(**freeze: float) -> loops.SlowedStore:
    """A store that takes a millisecond."""
    return loops.SlowedStore(lambda: None, 0.001, **freeze)


def test_an_open_loop_sends_all_and_each_is_served_after_the_one_before() -> None:
    found = loops.open_loop(store(), 500, 0.1)
    assert found.height == 50
    assert found["done"].is_sorted()
    assert (found["done"] - found["sent"] >= 0.000_9).all()
    assert (found["sent"] >= found["intended"]).all()


def test_a_user_of_a_closed_loop_sends_nothing_before_its_answer() -> None:
    found = loops.closed_loop(store(), 1, 0.05)
    assert found.height > 1
    assert (found["sent"][1:] >= found["done"][:-1]).all()
    assert (found["sent"] < 0.05 + 1).all()  # seconds: it stops


def test_a_user_at_a_pace_sends_as_many_as_it_meant_to_though_the_store_freezes() -> None:
    found = loops.paced_loop(store(frozen_at=0.02, frozen=0.05), 200, 0.2)
    assert found.height == 40
    assert found["intended"].to_list() == pytest.approx([number / 200 for number in range(40)])
    assert (found["sent"][1:] >= found["done"][:-1]).all()
    # What was meant to be sent within the freeze was sent after it.
    frozen = found.filter(pl.col("intended").is_between(0.03, 0.06))
    assert (frozen["sent"] >= 0.07).all()


def test_a_report_counts_from_both_starts() -> None:
    told = loops.told(requests(*((0.0, 1.0, 1.5) for _ in range(3))))
    assert told["since_sent_p50_ms"] == pytest.approx(500)
    assert told["since_meant_p99_ms"] == pytest.approx(1_500)
    assert told["per_second"] == pytest.approx(6)


def test_a_load_whose_generator_was_late_stops_the_chapter() -> None:
    good = requests(*((float(n), n + 0.001, n + 1.0) for n in range(200)))
    assert loops.sound(good) is good
    with pytest.raises(loops.VoidLoad, match="late by 300 ms"):
        loops.sound(requests(*((float(n), n + 0.3, n + 1.0) for n in range(200))))


@pytest.mark.parametrize("void", [True, False])
def test_a_void_load_of_locust_stops_the_chapter(void: bool) -> None:
    run: Run = SimpleNamespace(manifest={"load": {"void": void, "why": "the generator was late"}})  # type: ignore[assignment]
    if not void:
        assert loading.sound(run) is run
        return
    with pytest.raises(loops.VoidLoad, match="the generator was late"):
        loading.sound(run)

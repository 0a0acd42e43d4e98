"""Decisions that advice must not get wrong: ties, levels without samples, freshness by query, load on the truth."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from modelled import MB, MS, US, printed, problem, solved, source, store, times, told

from lab.advice import advise
from lab.advice.binding import binding
from lab.advice.figures import batch_mean
from lab.advice.model import AnswerTime, Reading
from lab.advice.search import front, portfolios, smallest
from lab.report.advice import document
from lab.report.advice.text import headline


def test_a_tie_goes_to_the_engine_that_is_operated_already_and_to_less_disk() -> None:
    known = store("table", "sqlite.table", get=times(1.00 * MS, 0.1))
    new = store("columns", "duckdb.columnar", get=times(0.99 * MS, 0.1), disk=5 * MB)
    found = solved(known, new)
    assert found.answer is found.quickest is found.bargain is not None
    assert found.answer.names == ("table",)
    assert [each.names for each in found.tied] == [("columns",)]
    # A gain that is told apart, and is below a tenth, buys nothing either; more does.
    near = store("columns", "duckdb.columnar", get=times(0.92 * MS, 0.001))
    far = store("columns", "duckdb.columnar", get=times(0.80 * MS, 0.001))
    sure = store("table", "sqlite.table", get=times(1.00 * MS, 0.001))
    assert [solved(sure, each).quickest.names for each in (near, far)] == [("table",), ("columns",)]  # type: ignore[union-attr]
    assert solved(sure, near, settings={"gain": 0.05}).quickest.names == ("columns",)  # type: ignore[union-attr]


def test_a_source_of_truth_that_takes_seconds_is_not_enough_without_a_word() -> None:
    found = solved(source(a=2.0, b=5.0), store("table", "sqlite.table", a=2 * MS, b=5 * MS))
    assert found.answer is not None
    assert found.answer.names == ()
    assert found.recommended is not None
    assert found.recommended.names == ("table",)
    text = headline(found)
    assert "is enough" not in text
    assert "1,000 times as fast (at least 905 times)" in text
    assert "No level says what is quick enough" in text


def test_a_level_holds_for_the_upper_end_and_few_samples_are_not_judged() -> None:
    few = Reading(9.9 * MS, 9 * MS, None, reason="50 samples; 368 are needed", remedy="raise measure.samples")
    truth = source(get=AnswerTime(told(5 * MS), few))
    quick = store("table", "sqlite.table", get=0.05 * MS)
    found = solved(truth, quick, query_p99=0.010)
    assert found.answer is not None
    assert found.answer.names == ("table",)
    assert found.feasible is True
    # By itself the source of truth neither meets the level nor misses it, and what would tell is said.
    alone = solved(truth, query_p99=0.010)
    assert alone.answer is not None
    assert alone.feasible is None
    assert document(alone)["feasible"] is None
    text = printed(alone)
    assert "Not judged for lack of samples: query p99 (50 samples; 368 are needed; raise measure.samples)." in text
    assert "As far as is known: the source of truth is enough" in text
    # The value is within the level and the upper end is not: it is missed.
    wide = source(get=AnswerTime(told(5 * MS), Reading(9.9 * MS, 9 * MS, 11 * MS)))
    missed = solved(wide, query_p99=0.010)
    assert missed.feasible is False
    assert missed.binding is not None
    assert missed.binding.least == (11 * MS,)


def test_a_second_projection_that_is_200_times_quicker_where_it_counts_is_shown() -> None:
    one = store("columns", "duckdb.columnar", get=2 * MS, sums=1 * MS)
    two = store("keys", "lmdb.keyvalue", get=10 * US)
    found = solved(one, two, weights={"get": 1_000.0}, query_p99=0.1)
    assert found.answer is not None
    assert found.quickest is not None
    assert found.answer.names == ("columns",)
    assert found.quickest is found.bargain
    assert found.quickest.names == ("columns", "keys")
    assert (
        "The quickest, and the best bargain, would be columns (duckdb.columnar) and keys (lmdb.keyvalue): "
        in headline(found)
    )


def test_three_microseconds_of_343_buy_no_engine() -> None:
    own = store("table", "sqlite.table", a=340 * US, b=346 * US)
    others = store("files", "duckdb.files", a=337 * US), store("keys", "lmdb.keyvalue", b=343 * US)
    found = solved(own, *others)
    assert found.answer is found.quickest is found.bargain is not None
    assert found.answer.names == ("table",)
    assert "One portfolio has the fewest projections, is the quickest and the best bargain: table." in printed(found)


def test_a_get_may_have_to_be_fresh_while_sums_may_be_late() -> None:
    fresh = store("table", "sqlite.table", lag=0.05, get=10 * US)
    late = store("columns", "duckdb.columnar", lag=30.0, get=5 * US, sums=1 * MS)
    assert solved(fresh, late, lag_p99=1.0).feasible is False
    found = solved(fresh, late, lag={"get": 1.0})
    assert found.answer is not None
    assert found.feasible is True
    assert {query: who.name for query, who in found.answer.assigned.items()} == {"get": "table", "sums": "columns"}
    # A query's own level stands in place of the one for all.
    assert solved(fresh, late, lag_p99=1.0, lag={"sums": 60.0}).feasible is True
    stuck = solved(fresh, late, lag={"get": 0.001}).binding
    assert stuck is not None
    assert (stuck.levels, stuck.asked) == (("lag.get",), (0.001,))
    assert stuck.least == (pytest.approx(0.05 * 1.05),)
    assert "lag p99 for get" in printed(solved(fresh, late, lag={"get": 0.001}))


def test_the_level_that_stands_in_the_way_is_named() -> None:
    slow = store("table", "sqlite.table", lag=5.0, get=1 * MS)
    assert headline(solved(slow, lag_p99=1.0, query_p99=1.0)).startswith("Nothing meets the levels. lag_p99: ")


def test_what_is_untold_is_neither_the_worst_nor_met() -> None:
    untold = replace(store("few", "sqlite.table", get=1 * MS), lag=Reading(math.nan, untold=True, reason="9 changes"))
    slow = store("slow", "sqlite.log", get=2 * MS, lag=1.0)
    both = portfolios(problem(untold, slow))
    assert [each.names for each in front([each for each in both if len(each.members) == 1])] == [("few",)]
    found = solved(untold, slow, lag_p99=2.0)
    assert found.answer is not None
    assert found.answer.names == ("slow",)
    only = solved(untold, lag_p99=2.0)
    assert only.feasible is None
    assert "Not judged for lack of samples: lag p99 (9 changes" in printed(only)


# --- load on the source of truth --------------------------------------------------------------------------------------


def test_reads_at_the_source_of_truth_cost_a_share_of_its_time_with_a_level() -> None:
    truth, table = source(get=1 * MS, sums=100 * MS), store("table", "sqlite.table", get=0.9 * MS)
    found = solved(truth, table, reads=10.0, query_p99=1.0)
    assert found.answer is not None
    assert found.answer.names == ()
    # Five of each a second, at 1.1 times the median: 5 * (1.1 + 110) ms.
    assert found.answer.truth_reads.value == pytest.approx(0.5555)
    assert "55.5 % (at most 58.3 %)" in printed(found)
    # The table takes the gets, and the sums alone are 55 %.
    relieved = solved(truth, table, reads=10.0, query_p99=1.0, truth_reads=0.58)
    assert relieved.answer is not None
    assert relieved.answer.names == ("table",)
    assert relieved.answer.assigned["get"].name == "table"
    stuck = solved(truth, table, reads=10.0, truth_reads=0.3)
    assert stuck.binding is not None
    assert stuck.binding.levels == ("truth_reads",)
    assert stuck.binding.least[0] == pytest.approx(0.55 * 1.05, rel=1e-6)


def test_a_source_of_truth_or_a_lane_without_room_is_told() -> None:
    busy = replace(store("table", "sqlite.table", sums=1 * MS), busy=0.7, busy_more=0.875)
    text = printed(solved(source(get=1 * MS), busy, reads=1_600.0))
    assert "table is busy 70 % of the time, and 87.5 % at 25 % more changes" in text
    assert "the source of truth would be busy for" in text
    assert "Reads compete with commands." in text


small = st.sampled_from([0.1, 0.2, 0.4])


@settings(max_examples=100, deadline=None)
@given(
    st.lists(small, min_size=3, max_size=3),
    st.lists(st.lists(st.one_of(st.none(), small), min_size=3, max_size=3), min_size=1, max_size=3),
    st.sampled_from([0.0, 0.1, 0.25, 0.5]),
)
def test_the_fewest_within_a_share_of_reads_are_those_of_a_brute_force(
    own: list[float], rows: list[list[float | None]], level: float
) -> None:
    """By theory: a set is able if the queries that none of its members answers take no more than the share."""
    names = ("a", "b", "c")
    stores = [
        store(f"p{place}", "sqlite.table", **{name: value for name, value in zip(names, row, strict=True) if value})
        for place, row in enumerate(rows)
    ]
    asked = problem(source(**dict(zip(names, own, strict=True))), *stores, reads=3.0, truth_reads=level)
    loads = {name: asked.truth_load([name]).bound for name in names}
    able = [
        size
        for size in range(len(stores) + 1)
        for chosen in combinations(stores, size)
        if sum(loads[name] for name in names if not any(name in each.answers for each in chosen)) <= level
    ]
    found = smallest(asked)
    assert bool(found) == bool(able)
    if found:
        assert len(found[0].members) == min(able)
        assert all(each.truth_reads.bound <= level for each in found)
    else:
        stuck = binding(asked)
        assert stuck is not None
        assert stuck.levels == ("truth_reads",)


def test_the_mean_of_samples_has_an_interval_by_batches() -> None:
    import numpy as np

    random = np.random.default_rng(3)
    held = 0
    for _ in range(1_000):
        found = batch_mean(random.exponential(1.0, 400))
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 1.0 <= found.high
    assert 0.93 <= held / 1_000 <= 0.97
    assert batch_mean(np.ones(5)).reason == "5 samples; 20 are needed"


# --- the reasons ------------------------------------------------------------------------------------------------------


def test_weights_and_levels_decide_together_and_the_answers_are_shown_side_by_side() -> None:
    found = advise(
        problem(
            store("table", "sqlite.table", get=1 * MS, sums=80 * MS),
            store("columns", "duckdb.columnar", sums=1 * MS),
            query_p99=1.0,
        )
    )
    text = printed(found)
    for word in (
        "fewest projections",
        "quickest",
        "best bargain",
        "new engines",
        "disk",
        "lag p99",
        "changes a second",
    ):
        assert word in text
    made = document(found)
    assert set(made["answers"]) == {"fewest", "quickest", "bargain"}
    assert made["answers"]["fewest"]["projections"] == ["table"]
    assert made["answers"]["quickest"]["changes_per_second"] == {"table": 100.0, "columns": 100.0}
    assert made["recommended"] == "fewest"
    narrow = printed(found, 60)
    assert "quickest, best bargain" in narrow

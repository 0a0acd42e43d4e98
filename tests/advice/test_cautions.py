"""What speaks against an answer is said where the answer is, and nothing is claimed that was not measured."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from modelled import MB, MS, printed, problem, solved, source, store, times, told

from lab.advice.figures import WRONG
from lab.advice.gaps import NOT_ASKED
from lab.advice.model import AnswerTime, Reading
from lab.advice.sensitivity import tied_answers
from lab.report.advice import document
from lab.report.advice.document import evidence
from lab.report.advice.sensitivity import ties_said
from lab.report.advice.text import headline
from lab.statistics.steady import NOT_STABLE


def unbounded(seconds: float) -> AnswerTime:
    """Times of too few samples for any interval."""
    return AnswerTime(Reading(seconds, reason="5 samples; 6 are needed"), Reading(2 * seconds))


@pytest.mark.parametrize(
    ("reason", "said"),
    [(NOT_STABLE, "its lag p99 grows without end"), ("", "its lag p99 is never, for more than 1 in 100 changes")],
)
def test_a_lag_without_end_is_said_beside_the_answer(reason: str, said: str) -> None:
    lag = Reading(math.inf, table="lag_summary", column="p99_seconds", reason=reason)
    endless = replace(store("table", "sqlite.table", get=1 * MS), lag=lag)
    found = solved(endless)
    assert found.recommended is not None
    assert found.recommended.names == ("table",)
    assert f"But table is no read model to rely on: {said}." in headline(found)
    assert all("within –" not in row["claim"] for row in evidence(found))
    # Where there is another, however slow, it isn't chosen, and that is said.
    other = solved(endless, source(get=1.0))
    assert other.answer is other.recommended is other.quickest is not None
    assert other.recommended.names == ()
    assert f"runners-up table: no lag to rely on: that of table {said[12:]}" in printed(other)


def test_of_two_that_tie_the_one_whose_lag_ends_is_taken() -> None:
    never = Reading(math.inf, table="lag_summary", reason=NOT_STABLE)
    endless = replace(store("endless", "sqlite.table", get=1 * MS), lag=never)
    found = solved(endless, store("ends", "duckdb.columnar", get=1 * MS, disk=9 * MB))
    assert found.answer is found.recommended is not None
    assert found.answer.names == ("ends",)


def test_a_source_of_truth_that_reads_would_overload_is_not_said_to_be_enough() -> None:
    slow = solved(source(get=1.0), store("table", "sqlite.table", get=1 * MS), query_p99=5.0)
    assert slow.recommended is not None
    assert slow.recommended.names == ()
    text = headline(slow)
    assert "is enough" not in text
    assert "But 100 reads a second would keep the source of truth busy 11,550 % (more than it can do)" in text
    quick = solved(source(get=1 * MS), store("table", "sqlite.table", get=1 * MS), query_p99=5.0)
    assert headline(quick).startswith("The source of truth is enough: no projection is needed.")


def test_medians_of_too_few_samples_for_an_interval_are_not_taken_for_equal() -> None:
    found = solved(
        source(get=unbounded(3.0), sums=unbounded(5.0)),
        store("table", "sqlite.table", get=unbounded(1 * MS), sums=unbounded(1.0)),
        store("columns", "duckdb.columnar", get=unbounded(1.0), sums=unbounded(1 * MS)),
    )
    text = headline(found)
    assert text.startswith("No projection is shown to be worth its price: the source of truth answers in 4.00 s")
    assert "Samples of `get` and `sums` are too few to show a difference (5 samples; 6 are needed)" in text
    assert "by the medians alone, table + columns answers 4,000 times as fast." in text
    standings = {each.candidate.name: each for each in found.standings}
    assert (standings["table"].best, standings["table"].blind) == (("get",), ("sums",))
    assert standings["truth"].blind == ("get", "sums")
    assert "too few samples to tell how it compares at `sums`" in printed(found)
    # Where intervals overlap, a tie is one.
    near = solved(store("a", "sqlite.table", get=times(1.0, 0.2)), store("b", "sqlite.table", get=times(1.1, 0.2)))
    assert "too few" not in printed(near)


def test_a_source_of_truth_by_itself_is_not_compared_with_projections() -> None:
    text = printed(solved(source(get=1 * MS)))
    assert "There is no projection to weigh: the source of truth answers in 1.00 ms (weighted)." in text
    assert "the source of truth (sqlite.history): the only candidate." in text


def test_a_bargain_that_is_slower_than_the_fewest_is_said_to_be_slower() -> None:
    found = solved(store("table", "sqlite.table", get=1.5 * MS), store("columns", "duckdb.columnar", get=1 * MS))
    text = headline(found)
    assert "1 engine less than columns, the quickest of as few, and 1.5 times as slow (at least 1.4 times)." in text
    assert "0.7 times" not in text


def test_a_tie_is_told_with_what_decided_it() -> None:
    """The table has nine times the disk, and wins since its engine is operated already."""
    large = store("table", "sqlite.table", get=times(1.00 * MS, 0.1), disk=9 * MB)
    new = store("columns", "duckdb.columnar", get=times(0.99 * MS, 0.1))
    small = store("copy", "sqlite.document", get=times(1.01 * MS, 0.1), disk=10 * MB)
    text = ties_said(solved(large, new, small))
    assert "It has fewer new engines than columns and less disk than copy." in text


def test_a_query_that_was_moved_for_the_load_ties_with_nothing_that_is_quicker() -> None:
    found = solved(
        source(get=1 * MS), store("t", "sqlite.table", get=5 * MS), reads=500.0, truth_reads=0.1, query_p99=1.0
    )
    assert found.answer is not None
    assert found.answer.names == ("t",)
    assert tied_answers(found.problem, found.answer, "get") == []


def test_what_is_too_late_for_a_query_does_not_tie_for_it() -> None:
    fresh = store("fresh", "sqlite.table", lag=0.1, get=1 * MS)
    late = store("late", "sqlite.document", lag=50.0, get=1 * MS, sums=1 * MS)
    found = solved(fresh, late, lag={"get": 1.0})
    assert found.answer is not None
    assert found.answer.names == ("fresh", "late")
    assert tied_answers(found.problem, found.answer, "get") == []


def test_evidence_of_a_lag_is_held_against_the_level_of_the_queries_that_go_there() -> None:
    found = solved(store("table", "sqlite.table", lag=5.0, get=1 * MS), lag_p99=1.0, lag={"get": 10.0})
    (row,) = [row for row in evidence(found) if "shows 99 in 100" in row["claim"]]
    assert (row["level"], row["status"]) == (10.0, "shown")


def test_without_a_query_the_others_are_asked_as_often_as_before() -> None:
    """Of 400 reads a second, 200 are of each query: either alone is within the share, both are not."""
    truth, table = source(get=1 * MS, sums=1 * MS), store("table", "sqlite.table", sums=1 * MS)
    asked = problem(truth, table, reads=400.0, truth_reads=0.3, query_p99=1.0)
    assert asked.without("get").reads_per_second == 200.0
    found = solved(truth, table, reads=400.0, truth_reads=0.3, query_p99=1.0)
    assert [(each.query, each.without.names) for each in found.deciders] == [("get", ()), ("sums", ())]


def test_what_isn_t_asked_or_has_no_time_is_not_said_to_be_impossible() -> None:
    left = {"sums": NOT_ASKED, "named": WRONG, "walk": "a table has no links"}
    found = solved(
        store("table", "sqlite.table", get=1 * MS, cannot=left),
        store("all", "memory", get=1.0, sums=1.0, named=1.0, walk=1.0),
        kinds={"sums": "aggregate", "named": "search", "walk": "traverse"},
    )
    text = printed(found)
    assert "It isn't asked `sums`: the projection's `queries` leave it out." in text
    assert "It has no time of `named`: its answers are wrong." in text
    assert "It can't answer `walk` (a table has no links); add a graph" in text


def test_a_level_of_disk_is_held_against_the_upper_end_where_there_is_one() -> None:
    known = replace(store("table", "sqlite.table", get=1 * MS), disk=told(1 * MB))
    once = store("copy", "sqlite.document", sums=1 * MS)
    found = solved(known, once, disk_bytes=2_040_000)
    assert found.feasible is False
    assert found.binding is not None
    assert found.binding.least == (2_050_000.0,)
    assert "disk: the smallest disk that can be had is 2.05 MB" in headline(found).replace("disk_bytes", "disk")
    enough = solved(known, once, disk_bytes=2_060_000)
    assert enough.feasible is True
    assert "2.00 MB (1.95 MB to 2.05 MB) shown" in printed(enough)


def test_what_is_not_judged_is_not_said_to_meet_the_levels() -> None:
    few = AnswerTime(told(1 * MS), Reading(2 * MS, 1 * MS, None, reason="50 samples; 368 are needed"))
    found = solved(store("sure", "sqlite.table", get=2 * MS), store("few", "sqlite.document", get=few), query_p99=1.0)
    meets = {tuple(row["projections"]): row["meets_levels"] for row in document(found)["pareto"]}
    assert meets[("few",)] is False

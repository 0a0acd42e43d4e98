"""Advice, the pure part: against a brute force of all portfolios and assignments, and by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import combinations, pairwise, product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.advice import advise
from lab.advice import search as portfolios_module
from lab.advice.binding import binding, lifted, with_level
from lab.advice.model import AnswerTime, Candidate, Reading, SelectionProblem
from lab.advice.portfolio import Portfolio
from lab.advice.search import front, portfolios, smallest
from lab.advice.sensitivity import tied_answers, ties
from lab.base import TRUTH
from lab.formatting import NOTHING
from lab.report.advice.text import interval_said
from lab.scenario import LevelsTable

ENGINES = ("sqlite", "duckdb", "lmdb")
QUERIES = ("by_key", "by_words", "sums")


def answer(p50: float, p99: float | None = None, spread: float = 0.0) -> AnswerTime:
    """An answer whose intervals reach `spread` to both sides."""
    p99 = p50 if p99 is None else p99
    return AnswerTime(*(Reading(float(each), float(each - spread), float(each + spread)) for each in (p50, p99)))


def candidate(
    name: str, store: str = "sqlite.table", lag: float = 1, rebuild: float = 1, disk: float = 1, **answers: Any
) -> Candidate:
    """A projection by its figures; an answer is a p50, or what `answer` makes."""
    made = {query: each if isinstance(each, AnswerTime) else answer(each) for query, each in answers.items()}
    return Candidate(name, store, made, Reading(lag, lag, lag), Reading(rebuild, once=True), Reading(disk, once=True))


def source(**answers: float) -> Candidate:
    return Candidate(TRUTH, "sqlite.truth", {query: answer(each) for query, each in answers.items()}, truth=True)


def problem(*candidates: Candidate, weights: dict[str, float] | None = None, **levels: Any) -> SelectionProblem:
    """A problem of these candidates; the queries are all that anybody answers, of weight 1."""
    asked = dict.fromkeys((query for each in candidates for query in each.answers), 1.0)
    return SelectionProblem(asked | (weights or {}), candidates, LevelsTable(**levels), frozenset({"sqlite"}))


@st.composite
def problems(draw: st.DrawFn) -> SelectionProblem:
    """Small problems with many equal figures, so that the rules for equals matter."""
    small = st.integers(1, 4)
    queries = QUERIES[: draw(st.integers(1, 3))]
    candidates = []
    for place in range(draw(st.integers(0, 4))):
        able = draw(st.lists(st.sampled_from(queries), unique=True))
        candidates.append(
            candidate(
                f"p{place}",
                f"{draw(st.sampled_from(ENGINES))}.shape",
                *(draw(st.one_of(small, st.just(math.inf))) for _ in range(3)),
                **{query: answer(draw(small), draw(small), draw(st.sampled_from([0, 1]))) for query in able},
            )
        )
    if draw(st.booleans()):
        able = draw(st.lists(st.sampled_from(queries), unique=True))
        candidates.insert(0, source(**{query: draw(small) for query in able}))
    wanted: dict[str, Any] = {
        name: draw(st.one_of(st.none(), st.floats(0.5, 5.0).map(lambda value: round(value * 2) / 2)))
        for name in ("lag_p99", "rebuild", "query_p99")
    }
    wanted["lag"] = {query: draw(small) * 1.0 for query in queries if draw(st.booleans()) and draw(st.booleans())}
    wanted["queries"] = {query: draw(small) * 1.0 for query in queries if draw(st.booleans())}
    wanted["disk_bytes"] = draw(st.one_of(st.none(), st.integers(0, 8)))
    wanted["engines"] = draw(st.one_of(st.none(), st.integers(0, 2)))
    weights = {query: float(draw(small)) for query in queries}
    return SelectionProblem(weights, tuple(candidates), LevelsTable(**wanted), frozenset({"sqlite"}))


# --- a plain check of everything, written without a look at the code --------------------------------------------------


def brute_force(asked: SelectionProblem) -> tuple[tuple[str, ...], Fraction] | None:
    """The best of ALL assignments of queries to candidates: the projections in use, and the weighted time."""
    levels, queries = asked.levels, list(asked.queries)
    best = None
    for who in product(range(len(asked.candidates)), repeat=len(queries)):
        chosen = [asked.candidates[at] for at in who]
        if not all(query in each.answers for query, each in zip(queries, chosen, strict=True)):
            continue
        used = [asked.candidates[at] for at in sorted(set(who)) if not asked.candidates[at].truth]
        limits = [levels.queries.get(query, levels.query_p99) for query in queries]
        slow = any(
            limit is not None and (each.answers[query].p99.high or 0.0) > limit
            for query, each, limit in zip(queries, chosen, limits, strict=True)
        )
        lags = [levels.lag.get(query, levels.lag_p99) for query in queries]
        late = any(limit is not None and each.lag.value > limit for each, limit in zip(chosen, lags, strict=True))
        lengthy = levels.rebuild is not None and any(each.rebuild.value > levels.rebuild for each in used)
        disk = sum(each.disk.value for each in used)
        large = levels.disk_bytes is not None and disk > levels.disk_bytes
        engines = {each.store.split(".")[0] for each in used} - {"sqlite"}
        many = levels.engines is not None and len(engines) > levels.engines
        if slow or late or lengthy or large or many:
            continue
        weights = [Fraction(asked.queries[query]) for query in queries]
        times = [Fraction(each.answers[query].p50.value) for query, each in zip(queries, chosen, strict=True)]
        cost = sum(w * t for w, t in zip(weights, times, strict=True)) / sum(weights)
        lag, rebuild = (max((getattr(each, part).value for each in used), default=0) for part in ("lag", "rebuild"))
        names = tuple(each.name for each in used)
        rank = (len(used), cost, len(engines), disk, lag, rebuild, names)
        best = rank if best is None or rank < best else best
    return None if best is None else (best[-1], best[1])


@settings(max_examples=400)
@given(problems())
def test_the_answer_is_the_best_of_all_portfolios_and_assignments(asked: SelectionProblem) -> None:
    found, expected = smallest(asked), brute_force(asked)
    assert bool(found) == (expected is not None)
    if found and expected:
        assert found[0].names == expected[0]
        assert found[0].cost == pytest.approx(float(expected[1]))
        assert not found[0].misses


@settings(max_examples=150)
@given(problems())
def test_the_binding_level_is_one_that_alone_makes_it_possible_and_its_least_value_is_exact(
    asked: SelectionProblem,
) -> None:
    found = binding(asked)
    assert (found is None) == (brute_force(asked) is not None)
    if found is None or found.unanswered:
        return
    assert brute_force(lifted(asked, found.levels)) is not None
    for fewer in range(1, len(found.levels)):
        names = [name for name, _ in asked.set_levels()]
        assert all(brute_force(lifted(asked, group)) is None for group in combinations(names, fewer))
    if len(found.levels) == 1:
        (name,), (least,) = found.levels, found.least
        assert least > found.asked[0]
        assert brute_force(with_level(asked, name, least)) is not None
        assert math.isinf(least) or brute_force(with_level(asked, name, least - 0.25)) is None


@settings(max_examples=150)
@given(problems(), st.data())
def test_a_stricter_level_never_gives_a_smaller_portfolio(asked: SelectionProblem, data: st.DataObject) -> None:
    name, value = data.draw(st.sampled_from([*asked.set_levels(), ("lag_p99", 5.0)]))
    stricter = with_level(asked, name, max(math.floor(value - data.draw(st.integers(0, 2))), 0))
    before, after = smallest(asked), smallest(stricter)
    if after and dict(asked.set_levels()).get(name, math.inf) >= dict(stricter.set_levels())[name]:
        assert before
        assert len(before[0].members) <= len(after[0].members)


@settings(max_examples=150)
@given(problems())
def test_no_portfolio_beats_one_of_the_front_and_one_of_the_front_beats_every_other(asked: SelectionProblem) -> None:
    found = portfolios(asked)
    ahead = front(found)

    def beats(one: Portfolio, other: Portfolio) -> bool:
        pairs = list(zip(one.figures, other.figures, strict=True))
        return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)

    for each in found:
        assert any(beats(one, each) for one in ahead) == (each not in ahead)


# --- by hand ----------------------------------------------------------------------------------------------------------


def names(found: Sequence[Portfolio]) -> list[tuple[str, ...]]:
    return [each.names for each in found]


def test_point_reads_of_one_entity_need_no_projection() -> None:
    asked = problem(source(by_key=0.001), candidate("copy", "lmdb.keyvalue", by_key=0.000_01), query_p99=0.01)
    found = smallest(asked)[0]
    assert found.members == ()
    assert found.assigned["by_key"].truth
    assert (found.lag.value, found.rebuild.value, found.disk, found.engines) == (0, 0, 0, ())


def test_a_query_goes_to_the_source_of_truth_unless_a_projection_that_is_needed_anyway_is_faster() -> None:
    asked = problem(
        source(by_key=1.0, sums=9.0), candidate("columns", "duckdb.columnar", by_key=0.5, sums=1.0), queries={"sums": 2}
    )
    found = smallest(asked)[0]
    assert found.names == ("columns",)
    assert {query: each.name for query, each in found.assigned.items()} == {"by_key": "columns", "sums": "columns"}
    slower = replace(asked, candidates=(asked.candidates[0], candidate("columns", by_key=3.0, sums=1.0)))
    assert smallest(slower)[0].assigned["by_key"].truth


def test_within_a_portfolio_a_query_goes_to_the_lowest_p50_whose_p99_is_within_the_level() -> None:
    steady = candidate("steady", by_key=answer(2, 3), by_words=1)
    jumpy = candidate("jumpy", by_key=answer(1, 9), sums=1)
    assert smallest(problem(steady, jumpy))[0].assigned["by_key"].name == "jumpy"
    assert smallest(problem(steady, jumpy, query_p99=5))[0].assigned["by_key"].name == "steady"
    # Nobody is within the level: the miss is the smallest that can be.
    (both,) = [each for each in portfolios(problem(steady, jumpy, query_p99=2)) if len(each.members) == 2]
    assert [(miss.of, miss.had) for miss in both.misses] == [("by_key", 3)]


def test_an_engine_that_is_operated_already_costs_none() -> None:
    table = candidate("table", "sqlite.table", by_key=1, sums=9)
    columns = candidate("columns", "duckdb.columnar", sums=1)
    assert names(smallest(problem(table, columns, queries={"sums": 2}))) == [("table", "columns")]
    asked = problem(table, columns, queries={"sums": 2}, engines=0)
    assert smallest(asked) == []
    # The level of engines could be 1, which is all of itself again; that of the query 9 instead of 2.
    found = binding(asked)
    assert found
    assert (found.levels, found.least) == (("engines",), (1.0,))


def test_equals_are_decided_by_disk_then_lag_then_rebuild_then_engines_then_names() -> None:
    same: dict[str, Any] = {"lag": 1, "rebuild": 1, "disk": 1, "by_key": 1}
    first = candidate("z", "sqlite.table", **same)
    for worse in ({"disk": 2}, {"lag": 2}, {"rebuild": 2}):
        assert names(smallest(problem(candidate("a", "sqlite.table", **(same | worse)), first))) == [("z",), ("a",)]
    assert names(smallest(problem(candidate("a", "duckdb.columnar", **same), first))) == [("z",), ("a",)]
    # What comes earlier in the rule outweighs all that comes later.
    weights = ({"disk": 2}, {"lag": 9}, {"rebuild": 9})
    for earlier, later in pairwise(weights):
        worse = candidate("a", "sqlite.table", **(same | earlier))
        assert names(smallest(problem(worse, candidate("z", "sqlite.table", **(same | later))))) == [("z",), ("a",)]
    assert names(smallest(problem(first, candidate("a", "sqlite.table", **same)))) == [("a",), ("z",)]


def test_what_overlaps_is_a_tie_and_what_does_not_is_none() -> None:
    wide = candidate("wide", by_key=answer(10.0, spread=3))
    near = candidate("near", by_key=answer(11.0, spread=1))
    far = candidate("far", by_key=answer(20.0, spread=1))
    found = smallest(problem(wide, near, far))
    assert names(found) == [("wide",), ("near",), ("far",)]
    assert names(ties(found)) == [("near",)]
    unknown = candidate("unknown", by_key=AnswerTime(Reading(50.0), Reading(50.0)))
    assert names(ties(smallest(problem(wide, unknown)))) == [("unknown",)]


def test_a_tie_within_a_portfolio_is_told_for_the_query() -> None:
    table = candidate("table", by_key=answer(10, spread=1), by_words=1)
    copy = candidate("copy", by_key=answer(11, spread=1), sums=1)
    asked = problem(table, copy)
    found = smallest(asked)[0]
    assert [each.name for each in tied_answers(asked, found, "by_key")] == ["copy"]
    assert tied_answers(asked, found, "sums") == []


def test_shared_queries_do_not_blur_a_difference() -> None:
    shared = candidate("shared", by_words=answer(100, spread=90))
    found = smallest(problem(shared, candidate("a", by_key=answer(1, spread=0.1)), candidate("b", by_key=2)))
    assert names(found) == [("shared", "a"), ("shared", "b")]
    assert ties(found) == []


def test_an_impossible_level_is_named_with_the_smallest_that_can_be_had() -> None:
    asked = problem(candidate("slow", lag=5, by_key=1), candidate("slower", lag=7, by_key=1), lag_p99=0.5, rebuild=60)
    found = binding(asked)
    assert found
    assert (found.levels, found.asked, found.least) == (("lag_p99",), (0.5,), (5.0,))
    assert found.relaxation == pytest.approx(9.0)


def test_of_two_levels_that_would_do_alone_the_one_that_gives_way_least_is_named() -> None:
    quick = candidate("quick", lag=1, rebuild=100, by_key=1)
    light = candidate("light", lag=3, rebuild=10, by_key=1)
    found = binding(problem(quick, light, lag_p99=2, rebuild=20))
    assert found
    # The lag by half, or the rebuild by four times itself.
    assert (found.levels, found.least) == (("lag_p99",), (3.0,))


def test_levels_that_only_do_together_are_named_together() -> None:
    found = binding(problem(candidate("one", lag=5, rebuild=50, by_key=1), lag_p99=1, rebuild=1, query_p99=2))
    assert found
    assert (found.levels, found.least) == (("lag_p99", "rebuild"), (5.0, 50.0))


def test_a_query_that_nobody_answers_is_named() -> None:
    asked = replace(problem(candidate("one", by_key=1)), queries={"by_key": 1.0, "as_it_was": 1.0})
    found = binding(asked)
    assert found
    assert (found.levels, found.unanswered) == (("queries.as_it_was",), ("as_it_was",))


def test_a_query_s_own_level_wins_over_the_one_for_all() -> None:
    asked = problem(candidate("one", by_key=1, sums=5), query_p99=2)
    assert smallest(asked) == []
    assert smallest(with_level(asked, "queries.sums", 6.0))
    assert binding(with_level(asked, "queries.sums", 4.0)).levels == ("queries.sums",)  # type: ignore[union-attr]


def test_what_never_became_visible_or_was_not_measured_meets_no_level_but_the_missing_one() -> None:
    lost = candidate("lost", lag=math.inf, rebuild=math.inf, by_key=1)
    assert names(smallest(problem(lost))) == [("lost",)]
    assert smallest(problem(lost, lag_p99=1e9)) == []
    found = binding(problem(lost, lag_p99=1e9))
    assert found
    assert found.least == (math.inf,)


def test_many_candidates_are_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    many = [candidate(f"p{at}", **{f"q{at % 5}": 1 + at}) for at in range(20)]
    asked = problem(*many)
    assert smallest(asked)[0].names == ("p0", "p1", "p2", "p3", "p4")
    # Far more sets than could be gone through one by one, were it not for the order in which queries are tried.
    assert binding(problem(*many, *(candidate(f"r{at}", **{f"r{at}": 1}) for at in range(20)), engines=5)) is None
    monkeypatch.setattr(portfolios_module, "LOOKED_MAX", 5)
    assert portfolios(asked) == []
    told = advise(asked)
    assert told.answer
    assert told.answer.names == ("p0", "p1", "p2", "p3", "p4")
    assert told.left_out == ("all but the fewest: portfolios of more than 1 projections",)


def test_how_surely_a_level_is_met() -> None:
    assert Reading(1, 0.5, 1.5).status(2) == "shown"
    assert Reading(1, 0.5, 2.5).status(2) == "not certain"
    assert Reading(1, 0.5, None).status(2) == "not judged"
    assert Reading(1, once=True).status(2) == "measured once"
    assert Reading(3, 1, 4).status(2) == "missed"


# --- intervals --------------------------------------------------------------------------------------------------------


def test_a_level_on_a_figure_that_is_not_told_is_unknown_and_not_met() -> None:
    untold = Reading(math.nan, untold=True, reason="50 samples; 100 are needed")
    assert not untold.meets(0.001)
    assert untold.meets(0.001, lenient=True)
    assert untold.status(0.001) == "unknown"
    assert interval_said(untold) == f"{NOTHING} (50 samples; 100 are needed)"
    assert Reading(math.inf).status(0.001) == "missed"
    assert interval_said(Reading(0.5, reason="the run is too short")) == "500 ms (no interval: the run is too short)"

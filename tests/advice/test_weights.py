"""How far a weight can move: the answer stays inside the range, and just outside it is the one that is named."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from modelled import MS, printed, problem, solved, store, times

from lab.advice import advise
from lab.advice.model import SelectionProblem

QUERIES = ("a", "b", "c")
ENGINES = ("sqlite.table", "duckdb.columnar", "lmdb.keyvalue")


@st.composite
def problems(draw: st.DrawFn) -> SelectionProblem:
    """Small problems with wide and narrow intervals, engines that are new, disks that differ, and weights of 0."""
    queries = QUERIES[: draw(st.integers(1, 3))]
    stores = []
    for place in range(draw(st.integers(1, 5))):
        able = [query for query in queries if draw(st.integers(0, 4))] or [queries[0]]
        figures: dict[str, Any] = {
            query: times(draw(st.sampled_from([1.0, 2.0, 3.0, 5.0, 8.0])), draw(st.sampled_from([0.0, 0.01, 0.1, 0.3])))
            for query in able
        }
        disk = draw(st.sampled_from([1.0, 2.0]))
        stores.append(store(f"p{place}", draw(st.sampled_from(ENGINES)), disk=disk, **figures))
    asked = {query for each in stores for query in each.answers}
    weights = {query: draw(st.sampled_from([0.0, 1.0, 2.0, 5.0])) for query in sorted(asked)}
    return problem(*stores, weights=weights, settings={"gain": draw(st.sampled_from([0.0, 0.1, 0.3]))})


@settings(max_examples=examples(60), deadline=None)
@given(problems())
def test_the_answer_stays_within_the_range_and_changes_where_it_ends(asked: SelectionProblem) -> None:
    found = advise(asked)
    if found.answer is None:
        return

    def at(query: str, weight: float) -> tuple[str, ...] | None:
        again = advise(replace(asked, queries={**asked.queries, query: weight})).answer
        return again and again.names

    for each in found.weights:
        assert each.low <= each.weight <= each.high
        high = min(each.high, 1e4)
        for share in (0.001, 0.5, 0.999):
            assert at(each.query, each.weight + (high - each.weight) * share) == found.answer.names
            assert at(each.query, each.weight - (each.weight - each.low) * share) == found.answer.names
        assert (each.above is None) == math.isinf(each.high)
        if each.above:
            assert at(each.query, each.high * (1 + 1e-6) + 1e-9) == each.above.names
        if each.below:
            assert at(each.query, each.low * (1 - 1e-6)) == each.below.names


def test_what_was_not_chosen_for_a_gain_too_small_takes_its_place_once_the_gain_counts() -> None:
    """At weight 1 columns save 6 % of the time, which buys no engine; from weight 3/2 on they save a tenth."""
    table = store("table", "sqlite.table", get=times(10 * MS, 0), sums=times(10 * MS, 0))
    columns = store("columns", "duckdb.columnar", get=times(10 * MS, 0), sums=times(8 * MS, 0))
    found = solved(table, columns, weights={"get": 1.5})
    assert found.answer is not None
    assert found.answer.names == ("table",)
    ranges = {each.query: each for each in found.weights}
    # 0.2 w 10 ms of (1.5 + w) 10 ms are a tenth at w = 1.5.
    assert ranges["sums"].high == pytest.approx(1.5)
    assert ranges["sums"].above is not None
    assert ranges["sums"].above.names == ("columns",)
    assert "sums: weight 1; above 1.50 columns takes its place" in printed(found)


def test_where_no_weight_matters_that_is_said() -> None:
    assert "No weight of a single query makes others the fewest" in printed(solved(store("t", "sqlite.table", get=1.0)))

"""What is said of a search for the knee."""

from __future__ import annotations

from lab.report.loads import capacity_said


def test_a_search_that_came_to_its_limit_tells_the_capacity_and_what_broke() -> None:
    told = {"repetitions": [100.0, 200.0], "within_15_percent": False, "limited_by": "errors 2.0%"}
    assert capacity_said(told) == (
        " Capacity: 100 arrivals a second to 200, in two searches: they differ by more than 15 %, so take it as an "
        "interval. What broke first: errors 2.0%."
    )


def test_a_search_that_ended_on_what_is_not_known_tells_what_was_held_at_least() -> None:
    unknown = "unknown: a had 60 changes, too few for a p99"
    told = {"repetitions": [100.0, 200.0], "within_15_percent": False, "limited_by": "", "unknown": unknown}
    assert capacity_said(told) == (
        f" Capacity: at least 100 arrivals a second. A search ended before a level broke: {unknown}."
    )
    assert capacity_said(told | {"repetitions": [0.0, 0.0]}) == (
        f" No capacity is told. A search ended before a level broke: {unknown}."
    )

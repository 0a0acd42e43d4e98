"""What is varied is read, and the points are those of the design."""

from __future__ import annotations

import itertools
import math

import pytest
from sweeping import TINY, tiny

from lab.base import BadInput
from lab.sweeps.varying import read_all


def values(item: str) -> tuple[object, ...]:
    (found,) = read_all([item])
    return found.values


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("channel.lose=0,0.5,1", (0, 0.5, 1)),
        ("workload.commands=1e3,1e4", (1e3, 1e4)),
        ("truth.model=snapshot,history", ("snapshot", "history")),
        ("truth.indexed=true,false", (True, False)),
        ('channel.delay={ kind = "constant", mean = 0.1 }', ({"kind": "constant", "mean": 0.1},)),
        ("workload.rate=1..10000:log5", (1, 10, 100, 1_000, 10_000)),
        ("channel.lose=0..1:5", (0.0, 0.25, 0.5, 0.75, 1.0)),
        ("channel.lose=0..1:lin3", (0.0, 0.5, 1.0)),
        ("catch_up.every=0.01..1:log3", (0.01, 0.1, 1.0)),
    ],
)
def test_values_and_ranges_are_read(item: str, expected: tuple[object, ...]) -> None:
    assert values(item) == expected


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ("channel.lose", "key=a,b,c"),
        ("channel.lose=", "key=a,b,c"),
        ("seed=1,2", "`seed` can't be varied"),
        ("repeat=1,2", "`repeat` can't be varied"),
        ("channel.lose=0.1,0.1", "twice"),
        ("channel.lose=1..0:5", "to a larger one"),
        ("channel.lose=0..1:log5", "begins above 0"),
        ("channel.lose=0..1:1", "2 to 10,000 steps"),
    ],
)
def test_what_is_wrong_is_said(item: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        read_all([item])


def test_a_key_is_varied_once_and_something_is_varied() -> None:
    with pytest.raises(BadInput, match="varied twice"):
        read_all(["a.b=1,2", "a.b=3"])
    with pytest.raises(BadInput, match="nothing is varied"):
        read_all([])


def test_the_file_says_what_is_varied_and_the_command_line_says_otherwise() -> None:
    text = (
        TINY
        + '\n[[vary]]\nkey = "channel.lose"\nvalues = [0.0, 0.3]\n'
        + '[[vary]]\nkey = "workload.rate"\nrange = "1..100:log3"\n'
    )
    plan = tiny("channel.lose=0.5", text=text)
    assert plan.points == ((0.5, 1.0), (0.5, 10.0), (0.5, 100.0))
    with pytest.raises(BadInput, match="either `values` or `range`"):
        tiny("channel.duplicate=0", text=TINY + '\n[[vary]]\nkey = "channel.lose"\n')


def test_a_grid_has_every_combination_and_each_run_a_name_of_its_own() -> None:
    plan = tiny(repeat=2)
    assert plan.points == tuple(itertools.product((0, 0.2), (0, 0.1, 0.3)))
    assert len({task.name for task in plan.tasks}) == 12
    assert [len(names) for names in plan.names] == [2] * 6
    # Two points of one repetition have the same seed.
    assert len({task.seed for task in plan.tasks}) == 2
    assert plan.folder_name == tiny(repeat=2).folder_name != tiny(repeat=3).folder_name


def test_names_are_those_of_what_is_run() -> None:
    one, other = tiny("channel.lose=0,0.2"), tiny("channel.lose=0.2,0.4")
    assert len({task.name for task in (*one.tasks, *other.tasks)}) == 3
    assert {task.name for task in tiny("channel.lose=0,0.2", text=TINY.replace("0.05", "0.06")).tasks}.isdisjoint(
        task.name for task in one.tasks
    )


def test_samples_are_drawn_from_ranges_and_whole_numbers_stay_whole() -> None:
    vary = ("channel.lose=0..0.5", "workload.commands=10..1000:log")
    sobol = tiny(*vary, samples=4, design="sobol")
    assert len(sobol.points) == 4 * (2 + 2)
    assert all(0 <= lose <= 0.5 and 10 <= commands <= 1_000 for lose, commands in sobol.points)
    assert all(isinstance(commands, int) for _, commands in sobol.points)
    assert math.log10(sorted(commands for _, commands in sobol.points)[8]) == pytest.approx(2, abs=0.5)
    morris = tiny(*vary, samples=4, design="morris")
    assert len(morris.points) == 4 * (2 + 1)
    assert tiny(*vary, samples=4, design="morris").points == morris.points


@pytest.mark.parametrize(
    ("vary", "rest", "said"),
    [
        ("channel.lose=0,1", {"samples": 4, "design": "sobol"}, "draws from a range"),
        ("channel.lose=0..1", {"samples": 5, "design": "sobol"}, "power of 2"),
        ("channel.lose=0..1", {"design": "morris"}, "needs a number of samples"),
        ("channel.lose=0..1", {}, "no points in a grid"),
        ("channel.lose=0,1", {"samples": 4}, "its own points"),
        ("channel.lose=0,7", {}, "channel.lose"),
    ],
)
def test_a_design_that_does_not_fit_is_refused(vary: str, rest: dict[str, object], said: str) -> None:
    if vary.endswith("7"):
        # Only the first point is validated before anything runs: another that is wrong is a row with its error.
        assert len(tiny(vary).points) == 2
        return
    with pytest.raises(BadInput, match=said):
        tiny(vary, **rest)

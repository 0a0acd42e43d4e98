"""Sweeps go on rightly: what is read names a run, what the machine failed is tried again, nothing said is altered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from lab.base import Unavailable
from lab.cli import lab as cli
from lab.scenario import Source
from lab.scenario.text import assignment
from lab.sweeps import SweepPlan, carry_on
from lab.sweeps.folder import SECONDS, begin, merge
from lab.sweeps.rows import failed
from lab.sweeps.task import RunResult, RunTask, carry_out, lost
from lab.sweeps.varying import override, read_all

SCENARIO = """
schema = 1
name = "own"
seed = 3
[domain]
name = "trace"
[[domain.entity]]
name = "order"
file = "orders.csv"
key = ["id"]
time = "at"
[domain.entity.columns]
id = "int"
at = "int"
[[projection]]
name = "table"
store = "memory"
"""


def planned(folder: Path, rows: str = "1,1\n2,2\n1,3\n") -> SweepPlan:
    folder.mkdir(exist_ok=True)
    (folder / "own.toml").write_text(SCENARIO)
    (folder / "orders.csv").write_text("id,at\n" + rows)
    return SweepPlan.of(Source(folder / "own.toml", ("time.service=modelled",)), ("catch_up.every=0.5,1",))


def made_up(task: RunTask) -> RunResult:
    return RunResult(task.name, failed(task, None).with_columns(value=pl.lit(1.0)), 0.1)


def test_other_data_are_other_runs(tmp_path: Path) -> None:
    first, same = planned(tmp_path / "a"), planned(tmp_path / "b")
    assert [name for point in first.names for name in point] == [name for point in same.names for name in point]
    other = planned(tmp_path / "a", "1,1\n2,2\n1,4\n")
    assert not {task.name for task in first.tasks} & {task.name for task in other.tasks}
    assert other.folder_name != first.folder_name


def test_files_that_varied_values_name_are_read_too(tmp_path: Path) -> None:
    (tmp_path / "full").write_text("what a key names")
    planned(tmp_path)

    def swept() -> SweepPlan:
        return SweepPlan.of(Source(tmp_path / "own.toml"), ("truth.durability=normal,full",))

    first = swept()
    assert "file full" in dict(first.inputs)
    (tmp_path / "full").write_text("something else")
    assert not {task.name for task in first.tasks} & {task.name for task in swept().tasks}


def test_what_the_machine_failed_is_tried_again_and_what_the_scenario_says_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = planned(tmp_path / "a")
    begun = begin(made, tmp_path / "sweep")

    def down(*_: object) -> None:
        raise Unavailable("the server is down")

    monkeypatch.setattr("lab.sweeps.task.run_once", down)
    assert carry_on(made, begun, "local:1", run=carry_out_here) == 2
    assert begun.errors["error"].str.contains("the server is down").all()
    monkeypatch.undo()
    assert carry_on(made, begun, "local:1", run=made_up) == 2
    assert begun.errors.is_empty()
    assert carry_on(made, begun, "local:1", run=made_up) == 0


def carry_out_here(task: RunTask) -> RunResult:
    """In a process of its own, the server is down as well."""
    import lab.sweeps.task as module

    def down(*_: object) -> None:
        raise Unavailable("the server is down")

    module.run_once = down  # type: ignore[assignment]
    return carry_out(task)


def test_of_two_parts_the_one_that_carried_a_run_out_is_taken(tmp_path: Path) -> None:
    made = planned(tmp_path / "a")
    one, other = begin(made, tmp_path / "one"), begin(made, tmp_path / "other")
    for task in made.tasks:
        one.keep(lost(task, "died"))
        other.keep(made_up(task))
    for order in ((one, other), (other, one)):
        whole = merge(tmp_path / f"whole-{order[0].path.name}", [part.path for part in order])
        assert whole.errors.is_empty()
        assert not whole.lost
        assert {file.name for file in (whole.path / SECONDS).iterdir()} == {task.name for task in made.tasks}


@pytest.mark.parametrize(
    "value", [np.float64(0.05), np.int64(3), "a,b", "true", "0.10", "1..5:3", 'a"b', True, 0.05, 7.0, [1, 2], 1e300]
)
def test_a_value_from_python_is_what_it_was(value: object) -> None:
    said = assignment(override("projection.p.key", value))
    assert isinstance(said, tuple)
    assert said[1] == value
    assert isinstance(said[1], bool) == isinstance(value, bool)
    (varied,) = read_all([f"x={override('x', value).partition('=')[2]}"])
    assert varied.values == (value,)


def test_the_ends_of_a_range_are_what_was_said() -> None:
    (varied,) = read_all(["x=1234567..2000001:5"])
    assert varied.values[0] == 1_234_567
    assert varied.values[-1] == 2_000_001


@pytest.mark.parametrize("more", [("--dry-run",), ("--shard", "0/2"), ("--samples", "8"), ("--design", "sobol")])
def test_a_search_refuses_what_says_nothing_of_it(more: tuple[str, ...]) -> None:
    words = ["sweep", "employees", "--vary", "domain.records=10..100", "--find-crossover", "directory,analytics", *more]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 2
    assert done.stderr.count("error: ") == 1
    assert more[0] in done.stderr

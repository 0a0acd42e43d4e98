"""How figures grow with size: exponents with intervals, what is foretold, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner
from sweeping import TINY

from lab.base import BadInput
from lab.cli import lab as command
from lab.scenario import Source
from lab.sweeps import Sweep
from lab.sweeps.folder import begin
from lab.sweeps.growth import document, growths, levels_of, planned, said
from lab.sweeps.rows import schema
from lab.sweeps.task import RunResult

SOURCE = Source(Path("tiny.toml"), (), None, TINY + "\n[levels]\nrebuild = 50.0\n")


def made(folder: Path, repeat: int = 2) -> Sweep:
    """Sizes of 1,000 to 100,000 whose rebuild is a millisecond a command, and whose writing slows down by its root."""
    plan = planned(SOURCE, [1e3, 1e4, 1e5], repeat)
    sweep = begin(plan, folder)
    for task in plan.tasks:
        size, types = dict(task.columns)["workload.commands"], schema(task.columns)
        common = dict.fromkeys(types) | {"run": task.name, "seed": task.seed, "repetition": task.repetition}
        common |= dict(task.columns) | {"projection": "plain", "store": "memory"}
        wobble = 1 + 0.02 * (-1) ** task.repetition
        figures = {"rebuild": size / 1e3 * wobble, "writes_per_second": 1e4 / size**0.5, "query.payroll": 2e-6 * wobble}
        rows = [common | {"quantity": name, "unit": "seconds", "value": value} for name, value in figures.items()]
        sweep.keep(RunResult(task.name, pl.DataFrame(rows, schema=types), 0.1))
    return sweep


def test_each_figure_has_an_exponent_with_its_interval(tmp_path: Path) -> None:
    found = {each.quantity: each for each in growths(made(tmp_path / "grown"))}
    assert [each.quantity for each in found.values()] == ["write_seconds", "rebuild", "query.payroll"]
    for quantity, exponent in (("write_seconds", 0.5), ("rebuild", 1.0), ("query.payroll", 0.0)):
        law = found[quantity].law
        assert law.interval.low is not None
        assert law.interval.high is not None
        assert law.interval.low - 1e-9 <= exponent <= law.interval.high + 1e-9
        assert law.interval.high - law.interval.low < 0.05


def test_a_larger_size_is_marked_and_one_too_far_out_is_refused(tmp_path: Path) -> None:
    sweep = made(tmp_path / "grown")
    (inside,) = (each for each in growths(sweep, 5e4) if each.quantity == "rebuild")
    (beyond,) = (each for each in growths(sweep, 1e6, levels_of(SOURCE)) if each.quantity == "rebuild")
    assert (inside.extrapolated, beyond.extrapolated) == (False, True)
    assert beyond.value == pytest.approx(1_000, rel=0.1)
    assert beyond.expected.low is not None
    assert beyond.expected.low < 1_000
    assert beyond.breaks_at == pytest.approx(50_000, rel=0.1)
    assert "EXTRAPOLATED: at 1,000,000" in said(beyond)
    assert "EXTRAPOLATED" not in said(inside)
    assert document([beyond])[0]["extrapolated"] is True
    with pytest.raises(BadInput, match="beyond 10 times"):
        growths(sweep, 1.1e6)


def test_records_grow_along_and_sizes_must_be_three(tmp_path: Path) -> None:
    plan = planned(SOURCE, [600, 6_000, 60_000], 1)
    assert plan.points == ((600, 200), (6_000, 2_000), (60_000, 20_000))
    assert plan.wall
    with pytest.raises(BadInput, match="3 sizes"):
        planned(SOURCE, [10, 20], 1)
    with pytest.raises(BadInput, match="no run came to anything"):
        growths(begin(planned(SOURCE, [10, 20, 30], 1), tmp_path / "none"))


def test_the_command_refuses_before_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tiny.toml").write_text(TINY, encoding="utf-8")
    for words, text in ((["--sizes", "a,b"], "no numbers"), (["--sizes", "1,2,3", "--at", "31"], "beyond 10 times")):
        done = CliRunner().invoke(command, ["grow", "tiny.toml", *words, "--json"])
        assert done.exit_code == 2
        assert text in json.dumps(json.loads(done.stdout))
    assert not Path("sweeps").exists()

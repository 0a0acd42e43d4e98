"""`lab plan`: a case that was not used to fit it, what is refused, what is marked, and what is enough."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from lab.cli import lab as command
from lab.planning.queue import QueueSettings, queue
from lab.running.lane import Pace
from lab.scenario import ChannelTable, Source
from lab.sweeps.folder import begin
from lab.sweeps.growth import planned
from lab.sweeps.rows import schema
from lab.sweeps.task import RunResult

TEXT = """\
schema = 1
name = "small"
seed = 7
domain = { name = "employees", records = 100 }
workload = { commands = 1000, rate = 200.0 }
truth = { model = "history" }
catch_up = { every = 0.5 }
channel = { delay = { kind = "exponential", mean = 0.05 } }
query = []

[[projection]]
name = "plain"
store = "sqlite.table"
batch = 1000
linger = 0.2

[levels]
lag_p99 = 1.0
rebuild = 60.0
"""
PACE = Pace(1_000, 0.2, 0.5, polls=True, capacity=1_000_000)
SETTINGS = QueueSettings(PACE, 10_000, ChannelTable.model_validate({"delay": {"kind": "exponential", "mean": 0.05}}))
SIZES = (1e3, 3e3, 1e4)


def truth(size: float, rng: np.random.Generator, rate: float = 200.0) -> dict[str, float]:
    """The figures of a run whose batches take 20 ms and 0.2 ms a row, more as the table grows, give or take 3 %."""
    slower = (size / 1e3) ** 0.1 * math.exp(0.03 * rng.standard_normal())
    found = queue(SETTINGS, rate, 0.02 * slower, 0.000_2 * slower, int(size), min(int(size), 5_000))
    rows = 2 * rate / 7
    figures = {"committed": size, "changes": size, "span": size / rate, "busy_share": found.busy, "batch_rows": rows}
    figures |= {"lag_p50": found.p50 or 0.0, "lag_p99": found.p99 or 0.0}
    figures |= {"per_batch": 0.02 * slower, "per_row": 0.000_2 * slower}
    figures["batch_seconds"] = figures["per_batch"] + rows * figures["per_row"]
    noise = np.exp(0.03 * rng.standard_normal(5))
    return figures | {
        "rebuild": (0.2 + size / 1e5) * noise[0],
        "size": (20_000 + 30 * size) * noise[1],
        "peak_rss": (2e8 + size) * noise[2],
        "writes_per_second": 5_000 * noise[3],
        "truth_size": (30_000 + 120 * size) * noise[4],
    }


def grown(folder: Path, text: str = TEXT, failed: bool = False) -> None:
    """A growth sweep of which every figure is known."""
    rng, plan = np.random.default_rng(11), planned(Source(Path("small.toml"), text=text), SIZES, 3)
    sweep = begin(plan, folder)
    for task in plan.tasks:
        types = schema(task.columns)
        common = dict.fromkeys(types) | {"run": task.name, "seed": task.seed, "repetition": task.repetition}
        common |= dict(task.columns) | {"projection": "plain", "store": "sqlite.table", "guard": "revision"}
        figures = truth(float(dict(task.columns)["workload.commands"]), rng) | ({"failed": 1.0} if failed else {})
        rows = [common | {"quantity": name, "unit": "", "value": value} for name, value in figures.items()]
        sweep.keep(RunResult(task.name, pl.DataFrame(rows, schema=types), 0.1))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the scenario and its growth below sweeps/."""
    found = tmp_path_factory.mktemp("plan")
    (found / "small.toml").write_text(TEXT, encoding="utf-8")
    grown(found / "sweeps" / "small-1")
    return found


@pytest.fixture
def folder(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, as the working folder: nothing in it is changed."""
    monkeypatch.chdir(made)
    return made


def asked(*words: str) -> tuple[int, dict[str, Any]]:
    done = CliRunner().invoke(command, ["plan", "small.toml", *words, "--json"])
    return done.exit_code, json.loads(done.stdout)


def figures_of(part: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["quantity"]: each for each in part["figures"]}


def test_a_case_that_was_not_fitted_is_within_its_interval(folder: Path) -> None:
    # Three times as many changes as the largest run, at twice its rate.
    days = 3e4 / 400 / 86_400
    status, found = asked("--rate", "400", "--days", str(days), "--partitions", "1")
    assert status == 0
    told = figures_of(found["projections"][0]) | {"truth_size": figures_of(found["truth"])["size"]}
    held_out = truth(3e4, np.random.default_rng(12), 400.0)
    for quantity in ("busy_share", "lag_p50", "lag_p99", "rebuild", "size", "peak_rss", "truth_size"):
        each = told[quantity]
        assert each["extrapolated"], quantity
        assert each["low"] <= held_out[quantity] <= each["high"], quantity
        assert each["high"] < 3 * each["low"], quantity
    write = figures_of(found["truth"])["busy_share"]
    assert write["low"] <= 400 / held_out["writes_per_second"] <= write["high"]


def test_each_figure_says_which_runs_it_comes_from(folder: Path) -> None:
    status, found = asked()
    assert status == 0
    assert found["verdict"] == "kept"
    assert found["projections"][0]["enough"] == found["truth"]["enough"] == "the embedded default"
    assert [Path(each["sweep"]).name for each in found["evidence"]] == ["small-1"]
    assert len(found["evidence"][0]["runs"]) == 9
    assert found["projections"][0]["sweep"] == found["evidence"][0]["sweep"]
    assert found["feed"]["changes_per_poll"] == pytest.approx(100)
    assert not any(each["extrapolated"] for each in found["projections"][0]["figures"])


def test_without_runs_it_says_what_to_run_and_nothing_else(folder: Path) -> None:
    done = CliRunner().invoke(command, ["plan", "small.toml", "--set", "name=other", "--json"])
    assert done.exit_code == 2
    (error,) = json.loads(done.stdout)["error"]
    assert "no growth of `other` has been measured" in error["what"]
    assert "lab grow small.toml" in error["way_out"]
    status, found = asked("--store", "duckdb.columnar")
    assert status == 2
    assert "no projection of it in duckdb.columnar has been measured" in found["error"][0]["what"]


def test_what_is_too_far_out_is_refused(folder: Path) -> None:
    status, found = asked("--days", "10", "--partitions", "1")
    assert status == 3
    told = figures_of(found["projections"][0])
    assert {each["value"] for each in told.values()} == {None}
    assert "beyond 10 times the largest size measured, 10,000" in told["rebuild"]["reason"]
    status, found = asked("--rate", "2500", "--partitions", "1")
    assert (status, figures_of(found["projections"][0])["lag_p99"]["value"]) == (3, None)
    assert "beyond 10 times the highest rate" in figures_of(found["projections"][0])["lag_p99"]["reason"]
    text = CliRunner().invoke(command, ["plan", "small.toml", "--days", "10"]).output
    assert "refused: " in text
    assert "runs that are nearer tell more: lab grow small.toml" in text


def test_more_than_one_server_takes_needs_partitions(folder: Path) -> None:
    # A level that a part of the size keeps: 0.2 s and 10 microseconds a change.
    demand = "--set", "levels.rebuild=0.27", "--rate", "300", "--days", str(1e4 / 300 / 86_400)
    status, found = asked(*demand)
    assert status == 0
    part = found["projections"][0]
    assert part["enough"] == "a partitioned set"
    assert part["partitions"] >= 2
    assert figures_of(part)["rebuild"]["high"] <= 0.27
    before = asked(*demand, "--partitions", str(part["partitions"] - 1))[1]
    assert figures_of(before["projections"][0])["rebuild"]["level"] != "kept"
    status, found = asked("--set", "levels.lag_p99=0.01", "--partitions", "1")
    assert (status, found["verdict"]) == (1, "broken")
    assert found["projections"][0]["enough"] is None


def test_bytes_change_the_disk_alone_and_only_so_far(folder: Path) -> None:
    each = asked()[1]["demand"]["change_bytes"]
    once, twice = (asked("--bytes", str(factor * each))[1] for factor in (1, 2))
    one, two = (figures_of(found["projections"][0]) for found in (once, twice))
    assert two["size"]["value"] == pytest.approx(2 * one["size"]["value"])
    assert two["rebuild"] == one["rebuild"]
    status, found = asked("--bytes", str(11 * each))
    assert status == 2
    assert "too far from those measured" in found["error"][0]["what"]


def test_a_projection_with_a_failed_verdict_has_no_figures(folder: Path, tmp_path: Path) -> None:
    grown(tmp_path / "failed", failed=True)
    status, found = asked(str(tmp_path / "failed"))
    assert status == 3
    assert found["projections"][0]["figures"] == []
    assert found["projections"][0]["reason"] == "its verdict is fail in 9 of 9 runs"


def test_the_text_has_every_part_with_intervals(folder: Path) -> None:
    text = CliRunner().invoke(command, ["plan", "small.toml", "--rate", "400"]).output
    for words in ("source of truth (sqlite.history)", "feed", "plain (sqlite.table)", "EXTRAPOLATED", " to ", "enough"):
        assert words in text
    assert "9 runs of 1,000 to 10,000 changes, 200 a second at the most" in text

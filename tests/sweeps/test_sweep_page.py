"""The page of a sweep: figures over what is varied with what to see; keys that matter; regions as theory says."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from sweeping import tiny

from lab.cli import lab as command
from lab.sweeps import Sweep, SweepPlan, carry_on
from lab.sweeps.folder import begin
from lab.sweeps.page import render, summary, write_page
from lab.sweeps.response import response
from lab.sweeps.rows import failed, schema
from lab.sweeps.sensitivity import effects
from lab.sweeps.task import RunResult, RunTask

Figure = Callable[[dict[str, float], int], float | None]


def made(folder: Path, plan: SweepPlan, figure: Figure, quantity: str = "wrong_share", unit: str = "share") -> Sweep:
    """A sweep whose figure is a function of the point and the repetition; None: the run came to nothing."""
    found = begin(plan, folder)
    for task in plan.tasks:
        found.keep(_result(task, figure, quantity, unit))
    return found


def _result(task: RunTask, figure: Figure, quantity: str, unit: str) -> RunResult:
    values = dict(task.columns)
    value = figure(values, task.repetition)
    if value is None:
        return RunResult(task.name, failed(task, "a <disk> is full"), 0.1, "a <disk> is full")
    types = schema(task.columns)
    common = dict.fromkeys(types) | {"run": task.name, "seed": task.seed, "repetition": task.repetition} | values
    rows = [
        common
        | {"projection": name, "store": "memory", "guard": guard, "quantity": quantity, "unit": unit, "value": each}
        for name, guard, each in (("plain", "none", value), ("safe", "revision", 0.0))
    ]
    return RunResult(task.name, pl.DataFrame(rows, schema=types), 0.1)


class Ids(HTMLParser):
    """The ids and the links within a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            self.ids += [value or ""] if name == "id" else []
            self.links += [value[1:]] if name == "href" and tag == "a" and value and value.startswith("#") else []


def test_two_numbers_have_a_heat_map_for_each_projection_and_curves(tmp_path: Path) -> None:
    plan = tiny("channel.lose=0,0.1,0.3", "channel.duplicate=0,0.5", repeat=2)
    sweep = made(tmp_path / "grid", plan, lambda point, n: point["channel.lose"] * (1 + n / 10))
    page = render(sweep)
    told = summary(sweep)
    heat, curve = told["figures"]
    assert "safe never has rows that are wrong at the end" in heat["see"]
    assert "plain has 4 of 6 points above 0" in heat["see"]
    assert "lose 0.3" in heat["see"]
    assert "plain goes from 0 % to 34.5 %" in curve["see"]
    assert "95 % intervals between repetitions" in curve["see"]
    ids = Ids(page)
    assert len(ids.ids) == len(set(ids.ids))
    assert set(ids.links) <= set(ids.ids)
    assert page.count("<svg") == 2
    assert "6 points of channel.lose (0, 0.1, 0.3) and channel.duplicate (0, 0.5), each run 2 times" in page
    assert write_page(sweep).name == "report.html"


def test_bands_are_the_intervals_between_repetitions(tmp_path: Path) -> None:
    plan = tiny("channel.lose=0.1,0.2", repeat=3)
    found = response(made(tmp_path / "bands", plan, lambda point, n: point["channel.lose"] + n / 100))
    row = found.of("wrong_share").filter(pl.col("projection") == "plain").row(0, named=True)
    assert row["low"] < row["value"] < row["high"]
    assert (row["value"], row["repetitions"]) == (pytest.approx(0.12), 3)


def test_words_and_a_single_key_are_drawn_too_and_errors_are_listed(tmp_path: Path) -> None:
    plan = tiny("channel.lose=0,0.2", "truth.model=history,events")
    sweep = made(tmp_path / "words", plan, lambda point, _: None if point["channel.lose"] == 0 else 0.5)
    page = render(sweep)
    assert "a &lt;disk&gt; is full" in page
    assert "channel.lose = 0, truth.model = history" in page
    assert "some came to nothing" in page
    nothing = made(tmp_path / "nothing", tiny("channel.lose=0,0.2"), lambda *_: None)
    assert "There is nothing to draw yet." in render(nothing)


@pytest.mark.parametrize(("design", "samples"), [("sobol", 64), ("morris", 16)])
def test_the_key_that_matters_is_named_with_its_share(tmp_path: Path, design: str, samples: int) -> None:
    plan = tiny("channel.lose=0..1", "channel.duplicate=0..1", samples=samples, design=design, repeat=2)
    sweep = made(tmp_path / design, plan, lambda p, _: (3 * p["channel.lose"] + p["channel.duplicate"]) / 4)
    lose, duplicate = (each for each in effects(sweep, "wrong_share") if each.projection == "plain")
    # Of a sum of independent uniform keys each has the square of its factor: 9 of 10. The effects are the factors.
    expected = (0.9, 0.1) if design == "sobol" else (0.75, 0.25)
    for effect, wanted in zip((lose, duplicate), expected, strict=True):
        assert effect.total == pytest.approx(wanted, abs=max(2 * effect.total_half, 1e-6))
        assert effect.total_half < 0.3
    assert lose.shown
    (figure,) = summary(sweep)["figures"]
    assert "channel.lose" in figure["see"]
    assert "duplicate" not in figure["see"]
    assert render(sweep).count("<svg") == 1


def test_a_key_that_does_nothing_is_not_named(tmp_path: Path) -> None:
    plan = tiny("channel.lose=0..1", "channel.duplicate=0..1", samples=32, design="sobol", repeat=2)
    sweep = made(tmp_path / "one", plan, lambda point, _: point["channel.lose"])
    lose, duplicate = (each for each in effects(sweep, "wrong_share") if each.projection == "plain")
    assert (lose.shown, duplicate.shown) == (True, False)
    assert effects(made(tmp_path / "same", plan, lambda *_: 1.0), "wrong_share") == []


@pytest.mark.parametrize(("design", "samples"), [("sobol", 16), ("morris", 8)])
def test_noise_alone_names_hardly_a_key_and_a_key_in_noise_is_named(tmp_path: Path, design: str, samples: int) -> None:
    plan = tiny("channel.lose=0..1", "channel.duplicate=0..1", samples=samples, design=design, repeat=3)
    drawn = np.random.default_rng(4)
    sweep = made(tmp_path / design, plan, lambda *_: float(drawn.normal()))
    rows, named, found = sweep.frame, 0, 0
    trials = 100
    for _ in range(trials):
        noise = pl.Series("value", drawn.normal(size=rows.height))
        for key in (0.0, 3.0):
            varied = rows.with_columns((pl.col("channel.lose") * key + noise).alias("value"))
            shown = {each.key for each in effects(_Figures(sweep.path, varied), "wrong_share") if each.shown}
            named += bool(shown) and key == 0
            found += "channel.lose" in shown and key > 0
    # Two projections are looked at, each at a level of 5 %: 9.75 of 100, and four standard errors.
    assert named <= trials * 0.0975 + 4 * math.sqrt(trials * 0.0975)
    assert found >= 0.8 * trials


def test_one_repetition_names_no_key(tmp_path: Path) -> None:
    plan = tiny("channel.lose=0..1", "channel.duplicate=0..1", samples=8, design="sobol")
    sweep = made(tmp_path / "once", plan, lambda point, _: point["channel.lose"])
    assert not any(each.shown for each in effects(sweep, "wrong_share"))
    assert "--repeat 2 or more" in summary(sweep)["figures"][0]["see"]


class _Figures(Sweep):
    """A sweep with other figures."""

    def __init__(self, path: Path, rows: pl.DataFrame) -> None:
        super().__init__(path)
        object.__setattr__(self, "rows", rows)

    @property
    def frame(self) -> pl.DataFrame:
        found: pl.DataFrame = self.rows  # type: ignore[attr-defined]
        return found


GUARDS = ("none", "dedupe", "revision", "ordered")
FOUR = """\
schema = 1
name = "guards"
seed = 11
domain = { name = "employees", records = 10 }
workload = { commands = 80, rate = 400.0 }
truth = { model = "history" }
catch_up = { every = 5.0 }
time = { service = "modelled" }
query = []

[channel]
draws = "shared"
delay = { kind = "constant", mean = 0.01 }
duplicate = 0.0
reorder = { share = 0.0, extra = { kind = "exponential", mean = 0.5 } }
""" + "".join(
    f'[[projection]]\nname = "{guard}"\nstore = "memory"\nguard = "{guard}"\nsubscribe = "channel"\n'
    for guard in GUARDS
)


def test_the_regions_of_loss_and_reordering_are_those_of_theory(tmp_path: Path) -> None:
    whole = tiny("channel.lose=0,0.3", "channel.reorder.share=0,0.6", text=FOUR)
    # Neither, and each alone: both together say no more.
    plan = replace(whole, points=whole.points[:3])
    sweep = begin(plan, tmp_path / "guards")
    carry_on(plan, sweep, "sweeping:Inline")
    assert sweep.errors.is_empty()
    found = {
        (row["quantity"], row["projection"], row["channel.lose"], row["channel.reorder.share"]): row["value"]
        for row in sweep.frame.iter_rows(named=True)
    }
    for guard in GUARDS:
        # Messages that come once and in order leave nothing to guard.
        assert found["wrong_share", guard, 0.0, 0.0] == found["never_visible_share", guard, 0.0, 0.0] == 0
        # What is lost is never visible, unless a later change of its record comes.
        assert found["never_visible_share", guard, 0.3, 0.0] > 0
        assert found["never_visible_share", guard, 0.0, 0.6] == 0
    # Disorder alone: who doesn't compare revisions ends with an old one, who does is right.
    assert min(found["wrong_share", guard, 0.0, 0.6] for guard in ("none", "dedupe")) > 0
    assert max(found["wrong_share", guard, 0.0, 0.6] for guard in ("revision", "ordered")) == 0
    # A gap holds back everything after it of its record.
    assert found["never_visible_share", "ordered", 0.3, 0.0] > found["never_visible_share", "revision", 0.3, 0.0]


def test_the_commands_tell_and_report_a_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sweeping import TINY

    monkeypatch.chdir(tmp_path)
    Path("tiny.toml").write_text(TINY, encoding="utf-8")
    words = ["sweep", "tiny.toml", "--vary", "channel.lose=0,0.2", "--out", "mine", "--executor", "sweeping:Inline"]
    done = CliRunner().invoke(command, [*words, "--dry-run", "--json"])
    told = json.loads(done.stdout)
    assert (told["points"], told["runs"], told["left"], told["tried_one"]) == (2, 2, 1, True)
    assert told["seconds"] > 0
    done = CliRunner().invoke(command, words)
    assert (done.exit_code, "2 of 2 runs done" in done.output) == (0, True), done.output
    assert "nothing was left to do" in CliRunner().invoke(command, words).output
    done = CliRunner().invoke(command, ["merge", "whole", "mine", "--json"])
    assert json.loads(done.stdout)["done"] == 2
    done = CliRunner().invoke(command, ["report", "whole"])
    assert (done.exit_code, "2 of 2 runs" in done.output) == (0, True), done.output
    assert Path("whole/report.html").exists()
    done = CliRunner().invoke(command, [*words, "--shard", "2/2"])
    assert (done.exit_code, "no part of a whole" in done.output) == (2, True)

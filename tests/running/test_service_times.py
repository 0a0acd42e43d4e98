"""Times of a modelled store: exact, by chance around the formula, or those of a run whose work was measured."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from pieces import SCENARIO

from lab.base import BadInput, stream
from lab.experiment import judge, run
from lab.experiment.project import Live
from lab.experiment.work import own_work
from lab.running.journal import CATCH_UP, CHANNEL, RETRY, SOURCES
from lab.running.service_times import RecordedWork, service_times, times_by_source
from lab.runs import Run, load_run
from lab.scenario import ServiceModel, Source
from lab.wiring import chance, effort, plan

MEASURE = "measure={samples=1, warm_up=0, rebuild=false, trials=false}"
FEW = ("workload.commands=300", "domain.records=30", MEASURE)


def drawn(seed: int = 1, count: int = 50_000, rows: int = 3, **options: Any) -> np.ndarray:
    model = ServiceModel(per_batch=0.5, per_row=0.1, **options)
    times = service_times(model, stream(seed, "service"))
    return np.array([times.draw(rows) for _ in range(count)])


def test_constant_times_are_the_formula_to_the_last_bit() -> None:
    assert set(drawn(count=3)) == {0.5 + 0.1 * 3}


@pytest.mark.parametrize(
    ("options", "variance"),
    [
        ({"distribution": "exponential"}, 1.0),
        ({"distribution": "lognormal", "sigma": 0.5}, math.exp(0.25) - 1),
        ({"distribution": "gamma", "shape": 4.0}, 0.25),
    ],
)
def test_random_times_have_the_mean_of_the_formula_and_the_spread_of_their_law(
    options: dict[str, Any], variance: float
) -> None:
    found = drawn(**options)
    assert found.mean() == pytest.approx(0.8, rel=0.02)
    assert found.var() / found.mean() ** 2 == pytest.approx(variance, rel=0.05)
    assert (found > 0).all()
    assert np.array_equal(found[:9], drawn(count=9, **options))
    assert not np.array_equal(found[:9], drawn(seed=2, count=9, **options))


def finished(folder: Path, name: str, *overrides: str, text: str = SCENARIO) -> Run:
    path = folder / f"{name}.toml"
    path.write_text(text)
    return run(plan(Source(path, (*FEW, f"name={name}", *overrides))), folder / "runs")


MODELLED = 'time={service="modelled", model={distribution="exponential", per_batch=0.002}}'


def lags(found: Run, name: str) -> list[float]:
    return found.table("lag").filter(projection=name)["lag_seconds"].to_list()


@pytest.mark.usefixtures("quick")
def test_random_times_of_a_projection_do_not_depend_on_the_others(tmp_path: Path) -> None:
    both = finished(tmp_path, "both", MODELLED)
    names = [entry["name"] for entry in both.manifest["projections"]]
    assert len(names) > 1
    # Without the first projection.
    first, _, rest = SCENARIO.partition("[[projection]]")
    rest = rest[rest.index("[[") :]
    one = finished(tmp_path, "alone", MODELLED, text=first + rest)
    kept = [entry["name"] for entry in one.manifest["projections"]]
    assert set(kept) < set(names)
    for name in kept:
        assert lags(one, name) == lags(both, name)


@pytest.mark.usefixtures("quick")
def test_the_times_of_a_measured_run_can_be_drawn_from(tmp_path: Path) -> None:
    measured = finished(tmp_path, "measured", 'time.service="measured"')
    work = measured.table("work")
    names = {entry["name"] for entry in measured.manifest["projections"]}
    assert set(work["projection"]) == names
    assert set(work["source"]) <= {"catch-up", "channel"}
    assert (work["seconds"] > 0).all()
    assert (work["rows"] > 0).all()
    drawn_from = 'time={service="modelled", model={distribution="empirical", run="runs/measured"}}'
    once, again = (finished(tmp_path, "again", drawn_from) for _ in range(2))
    assert once.table("lag").equals(again.table("lag"))
    assert not once.has("work")
    with pytest.raises(BadInput, match="no times of single batches"):
        finished(tmp_path, "more", drawn_from.replace("runs/measured", "runs/again"))
    with pytest.raises(BadInput, match="no work of a projection called `nobody`"):
        finished(tmp_path, "more", drawn_from.replace("run=", 'projection="nobody", run='))


def recorded_work(**seconds: float) -> dict[str, RecordedWork]:
    """Fifty pieces of ten rows for each source."""
    return {name: RecordedWork(np.full(50, 10), np.full(50, each)) for name, each in seconds.items()}


def test_pages_and_messages_draw_from_their_own_work() -> None:
    model = ServiceModel(distribution="empirical", run="x")
    recorded = {name.replace("_", "-"): work for name, work in recorded_work(catch_up=1.0, channel=0.001).items()}
    times = times_by_source(model, SOURCES, stream(1, "service"), recorded)
    assert {times[CATCH_UP].draw(10) for _ in range(20)} == {1.0}
    assert {times[CHANNEL].draw(10) for _ in range(20)} == {0.001}
    alone = times_by_source(model, SOURCES, stream(1, "service"), {"channel": recorded["channel"]})
    assert alone[CATCH_UP].draw(10) == 0.001


def test_a_formula_is_one_series_of_draws_for_all_sources() -> None:
    times = times_by_source(ServiceModel(distribution="exponential"), SOURCES, stream(1, "service"))
    assert times[CATCH_UP] is times[CHANNEL]


def test_recorded_work_is_summed_up_by_a_line() -> None:
    rows = np.arange(1, 50)
    work = RecordedWork(rows, 0.25 + 0.5 * rows)
    assert (work.per_batch, work.per_row) == (pytest.approx(0.25), pytest.approx(0.5))
    assert (recorded_work(x=2.0)["x"].per_batch, recorded_work(x=2.0)["x"].per_row) == (2.0, 0.0)
    assert (RecordedWork(rows[:0], rows[:0]).per_batch, RecordedWork(rows[:0], rows[:0]).per_row) == (0.0, 0.0)
    # What falls with the rows is no time for a row.
    assert RecordedWork(rows, 100.0 - rows).per_row == 0.0


@pytest.mark.usefixtures("quick")
def test_a_run_of_records_is_estimated_by_them_and_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finished(tmp_path, "measured", 'time.service="measured"')
    drawn_from = 'time.model={distribution="empirical", run="runs/measured"}'
    path = tmp_path / "again.toml"
    path.write_text(SCENARIO)
    read = []

    def counted(folder: Path) -> Run:
        read.append(folder)
        return load_run(folder)

    monkeypatch.setattr(chance, "load_run", counted)
    found = plan(Source(path, (drawn_from, 'time.service="modelled"')))
    assert len(read) == 1
    assert set(found.recorded) == {item.name for item in found.projections}
    slow = {name: RecordedWork(work.rows, work.seconds + 1e8) for name, work in found.recorded.items()}
    (problem,) = effort.problems(found.scenario, 1_000, 1.0, "again.toml", slow)
    assert problem.where == "again.toml: time.model"
    assert "years of simulated time" in problem.what
    # The work of a measured run is measured: nothing is read for it.
    plan(Source(path, ('time.model={distribution="empirical", run="nowhere"}', 'time.service="measured"')))
    assert len(read) == 1


@pytest.mark.usefixtures("quick")
def test_the_work_of_a_run_is_the_store_s_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = "faults={slow=[{at=0.0, lasts=1e6, factor=1000.0}], refuse=0.2, crash=0.3}"
    notes: dict[str, int] = {}

    def kept(live: Live) -> pl.DataFrame:
        found = own_work(live)
        notes[live.plan.name] = sum(1 for note in live.journal.notes if note.handed.size and note.source != RETRY)
        took = [float(note.visible_at) - float(note.began_at) for note in live.journal.notes]
        # A thousandth of what readers saw.
        assert found["seconds"].max() <= max(took) / 1_000 * (1 + 1e-9)
        return found

    monkeypatch.setattr(judge, "own_work", kept)
    small = [f"projection.{name}.batch=10" for name in ("directory", "analytics", "payroll")]
    work = finished(tmp_path, "slow", 'time.service="measured"', slow, *small).table("work")
    assert set(work["projection"]) == set(notes)
    # Without those that a crash or a refusal cut off.
    assert 0 < work.height < sum(notes.values())

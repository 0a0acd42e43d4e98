"""Times of a modelled store: exact, by chance around the formula, or those of a run whose work was measured."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pieces import SCENARIO

from lab.base import BadInput, stream
from lab.experiment import run
from lab.running.service_times import service_times
from lab.runs import Run
from lab.scenario import ServiceModel, Source
from lab.wiring import plan

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
    alone = SCENARIO.replace("[[projection]]", "[[gone]]", 1) if len(names) > 1 else SCENARIO
    first, _, rest = alone.partition("[[gone]]")
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

"""What is fitted to runs: both forms of growth, what the model misses by, and how often the intervals hold."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from lab.planning.laws import Foretold, MeasuredRun, QueueLaw, fitted, law_of
from lab.planning.queue import QueueFigures, QueueSettings
from lab.running.lane import Pace
from lab.statistics.lines import line
from lab.statistics.powers import power

SIZES = (1e4, 3e4, 1e5)
SETTINGS = QueueSettings(Pace(100, 0.0, 1.0, polls=True, capacity=1), 100, None)


def runs(figure: Callable[[float], float], noise: float, rng: np.random.Generator) -> list[MeasuredRun]:
    """Three runs of each size, whose figure is off by a relative error."""
    return [
        MeasuredRun("r", size, size, 10.0, {"rebuild": figure(size) * math.exp(noise * rng.standard_normal())})
        for size in SIZES
        for _ in range(3)
    ]


def held(found: Foretold, truth: float) -> bool:
    """Whether the interval holds the truth; where a queue may not keep up, it has no upper end."""
    return found.low is not None and found.low <= truth <= (math.inf if found.high is None else found.high)


@pytest.mark.parametrize(
    "figure", [lambda size: 1e-5 * size**1.2, lambda size: 2.0 + 1e-4 * size], ids=["power", "line"]
)
def test_one_more_run_is_in_the_interval_as_often_as_it_says(figure: Callable[[float], float]) -> None:
    rng, noise = np.random.default_rng(1), 0.1
    hits, alone = 0, 0
    for _ in range(150):
        made = runs(figure, noise, rng)
        truth = figure(5e5) * math.exp(noise * rng.standard_normal())
        hits += held(law_of(made, "rebuild", "seconds").at(5e5), truth)
        bound = power([run.changes for run in made], [run.figures["rebuild"] for run in made]).at(5e5)[1]
        alone += (bound.low or 0) <= truth <= (bound.high or 0)
    assert hits / 150 >= 0.94
    if figure(0.0) > 0:
        # A power law by itself does not hold what it says, where there is a fixed part.
        assert alone / 150 < 0.8


def test_what_is_larger_is_marked_and_too_large_is_refused() -> None:
    law = law_of(runs(lambda size: size / 1e3, 0.01, np.random.default_rng(3)), "rebuild", "seconds")
    assert (law.at(5e4).extrapolated, law.at(5e5).extrapolated, law.at(1e3).extrapolated) == (False, True, True)
    refused = law.at(1.1e6)
    assert (refused.value, refused.extrapolated) == (None, True)
    assert "beyond 10 times the largest size measured" in refused.reason
    assert law.line is not None
    with pytest.raises(ValueError, match="beyond 10 times"):
        law.line.at(1.1e6)


def test_a_file_of_the_least_size_tells_nothing_of_larger_ones() -> None:
    law = law_of(runs(lambda _: 798_720.0, 0.0, np.random.default_rng(4)), "rebuild", "bytes")
    assert law.at(5e4).value == pytest.approx(798_720)
    assert law.at(2e5).value is None
    assert "same at every size" in law.at(2e5).reason


def test_too_few_runs_and_unknown_figures_have_a_reason_and_no_figure() -> None:
    made = runs(lambda size: size, 0.1, np.random.default_rng(5))
    assert "9 runs of 3 sizes" not in law_of(made, "rebuild", "s").reason
    assert law_of(made[:6], "rebuild", "s").reason == "6 runs of 2 sizes; 4 of 3 are needed"
    assert law_of(made, "size", "bytes").reason == "size is unknown in 9 of 9 runs"
    assert law_of(made, "size", "bytes").at(1e4).value is None
    assert fitted(made, "x", "s", [1.0] * 8 + [None]).reason == "x is unknown in 1 of 9 runs"
    assert line([1.0, 2.0, 30.0], [100.0, 1.0, 1.0]) is None


# A queue whose figures are known in closed form: the truth of the experiments below.
def known(settings: QueueSettings, rate: float, per_batch: float, per_row: float, *_: object) -> QueueFigures:
    """As many batches as seconds, and lags as in M/M/1."""
    busy = per_batch + rate * per_row
    return QueueFigures(min(busy, 1.0), 0.5 / (1 - busy), 5.0 / (1 - busy)) if busy < 1 else QueueFigures(1.0, None, 9)


def measured(rng: np.random.Generator, pause: float, noise: float, size: float, rate: float = 100.0) -> MeasuredRun:
    """A run of a store whose batches take 0.1 s and 1 ms a row, all slower by a factor that the model doesn't know."""
    slower = math.exp(noise * rng.standard_normal())
    per_batch, per_row = 0.1 * slower, 0.001 * slower * (size / 1e4) ** 0.2
    truth = known(SETTINGS, rate, per_batch * pause, per_row * pause)
    figures = {
        "batch_rows": rate,
        "per_batch": per_batch,
        "per_row": per_row,
        "batch_seconds": per_batch + rate * per_row,
    }
    figures |= {"busy_share": truth.busy, "lag_p50": truth.p50 or 0.0, "lag_p99": truth.p99 or 0.0}
    return MeasuredRun("r", size, size, size / rate, figures)


def test_a_case_that_was_not_fitted_is_in_the_interval_at_another_rate_and_size() -> None:
    rng, hits = np.random.default_rng(6), dict.fromkeys(("busy_share", "lag_p50", "lag_p99"), 0)
    times, bounded = 60, 0
    for _ in range(times):
        made = tuple(measured(rng, 1.2, 0.05, size) for size in SIZES for _ in range(3))
        found = QueueLaw(made, SETTINGS, 1, known).at(200.0, 3e5, SETTINGS)
        truth = measured(rng, 1.2, 0.05, 3e5, 200.0).figures
        for name in hits:
            hits[name] += held(found[name], truth[name])
        bounded += found["lag_p99"].high is not None
    # The ends are the farthest of all doubts together: they hold more often than 95 %.
    assert min(hits.values()) / times >= 0.94, hits
    assert bounded / times > 0.5


def test_what_the_model_misses_by_is_made_up_for() -> None:
    rng = np.random.default_rng(7)
    made = tuple(measured(rng, 1.5, 0.02, size) for size in SIZES for _ in range(3))
    law = QueueLaw(made, SETTINGS, 1, known)
    assert law.slower.at(1e4).value == pytest.approx(1.5, rel=0.03)
    found = law.at(100.0, 3e4, SETTINGS)
    assert found["busy_share"].value == pytest.approx(made[3].figures["busy_share"], rel=0.1)
    assert found["lag_p99"].value == pytest.approx(made[3].figures["lag_p99"], rel=0.1)
    assert not found["lag_p99"].extrapolated


def test_a_rate_beyond_what_was_measured_is_marked_refused_or_more_than_it_takes() -> None:
    rng = np.random.default_rng(8)
    law = QueueLaw(tuple(measured(rng, 1.0, 0.02, size) for size in SIZES for _ in range(3)), SETTINGS, 1, known)
    assert law.at(150.0, 3e4, SETTINGS)["lag_p50"].extrapolated
    assert "can't keep up" in law.at(950.0, 3e4, SETTINGS)["lag_p99"].reason
    near = law.at(700.0, 3e4, SETTINGS)["lag_p99"]
    assert near.value is None or near.high is None
    refused = law.at(1_100.0, 3e4, SETTINGS)["busy_share"]
    assert refused.value is None
    assert "beyond 10 times the highest rate measured" in refused.reason
    assert "older version" in QueueLaw(tuple(runs(lambda size: size, 0.1, rng)), SETTINGS, 1, known).missing

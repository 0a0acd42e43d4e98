"""A what-if is, to the last bit, what a run with that setting gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from pieces import SCENARIO
from running import run_text

from lab.experiment import what_if
from lab.report.what_if import rows as rows_shown
from lab.report.what_if import unanswered

# Reports have tests of their own.
pytestmark = pytest.mark.usefixtures("untried")

QUICK = ("measure.rebuild=false", "measure.samples=1", "measure.blocks=0", "measure.truth=false", "readers.sessions=0")


@pytest.mark.parametrize("law", ["constant", "lognormal"])
def test_a_what_if_is_what_a_run_with_that_setting_gives(
    law: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = f'time.model={{per_batch=0.002, per_row=0.00005, distribution="{law}"}}'
    foretold: dict[tuple[str, str], np.ndarray] = {}

    def kept(plan: object, live: what_if.Live, pace: what_if.Pace) -> np.ndarray:
        lags = simulated(plan, live, pace)  # type: ignore[arg-type]
        foretold[live.plan.name, f"{pace.batch} {pace.linger} {pace.every}"] = lags
        return lags

    simulated = what_if.simulated
    monkeypatch.setattr(what_if, "simulated", kept)
    text = SCENARIO.replace('guard = "dedupe"', 'guard = "revision"')
    before = run_text(tmp_path, text, model, *QUICK)
    asked = foretold.copy()
    table = before.table("what_if")
    assert table["what"].to_list()[:4] == ["as it is", "every 0.1 s", "no linger", "batch 1,000"]
    for settings in ("catch_up.every=0.1", "linger=0.0", "batch=1_000", ""):
        key, _, value = settings.partition("=")
        where = key if "." in key else f"projection.directory.{key}"
        after = run_text(tmp_path, text, model, *QUICK, *([f"{where}={value}"] if key else []))
        found = after.table("lag").filter(projection="directory")["lag_seconds"].fill_null(np.inf).to_numpy()
        pace = {"batch": "100", "linger": "0.05", "every": "0.5"} | {
            key.removeprefix("catch_up."): value.replace("_", "")
        }
        expected = asked["directory", " ".join(pace[name] for name in ("batch", "linger", "every"))]
        assert np.array_equal(found, expected), settings
        row = after.table("lag_summary").filter(projection="directory").row(0, named=True)
        what = {"linger=0.0": "no linger", "batch=1_000": "batch 1,000", "": "as it is"}.get(settings, "every 0.1 s")
        told = table.filter(projection="directory", what=what).row(0, named=True)
        assert (told["p50_seconds"], told["p99_seconds"]) == (row["p50_seconds"], row["p99_seconds"])


def test_the_difference_is_paired(tmp_path: Path) -> None:
    table = run_text(tmp_path, SCENARIO, *QUICK).table("what_if")
    usual = table.filter(what="as it is").select("projection", was="p50_seconds")
    for row in table.filter(pl.col("what") != "as it is").join(usual, on="projection").to_dicts():
        assert row["p50_difference_seconds"] == pytest.approx(row["p50_seconds"] - row["was"])
    # Without linger a lag is shorter; nothing else has changed.
    no_linger = table.filter(what="no linger")
    assert (no_linger["p50_difference_seconds"] < 0).all()


def test_it_says_why_there_is_no_answer(tmp_path: Path) -> None:
    text = SCENARIO.replace('guard = "revision"', 'guard = "ordered"', 1)
    table = run_text(tmp_path, text, *QUICK).table("what_if")
    row = table.filter(projection="directory").row(0, named=True)
    assert row["reason"] == "the guard `ordered` decides which changes are written"
    assert row["p50_seconds"] is None


def test_a_setting_that_would_take_too_many_steps_is_said_and_not_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three thousand messages in batches of 100, or one by one."""
    monkeypatch.setattr(what_if, "STEPS_MAX", 1_000)
    table = run_text(tmp_path, SCENARIO, *QUICK).table("what_if")
    rows = {row["what"]: row for row in table.filter(projection="directory").to_dicts()}
    assert rows["no linger"]["p50_seconds"] is None
    assert rows["no linger"]["reason"] == "more than 40,000 steps"
    assert rows["as it is"]["p50_seconds"] is not None
    assert rows["every 0.1 s"]["p50_seconds"] is not None
    assert "directory, no linger: more than 40,000 steps" in unanswered(table)


OVERLOAD = """
schema = 1
name = "overload"
seed = 5
[domain]
name = "employees"
records = 500
[workload]
commands = 3_000
rate = 1000.0
arrivals = "uniform"
[truth]
model = "history"
[channel]
[time]
service = "modelled"
model = { per_batch = 0.0012, per_row = 0.0 }
[[projection]]
name = "p"
store = "memory"
subscribe = "channel"
batch = 1
[measure]
samples = 1
warm_up = 0
rebuild = false
truth = false
[readers]
sessions = 0
"""


def test_a_lag_that_grows_without_end_has_no_quantile_and_what_would_cure_it_has(tmp_path: Path) -> None:
    """A thousand changes a second of 1.2 ms each are too many one by one, and are not in batches of ten."""
    table = run_text(tmp_path, OVERLOAD).table("what_if")
    rows = {row["what"]: row for row in table.to_dicts()}
    usual, larger = rows["as it is"], rows["batch 10"]
    assert (usual["p50_seconds"], usual["p99_seconds"]) == (None, None)
    assert usual["reason"] == "not stable at this rate"
    assert larger["p50_seconds"] == pytest.approx(0.002, abs=0.002)
    assert larger["p50_difference_seconds"] is None
    assert larger["reason"] is None
    shown = {row["what"]: row for row in rows_shown(table)}
    assert shown["as it is"]["p99"] == "not stable"
    assert unanswered(table) == ""

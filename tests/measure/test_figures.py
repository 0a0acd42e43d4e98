"""The figures of a run: what the tables say of one repetition, and the median with its interval over several."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import median

import numpy as np
import polars as pl
import pytest
from fake_run import fake_run
from repeated import merged, repeated

from lab.measure.figures import QUANTITIES, SCHEMA, figure, figures
from lab.measure.lag import summary
from lab.measure.typical import typical
from lab.report.facts import overviews
from lab.runs import Run, write_table
from lab.statistics.replicated import interval
from lab.statistics.steady import NOT_STABLE


def test_a_plain_run_has_the_figures_and_intervals_of_its_tables(tmp_path: Path) -> None:
    run = fake_run(tmp_path, changes=2_000)
    found = figures(run)
    assert dict(found.schema) == SCHEMA
    assert set(found["quantity"]) == set(QUANTITIES)
    lag = run.table("lag_summary").row(0, named=True)
    row = figure(found, "lag_p99", "directory")
    assert row is not None
    assert row["value"] == lag["p99_seconds"]
    assert row["values"] == [lag["p99_seconds"]]
    assert row["repetitions"] == 1
    assert (row["low"], row["high"]) == (lag["p99_low_seconds"], lag["p99_high_seconds"])
    assert row["reason"] == ""
    rebuild = figure(found, "rebuild", "directory")
    assert rebuild is not None
    assert rebuild["low"] is None
    assert "--repeat 5" in rebuild["reason"]
    query = figure(found, "query_p50", "directory", "by_id", "cold")
    assert query is not None
    assert query["value"] == pytest.approx(2 * 12.0 * (1 + 50 / 60) / 1e6)
    rate = figure(found, "rate", "")
    assert rate is not None
    assert rate["unit"] == "1/s"
    assert rate["value"] == 41_234.5
    wrong = figure(found, "query_p50", "naive", "by_department")
    assert wrong is not None
    assert wrong["value"] is None
    assert wrong["reason"] == "an answer was wrong"


def test_a_quantile_on_changes_that_never_came_is_infinite(tmp_path: Path) -> None:
    run = fake_run(tmp_path, changes=2_000)
    found = figures(run)
    never = figure(found, "lag_p99", "naive")
    share = figure(found, "never_visible", "naive")
    assert never is not None
    assert never["value"] == math.inf
    assert never["high"] is None
    assert share is not None
    assert share["value"] == pytest.approx(0.02)


def endless(run: Run, name: str) -> None:
    """Let the lag of a projection grow without end: no quantile of it is told."""
    told = [f"{part}_seconds" for part in ("p50", "p90", "p99", "max", "p90_unbiased", "p99_unbiased")]
    its = pl.col("projection") == name
    nothing = [pl.when(its).then(None).otherwise(column).alias(column) for column in told]
    table = run.table("lag_summary")
    stable = pl.when(its).then(False).otherwise("stable").alias("stable")
    table.with_columns(nothing).with_columns(stable).write_parquet(run.path / "lag_summary.parquet")


@pytest.mark.parametrize("several", [False, True])
def test_a_lag_that_grows_without_end_is_neither_infinite_nor_told(tmp_path: Path, several: bool) -> None:
    run = repeated(tmp_path) if several else fake_run(tmp_path, changes=2_000)
    endless(run, "directory")
    for quantity in ("lag_p50", "lag_p99", "lag_max"):
        found = figure(figures(run), quantity, "directory")
        assert found is not None
        assert found["value"] is None
        assert NOT_STABLE in found["reason"]
    (row,) = typical(run).table("lag_summary").filter(projection="directory").to_dicts()
    assert (row["p99_seconds"], row["stable"]) == (None, False)
    assert "infinite" not in (row["p99_interval_reason"] or "")


def test_what_grows_without_end_has_no_largest_value_either() -> None:
    committed = np.arange(2_000) / 1_000
    lags = pl.DataFrame({"lag_seconds": 0.1 + committed})
    found = summary("one", lags, committed, np.ones(2_000, bool))
    assert found["stable"] is False
    assert found["slope"] == pytest.approx(1.0)
    assert found["max_seconds"] is None
    assert summary("one", lags)["max_seconds"] == pytest.approx(2.099)


def test_a_quantile_that_could_not_be_interpolated_says_so(tmp_path: Path) -> None:
    parts = [fake_run(tmp_path / "parts", 400, seed) for seed in (1, 2, 3)]
    # The p99 is a number, and infinity is next to it.
    its = pl.col("projection") == "directory"
    table = parts[1].table("lag_summary")
    untold = pl.when(its).then(None).otherwise("p99_unbiased_seconds").alias("p99_unbiased_seconds")
    write_table(parts[1].path, "lag_summary", table.with_columns(untold))
    found = figures(merged(tmp_path / "fake" / "repeated", parts))
    row, other = (figure(found, "lag_p99", name) for name in ("directory", "directory_polled"))
    assert row is not None
    assert other is not None
    assert "as measured, and not interpolated, in 1 of 3 repetitions" in row["note"]
    assert row["values"][1] == table.filter(its)["p99_seconds"][0]
    assert row["low"] is not None
    assert other["note"] == ""
    assert figure(figures(parts[1]), "lag_p99", "directory")["note"] == ""  # type: ignore[index]


def test_figures_and_medians_are_made_once_for_a_run(tmp_path: Path) -> None:
    run = repeated(tmp_path)
    assert typical(run) is typical(run) is typical(typical(run))
    assert figures(run) is figures(typical(run)) is figures(run)
    assert overviews(run) is overviews(typical(run))
    assert figures(run.first) is not figures(run)
    assert figures(Run(run.path)).equals(figures(run))


def test_repetitions_give_the_median_with_an_interval(tmp_path: Path) -> None:
    run = repeated(tmp_path, seeds=(1, 2, 3, 4, 5))
    found = figures(run)
    each = [figure(figures(run.repetition(number)), "lag_p50", "directory") for number in range(1, 6)]
    row = figure(found, "lag_p50", "directory")
    values = [one["value"] for one in each if one is not None]
    assert row is not None
    assert row["values"] == values
    assert row["value"] == median(values)
    assert row["repetitions"] == 5
    ends = interval(values)
    assert (row["low"], row["high"]) == (ends.low, ends.high)
    assert row["low"] < row["value"] < row["high"]
    same = figure(found, "disk", "directory")
    assert same is not None
    assert same["low"] == same["value"] == same["high"]


def test_what_one_repetition_does_not_tell_is_not_told_and_says_why(tmp_path: Path) -> None:
    parts = [fake_run(tmp_path / "parts", 400, seed) for seed in (1, 2)]
    fewer = parts[1].table("lag_summary").with_columns(changes=pl.lit(50), p99_seconds=pl.lit(None, pl.Float64))
    write_table(parts[1].path, "lag_summary", fewer)
    row = figure(figures(merged(tmp_path / "fake" / "repeated", parts)), "lag_p99", "directory")
    assert row is not None
    assert row["value"] is None
    assert row["values"][1] is None
    assert row["reason"] == "not told in 1 of 2 repetitions: 50 samples; 100 are needed"


def test_a_share_s_interval_stays_within_0_and_1(tmp_path: Path) -> None:
    shares = figures(repeated(tmp_path)).filter(unit="share").drop_nulls("low")
    assert shares.height
    assert ((shares["low"] >= 0) & (shares["high"] <= 1)).all()

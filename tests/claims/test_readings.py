"""What a run does not know, a claim about it does not decide; an error in judging loses neither run nor report."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from fake_run import fake_run
from repeated import merged, repeated

from lab.claims import INCONCLUSIVE, REFUTED, VERIFIED, judge
from lab.claims import judging as under_test
from lab.experiment import reported
from lab.experiment.claims import claimed
from lab.measure.figures import figures
from lab.runs import Run, write_table
from lab.scenario import ClaimTable
from lab.statistics.steady import NOT_STABLE
from lab.tables import TABLES


def judged(run: Run, *texts: str, told: Callable[[Run], pl.DataFrame] = figures) -> list[dict[str, Any]]:
    return judge([ClaimTable(that=text) for text in texts], run, told).to_dicts()


def read_replicas(run: Run, **found: float | None) -> Run:
    """The run with a row of reads of replicas; `found` replaces what was found."""
    row: dict[str, Any] = {"replicas": 3, "read": 1, "write": 1, "reads": 2_000, "unacknowledged": 0, "never": 0}
    row |= {"consistent_at_once": 0.5, "fresh_p99_seconds": 0.01, "fresh_p999_seconds": 0.02}
    row |= {f"{what}_p{share}_seconds": 0.1 for what in ("write", "read") for share in ("99", "999")}
    write_table(run.path, "replicas", TABLES["replicas"].frame([row | found]))
    return Run(run.path)


UNREAD: dict[str, float | None] = {
    "reads": 0, "consistent_at_once": None, "fresh_p99_seconds": None, "fresh_p999_seconds": None
}  # fmt: skip
OF_REPLICAS = ("consistent_at_once() > 0.1", "consistent_at_once() < 0.1", "fresh_p99() < 1 s", "fresh_p999() > 1 s")


@pytest.mark.parametrize("which", [(0,), (1,), (0, 1)])
def test_replicas_of_which_nothing_was_read_are_not_late(which: tuple[int, ...], tmp_path: Path) -> None:
    parts = [fake_run(tmp_path / "parts", 400, seed) for seed in (1, 2)]
    parts = [read_replicas(part, **(UNREAD if place in which else {})) for place, part in enumerate(parts)]
    several = merged(tmp_path / "fake" / "repeated", parts)
    for row in judged(several, *OF_REPLICAS):
        assert row["verdict"] == INCONCLUSIVE
        assert row["reason"] == f"no write was acknowledged in {len(which)} of 2 repetitions, so nothing was read"
    for row in judged(parts[which[0]], *OF_REPLICAS):
        assert row["reason"] == "no write was acknowledged, so nothing was read"


def test_a_quantile_of_few_reads_is_not_told_and_one_of_many_that_never_comes_is_infinite(tmp_path: Path) -> None:
    few = read_replicas(fake_run(tmp_path / "few"), reads=500, fresh_p999_seconds=None)
    assert judged(few, "fresh_p999() > 1 s")[0]["reason"] == "fresh_p999() is not told: 500 samples; 1,000 are needed"
    many = read_replicas(fake_run(tmp_path / "many"), never=300, fresh_p99_seconds=None)
    assert judged(many, "fresh_p99() > 1 s")[0]["left"] == math.inf


def test_violations_of_a_store_whose_content_is_unknown_are_not_none(tmp_path: Path) -> None:
    run = fake_run(tmp_path, 400)
    for several in (run, repeated(tmp_path / "several")):
        texts = ("violations(nothing) = 0", "violations(nothing) > 0", "violations(nothing, no_loss) = 0")
        for row, check in zip(judged(several, *texts), ("converged", "converged", "no_loss"), strict=True):
            assert row["verdict"] == INCONCLUSIVE
            assert row["reason"].startswith(f"`{check}` of `nothing` is unknown: ")
        known = judged(several, "violations(directory) = 0", "violations(naive) > 0", "violations(naive, no_loss) = 0")
        assert [row["verdict"] for row in known] == [VERIFIED, VERIFIED, REFUTED]


def test_a_check_that_was_not_made_leaves_the_others_as_they_are(tmp_path: Path) -> None:
    run = fake_run(tmp_path)
    rows = run.table("verdicts")
    its = (pl.col("projection") == "directory") & (pl.col("check") == "answers_right")
    unmade = [pl.when(its).then(pl.lit(text)).otherwise(name).alias(name)
              for name, text in (("verdict", "unknown"), ("witness", "nothing was asked"))]  # fmt: skip
    write_table(run.path, "verdicts", rows.with_columns(unmade))
    whole, alone = judged(run, "violations(directory) = 0", "violations(directory, answers_right) = 0")
    assert whole["verdict"] == VERIFIED
    assert alone["reason"] == "`answers_right` of `directory` is unknown: nothing was asked"


@pytest.mark.parametrize("several", [False, True])
def test_a_lag_that_is_not_stable_is_never_judged(several: bool, tmp_path: Path) -> None:
    run = repeated(tmp_path) if several else fake_run(tmp_path, changes=2_000)
    its = pl.col("projection") == "directory"
    endless = [pl.when(its).then(None).otherwise(name).alias(name)
               for name in ("p50_seconds", "p90_seconds", "p99_seconds", "p90_unbiased_seconds", "p99_unbiased_seconds")
               ]  # fmt: skip
    table = run.table("lag_summary")
    stable = pl.when(its).then(False).otherwise("stable").alias("stable")
    table.with_columns(endless).with_columns(stable).write_parquet(run.path / "lag_summary.parquet")
    for row in judged(run, "lag_p50(directory) > 0 s", "lag_p99(directory) < 1_000 s", "lag_p90(directory) >= 0 s"):
        assert row["verdict"] == INCONCLUSIVE
        assert NOT_STABLE in row["reason"]
        assert row["left"] is None


def test_a_projection_that_the_run_does_not_have_has_no_counts(tmp_path: Path) -> None:
    found = judged(fake_run(tmp_path), "skipped(typo) = 0", "violations(typo) = 0", "lag_p50(typo) < 1 s")
    assert {row["verdict"] for row in found} == {INCONCLUSIVE}


# --- errors ----------------------------------------------------------------------------------------------------------


def broken(*_: object) -> pl.DataFrame:
    raise ZeroDivisionError("float division by zero")


CLAIMS = [ClaimTable(that="lag_p50(directory) < 1 s", name="timed"), ClaimTable(that="skipped(directory) = 0")]


def test_an_error_while_a_claim_is_judged_leaves_run_report_and_the_other_claims(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = fake_run(tmp_path)
    real = under_test.judge_one

    def sometimes(statement: Any, *more: Any) -> Any:
        return broken() if statement.calls[0].quantity.name == "lag_p50" else real(statement, *more)

    monkeypatch.setattr(under_test, "judge_one", sometimes)
    done = reported(claimed(CLAIMS, run))
    assert done.unreported is None
    timed, counted = done.table("claims").to_dicts()
    assert timed["verdict"] == INCONCLUSIVE
    assert timed["reason"].startswith("not judged: lab: internal error: ZeroDivisionError: float division by zero")
    assert "--debug" in timed["reason"]
    assert counted["verdict"] == VERIFIED
    assert done.manifest["claims"] == {VERIFIED: 1, REFUTED: 0, INCONCLUSIVE: 1}
    assert "float division by zero" in (run.path / "report.html").read_text()


def test_figures_that_can_not_be_read_leave_what_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAB_DEBUG", "1")
    found = judged(fake_run(tmp_path), "lag_p50(directory) < 1 s", "skipped(directory) = 0", told=broken)
    assert [row["verdict"] for row in found] == [INCONCLUSIVE, VERIFIED]
    assert "Traceback" in capsys.readouterr().err

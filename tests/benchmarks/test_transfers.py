"""Transfers as arrays say what the lab's own guards show, and what theory says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks.transfers.__main__ import draw, through
from benchmarks.transfers.frames import GUARDS, MICRO, Transfers, impossible, none, ordered, revision
from lab.experiment import run
from lab.experiment.progress import Quiet
from lab.experiment.write import write
from lab.scenario import Source
from lab.spill import Spill
from lab.wiring import plan

pytestmark = pytest.mark.usefixtures("quick")

KEYS = ("workload.commands=1_200", "domain.records=150", "workload.rate=2.0", "catch_up.every=1000.0")
KEYS += ("time.model={ per_batch = 0.0, per_row = 0.0 }", "measure.samples=1", "measure.blocks=0")
KEYS += ("measure.trials=false", "measure.truth=false", "channel.delay={ mean = 0.0 }")
KEYS += ("channel.reorder.share=1.0", "channel.reorder.extra={ kind = 'exponential', mean = 0.5 }")
# The lab's projections, fed by messages alone and one by one, and the function that stands for each.
STAND = {"records-none": none, "records-revision": revision, "sum-ordered": ordered}


def test_arrays_say_of_each_guard_what_a_run_of_the_lab_says(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    alone = [f"projection.{name}.{key}" for name in STAND for key in ("subscribe=channel", "batch=1")]
    made = plan(Source(root / "scenarios" / "transfers.toml", [*KEYS, *alone]))
    done = run(made, tmp_path / "runs", report=False)
    written = write(made, tmp_path, Quiet(), Spill())
    frame, sent = written.published.frames["account"], done.table("deliveries")
    key, balance = frame["key"].to_numpy(), frame.with_columns(pl.col("balance").fill_null(0))
    amount = balance.select(pl.col("balance") - pl.col("balance").shift(1, fill_value=0).over("key"))
    committed = np.round(frame["committed_at"].to_numpy() * MICRO).astype(np.int64)
    seen = done.table("transactions")
    for name, guard in STAND.items():
        arrives = sent.filter(projection=name).sort("position")["arrives_at"].to_numpy()
        found = Transfers(
            key.astype(np.int32),
            amount["balance"].to_numpy().astype(np.int32),
            committed,
            np.round(arrives * MICRO).astype(np.int64),
        )
        of_time, _ = impossible(guard(found), (0, int(found.arrives_at.max())))
        told = float(seen.filter(projection=name)["impossible_share"][0])
        # Amounts that cancel each other by chance are possible totals, though a transfer is seen in part.
        assert of_time == pytest.approx(told, abs=0.01), name
        assert 0.1 < told < 0.95


def test_theory_says_how_often_a_total_is_impossible() -> None:
    rows = {row["guard"]: row for row in through(60_000, 200_000, 0.1, 10.0, seed=3)}
    assert set(rows) - {""} == set(GUARDS)
    for name, row in rows.items():
        if name and row["theory"] is not None:
            assert row["of_time"] == pytest.approx(row["theory"], abs=0.01), name
    for whole in ("watermark, the whole disorder", "by transaction", "token"):
        assert rows[whole]["of_time"] == 0
    assert len(draw([row for row in rows.values() if row["guard"]], 10.0).axes) == 1


def test_every_guard_ends_with_a_total_of_nothing() -> None:
    drawn = Transfers.draw(3_000, 40, 50.0, 2.0, seed=9)
    for name, guard in GUARDS.items():
        total = guard(drawn, 2.0).delta.sum()
        # What comes last is not what was last, so without a guard money is lost or made.
        assert (total == 0) == (name != "none"), name

"""The demonstration at scale, at a size that costs little: its history, its rebuilds, what it tells of ten times it."""

from __future__ import annotations

from concurrent.futures import Executor
from pathlib import Path

import pytest
from sweeping import Inline

from benchmarks.bench import own
from benchmarks.scale.__main__ import arguments, foretold, loaded, said, sizes
from lab.experiment.progress import Quiet
from lab.planning.laws import Foretold
from lab.runs import Run
from lab.scenario import Source
from lab.sweeps.sharded import rebuild_sharded
from lab.wiring import plan


def inline() -> Executor:
    """The executor of the test."""
    return Inline()


def test_four_sizes_each_ten_times_the_one_before() -> None:
    assert sizes(10**8) == [10**5, 10**6, 10**7, 10**8]
    assert sizes(20_000) == [2_000, 20_000]
    assert arguments([]).changes == 1e8


def test_every_number_of_ranges_has_the_same_content(tmp_path: Path) -> None:
    made = plan(Source(own.written(tmp_path, 2_000, ("parquet.files",))))
    truth = loaded(made, tmp_path, Quiet())
    # Loaded once, it is there.
    assert loaded(made, tmp_path, Quiet()) == truth
    found = {
        rebuild_sharded(made, "parquet-files", truth, tmp_path / f"{ranges}", ranges, "test_scale:inline")
        for ranges in (1, 3)
    }
    assert len(found) == 1


def test_ten_times_as_many_are_told_with_an_interval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for changes in sizes(10**6):
        found = Run(tmp_path / f"{changes}")
        found.__dict__["manifest"] = {
            "changes": changes, "wall_seconds": 3 + changes / 1e5 * (1.01 if changes > 5_000 else 0.99),
            "peak_rss_bytes": 2e8 + changes * 50, "run": f"{changes}",
        }  # fmt: skip
        made.append(found)
    wall, memory = foretold(made, 1e7)
    assert wall.low is not None
    assert wall.high is not None
    assert wall.low <= 103 <= wall.high
    assert memory.value == pytest.approx(7e8, rel=0.05)
    assert said(memory).startswith("memory: ")
    assert foretold(made, 1.1e7)[0].value is None
    assert said(Foretold("memory", "bytes", reason="too far")) == "memory: not told, too far"

"""A scenario under real load for a cell: served, driven by Locust for some seconds, judged, and kept as a run."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import polars as pl

from lab.experiment.progress import Quiet
from lab.load.driving import Order
from lab.load.run import load
from lab.runs import Run
from lab.scenario import Source
from lab.teach.experiments import scenarios, workplace
from lab.teach.scale import scale
from lab.wiring import plan

# A few hundred records, so that what the workload hires is there before it is asked for.
SMALL = ("domain.records=300", "workload.commands=20000", "measure.samples=3")


@cache
def under_load(rate: float, seconds: float = 5.0, overrides: Sequence[str] = ()) -> Run:
    """`scenarios/employees.toml` with so many arrivals a second, for some seconds: half commands, half queries.

    The seconds are scaled, to three at the least; it takes some 15 more than it lasts. With the same arguments, the run
    that is there already. Raises ProgramFailed when the service or Locust doesn't start.
    """
    settings = (*SMALL, *overrides)
    path = scenarios() / "employees.toml"
    arguments = [str(path), *(part for setting in settings for part in ("--set", setting))]
    order = Order(rate=rate, seconds=max(3.0, seconds * scale()))
    return load(plan(Source(path, settings)), arguments, order, workplace() / "loads", Quiet())


def rows_of(run: Run, start: str = "") -> pl.DataFrame:
    """Locust's rows whose names start like this, in milliseconds: count, p50, p99."""
    milliseconds = [(pl.col(f"{name}_seconds") * 1e3).round(1).alias(f"{name}_ms") for name in ("p50", "p99")]
    return run.load.filter(pl.col("row").str.starts_with(start)).select("row", "count", "censored", *milliseconds)


def told(run: Run) -> dict[str, Any]:
    """What the run says of its load: whether it is void and why, and how late the generator was."""
    found: dict[str, Any] = run.manifest["load"]
    return found

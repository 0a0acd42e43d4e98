"""Run a scenario under real load in a cell: served, driven by Locust, judged, and kept as a run."""

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
from lab.shipped import scenario_file
from lab.teach.experiments import workplace
from lab.teach.loops import VoidLoad
from lab.teach.scale import scale
from lab.wiring import plan

# A few hundred records, so that the records exist before they are queried.
SMALL = ("domain.records=300", "workload.commands=20000", "measure.samples=3")


@cache
def under_load(rate: float, seconds: float = 5.0, overrides: Sequence[str] = ()) -> Run:
    """Load `scenarios/employees.toml` with `rate` arrivals a second, half commands and half queries.

    `seconds` is scaled, to at least three; the call takes about 15 s more. Calls with the same arguments return the
    same run. Raises ProgramFailed if the service or Locust doesn't start.
    """
    settings = (*SMALL, *overrides)
    path = scenario_file("employees")
    arguments = [str(path), *(part for setting in settings for part in ("--set", setting))]
    order = Order(rate=rate, seconds=max(3.0, seconds * scale()))
    return load(plan(Source(path, settings)), arguments, order, workplace() / "loads", Quiet())


def rows_of(run: Run, start: str = "") -> pl.DataFrame:
    """Return the rows of `load` whose names begin with `start`: offered, censored, p50 and p99 in milliseconds."""
    milliseconds = [(pl.col(f"{name}_seconds") * 1e3).round(1).alias(f"{name}_ms") for name in ("p50", "p99")]
    return run.load.filter(pl.col("row").str.starts_with(start)).select("row", "offered", "censored", *milliseconds)


def told(run: Run) -> dict[str, Any]:
    """Return the manifest's part on the load: whether it is void and why, and how late the generator was."""
    found: dict[str, Any] = run.manifest["load"]
    return found


def sound(run: Run) -> Run:
    """Return the run. Raises VoidLoad if its load is void, so that nothing is claimed from it."""
    if told(run)["void"]:
        raise VoidLoad(f"the load is void: {told(run)['why']}; run the cell again when the machine is less busy")
    return run

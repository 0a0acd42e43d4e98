"""What a simulation of the same commands foretells of the lag under load."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import polars as pl

from lab.experiment.progress import Quiet
from lab.experiment.project import project
from lab.experiment.write import Written
from lab.measure import lag
from lab.wiring import Plan

# Columns of the lag's summary that are compared.
SHOWN = ("p50_seconds", "p99_seconds")


def foretell(plan: Plan, written: Written, loaded: pl.DataFrame, folder: Path) -> pl.DataFrame:
    """The table `foretold`: the changes of the load, with their own times of commit, simulated from end to end.

    The channel, the polls and the projectors are the simulation's; the stores' own time is measured as it goes.
    `loaded` is the summary of the lag under load; the simulation's files are in `folder`, and gone afterwards.
    """
    scenario = plan.scenario
    time_table = scenario.time.model_copy(update={"service": "measured"})
    plan = replace(plan, scenario=scenario.model_copy(update={"time": time_table}))
    truth = plan.truth(folder / "truth")
    rows = []
    try:
        found = project(plan, replace_times(written), truth, folder / "live", Quiet())
        for live in found.lives:
            simulated = lag.summary(live.plan.name, lag.lags(live.plan.name, live.published, live.visible, live.chosen))
            live.projector.store.close()
            rows.append({"projection": live.plan.name} | {f"simulated_{name}": simulated[name] for name in SHOWN})
    finally:
        truth.close()
        shutil.rmtree(folder, ignore_errors=True)
    had = loaded.select("projection", *(pl.col(name).alias(f"loaded_{name}") for name in SHOWN))
    return pl.DataFrame(rows).join(had, on="projection", how="left")


def replace_times(written: Written) -> Written:
    """Rows stamped with the run's clock, as the simulation's feed hands them out."""
    began = {name: written.published.times(name) for name in written.events}
    events = {
        name: frame.with_columns(pl.Series("committed_at", began[name])) for name, frame in written.events.items()
    }
    return replace(written, events=events)

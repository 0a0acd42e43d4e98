"""Runs for tests, and what to ask of a finished one."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from click.testing import CliRunner, Result
from pieces import SCENARIO

from lab.cli import lab as command_line
from lab.experiment import run
from lab.measure.accounting import balances
from lab.runs import Run
from lab.scenario import Source
from lab.wiring import plan


def call(*arguments: str) -> Result:
    """The command line in this process. Nothing but an exit may come out of it."""
    found = CliRunner().invoke(command_line, arguments)
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
    return found


SHIPPED = Path(__file__).parent.parent / "scenarios"


def run_text(root: Path, text: str = SCENARIO, *overrides: str, seed: int | None = None, accounted: bool = True) -> Run:
    """Run a scenario given as text; its folder goes below `root`. No change may be unaccounted for."""
    path = root / "mine.toml"
    path.write_text(text)
    finished = run(plan(Source(path, overrides, seed)), root / "runs")
    if accounted:
        account(finished)
    return finished


def shipped(name: str, root: Path, *overrides: str) -> Run:
    """Run a scenario that ships, modelled and with few samples, with keys set; no change may be unaccounted for."""
    small = ("repeat=1", "measure.samples=5", "measure.warm_up=0", "measure.blocks=2")
    small += ("time.service=modelled", *overrides)
    finished = run(plan(Source(SHIPPED / f"{name}.toml", small)), root)
    account(finished)
    return finished


def account(finished: Run) -> None:
    """The identity of the accounting holds for every projection."""
    for row in finished.table("accounting").rows(named=True):
        assert balances(row) == 0, row


def failed(finished: Run, projection: str | None = None) -> set[str]:
    """The names of the checks that failed."""
    rows = finished.table("verdicts").filter(pl.col("verdict") == "fail")
    return set((rows.filter(pl.col("projection") == projection) if projection else rows)["check"])


def witness(finished: Run, projection: str, check: str) -> str:
    rows = finished.table("verdicts").filter(pl.col("projection") == projection, pl.col("check") == check)
    return str(rows["witness"][0])


def verdicts(finished: Run) -> dict[str, str]:
    return {item["name"]: item["verdict"] for item in finished.manifest["projections"]}


def digests(finished: Run) -> dict[str, str]:
    return {item["name"]: item["digest"] for item in finished.manifest["projections"]}

"""The lab in a notebook or a program: what the commands do, as functions whose results show themselves.

`lab.run`, `lab.compare` and the others are here, and are loaded when they are first used.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from lab.formatting import toml
from lab.notebook.results import ShownAdvice, ShownCheck, ShownComparison, ShownRun
from lab.runs import Run
from lab.runs import load_run as load_finished
from lab.runs.listing import kept
from lab.scenario import Source
from lab.shipped import scenario_file, scenario_files
from lab.wiring import Plan, plan

if TYPE_CHECKING:
    from lab.progress import Bars

__all__ = ["advise", "check", "compare", "load_run", "run", "runs", "scenarios", "stores"]

RUNS = Path("runs")
TEXT = "scenario.toml"


def run(
    scenario: str | Path | Mapping[str, Any],
    keys: Mapping[str, Any] | None = None,
    *,
    seed: int | None = None,
    repeat: int | None = None,
    live: bool = False,
    runs: str | Path = RUNS,
    report: bool = True,
    progress: bool = True,
    **more: Any,
) -> ShownRun:
    """Run a scenario, and return the finished run; as `lab run` does.

    `scenario` is a shipped one's name, a file, a text of TOML (of several lines), or its tables as a mapping. `keys`
    has keys of it with their values (`{"workload.commands": 1_000}`); as arguments they are written with two
    underscores in place of a dot (`workload__commands=1_000`). A run folder is written below `runs`. Raises BadInput
    with every mistake of the scenario.

    >>> import lab
    >>> lab.run("employees", workload__commands=3_000, measure__samples=1, runs=folder, progress=False).verdict
    'pass'
    """
    from lab.experiment import run as run_simulated

    chosen = {name.replace("__", "."): value for name, value in more.items()} | dict(keys or {})
    if repeat is not None:
        chosen["repeat"] = repeat
    if live:
        chosen["time.mode"] = "live"
    made = _planned(scenario, [f"{key}={toml(value)}" for key, value in chosen.items()], seed)
    with _bars(progress) as bars:
        if made.scenario.time.mode == "live":
            from lab.live.run import run_live

            return ShownRun.of(run_live(made, Path(runs), bars))
        return ShownRun.of(run_simulated(made, Path(runs), bars, report=report))


def _planned(scenario: str | Path | Mapping[str, Any], overrides: list[str], seed: int | None) -> Plan:
    if isinstance(scenario, Mapping):
        scenario = "".join(f"{name} = {toml(value)}\n" for name, value in scenario.items()) + "\n"
    if isinstance(scenario, str) and "\n" in scenario:
        return plan(Source(Path(TEXT), overrides, seed, scenario))
    return plan(Source(scenario_file(scenario), overrides, seed))


def _bars(wanted: bool) -> AbstractContextManager[Bars | None]:
    """How far a run has come: lines below a cell of a notebook, or on a terminal; nothing elsewhere."""
    if not wanted:
        return nullcontext()
    from rich.console import Console

    from lab.progress import bar

    return bar(Console(stderr=True))


def scenarios() -> pl.DataFrame:
    """Return the shipped scenarios: `name`, what it is `about` in its own first words, its `file`."""
    rows = []
    for name, file in scenario_files().items():
        lines = file.read_text(encoding="utf-8").splitlines()
        said = [line.removeprefix("#").strip() for line in lines[:1] if line.startswith("#")]
        rows.append({"name": name, "about": " ".join(said), "file": str(file)})
    return pl.DataFrame(rows)


def runs(folder: str | Path = RUNS) -> pl.DataFrame:
    """Return the finished runs below a folder, the newest first; what is no run, or is damaged, is left out.

    The columns are `scenario`, `run`, `verdict`, `changes`, `seed`, `path`.
    """
    columns = ("scenario", "run", "verdict", "changes", "seed", "path")
    rows = [{name: getattr(one, name) for name in columns} for one in kept(Path(folder))]
    types = {"scenario": pl.String, "run": pl.String, "verdict": pl.String}
    return pl.DataFrame(rows, schema=types | {"changes": pl.Int64, "seed": pl.Int64, "path": pl.String})


def load_run(path: str | Path, root: str | Path = RUNS) -> ShownRun:
    """Return the run in a folder, or the latest of a scenario by its name, below `root`. Raises NotReadable."""
    return ShownRun.of(load_finished(path, Path(root)))


def compare(one: Run | str | Path, other: Run | str | Path, anyway: bool = False) -> ShownComparison:
    """Return what differs between two runs: verdicts first, then figures with their intervals; as `lab compare` does.

    Raises BadInput for runs that can't be compared, unless `anyway`.
    """
    from lab.report import compare as compared

    return ShownComparison(compared(_run(one), _run(other), anyway=anyway))


def advise(run: Run | str | Path, keys: Mapping[str, Any] | None = None, anyway: bool = False) -> ShownAdvice:
    """Return which projections to keep, from what a run measured; as `lab advise` does.

    `keys` are levels, weights and settings of the advice (`{"levels.lag_p99": 0.5}`). Raises BadInput.
    """
    from lab.advice import advise as worked_out
    from lab.advice import read

    found = _run(run)
    items = [f"{key}={toml(value)}" for key, value in (keys or {}).items()]
    return ShownAdvice(worked_out(read(found, items, anyway)), found)


def check(
    projector: str,
    *,
    delivery: str = "out-of-order",
    properties: tuple[str, ...] = (),
    seed: int | None = None,
    histories: int | None = None,
) -> ShownCheck:
    """Try a projector of your own, MODULE:OBJECT, in a process of its own; as `lab check` does. Raises BadInput."""
    from lab.kit.apart import check_apart
    from lab.kit.check import SEED

    chosen = SEED if seed is None else seed
    return ShownCheck(check_apart(projector, chosen, histories, delivery=delivery, properties=properties))


def stores() -> pl.DataFrame:
    """Return the stores: `store`, `family`, `shape`, `engine`, `installed`, what it `answers`, how to `install` it."""
    from lab.stores.catalogue import catalogue

    columns = ("store", "family", "shape", "engine", "installed", "answers", "install")
    return pl.DataFrame([{name: row[name] for name in columns} for row in catalogue()])


def _run(run: Run | str | Path) -> Run:
    return run if isinstance(run, Run) else load_finished(run)

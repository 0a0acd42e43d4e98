"""Runs a scenario from end to end: a scenario in, a run folder out.

Try the stores, write, project, ask, rebuild, judge, record (`once`); several repetitions, each in a process of its own,
become one run folder (`repeating`). Last, the scenario's claims are judged (`claims`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from lab.ending import stopping
from lab.experiment.claims import claimed
from lab.experiment.once import run_once
from lab.experiment.progress import Progress, Quiet
from lab.experiment.repeating import run_all
from lab.runs import Run, new_run
from lab.wiring import Plan


def run(
    plan: Plan,
    root: Path = Path("runs"),
    progress: Progress | None = None,
    report: bool = True,
    once: Callable[[Plan, Path, str, Progress], None] = run_once,
    module: str = "lab.experiment",
) -> Run:
    """Run a scenario and return the finished run. One that fails or is stopped leaves nothing behind.

    Without `report`, only the manifest and the tables are written. A report that fails is the run's `unreported`.
    `once` is how it is run, and `python -m MODULE` a process that does the same for one of several repetitions.
    """
    with new_run(root, plan.scenario.name) as (folder, final):
        if plan.scenario.repeat > 1:
            run_all(plan, folder, final.name, progress or Quiet(), module)
        else:
            once(plan, folder, final.name, progress or Quiet())
        judged = claimed(plan.scenario.claim, Run(folder))
        written = reported(judged) if report else judged
    return replace(written, path=final.resolve())


def reported(run: Run) -> Run:
    """Write the report of a finished run; what prevents it is in the run's `unreported`, and nothing is lost."""
    try:
        # Imported here: what draws takes longest to load, and most processes that load this package draw nothing.
        from lab.report import write_report

        write_report(run)
    except Exception as error:
        # An interrupted engine raises what it likes.
        stopping.stop_here()
        return replace(run, unreported=error)
    return run

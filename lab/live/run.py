"""`lab run --live`: a scenario on the wall clock in, a run folder out."""

from __future__ import annotations

from pathlib import Path

from lab.experiment import run
from lab.experiment.progress import Progress
from lab.live.once import run_once
from lab.runs import Run
from lab.wiring import Plan


def run_live(plan: Plan, root: Path = Path("runs"), progress: Progress | None = None, report: bool = True) -> Run:
    """Run a scenario live and return the finished run. One that fails or is stopped leaves nothing behind."""
    return run(plan, root, progress, report, run_once, "lab.live")

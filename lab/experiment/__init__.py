"""Runs a scenario from end to end: a scenario in, a run folder out.

Try the stores, write, project, ask, rebuild, judge, record.
"""

from __future__ import annotations

import gc
import json
import shlex
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from lab.ending import stopping
from lab.experiment.judge import ask, rebuild_and_judge
from lab.experiment.progress import Progress, Quiet
from lab.experiment.project import Projected, project
from lab.experiment.record import manifest, tables, write_tables
from lab.experiment.trials import try_stores
from lab.experiment.write import write
from lab.measure.machine import highest_rss_bytes
from lab.measure.quiet import activity, quietness
from lab.place import FolderPlace
from lab.report import write_report
from lab.runs import Run, new_run
from lab.wiring import Plan


def run(plan: Plan, root: Path = Path("runs"), progress: Progress | None = None, report: bool = True) -> Run:
    """Run a scenario and return the finished run. One that fails or is stopped leaves nothing behind.

    Without `report`, only the manifest and the tables are written. A report that fails is the run's `unreported`.
    """
    with new_run(root, plan.scenario.name) as (folder, final), _without_collector():
        _run(plan, folder, final, progress or Quiet())
        written = reported(Run(folder)) if report else Run(folder)
    return replace(written, path=final.resolve())


def reported(run: Run) -> Run:
    """Write the report of a finished run; what prevents it is in the run's `unreported`, and nothing is lost."""
    try:
        write_report(run)
    except Exception as error:
        # An interrupted engine raises what it likes.
        stopping.stop_here()
        return replace(run, unreported=error)
    return run


@contextmanager
def _without_collector() -> Iterator[None]:
    """Disable Python's cycle collector: its pauses would be counted as time of the store that is being measured."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def replay_command(plan: Plan) -> str:
    """Return the command that repeats the run."""
    source = plan.source
    parts = ["lab", "run", str(source.path), "--seed", str(plan.scenario.seed)]
    for item in source.overrides:
        parts += ["--set", item]
    return shlex.join(parts)


def _run(plan: Plan, folder: Path, final: Path, progress: Progress) -> None:
    phases: dict[str, float] = {}

    @contextmanager
    def phase(name: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        phases[name] = time.perf_counter() - began

    started, began, before = time.time(), time.perf_counter(), activity()
    work = folder / "work"
    work.mkdir()
    with phase("try"):
        tried = try_stores(plan, work / "trials", progress)
    with phase("write"):
        written = write(plan, work, progress)
    truth = plan.truth(FolderPlace(work).within("truth"))
    projected: Projected | None = None
    try:
        with phase("project"):
            projected = project(plan, written, truth, FolderPlace(work / "live"), progress)
            for live in projected.lives:
                live.conformance = tried[live.plan.name]
        if plan.domain.has_trace:
            per_second = written.writes["commands"] / max(projected.main.replay.seconds, 1e-9)
            written = replace(written, settings=truth.settings(), writes=written.writes | {"per_second": per_second})
        with phase("query"):
            answers = ask(plan, projected.lives, truth, written.oracle, progress)
        judged = rebuild_and_judge(plan, projected, written, answers, FolderPlace(work / "rebuilt"), progress)
    finally:
        for live in projected.lives if projected else ():
            live.projector.store.close()
        for strand in projected.every if projected else ():
            strand.truth.close()
        truth.close()
    with phase("record"):
        frames, end = tables(plan, written, projected, judged)
        write_tables(folder, frames)
        shutil.rmtree(work)
    phases |= {name: judged.seconds(name) for name in ("rebuild", "judge")}
    record = manifest(plan, written, judged, end) | {
        "run": final.name,
        "replay": replay_command(plan),
        "started_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "wall_seconds": time.perf_counter() - began,
        "phases": phases,
        "peak_rss_bytes": highest_rss_bytes(),
        "activity": quietness(before, activity()),
    }
    (folder / "manifest.json").write_text(json.dumps(record, indent=2), encoding="utf-8")

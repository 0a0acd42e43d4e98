"""One run of a scenario, or one repetition of it: try the stores, write, project, ask, rebuild, judge, record."""

from __future__ import annotations

import gc
import json
import shlex
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.base import TRUTH, Problem
from lab.experiment.ask import ask, cut_short
from lab.experiment.beside import beside
from lab.experiment.judge import rebuild_and_judge
from lab.experiment.paged import page_tables
from lab.experiment.progress import Progress
from lab.experiment.project import Projected, project
from lab.experiment.record import manifest, tables, write_tables
from lab.experiment.trials import try_stores
from lab.experiment.write import write
from lab.measure.clock import CalibrationClock
from lab.measure.machine import give_back, highest_rss_bytes
from lab.measure.quiet import activity, quietness
from lab.place import FolderPlace
from lab.scenario import refuse
from lab.servers import forget, require
from lab.spill import Spill, here, spilling
from lab.stores import store_class
from lab.tables import TABLES
from lab.truth import Truth
from lab.wiring import Plan
from lab.wiring.needed import servers


def run_once(plan: Plan, folder: Path, name: str, progress: Progress) -> None:
    """Run a scenario into a folder that is there: tables and manifest. `name` is what the run is to be called."""
    if plan.scenario.time.mode == "live":
        where = f"{plan.source.path.name}: time.mode"
        refuse([Problem(where, "this is a live run", "use `lab run`, or lab.live.run.run_live")])
    with prepared(plan, folder):
        _run(plan, folder, name, progress)


@contextmanager
def prepared(plan: Plan, folder: Path) -> Iterator[None]:
    """Reach the servers of a run that has this folder, drop what it made there, and measure it without a collector.

    Raises BadInput without a server, or with one that a store can't use. What there is for each change goes to disk,
    wherever in the run it is made.
    """
    require(servers(plan))
    for name in dict.fromkeys(item.table.store for item in plan.projections):
        store_class(name).begin()
    try:
        with _without_collector(), spilling(Spill(folder / "work" / "spill")):
            yield
    finally:
        forget(servers(plan), folder)


class Phases(dict[str, float]):
    """Wall seconds of the steps of a run, by name."""

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Time the block as the step of this name."""
        began = time.perf_counter()
        yield
        self[name] = time.perf_counter() - began


@contextmanager
def _without_collector() -> Iterator[None]:
    """Disable Python's cycle collector: its pauses would be counted as time of the store that is being measured.

    What is there already is left out of the collections between the steps. Libraries alone are hundreds of thousands of
    objects, and to look through them again and again took longer than the steps of a small run. Where a program has
    frozen its objects itself, that is kept as it is.
    """
    was, aside = gc.isenabled(), not gc.get_freeze_count()
    gc.disable()
    if aside:
        gc.collect()
        gc.freeze()
    try:
        yield
    finally:
        if aside:
            gc.unfreeze()
        if was:
            gc.enable()


def _rest(projected: Projected, truth: Truth) -> None:
    """Give back what is not needed in the next step: engines' caches, each of them up to 64 or 256 MiB."""
    for live in projected.lives:
        live.projector.store.rest()
    for one in {id(each): each for each in (truth, *(strand.truth for strand in projected.every))}.values():
        one.rest()
    give_back()


def _close(projected: Projected | None, truth: Truth) -> None:
    """Close the stores, and drop the sources of truth; of a run that failed early, there is only one."""
    for live in projected.lives if projected else ():
        live.projector.store.close()
    for strand in projected.every if projected else ():
        strand.truth.drop()
    truth.drop()


def replay_command(plan: Plan) -> str:
    """Return the command that repeats the run: all of its repetitions, or the one that it was."""
    source = plan.source
    parts = ["lab", "run", str(source.path), "--seed", str(plan.scenario.seed)]
    for item in source.overrides:
        if not source.sets_repeat(item):
            parts += ["--set", item]
    if plan.scenario.repeat != source.raw.get("repeat", 1):
        parts += ["--repeat", str(plan.scenario.repeat)]
    return shlex.join(parts)


def _run(plan: Plan, folder: Path, name: str, progress: Progress) -> None:
    phases = Phases()
    started, began, before, clock = time.time(), time.perf_counter(), activity(), CalibrationClock()
    work = folder / "work"
    work.mkdir()
    with phases.timed("try"):
        tried = try_stores(plan, work / "trials", progress)
    with phases.timed("write"):
        written = write(plan, work, progress, here())
    clock.tick()
    truth = plan.truth(FolderPlace(work).within("truth"))
    projected: Projected | None = None
    try:
        with phases.timed("project"):
            projected = project(plan, written, truth, FolderPlace(work / "live"), progress)
            for live in projected.lives:
                live.conformance = tried[live.plan.name]
        if plan.domain.has_trace:
            per_second = written.writes["commands"] / max(projected.main.replay.seconds, 1e-9)
            written.settings, written.writes = truth.settings(), written.writes | {"per_second": per_second}
        _rest(projected, truth)
        clock.tick()
        with phases.timed("query"):
            answers = ask(plan, projected.lives, truth, written.oracle, progress)
            written.notes += cut_short(plan, answers)
            crowded = beside(plan, written, answers[TRUTH], truth, FolderPlace(work).within("beside"), progress)
        paged = page_tables(plan, projected.lives)
        _rest(projected, truth)
        clock.tick()
        written.size_bytes = truth.size_bytes()
        place = FolderPlace(work / "rebuilt")
        judged = rebuild_and_judge(plan, projected, written, answers, place, progress, truth.drop)
        clock.tick()
    finally:
        _close(projected, truth)
    progress.step("writing the tables", 1)
    with phases.timed("record"):
        frames, pieces, end = tables(plan, written, projected, judged, work / "pieces")
        frames |= {"beside": TABLES["beside"].frame(crowded)} | paged
        pieces["lag_parts"] = [file for each in judged.projections for file in each.parts]
        write_tables(plan, folder, frames, pieces)
        shutil.rmtree(work)
    phases |= {name: judged.seconds(name) for name in ("rebuild", "judge")}
    record = manifest(plan, written, judged, end) | {
        "run": name,
        "replay": replay_command(plan),
        "started_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "wall_seconds": time.perf_counter() - began,
        "phases": phases,
        "peak_rss_bytes": highest_rss_bytes(),
        "activity": quietness(before, activity()),
        "clock_seconds": clock.seconds,
        "order": {"feed": projected.order, "rebuild": judged.order},
    }
    (folder / "manifest.json").write_text(json.dumps(record, indent=2), encoding="utf-8")

"""One live run, or one repetition of it: try the stores, perform, ask, rebuild, judge, record."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from lab.base import TRUTH
from lab.experiment.ask import ask, cut_short
from lab.experiment.judge import RunJudgement, rebuild_and_judge
from lab.experiment.once import Phases, prepared, replay_command
from lab.experiment.paged import page_tables
from lab.experiment.progress import Progress
from lab.experiment.project import Projected
from lab.experiment.record import manifest, tables, write_tables
from lab.experiment.trials import try_stores
from lab.experiment.write import Written
from lab.live.connections import too_few
from lab.live.foretelling import foretell, worked
from lab.live.judging import Chronicle, acknowledged, held_back, projected
from lab.live.members import not_done
from lab.live.performing import Performance, Performed
from lab.live.refusals import refused, unfit_server
from lab.live.sharing import assignments_table
from lab.measure.machine import give_back, highest_rss_bytes
from lab.measure.quiet import activity, quietness
from lab.place import FolderPlace
from lab.scenario import refuse
from lab.statistics.quantiles import told, unbiased
from lab.truth.outlets import POLL
from lab.wiring import Plan

_LOST = "Of the commits that writers were told of, {:,} are gone: at durability `normal` a crash takes some."
_BEHIND = "Not every projection had caught up a minute after the last commit."
# What stands under `clocks` in the manifest: all of it is wall clock, taken by processes of one machine.
LIVE = "wall, live"


def run_once(plan: Plan, folder: Path, name: str, progress: Progress) -> None:
    """Run a scenario live into a folder that is there: tables and manifest. `name` is what the run is to be called.

    Raises BadInput for what has no meaning on the wall clock, and ProgramFailed.
    """
    refuse(refused(plan))
    with prepared(plan, folder):
        refuse(unfit_server(plan) + too_few(plan))
        _run(plan, folder, name, progress)


def _run(plan: Plan, folder: Path, name: str, progress: Progress) -> None:
    phases = Phases()
    started, before = time.time(), activity()
    work, served = folder / "work", folder / "work" / "served"
    served.mkdir(parents=True)
    with phases.timed("try"):
        tried = try_stores(plan, work / "trials", progress)
    with phases.timed("live"):
        performed = Performance(plan, served.absolute()).perform(progress)
    quiet = quietness(before, activity())
    # What was read at rest afterwards is asked as in any run; readers of a live run are yet to come.
    judged_as = replace(plan, scenario=_without_sessions(plan))
    truth, found = plan.truth(FolderPlace(served).within(TRUTH)), None
    try:
        chronicle = Chronicle.read(plan, performed.journals, truth)
        written = acknowledged(judged_as, truth, chronicle, served, performed.began)
        written = _told(plan, written)
        written = replace(written, writes=_writes(judged_as, chronicle, written.published.changes))
        found = projected(judged_as, truth, written, served, performed.began)
        for live in found.lives:
            live.conformance = tried[live.plan.name]
        with phases.timed("query"):
            answers = ask(judged_as, found.lives, truth, written.oracle, progress)
            written.notes += cut_short(judged_as, answers)
        # Before the journals are let go.
        paged = page_tables(judged_as, found.lives)
        give_back()
        judged = rebuild_and_judge(judged_as, found, written, answers, FolderPlace(work / "rebuilt"), progress)
        every_revision = truth.publishes_every_revision
    finally:
        _close(found)
        truth.drop()
    with phases.timed("record"):
        written.notes.append(_note(plan, performed, chronicle.commands))
        if chronicle.lost:
            written.notes.append(_LOST.format(chronicle.lost))
        written.notes += not_done(plan, performed.struck)
        written.notes += [f"Messages never published: {n:,}; {why}." for why, n in performed.unpublished.items()]
        record = _record(judged_as, written, found, judged, performed, chronicle, every_revision, paged, folder)
        shutil.rmtree(work)
    phases |= {step: judged.seconds(step) for step in ("rebuild", "judge")}
    record |= {
        "run": name,
        "replay": replay_command(plan),
        "started_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "wall_seconds": time.time() - started,
        "phases": phases,
        "peak_rss_bytes": highest_rss_bytes(),
        "activity": quiet,
        "clock_seconds": [],
        "order": {"feed": [], "rebuild": judged.order},
    }
    (folder / "manifest.json").write_text(json.dumps(record, indent=2), encoding="utf-8")


def _told(plan: Plan, written: Written) -> Written:
    """With what is said of a history: what was assumed, and what became of what was read."""
    if not plan.domain.has_trace:
        return written
    trace = plan.domain.trace(plan.options)
    return replace(written, notes=[*trace.notes], source=trace.source)


def _without_sessions(plan: Plan) -> Any:
    sessions = plan.scenario.readers.model_copy(update={"sessions": 0})
    return plan.scenario.model_copy(update={"readers": sessions})


def _close(found: Projected | None) -> None:
    for live in found.lives if found else ():
        live.projector.store.close()


def _record(
    plan: Plan,
    written: Written,
    found: Projected,
    judged: RunJudgement,
    performed: Performed,
    chronicle: Chronicle,
    every_revision: bool,
    paged: dict[str, pl.DataFrame],
    folder: Path,
) -> dict[str, Any]:
    """Write the tables, and return the manifest as far as it is the run's own."""
    frames, pieces, end = tables(plan, written, found, judged, folder / "work" / "pieces")
    pieces["lag_parts"] = [file for each in judged.projections for file in each.parts]
    frames["work"] = worked(plan, performed.folder, performed.began)
    if written.writes["accepted"]:
        lags = frames["lag_summary"]
        frames["foretold"] = foretell(plan, written, every_revision, lags, performed.folder, performed.began)
    frames |= paged
    frames["blockers"] = held_back(plan, performed.folder, performed.began)
    if any(item.layout.partitions for item in plan.projections):
        frames["assignments"] = assignments_table(plan, performed.folder, performed.began)
    frames |= _of_feeds(plan, performed, frames["lag_summary"], written.published.changes, folder)
    write_tables(plan, folder, frames, pieces)
    record = manifest(plan, written, judged, end)
    record["clocks"] = dict.fromkeys(
        ("lag", "visibility", "staleness", "channel", "blockers", "slots", "pages", "page_times"), LIVE
    )
    record["clocks"] |= dict.fromkeys(("writes", "rebuild", "queries", "feeds"), "wall")
    record["writers"] = {"how": "processes that commit at the same time", "count": len(performed.journals)}
    late = chronicle.commands["began"].to_numpy() - chronicle.commands["due"].to_numpy()
    record["live"] = {
        "writers": len(performed.journals),
        "offered_per_second": None if plan.domain.has_trace else plan.scenario.workload.rate,
        "committed_per_second": written.writes["per_second"],
        "late_p99_seconds": told(late, 0.99),
        "caught_up": performed.caught_up,
        "restarts": performed.restarts,
        "struck": performed.struck,
        "channel": performed.channel,
        "lost_commits": chronicle.lost,
        "unpublished": sum(performed.unpublished.values()),
    }
    return record


def _of_feeds(plan: Plan, performed: Performed, lags: pl.DataFrame, changes: int, folder: Path) -> dict[str, Any]:
    """What feeds cost and slots kept, in a run with other feeds than polls."""
    if plan.domain.has_trace or all(item.feed == POLL for item in plan.projections) or performed.slots is None:
        return {}
    # Imported here: the driver of the server is there, since the scenario was planned.
    from lab.live.costs import feeds_table

    found = feeds_table(plan, performed, lags, changes, folder / "work" / "costs")
    return {"feeds": found, "slots": performed.slots.table(performed.began)}


def _writes(plan: Plan, chronicle: Chronicle, changes: int) -> dict[str, Any]:
    """The row of the table `writes`: what the writers saw of each command, from its beginning to its answer."""
    commands = chronicle.commands
    if plan.domain.has_trace:
        # No command was decided.
        row = {"commands": changes, "accepted": changes, "rejected": 0, "conflicts": 0}
        return row | dict.fromkeys(("per_second", "p50_us", "p99_us", "p99_unbiased_us"))
    counts = dict(commands.group_by("status").len().iter_rows())
    began, ended = commands["began"].to_numpy(), commands["acknowledged"].to_numpy()
    microseconds = (ended - began) * 1e6
    lasted = float(ended.max() - began.min()) if commands.height else 0.0
    return {
        "commands": commands.height,
        "accepted": counts.get("accepted", 0),
        "rejected": counts.get("rejected", 0),
        "conflicts": counts.get("conflict", 0),
        "per_second": commands.height / lasted if lasted > 0 else None,
        "p50_us": told(microseconds, 0.5),
        "p99_us": told(microseconds, 0.99),
        "p99_unbiased_us": unbiased(microseconds, 0.99),
    }


def _note(plan: Plan, performed: Performed, commands: pl.DataFrame) -> str:
    if plan.domain.has_trace:
        said = "Live: one writer committed the history at its times, what was due at one moment in one transaction for "
        said += "each entity."
        return said if performed.caught_up else f"{said} {_BEHIND}"
    writers = len(performed.journals)
    late = told(np.maximum(0.0, commands["began"].to_numpy() - commands["due"].to_numpy()), 0.99)
    said = f"Live: {writers:,} {'writers' if writers > 1 else 'writer'} executed {commands.height:,} commands at their "
    said += f"times, {plan.scenario.workload.rate:,.0f} a second"
    said += f"; one in a hundred began {late:.3f} s late or more. " if late is not None else ". "
    said += "A change counts as committed when its writer heard so. `per_second` in `writes` is what came of the rate "
    said += "that was offered, not what the source of truth can take."
    return said if performed.caught_up else f"{said} {_BEHIND}"

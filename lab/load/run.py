"""`lab load`: serve the scenario, drive it, judge what is left, and write a run folder."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from lab.base import TRUTH, BadInput, Problem
from lab.experiment import reported
from lab.experiment.ask import ask
from lab.experiment.judge import RunJudgement, rebuild_and_judge
from lab.experiment.progress import Progress
from lab.experiment.project import Projected
from lab.experiment.record import lag_tables, manifest, tables, write_tables
from lab.experiment.write import Written
from lab.live.foretelling import foretell, worked
from lab.live.judging import committed, projected, since
from lab.load import events as log
from lab.load.driving import Order, drive
from lab.measure.machine import highest_rss_bytes
from lab.measure.quiet import activity, quietness
from lab.measure.temperatures import under_load
from lab.place import FolderPlace
from lab.runs import Run, new_run
from lab.scenario import refuse
from lab.service.liveonly import of_live_runs
from lab.service.local import LocalService
from lab.service.supervisor import ProgramFailed
from lab.statistics.quantiles import told, unbiased
from lab.tables import TABLES
from lab.wiring import Plan

# What stands under `clocks` in the manifest: all of it is wall clock, taken by processes of one machine.
WALL = "wall, under load"
# Seconds in which the projections must catch up, before the load and after it.
CATCHES_UP = 60.0
# What the manifest says of the order.
_SAID = ("rate", "seconds", "users", "processes", "commands", "probe_timeout", "drain")


@dataclass(frozen=True)
class LoadResult:
    """What a load has measured: what the workers wrote, when it began (seconds since 1970), why it is void.

    `activity` says how quiet the machine was meanwhile.
    """

    log: log.EventLog
    began: float
    void: str | None
    caught_up: bool
    activity: Mapping[str, Any]


def measure(plan: Plan, arguments: list[str], order: Order, work: Path, progress: Progress) -> LoadResult:
    """Serve and drive; the service's files are in `work`/served, and what Locust wrote in `work`/events."""
    events = (work / "events").absolute()
    events.mkdir()
    idle = activity()
    progress.step("starting the service", 1)
    with LocalService(arguments, (work / "served").absolute(), "--journal") as service:
        at_head = service.caught_up(CATCHES_UP, progress.done)
        try:
            before = service.get("/projections")["truth"]["position"]
        except OSError as error:
            raise ProgramFailed(service.failed() or f"the service does not answer: {error}") from None
        progress.step("under load", order.seconds)
        began = time.time()
        drive(service.url, order, plan.scenario.seed, events, service.failed)
        progress.step("catching up", CATCHES_UP)
        at_head = service.caught_up(CATCHES_UP, progress.done) and at_head
        # What can change meanwhile can't be judged.
        service.stop()
        if held := service.let_go(0.0):
            raise ProgramFailed(f"{', '.join(held)}: still at work after the service had ended")
    # The service has ended: its processes are counted as the lab's own.
    quiet = quietness(idle, activity())
    found = log.read(events, order.processes)
    void = log.void(found, order.rate, order.seconds)
    if void is None and not plan.domain.has_trace and not found.events.filter(pl.col("outcome") == "accepted").height:
        void = f"no command was accepted: the source of truth stands at {before}"
    if void is None:
        log.confirm(found.events, events / "stats")
    return LoadResult(found, began, void, at_head, quiet)


def load(
    plan: Plan,
    arguments: list[str],
    order: Order,
    root: Path,
    progress: Progress,
    knee: Mapping[str, Any] | None = None,
) -> Run:
    """Load a served scenario and write a run folder. Raises ProgramFailed and WorkerLost, and then leaves nothing.

    `arguments` are those of `lab serve` that name the scenario; `knee` is what a search for it has found: the rows of
    the table, and what is told in the manifest.
    """
    refuse(of_live_runs(plan))
    if plan.scenario.writers is not None:
        why = "the service has one writer: concurrent writers are simulated, and not under load"
        raise BadInput([Problem("writers", why, "leave the table out, or use `lab run`")])
    with new_run(root, plan.scenario.name) as (folder, final):
        work, started = folder / "work", time.time()
        work.mkdir()
        seen = measure(plan, arguments, order, work, progress)
        frames, record = _judged(plan, order, seen, work, progress)
        shutil.rmtree(work)
        if knee is not None:
            frames["knee"] = TABLES["knee"].frame(knee["rows"])
        seen.log.events.write_parquet(folder / "events.parquet", compression="zstd")
        write_tables(plan, folder, frames)
        how = f"--rate {order.rate:g}" if order.rate else f"--users {order.users}"
        options = f"{how} --duration {order.seconds:g} --processes {order.processes}"
        record |= {
            "run": final.name,
            "replay": f"lab load {' '.join(arguments)} {options}",
            "started_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
            "wall_seconds": time.time() - started,
            "phases": {},
            "peak_rss_bytes": highest_rss_bytes(),
            "activity": dict(seen.activity),
        }
        record["load"]["knee"] = dict(knee["told"]) if knee else None
        (folder / "manifest.json").write_text(json.dumps(record, indent=2), encoding="utf-8")
        written = reported(Run(folder))
    return replace(written, path=final.resolve())


def _as_judged(plan: Plan) -> Plan:
    """The plan without what a load doesn't have: simulated readers, queries of the source of truth, timed outages."""
    changed: dict[str, Any] = {
        # There were real readers: they are in the table `load`.
        "readers": plan.scenario.readers.model_copy(update={"sessions": 0}),
        # It is not asked over HTTP: its times could not be compared with those that are. No block of calls is timed.
        "measure": plan.scenario.measure.model_copy(update={"truth": False, "blocks": 0}),
    }
    if plan.scenario.channel is not None:
        # They are at simulated times; a live channel's are switched by hand.
        changed["channel"] = plan.scenario.channel.model_copy(update={"outages": ()})
    return replace(plan, scenario=plan.scenario.model_copy(update=changed))


def _judged(
    plan: Plan, order: Order, seen: LoadResult, work: Path, progress: Progress
) -> tuple[dict[str, pl.DataFrame], dict[str, Any]]:
    """The tables of the run and its manifest, from what the service left in `work`/served."""
    plan, served = _as_judged(plan), work / "served"
    truth = plan.truth(FolderPlace(served).within(TRUTH))
    found: Projected | None = None
    try:
        written = committed(plan, truth, served, seen.began)
        written = replace(written, writes=_writes(seen.log.events, order.seconds))
        found = projected(plan, truth, written, served, seen.began)
        answers = ask(plan, found.lives, truth, written.oracle, progress)
        judged = rebuild_and_judge(plan, found, written, answers, FolderPlace(work / "rebuilt"), progress)
        every_revision = truth.publishes_every_revision
    finally:
        for live in found.lives if found else ():
            live.projector.store.close()
        truth.drop()
    written.notes.append(_note(order, seen))
    frames, _, end = tables(plan, written, found, judged, work / "pieces")
    # By the processes' own records: from outside it isn't known when a piece of work began.
    frames["work"] = worked(plan, served, seen.began)
    # Lags of the changes alone that were committed under load; queries as they were timed over HTTP.
    frames |= lag_tables(since(found).lives, end)
    frames |= {"queries": log.queries(seen.log.events, frames["queries"])}
    frames |= {"load": log.table(seen.log, frames["lag_summary"])}
    frames["queries"] = under_load(frames["queries"])
    parts = [pl.read_parquet(file) for each in judged.projections for file in each.parts]
    frames["lag_parts"] = pl.concat([TABLES["lag_parts"].frame(), *parts])
    del frames["query_samples"]
    if not plan.domain.has_trace and written.writes["accepted"]:
        progress.step("simulating the same", 1)
        frames["foretold"] = foretell(plan, written, every_revision, frames["lag_summary"], served, seen.began)
    return frames, _manifest(plan, written, judged, end, order, seen)


def _writes(events: pl.DataFrame, seconds: float) -> dict[str, Any]:
    sent = events.filter(pl.col("row") == "COMMAND")
    counts = dict(sent.group_by("outcome").len().iter_rows())
    times = log.times(sent, "service")
    return {
        "commands": sent.height,
        "accepted": counts.get("accepted", 0),
        "rejected": counts.get("rejected", 0),
        "conflicts": counts.get("conflict", 0),
        "per_second": sent["outcome"].drop_nulls().len() / seconds,
        "p50_us": told(times * 1e6, 0.5),
        "p99_us": told(times * 1e6, 0.99),
        "p99_unbiased_us": unbiased(times * 1e6, 0.99),
    }


def _note(order: Order, seen: LoadResult) -> str:
    how = f"open loop, {order.rate:g} arrivals a second" if order.rate else f"closed loop, {order.users} users"
    said = f"Loaded with Locust for {order.seconds:g} s: {how}, {order.processes} processes; what was under way at the "
    said += f"end was waited for, {order.drain:g} s at most. Times of queries are over HTTP, from when each was meant "
    said += "to start; the source of truth is not asked."
    if seen.void:
        said += f" VOID: {seen.void}."
    return said + ("" if seen.caught_up else " Not every projection had caught up a minute after the load.")


def _manifest(
    plan: Plan, written: Written, judged: RunJudgement, end: float, order: Order, seen: LoadResult
) -> dict[str, Any]:
    found = manifest(plan, written, judged, end)
    found["clocks"] = dict.fromkeys(("lag", "visibility", "staleness", "writes", "queries"), WALL) | {"rebuild": "wall"}
    late = seen.log.events.filter(pl.col("row") == "SCHEDULE")["seconds"].to_numpy()
    found["load"] = {"void": seen.void is not None, "why": seen.void, "caught_up": seen.caught_up}
    found["load"] |= {"generator_delay_p99_seconds": told(late, 0.99)}
    found["load"] |= {name: getattr(order, name) for name in _SAID}
    return found

"""Make the tables and the manifest of the run folder."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import polars as pl

from lab.channel.simulated import CopyTally
from lab.experiment.emulated import emulated, without_times
from lab.experiment.judge import RunJudgement
from lab.experiment.project import Live, Projected
from lab.experiment.strands import Messages
from lab.experiment.write import Written
from lab.measure import lag, machine, queries, replicas
from lab.runs import FORMAT, gather_table, write_table
from lab.scenario.values import ScenarioTable
from lab.servers import described
from lab.spill import Spill, chosen_of
from lab.statistics.grouped import blocks
from lab.tables import ALWAYS, SIMULATED, TABLES, WALL
from lab.tables.pieces import write_pieces
from lab.wiring import Plan, needed
from lab.wiring.replicas import replica_names

# So many values of an empirical delay are listed in the manifest; of more, their number, ends and SHA-256.
VALUES_TOLD = 20


def tables(
    plan: Plan, written: Written, projected: Projected, judged: RunJudgement, place: Path
) -> tuple[dict[str, pl.DataFrame], dict[str, list[Path]], float]:
    """Make every table of the run folder; also return when the last change was visible, in simulated seconds.

    Those with a row for each change or message are written in pieces below the folder `place`: their files by table.
    """
    lives = projected.lives
    shown = [_latest(live.visible) for live in lives]
    end = max([*shown, *(strand.published.end for strand in projected.every)])
    frames = lag_figures(lives, end)
    pieces = {"lag": write_pieces(place / "lag", "lag", _every_lag(plan, lives))}
    every = [one for asked in judged.answers.values() for one in asked]
    frames |= {"queries": queries.table(every), "query_samples": queries.samples(every)}
    frames["verdicts"] = pl.concat([*(each.verdicts for each in judged.projections), judged.truth_verdicts])
    frames["witnesses"] = pl.concat(each.witnesses for each in judged.projections)
    frames["work"] = pl.concat(each.work for each in judged.projections)
    if projected.main.messages is not None:
        tally = CopyTally(written.published.spill)
        sent = _deliveries(projected.main.messages, lives, tally)
        pieces["deliveries"] = write_pieces(place / "deliveries", "deliveries", sent)
        frames["channel"] = tally.table()
    frames |= _replicas(plan, lives)
    of_truth = {
        "writes": [{"write_model": plan.scenario.truth.model} | written.writes],
        "faults": _late_commits(projected),
        "source": written.source,
    }
    for name, schema in TABLES.items():
        if name not in frames and not pieces.get(name):
            frames[name] = schema.frame([*of_truth.get(name, ()), *judged.rows(name)])
    return frames, pieces, end


def _latest(visible: np.ndarray) -> float:
    """When the last change that became visible did; 0 without any."""
    found = 0.0
    for block in blocks(visible.size):
        found = max(found, float(visible[block][np.isfinite(visible[block])].max(initial=0.0)))
    return found


def _deliveries(messages: Messages, lives: list[Live], tally: CopyTally) -> Iterator[pl.DataFrame]:
    """Yield the table `deliveries`: of each projection that listens, or one for all where one draw serves all."""
    found: list[tuple[str, Iterator[pl.DataFrame]]]
    if messages.shared:
        found = [("", messages.to("").pieces())]
    else:
        found = [(live.plan.name, _heard(live)) for live in lives if live.plan.by_messages]
    for name, pieces in found:
        for piece in pieces:
            tally.add(piece)
            yield piece.with_columns(projection=pl.lit(name), position=pl.col("message") + 1)


def _heard(live: Live) -> Iterator[pl.DataFrame]:
    """Yield the copies of the changes that a projection subscribes to."""
    assert live.strand.messages is not None
    pieces = live.strand.messages.to(live.plan.name).pieces()
    if live.chosen.size == live.published.committed_at.size:
        yield from pieces
        return
    mine = np.zeros(live.published.committed_at.size, bool)
    mine[live.chosen] = True
    for piece in pieces:
        yield piece.filter(mine[piece["message"].to_numpy()])


def _replicas(plan: Plan, lives: list[Live]) -> dict[str, pl.DataFrame]:
    """The tables `replicas` and `replica_visibility`; none without a table `[replicas]`, sessions or changes."""
    options, readers = plan.scenario.replicas, plan.scenario.readers
    if options is None or not readers.sessions:
        return {}
    names = replica_names(plan.scenario)
    chosen = [live for live in lives if live.plan.name in names]
    first = chosen[0]
    if not first.chosen.size:
        return {}
    visible = [live.visible for live in chosen]
    took, rng = replicas.sample(
        first.published.committed_at, visible, first.chosen, readers.sessions, plan.scenario.seed
    )
    found = replicas.quorum_reads(took, options, readers, rng)
    row = replicas.summary(options, len(chosen), found)
    return {"replicas": TABLES["replicas"].frame([row]), "replica_visibility": replicas.visibility(found)}


def write_tables(
    plan: Plan,
    folder: Path,
    frames: Mapping[str, pl.DataFrame],
    pieces: Mapping[str, Sequence[Path]] = MappingProxyType({}),
) -> None:
    """Write the tables into the run folder, but for optional ones without a row; those in pieces are joined.

    Of projections in emulators, without times.
    """
    for name, frame in without_times(frames, emulated(plan)).items():
        if frame.height or name in ALWAYS:
            write_table(folder, name, frame)
    for name, files in pieces.items():
        gather_table(folder, name, files)


def lag_tables(lives: list[Live], end: float) -> dict[str, pl.DataFrame]:
    """The tables `lag`, `lag_summary`, `visibility` and `staleness`; `end` is the end of the run in seconds."""
    rows = [piece for live in lives for piece in _lags(live)]
    return {"lag": pl.concat(rows) if rows else TABLES["lag"].frame()} | lag_figures(lives, end)


def lag_figures(lives: list[Live], end: float) -> dict[str, pl.DataFrame]:
    """Return the same tables without `lag`, which has a row for each change."""
    rows, shares, behind = [], [], []
    for live in lives:
        name, committed = live.plan.name, chosen_of(live.published.committed_at, live.chosen)
        seconds = Spill(live.published.spill.folder).array(chosen_of(live.visible, live.chosen) - committed)
        rows.append(lag.figures(name, seconds, committed, live.calm))
        shares.append(lag.t_visibility(name, seconds))
        del seconds
        behind.append(lag.staleness(name, live.published, live.visible, live.chosen, end, live.again))
    summed = TABLES["lag_summary"].frame(rows)
    return {"lag_summary": summed, "visibility": pl.concat(shares), "staleness": pl.concat(behind)}


def _lags(live: Live) -> Iterator[pl.DataFrame]:
    """Yield the rows of the table `lag` of one projection, a block at a time."""
    for block in blocks(live.chosen.size):
        yield lag.lags(live.plan.name, live.published, live.visible, live.chosen[block])


def _every_lag(plan: Plan, lives: list[Live]) -> Iterator[pl.DataFrame]:
    """Yield the rows of the table `lag` of all projections that have times."""
    names = emulated(plan)
    return (piece for live in lives if live.plan.name not in names for piece in _lags(live))


def _late_commits(projected: Projected) -> list[dict[str, Any]]:
    """Rows of `faults`: transactions that took their position and slept before they committed."""
    timeline = projected.main.timeline
    if timeline is None:
        return []
    return [
        {
            "projection": "",
            "kind": "late_commit",
            "step": "",
            "at_seconds": float(timeline.taken_at[number]),
            "until_seconds": float(timeline.ended_at[number]),
            "position": int(timeline.position[number]),
            "detail": "a writer took its position and slept before it committed",
        }
        for number in np.flatnonzero(timeline.slept)
    ]


def overall(entries: Sequence[Mapping[str, Any]], answers: str | None) -> str:
    """Over all projections: pass when each is as expected, unknown when one could not be judged, else fail.

    `entries` are those of the manifest, `answers` the verdict on those of the source of truth. A wrong one of it is
    expected of none: fail.
    """
    if answers == "fail":
        return "fail"
    surprises = [entry for entry in entries if not entry["as_expected"]]
    if not surprises:
        return "pass"
    return "unknown" if all(item["verdict"] == "unknown" for item in surprises) else "fail"


def manifest(plan: Plan, written: Written, judged: RunJudgement, duration_seconds: float) -> dict[str, Any]:
    """Scenario, seed, versions, machine, engine settings as read back, and what was found."""
    scenario, source = plan.scenario, plan.source
    service = f"simulated, service {scenario.time.service}"
    return {
        "format": FORMAT,
        "scenario": {
            "name": scenario.name,
            "file": source.path.name,
            "text": source.text,
            "sha256": source.sha256,
            "overrides": list(source.overrides),
        },
        "seed": scenario.seed,
        "clocks": dict.fromkeys(("lag", "visibility", "staleness"), service)
        | {"channel": SIMULATED}
        | dict.fromkeys(("writes", "rebuild", "queries"), WALL),
        "verdict": overall([each.entry for each in judged.projections], judged.truth),
        "projections": [each.entry for each in judged.projections],
        "machine": machine.machine(),
        "versions": machine.versions() | {"python": platform.python_version()},
        "engines": {"truth": written.settings} | {each.entry["name"]: each.settings for each in judged.projections},
        "servers": described(needed.servers(plan)),
        "durability": written.settings.get("durability", scenario.truth.durability),
        "truth": {"model": scenario.truth.model, "engine": scenario.truth.engine, "answers": judged.truth}
        | {"size_bytes": written.size_bytes}
        | ({"indexed": True} if scenario.truth.indexed else {}),
        "domain": plan.domain.name,
        # Of files of the user's own, whose content no scenario tells.
        "data": dict(getattr(plan.domain, "fingerprints", {})),
        "changes": written.published.changes,
        "duration_seconds": duration_seconds,
        "time_scale": _time_scale(plan),
        "notes": written.notes,
        "channel": _told(scenario.channel) if scenario.channel else None,
        "writers": _writers(plan),
        "faults": {item.name: item.faults.model_dump(mode="json") for item in plan.projections if item.faults.any},
        "levels": scenario.levels.model_dump(mode="json"),
        "advice": scenario.advice.model_dump(mode="json"),
        "readers": _told(scenario.readers),
        "replicas": _told(scenario.replicas) if scenario.replicas else None,
        "pages": [_told(page) for page in scenario.page],
        "outages": [item.model_dump() for item in scenario.channel.outages] if scenario.channel else [],
    }


def _time_scale(plan: Plan) -> float | None:
    """Real seconds in a simulated second of a recorded history; None of one that the lab makes."""
    if not plan.domain.has_trace:
        return None
    own = plan.scenario.domain.time_scale
    return float(getattr(plan.domain, "time_scale", 1.0)) if own is None else own


def _writers(plan: Plan) -> dict[str, Any]:
    """How commits came about: one writer after the other, or several at once, and then whether they were real."""
    writers = plan.scenario.writers
    if writers is None:
        return {"how": "one after the other"}
    why = f"simulated: {plan.scenario.truth.engine} has one writer at a time"
    return {"how": why} | _told(writers)


def _told(table: ScenarioTable) -> dict[str, Any]:
    """Return the keys of a table of the scenario; a long list of an empirical delay's values is summed up."""
    found = table.model_dump(mode="json", exclude_none=True)
    tables: list[Any] = [found]
    while tables:
        one = tables.pop()
        if isinstance(one, list):
            tables += one
        elif isinstance(one, dict):
            values = one.get("values")
            if isinstance(values, list) and len(values) > VALUES_TOLD:
                digest = hashlib.sha256(np.array(values, np.float64).tobytes()).hexdigest()
                one["values"] = {"count": len(values), "least": min(values), "largest": max(values), "sha256": digest}
            tables += [inner for name, inner in one.items() if name != "values"]
    return found

"""What went wrong in a run, and what readers saw of it: rows of the optional tables."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import polars as pl

from lab.base import REASON
from lab.experiment.project import Live, Projected
from lab.measure import gaps, lag, readers, underfire
from lab.verdict.evidence import Evidence
from lab.wiring import Plan


@dataclass
class Troubles:
    """Rows of the tables `faults`, `gaps`, `readers`, `rebuilds` and `parked`."""

    faults: list[dict[str, Any]] = field(default_factory=list)
    gaps: list[dict[str, Any]] = field(default_factory=list)
    readers: list[dict[str, Any]] = field(default_factory=list)
    rebuilds: list[dict[str, Any]] = field(default_factory=list)
    parked: list[dict[str, Any]] = field(default_factory=list)


def parked(live: Live) -> dict[int, str]:
    frames = [live.projector.store.parked(name) for name in live.plan.layout.entities]
    return {position: reason for frame in frames for position, reason in frame.select("position", REASON).iter_rows()}


def lost_messages(live: Live) -> dict[int, float]:
    """The messages of which no copy came through, and when they were sent."""
    sent = live.strand.sent
    if sent is None or not live.plan.by_messages:
        return {}
    copies = sent.journal.group_by("message").agg(
        (pl.col("fate") == "lost").all().alias("lost"), pl.col("sent_at").min()
    )
    return {int(index) + 1: at for index, at in copies.filter("lost").select("message", "sent_at").iter_rows()}


def look(plan: Plan, projected: Projected, live: Live, evidence: Evidence, found: Troubles) -> None:
    """The tables of what went wrong, and of what readers saw of it."""
    name, journal, published = live.plan.name, live.journal, live.published
    found.faults += [
        {"projection": name, "kind": fault.kind, "step": fault.step, "at_seconds": fault.at}
        | {"until_seconds": fault.until, "position": fault.position, "detail": fault.detail}
        for fault in journal.faults
    ]
    found.faults += [
        {"projection": name, "kind": "slow", "step": "", "at_seconds": slow.at, "until_seconds": slow.at + slow.lasts}
        | {"position": None, "detail": f"the store takes {slow.factor:g} times as long"}
        for slow in live.plan.faults.slow
    ]
    for entity in live.plan.layout.entities:
        columns = live.projector.store.parked(entity).select(
            pl.col("key").cast(pl.String), "position", "revision", pl.col(REASON).alias("reason")
        )
        found.parked += [{"projection": name, "entity": entity} | row for row in columns.to_dicts()]
    if live.gate is not None and projected.main.timeline is not None:
        timeline = projected.main.timeline
        found.gaps.append(gaps.row(name, live.gate, published, journal, live.chosen, live.visible, timeline))
    whole = live.plan.layout.keeps == "records"
    row = readers.sessions(
        name,
        published,
        journal,
        live.chosen,
        live.visible,
        partial(lag.shown, published, journal, True) if whole else None,
        evidence.ever_parked,
        tuple(live.plan.layout.entities),
        plan.scenario.readers,
        plan.scenario.seed,
    )
    found.readers += [row] if row else []
    rebuild = live.plan.table.rebuild
    if rebuild is not None:
        resting, seed = live.projector.store.size_bytes(), plan.scenario.seed
        shown = lag.shown(published, journal, whole)
        seen = underfire.row(name, rebuild.mode, rebuild.at, published, journal, shown, resting, seed)
        found.rebuilds += [seen] if seen else []

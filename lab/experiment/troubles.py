"""Make the rows of the tables `faults`, `parked`, `gaps`, `readers` and `rebuilds`."""

from __future__ import annotations

from functools import partial
from typing import Any

import polars as pl

from lab.base import REASON
from lab.experiment.project import Live, Projected
from lab.feed.gaps import Gate, GivenUp
from lab.measure import gaps, lag, readers, underfire
from lab.verdict.evidence import Evidence
from lab.wiring import Plan

# Rows of the run folder's tables, by the table's name.
Rows = dict[str, list[dict[str, Any]]]


def parked(live: Live) -> dict[int, str]:
    """Return the positions that are still parked, with their reasons."""
    frames = [live.projector.store.parked(name) for name in live.plan.layout.entities]
    return {position: reason for frame in frames for position, reason in frame.select("position", REASON).iter_rows()}


def lost_messages(live: Live) -> dict[int, float]:
    """The messages of which no copy came through, and when they were sent."""
    if live.strand.messages is None or not live.plan.by_messages:
        return {}
    lost = live.strand.messages.to(live.plan.name).lost_messages()
    return dict(zip((lost + 1).tolist(), live.published.committed_at[lost].tolist(), strict=True))


def troubles(plan: Plan, projected: Projected, live: Live, evidence: Evidence) -> Rows:
    """Rows of `faults`, `parked`, `gaps`, `readers` and `rebuilds`: what went wrong, and what readers saw of it."""
    timeline, rebuild = projected.main.timeline, live.plan.table.rebuild
    whole = live.plan.layout.kept.replaces
    found: Rows = {"faults": _faults(live), "parked": _parked_rows(live)}
    if isinstance(live.gate, Gate) and timeline is not None:
        stalled = gaps.simulated(
            live.plan.name,
            live.gate,
            published=live.published,
            journal=live.journal,
            chosen=live.chosen,
            visible=live.visible,
            unrestricted=timeline,
        )
        found["gaps"] = [stalled]
    elif isinstance(live.gate, GivenUp):
        seen = gaps.row(live.plan.name, live.gate.name, live.published, live.journal, live.chosen, live.visible)
        rate = live.published.changes / live.published.end if live.published.end else None
        more = {"writers": "processes", "given_up": len(live.gate.given_up), "per_second": rate, "throughput": None}
        found["gaps"] = [seen | more]
    read = readers.sessions(
        live.plan.name,
        published=live.published,
        journal=live.journal,
        chosen=live.chosen,
        visible=live.visible,
        shown=partial(lag.shown, live.published, live.journal, True) if whole else None,
        parked=evidence.ever_parked,
        entities=tuple(live.plan.layout.entities),
        options=plan.scenario.readers,
        seed=plan.scenario.seed,
    )
    found["readers"] = [read] if read else []
    if rebuild is not None:
        rebuilt = underfire.row(
            live.plan.name,
            mode=rebuild.mode,
            at=rebuild.at,
            published=live.published,
            journal=live.journal,
            shown=lag.shown(live.published, live.journal, whole),
            resting_bytes=live.projector.store.size_bytes(),
            seed=plan.scenario.seed,
        )
        found["rebuilds"] = [rebuilt] if rebuilt else []
    return found


def _faults(live: Live) -> list[dict[str, Any]]:
    """Rows of `faults`: those in the journal, and the times at which the store was slow."""
    noted = [
        {"kind": fault.kind, "step": fault.step, "at_seconds": fault.at, "until_seconds": fault.until}
        | {"position": fault.position, "detail": fault.detail}
        for fault in live.journal.faults
    ]
    slow: list[dict[str, Any]] = [
        {"kind": "slow", "step": "", "at_seconds": slow.at, "until_seconds": slow.at + slow.lasts}
        | {"position": None, "detail": f"the store takes {slow.factor:g} times as long"}
        for slow in live.plan.faults.slow
    ]
    return [{"projection": live.plan.name} | row for row in [*noted, *slow]]


def _parked_rows(live: Live) -> list[dict[str, Any]]:
    """Rows of `parked`: what is still parked at the end."""
    columns = (pl.col("key").cast(pl.String), "position", "revision", pl.col(REASON).alias("reason"))
    return [
        {"projection": live.plan.name, "entity": name} | row
        for name in live.plan.layout.entities
        for row in live.projector.store.parked(name).select(*columns).to_dicts()
    ]

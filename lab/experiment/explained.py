"""Explain each projection's lag by its parts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lab.experiment.project import Live
from lab.experiment.what_if import what_ifs
from lab.measure.parts import Parts
from lab.measure.recovery import Disturbance, apart, recoveries
from lab.measure.utilisation import utilisation
from lab.scenario import ChannelTable
from lab.spill import chosen_of
from lab.tables.pieces import write_pieces
from lab.wiring import Plan


@dataclass(frozen=True)
class Explained:
    """What explains one projection's lag: rows of tables by name, and files with its rows of `lag_parts`.

    The rows of `lag_parts` are many, so they are not kept in memory.
    """

    rows: dict[str, list[dict[str, Any]]]
    parts: list[Path]


def explain(plan: Plan, live: Live, place: Path) -> Explained | None:
    """Compute the parts of a projection's lag, and write those of each change to files below the folder `place`.

    Also says how it recovered from faults, and marks the changes that none has disturbed. None for a journal that
    doesn't say what the lane did when. On the wall clock nothing is simulated again with other settings.
    """
    name = live.plan.name
    if not live.journal.spans and live.journal.lanes is None:
        return None
    chosen = live.chosen if live.fresh is None else live.fresh
    files, summary = _parts(live, chosen, place)
    committed = chosen_of(live.published.committed_at, chosen)
    found = recoveries(_disturbances(live, plan.scenario.channel), committed, chosen_of(live.visible, chosen))
    if chosen.size == live.chosen.size:
        live.calm = apart(found, committed)
    rows: dict[str, list[dict[str, Any]]] = {"lag_parts_summary": summary}
    rows["recovery"] = [each.row(name) for each in found]
    if live.journal.lanes is None:
        # Of one lane: several are not busy by turns.
        rows["utilisation"] = [utilisation(name, live.journal, live.published.end, live.plan.pace)]
    rows["what_if"] = what_ifs(plan, live) if live.fresh is None else []
    return Explained(rows, files)


def _parts(live: Live, chosen: np.ndarray, place: Path) -> tuple[list[Path], list[dict[str, Any]]]:
    """Write the parts of each change's lag; the files, and rows of the summary. The parts themselves are let go."""
    name = live.plan.name
    parts = Parts(live.published, live.journal, live.visible, chosen, live.plan.subsumes, live.arrived)
    return write_pieces(place / name, "lag_parts", parts.tables(name)), parts.summary(name, _settings(live))


def _disturbances(live: Live, channel: ChannelTable | None) -> list[Disturbance]:
    """The outages, crashes and slow periods of one projection."""
    outages = channel.outages if channel is not None and live.arrived is not None else ()
    found = [Disturbance("outage", item.at, item.at + item.lasts) for item in outages]
    found += [Disturbance("crash", item.at, item.until) for item in live.journal.faults if item.kind == "crash"]
    return found + [Disturbance("slow", item.at, item.at + item.lasts) for item in live.plan.faults.slow]


def _settings(live: Live) -> dict[str, Any]:
    """The settings that decide most of a lag, as columns of `lag_parts_summary`."""
    table, pace = live.plan.table, live.plan.pace
    return {
        "batch": table.batch,
        "linger_seconds": table.linger if live.arrived is not None else None,
        "every_seconds": pace.every if pace.polls else None,
        "guard": table.guard,
    }

"""Read a service's files after a load as a run: what was committed, and what each projection did when."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from lab.base import TRUTH, Unsound
from lab.experiment.project import Live, Projected
from lab.experiment.strands import Strand
from lab.experiment.write import Replay, Written
from lab.feed.contracts import published
from lab.feed.published import Published
from lab.measure import lag
from lab.place import FolderPlace
from lab.running.notes import read_notes
from lab.truth import Truth
from lab.verdict.oracle import Oracle
from lab.wiring import Plan


def committed(plan: Plan, truth: Truth, folder: Path, began: float) -> Written:
    """Every change: those that were there before, and those that the executor wrote down.

    What is published has times of commit that count from `began`; rows keep those that they were stamped with.
    Raises Unsound where the source of truth holds something else.
    """
    frames = _brought_along(plan) if plan.domain.has_trace else _nothing(plan)
    journal = folder / f"{TRUTH}.journal"
    rows: dict[str, list[list[object]]] = {name: [] for name in frames}
    for line in journal.read_text(encoding="utf-8").splitlines() if journal.exists() else ():
        entity, *row = json.loads(line)
        rows[entity].append(row)
    for name, frame in frames.items():
        told = pl.DataFrame(rows[name], schema=frame.schema, orient="row")
        frames[name] = pl.concat([frame, told])
    bare = {name: frame.drop("event") for name, frame in frames.items()}
    oracle = Oracle.of_trace(plan.domain, bare)
    _confirm(plan, truth, oracle)
    shown = {name: published(frame, plan.domain.contracts.get(name)) for name, frame in bare.items()}
    changes = Published.of(shown)
    # What was there before the load counts as committed at its beginning, and is left out of the lags.
    changes = changes.committed(np.maximum(0.0, changes.committed_at - began))
    return Written(changes, oracle, frames, {}, [], truth.settings())


def _nothing(plan: Plan) -> dict[str, pl.DataFrame]:
    return {
        name: pl.DataFrame(schema=entity.schema | {"event": pl.String()})
        for name, entity in plan.domain.entities.items()
    }


def _brought_along(plan: Plan) -> dict[str, pl.DataFrame]:
    empty = _nothing(plan)
    frames = plan.domain.trace(plan.options).frames
    return {name: frames[name].select(empty[name].columns) for name in empty}


def _confirm(plan: Plan, truth: Truth, oracle: Oracle) -> None:
    """What was written down, folded, is what the source of truth holds: states without their times."""
    for name, must in oracle.states.items():
        found = truth.changes_since(name, 0, 2**62)
        kept = [column for column in must.columns if column != "committed_at" and column in found.columns]
        last = found.filter(pl.col("revision") == pl.col("revision").max().over("key")).sort("key")
        if not plan.domain.contracts.get(name) and not last.select(kept).equals(must.select(kept)):
            raise Unsound(f"the source of truth holds {last.height} {name} records, not what was written down of it")


def projected(plan: Plan, truth: Truth, written: Written, folder: Path, began: float) -> Projected:
    """The projections as they were left, each with its journal; open."""
    strand = Strand(written.published, truth, Replay(truth, {}), None)
    lives = []
    for item in plan.projections:
        chosen = written.published.of_entities(tuple(item.layout.entities))
        projector = item.projector(FolderPlace(folder).within(item.name).current)
        journal = read_notes(folder / f"{item.name}.journal", written.published, began)
        visible = lag.visible_at(written.published, journal, item.subsumes)
        lives.append(Live(item, projector, chosen, strand, journal, visible))
    return Projected(lives, strand, [strand])


def since(projected: Projected) -> Projected:
    """The same with the changes alone that were committed under load: what was there before has no lag."""
    lives = []
    for live in projected.lives:
        fresh = live.chosen[live.published.committed_at[live.chosen] > 0.0]
        lives.append(replace(live, chosen=fresh))
    return replace(projected, lives=lives)

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
from lab.running.journal import Journal
from lab.running.notes import read_notes
from lab.tables import TABLES
from lab.truth import Truth
from lab.verdict.oracle import Oracle
from lab.wiring import Plan, ProjectionPlan


def committed(plan: Plan, truth: Truth, folder: Path, began: float) -> Written:
    """Every change: those that were there before, and those that the executor wrote down.

    What is published has times of commit that count from `began`; rows keep those that they were stamped with.
    Raises Unsound where the source of truth holds something else.
    """
    frames = _written_down(plan, folder)
    oracle = Oracle.of_trace(plan.domain, _bare(frames))
    _confirm(plan, truth, oracle)
    return Written(_changes(plan, frames, began), oracle, frames, {}, [], truth.settings())


def lag_summary(plan: Plan, folder: Path, began: float) -> pl.DataFrame:
    """The table `lag_summary` of the changes that were committed after `began`, from the journals alone."""
    changes = _changes(plan, _written_down(plan, folder), began)
    rows = []
    for item in plan.projections:
        visible = _visible(item, changes, folder, began)[1]
        rows.append(lag.summary(item.name, lag.lags(item.name, changes, visible, _fresh(item, changes))))
    return TABLES["lag_summary"].frame(rows)


def _written_down(plan: Plan, folder: Path) -> dict[str, pl.DataFrame]:
    frames = _brought_along(plan) if plan.domain.has_trace else _nothing(plan)
    journal = folder / f"{TRUTH}.journal"
    rows: dict[str, list[list[object]]] = {name: [] for name in frames}
    for line in journal.read_text(encoding="utf-8").splitlines() if journal.exists() else ():
        entity, *row = json.loads(line)
        rows[entity].append(row)
    return {
        name: pl.concat([frame, pl.DataFrame(rows[name], schema=frame.schema, orient="row")])
        for name, frame in frames.items()
    }


def _bare(frames: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    return {name: frame.drop("event") for name, frame in frames.items()}


def _changes(plan: Plan, frames: dict[str, pl.DataFrame], began: float) -> Published:
    bare = _bare(frames)
    changes = Published.of({name: published(frame, plan.domain.contracts.get(name)) for name, frame in bare.items()})
    # What was there before the load counts as committed at its beginning, and is left out of the lags.
    return changes.committed(np.maximum(0.0, changes.committed_at - began))


def _visible(item: ProjectionPlan, changes: Published, folder: Path, began: float) -> tuple[Journal, np.ndarray]:
    journal = read_notes(folder / f"{item.name}.journal", changes, began)
    return journal, lag.visible_at(changes, journal, item.subsumes)


def _fresh(item: ProjectionPlan, changes: Published) -> np.ndarray:
    chosen = changes.of_entities(tuple(item.layout.entities))
    fresh: np.ndarray = chosen[changes.committed_at[chosen] > 0.0]
    return fresh


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
        journal, visible = _visible(item, written.published, folder, began)
        lives.append(Live(item, projector, chosen, strand, journal, visible))
    return Projected(lives, strand, [strand])


def since(projected: Projected) -> Projected:
    """The same with the changes alone that were committed under load: what was there before has no lag."""
    lives = [replace(live, chosen=_fresh(live.plan, live.published)) for live in projected.lives]
    return replace(projected, lives=lives)

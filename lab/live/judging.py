"""Read what the processes of a load or of a live run left: what was committed, and what each projection did when."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import polars as pl

from lab.base import TRUTH, Unsound
from lab.experiment.project import Live, Projected
from lab.experiment.strands import Strand
from lab.experiment.write import Replay, Written, as_published
from lab.feed.gaps import GivenUp
from lab.feed.published import Published
from lab.feed.reader import ChangeReader
from lab.live.sharing import given_up, heard, journals_of, polled_at, shared_journal
from lab.live.went_back import surviving
from lab.measure import lag
from lab.measure.parts import Arrived
from lab.place import FolderPlace
from lab.running.blocked import BLOCKED_SUFFIX, read_blocked
from lab.running.journal import Journal
from lab.running.notes import read_notes
from lab.running.spans import SPANS_SUFFIX, read_spans
from lab.running.worklog import READ, WORK_SUFFIX, read_work
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
    return _confirmed(plan, truth, frames, _changes(plan, frames, began))


def acknowledged(plan: Plan, truth: Truth, written: Chronicle, folder: Path, began: float) -> Written:
    """Every change that the writers of a live run wrote down, with the times at which its commit was acknowledged.

    One that a projection had begun to work on before was committed by then. Times count from `began`; rows keep those
    that they were stamped with. Raises Unsound where the source of truth holds something else.
    """
    changes = _changes(plan, written.frames, began)
    committed_at = written.acknowledged_at - began
    for item in plan.projections:
        for path in journals_of(item, folder):
            for note in read_notes(path, changes, began).notes:
                # What a projection works on has been committed, whether or not its writer has come to hear so.
                place = note.handed - 1
                committed_at[place] = np.minimum(committed_at[place], note.began_at)
    # When a projection got a change whose position had been another's isn't known: it is in no lag.
    committed_at[written.again - 1] = 0.0
    return _confirmed(plan, truth, written.frames, changes.committed(np.maximum(0.0, committed_at)))


def _confirmed(plan: Plan, truth: Truth, frames: dict[str, pl.DataFrame], changes: Published) -> Written:
    oracle = Oracle.of_trace(plan.domain, _bare(frames))
    _confirm(plan, truth, oracle)
    return Written(changes, oracle, frames, {}, [], truth.settings())


@dataclass(frozen=True)
class Chronicle:
    """What the writers of a live run wrote down: the changes, and a row for each command.

    `acknowledged_at` has an entry for each change, by position less 1. `commands` has the columns `due`, `began`,
    `acknowledged` (seconds since 1970) and `status`; of a history, a row for each slice. `lost` counts changes that
    were acknowledged and that a crash of the server took, and `again` has the positions that were given again then.
    """

    frames: dict[str, pl.DataFrame]
    acknowledged_at: np.ndarray
    commands: pl.DataFrame
    lost: int = 0
    again: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    @classmethod
    def read(cls, plan: Plan, journals: Sequence[Path], truth: Truth) -> Chronicle:
        """Read the writers' journals. Raises Unsound where a position was given twice, and the source can't go back."""
        if plan.domain.has_trace:
            return cls._of_history(plan, journals[0])
        empty = _nothing(plan)
        rows: dict[str, list[list[object]]] = {name: [] for name in empty}
        commands: list[tuple[float, float, float, str]] = []
        times: dict[int, float] = {}
        again = set[int]()
        for journal in journals:
            for line in journal.read_text(encoding="utf-8").splitlines():
                due, start, acknowledged_at, status, changes = json.loads(line)
                commands.append((due, start, acknowledged_at, status))
                for entity, *row in changes:
                    rows[entity].append(row)
                    if row[0] in times:
                        again.add(row[0])
                    times[row[0]] = max(acknowledged_at, times.get(row[0], 0.0))
        frames = {
            name: pl.DataFrame(rows[name], schema=frame.schema, orient="row").sort("position")
            for name, frame in empty.items()
        }
        total = sum(frame.height for frame in frames.values())
        if plan.scenario.truth.durability == "normal":
            frames = {name: surviving(truth, name, frame) for name, frame in frames.items()}
        elif again:
            raise Unsound(f"two changes were acknowledged with position {min(again)}")
        lost = total - sum(frame.height for frame in frames.values())
        schema = {"due": pl.Float64, "began": pl.Float64, "acknowledged": pl.Float64, "status": pl.String}
        told = pl.DataFrame(commands, schema=schema, orient="row").sort("due")
        newest = max((int(frame["position"][-1]) for frame in frames.values() if frame.height), default=0)
        acknowledged_at = np.zeros(max(newest, max(times, default=0)))
        acknowledged_at[np.fromiter(times, np.int64, len(times)) - 1] = list(times.values())
        known = np.array(sorted(one for one in again if one <= newest), np.int64)
        return cls(frames, acknowledged_at[:newest], told, lost, known)

    @classmethod
    def _of_history(cls, plan: Plan, journal: Path) -> Chronicle:
        """The history as it is; of each slice the journal says how far it went. What was not committed is left out."""
        frames = _brought_along(plan)
        steps = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
        there: dict[str, int] = steps[-1][3] if steps else {}
        frames = {name: frame[: there.get(name, 0)] for name, frame in frames.items()}
        size = max((int(frame["position"][-1]) for frame in frames.values() if frame.height), default=0)
        acknowledged_at, former = np.zeros(size), dict.fromkeys(frames, 0)
        positions = {name: frame["position"].to_numpy() for name, frame in frames.items()}
        for _, _, at, loaded in steps:
            for name, count in loaded.items():
                acknowledged_at[positions[name][former[name] : count] - 1] = at
                former[name] = count
        schema = {"due": pl.Float64, "began": pl.Float64, "acknowledged": pl.Float64, "status": pl.String}
        told = pl.DataFrame([(*step[:3], "accepted") for step in steps], schema=schema, orient="row")
        return cls(frames, acknowledged_at, told)


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
    changes = as_published(plan, bare)
    # What was there before the load counts as committed at its beginning, and is left out of the lags.
    return changes.committed(np.maximum(0.0, changes.committed_at - began))


def _visible(item: ProjectionPlan, changes: Published, folder: Path, began: float) -> tuple[Journal, np.ndarray]:
    if item.layout.partitions:
        journal = shared_journal(item, changes, folder, began)
        journal.polled_at = polled_at(item, folder, began)
        return journal, lag.visible_at(changes, journal, item.subsumes)
    file, entities = folder / f"{item.name}.journal", tuple(item.layout.entities)
    journal = read_notes(file, changes, began, entities)
    records = read_work(file.with_suffix(WORK_SUFFIX), began)
    journal.polled_at = records["began"][records["kind"] == READ].tolist()
    journal.spans = read_spans(folder / f"{item.name}{SPANS_SUFFIX}", began)
    return journal, lag.visible_at(changes, journal, item.subsumes)


def _arrived(item: ProjectionPlan, changes: Published, folder: Path, began: float) -> Arrived | None:
    """What came to the projection's inbox since `began`; None for one that doesn't listen."""
    if not item.by_messages:
        return None
    records = heard(item, folder, began)
    known = changes.has(records["rows"])
    return Arrived(records["rows"][known] - 1, records["due"][known])


def _gate(plan: Plan, item: ProjectionPlan, folder: Path, began: float) -> GivenUp | None:
    """What its strategy for gaps gave up; None where writers take turns."""
    if plan.scenario.writers is None:
        return None
    return GivenUp(item.gaps, given_up(item, folder, began))


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
    """What was written down is what the source of truth holds: every revision if it shows these, and last states.

    Their times don't matter.
    """
    for name, must in oracle.states.items():
        found = truth.changes_since(name, 0, 2**62)
        if truth.publishes_every_revision:
            own = ["position", "key", "revision", "deleted"]
            _none_missing(name, oracle.revisions[name].select(own), found.select(own))
        if plan.domain.contracts.get(name):
            continue
        # Events as the states that they make.
        states = ChangeReader(truth).changes_since(name, 0, 2**62) if truth.model == "events" else found
        kept = [column for column in must.columns if column != "committed_at"]
        last = states.filter(pl.col("revision") == pl.col("revision").max().over("key")).sort("key")
        if not last.select(kept).equals(must.select(kept)):
            raise Unsound(f"the source of truth holds {last.height} {name} records, not what was written down of it")


def _none_missing(entity: str, written: pl.DataFrame, found: pl.DataFrame) -> None:
    """Raise Unsound, with the first position, where the one has a change that the other lacks."""
    for one, other, what in (
        (found, written, "is in the source of truth, and nobody wrote it down"),
        (written, found, "was acknowledged, and is not in the source of truth"),
    ):
        alone = one.join(other, on=one.columns, how="anti")
        if alone.height:
            first = int(alone["position"].sort()[0])
            raise Unsound(f"{entity}: position {first} {what} ({alone.height:,} such changes)")


def held_back(plan: Plan, folder: Path, began: float) -> pl.DataFrame:
    """The table `blockers`: which transactions held the readers of the projections back for too long."""
    paths = [(item.name, path) for item in plan.projections for path in journals_of(item, folder)]
    rows = [row for name, path in paths for row in read_blocked(path.with_suffix(BLOCKED_SUFFIX), name, began)]
    return TABLES["blockers"].frame(rows)


def projected(plan: Plan, truth: Truth, written: Written, folder: Path, began: float) -> Projected:
    """The projections as they were left, each with its journal; open."""
    strand = Strand(written.published, truth, Replay(truth, {}), None)
    lives = []
    for item in plan.projections:
        chosen = written.published.of_entities(tuple(item.layout.entities))
        projector = item.projector(FolderPlace(folder).within(item.name).current)
        journal, visible = _visible(item, written.published, folder, began)
        arrived = _arrived(item, written.published, folder, began)
        live = Live(item, projector, chosen, strand, journal, visible, arrived=arrived)
        live.gate = _gate(plan, item, folder, began)
        live.fresh = _fresh(item, written.published)
        lives.append(live)
    return Projected(lives, strand, [strand])


def since(projected: Projected) -> Projected:
    """The same with the changes alone that were committed under load: what was there before has no lag.

    Whether a lag grows is not looked for: the search for a knee goes by the same figures, after seconds.
    """
    lives = [replace(live, chosen=_fresh(live.plan, live.published), calm=None) for live in projected.lives]
    return replace(projected, lives=lives)

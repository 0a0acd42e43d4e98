"""The last steps: rebuild each projection, and judge each by the evidence."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import polars as pl

from lab.base import TRUTH, Totals, stream
from lab.experiment.ask import Answers
from lab.experiment.dumped import dumped
from lab.experiment.emulated import level
from lab.experiment.explained import explain
from lab.experiment.progress import Progress, Stretch
from lab.experiment.project import Live, Projected
from lab.experiment.rebuilt import rebuilt_beside
from lab.experiment.tombstoned import tombstone_rows
from lab.experiment.troubles import Rows, lost_messages, parked, troubles
from lab.experiment.work import own_work
from lab.experiment.write import Written
from lab.mapped import breathe
from lab.measure import accounting
from lab.measure.asked import Asked
from lab.measure.machine import give_back
from lab.place import FolderPlace
from lab.spill import ROWS
from lab.tables import TABLES
from lab.verdict.checks import judge, judge_truth
from lab.verdict.evidence import Evidence
from lab.verdict.oracle import Oracle
from lab.wiring import Plan


@dataclass(frozen=True)
class Judgement:
    """What came out for one projection: its entry in the manifest, its rows of tables by name, and its verdicts.

    `settings` are its store's, as read back; `seconds` the wall time of its `rebuild` and of its checks (`judge`);
    `parts` files with its rows of the table `lag_parts`.
    """

    entry: dict[str, Any]
    rows: Rows
    verdicts: pl.DataFrame
    witnesses: pl.DataFrame
    work: pl.DataFrame
    settings: dict[str, Any]
    seconds: dict[str, float]
    parts: list[Path]


@dataclass(frozen=True)
class RunJudgement:
    """What came out for the run: each projection's judgement, and what was asked of each.

    `truth` is the verdict on the answers of the source of truth, None if it gave none; `truth_verdicts` its row of the
    table `verdicts`. `order` has the names of the projections in the order in which they were rebuilt.
    """

    projections: list[Judgement]
    answers: Answers
    truth: str | None
    truth_verdicts: pl.DataFrame
    order: list[str] = field(default_factory=list)

    def rows(self, table: str) -> list[dict[str, Any]]:
        """The rows of a table of all projections."""
        return [row for each in self.projections for row in each.rows.get(table, ())]

    def seconds(self, phase: str) -> float:
        """The wall time of a phase, `rebuild` or `judge`, over all projections."""
        return sum(each.seconds[phase] for each in self.projections)


def nothing() -> None:
    """Leave everything as it is."""


def rebuild_and_judge(
    plan: Plan,
    projected: Projected,
    written: Written,
    answers: Answers,
    work: FolderPlace,
    progress: Progress,
    rebuilt: Callable[[], None] = nothing,
) -> RunJudgement:
    """One projection after the other, in random order, so that only one at a time is in memory twice.

    Closes their stores. `rebuilt` is called after the last rebuild: nothing reads the source of truth any more.
    """
    found: dict[str, Judgement] = {}
    # A projection is as much work as it has changes.
    sizes = [max(1, live.chosen.size) for live in projected.lives]
    progress.step("rebuilding and judging", sum(sizes))
    past = 0
    lives = [projected.lives[turn] for turn in stream(plan.scenario.seed, "rebuilds").permutation(len(projected.lives))]
    for live in lives:
        name, size = live.plan.name, max(1, live.chosen.size)
        stretch = Stretch(progress, past, size)
        rebuilding = _Rebuilding(work.within(name), rebuilt if live is lives[-1] else nothing)
        found[name] = _judgement(plan, projected, live, written, answers[name], rebuilding, stretch)
        # What this projection took is given back before the next one is looked at.
        live.release()
        give_back()
        past += size
        progress.done(past)
    of_truth = answers[TRUTH]
    truth, verdicts = None, TABLES["verdicts"].frame()
    if any(one.answers or one.refused for one in of_truth):
        refused = next((one.unanswered for one in of_truth if one.refused), "")
        truth, verdicts = judge_truth([wrong for one in of_truth for wrong in one.wrong], refused)
    declared = [found[live.plan.name] for live in projected.lives]
    return RunJudgement(declared, answers, truth, verdicts, list(found))


@dataclass(frozen=True)
class _Rebuilding:
    """Where a projection is rebuilt, and what is called after that."""

    place: FolderPlace
    done: Callable[[], None]


def _judgement(
    plan: Plan,
    projected: Projected,
    live: Live,
    written: Written,
    asked: list[Asked],
    rebuilding: _Rebuilding,
    stretch: Stretch,
) -> Judgement:
    store, oracle = live.projector.store, written.oracle
    rows: Rows = {}
    rebuilt = None
    began = perf_counter()
    if plan.scenario.measure.rebuild:
        row, rebuilt = rebuilt_beside(live, projected.main.truth, rebuilding.place, oracle, stretch.part(0.0, 0.5))
        rows["rebuild"] = [row]
        give_back()
    rebuilding.done()
    seconds = {"rebuild": perf_counter() - began}
    dumps: dict[str, pl.DataFrame] | None
    dumps = dumped(store, oracle, live.journal.spill)
    if store.name == "null":
        dumps = rebuilt = None
    began = perf_counter()
    evidence = _evidence(live, oracle, asked, dumps, rebuilt)
    verdict, verdicts, witnesses = judge(evidence, stretch.part(0.6, 0.8).done)
    seconds["judge"] = perf_counter() - began
    rows["accounting"] = [evidence.accounting]
    if evidence.transactions is not None:
        rows["transactions"] = [evidence.transactions.row(live.plan.name)]
    if evidence.looks:
        rows["midrun"] = [evidence.answered.row(live.plan.name)]
    # Where the store's work is modelled, all is applied in large pages at the end: that isn't what batches would write.
    if store.documents_written and plan.scenario.time.service == "measured":
        rows["fan_out"] = [_fan_out(live, int(evidence.accounting["applied"]))]
    rows |= troubles(plan, projected, live, evidence)
    rows["tombstones"] = tombstone_rows(plan, live, evidence)
    entry, settings = _entry(live, verdict, dumps), store.settings()
    # What was worked out for the checks is on disk as long as it is known here.
    del evidence, dumps, rebuilt
    give_back()
    explained = explain(plan, live, rebuilding.place.folder.parent.with_name("lag-parts"))
    rows |= explained.rows if explained else {}
    took = own_work(live) if plan.scenario.time.service == "measured" else TABLES["work"].frame()
    parts = explained.parts if explained and level(live.plan) != "emulated" else []
    return Judgement(entry, rows, verdicts, witnesses, took, settings, seconds, parts)


def _fan_out(live: Live, changes: int) -> dict[str, Any]:
    """What denormalising cost while the projection was fed; a rebuild on the side is not in it."""
    store = live.projector.store
    return {
        "projection": live.plan.name,
        "store": store.name,
        "changes": changes,
        "documents_written": store.documents_written,
        "fanned_out": store.fan_out,
        "ratio": store.fan_out / changes if changes else None,
    }


def _evidence(
    live: Live,
    oracle: Oracle,
    asked: list[Asked],
    dumps: dict[str, pl.DataFrame] | None,
    rebuilt: dict[str, pl.DataFrame] | None,
) -> Evidence:
    entities = tuple(live.plan.layout.entities)
    given_up = {position: at for at, position in (live.gate.given_up if live.gate else ()) if position}
    aside = parked(live)
    waiting = [live.projector.held(name) for name in entities]
    account = accounting.account(
        live.plan.name,
        committed=oracle.committed(entities),
        chosen=live.chosen,
        size=live.published.committed_at.size,
        journal=live.journal,
        waiting=np.concatenate([np.fromiter(aside, np.int64, len(aside)), live.journal.held, *waiting]),
        given_up=np.fromiter(given_up, np.int64, len(given_up)),
        visible=live.visible,
    )
    return Evidence(
        name=live.plan.name,
        layout=live.plan.layout,
        policy=live.plan.table.guard,
        order=live.plan.table.checkpoint,
        subsumes=live.plan.subsumes,
        oracle=oracle,
        published=live.published,
        journal=live.journal,
        chosen=live.chosen,
        visible=live.visible,
        dumps=dumps,
        rebuilt=rebuilt,
        checkpoints={name: live.projector.checkpoint(name) for name in entities},
        accounting=account,
        asked=asked if dumps is not None else [],
        looks=live.looks if dumps is not None else (),
        parked=aside,
        taken_at=None if live.strand.timeline is None else live.strand.timeline.begun_at,
        lost_messages=lost_messages(live),
        given_up=given_up,
        conformance=live.conformance,
    )


def _entry(live: Live, verdict: str, dumps: dict[str, pl.DataFrame] | None) -> dict[str, Any]:
    """The projection's entry in the manifest."""
    table = live.plan.table
    return {
        "name": live.plan.name,
        "store": table.store,
        "level": level(live.plan),
        "guard": table.guard,
        "subscribe": table.subscribe,
        "keeps": live.plan.layout.keeps,
        "batch": table.batch,
        "linger_seconds": table.linger,
        "every_seconds": live.plan.pace.every,
        "polls": live.journal.polls,
        "batches": live.journal.batches,
        "expect": table.expect,
        "verdict": verdict,
        "as_expected": verdict == table.expect,
        "lacks": dict(live.plan.lacks),
        "rows": None if dumps is None else sum(frame.height for frame in dumps.values()),
        "digest": None if dumps is None else digest(dumps, live.plan.layout.totals),
    }


def digest(dumps: dict[str, pl.DataFrame], totals: Totals | None) -> str:
    """SHA-256 over the projection's content as CSV, sorted: equal if and only if readers see the same rows.

    Positions and times of commit are left out: they belong to the write model. So are groups of a running
    aggregate that have nothing in them any more.
    """
    total = hashlib.sha256()
    for name in sorted(dumps):
        frame = dumps[name]
        if totals is not None:
            frame = frame.filter(pl.any_horizontal(pl.col(totals.measures) != 0))
        total.update(name.encode())
        frame = frame.drop([column for column in ("position", "committed_at") if column in frame.columns])
        # A piece at a time: the text of a large content takes several times its memory.
        total.update(frame[:0].write_csv().encode())
        for piece in frame.iter_slices(ROWS):
            breathe()
            total.update(piece.write_csv(include_header=False).encode())
    return total.hexdigest()

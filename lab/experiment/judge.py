"""The last steps: ask every projection the same questions, rebuild each, and judge each by the evidence."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import polars as pl

from lab.base import TRUTH, Totals, stream
from lab.experiment.progress import Progress
from lab.experiment.project import Live, Projected
from lab.experiment.troubles import Troubles, look, lost_messages, parked
from lab.experiment.write import Written
from lab.measure import accounting, machine, queries
from lab.projection.rebuild import rebuild
from lab.queries.answers import Row
from lab.queries.kinds import KINDS
from lab.queries.model import Query
from lab.running.journal import Journal
from lab.stores.port import dump
from lab.truth import Truth
from lab.verdict.checks import judge, judge_truth
from lab.verdict.evidence import Evidence
from lab.verdict.oracle import Oracle
from lab.wiring import Plan


@dataclass
class Judged:
    """What came out: rows of the tables, and of each projection its verdict and the digest of its content.

    `of_truth` is what the source of truth was asked, `truth` the verdict on its answers; None if it gave none.
    """

    rebuild: list[dict[str, Any]] = field(default_factory=list)
    accounting: list[dict[str, Any]] = field(default_factory=list)
    fan_out: list[dict[str, Any]] = field(default_factory=list)
    verdicts: list[pl.DataFrame] = field(default_factory=list)
    witnesses: list[pl.DataFrame] = field(default_factory=list)
    troubles: Troubles = field(default_factory=Troubles)
    projections: list[dict[str, Any]] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=lambda: {"rebuild": 0.0, "judge": 0.0})
    of_truth: list[queries.Asked] = field(default_factory=list)
    truth: str | None = None


def ask(plan: Plan, lives: list[Live], truth: Truth, oracle: Oracle, progress: Progress) -> list[queries.Asked]:
    """Time every query of every projection that can answer it, and compare the answers with the oracle's.

    So is the source of truth asked, in the same rounds: what it answers well enough needs no projection. Without
    patience, since nothing in it is made for readers, and one answer may take seconds. Returns what it was asked.
    """
    measure, seed = plan.scenario.measure, plan.scenario.seed
    turns = measure.warm_up + measure.samples
    drawn = {
        query.name: KINDS[query.kind].draw(query, _tables(oracle, query), turns, stream(seed, "query", query.name))
        for query in plan.queries
    }
    for live in lives:
        live.asked = [queries.Asked(live.plan.name, live.projector.store, query) for query in live.plan.queries]
    of_truth = [
        queries.Asked(TRUTH, truth, query, patient=False)
        for query in plan.queries
        if measure.truth and truth.answers(query)
    ]
    asked = [*(one for live in lives for one in live.asked), *of_truth]
    progress.step("asking", turns)
    turn = iter(range(1, turns + 1))
    queries.interleave(
        asked,
        drawn,
        measure.warm_up,
        measure.samples,
        measure.budget,
        stream(seed, "rounds"),
        lambda: progress.done(next(turn)),
    )

    def right(query: Query, parameters: Row) -> list[Row]:
        return KINDS[query.kind].answer(query, parameters, _tables(oracle, query))

    queries.check(asked, right)
    return of_truth


def _tables(oracle: Oracle, query: Query) -> dict[str, Any]:
    return oracle.histories if KINDS[query.kind].past else oracle.tables


def rebuild_and_judge(
    plan: Plan, projected: Projected, written: Written, of_truth: list[queries.Asked], work: Path, progress: Progress
) -> Judged:
    """One projection after the other, so that only one at a time is in memory twice."""
    judged = Judged(of_truth=of_truth)
    progress.step("rebuilding and judging", len(projected.lives))
    for number, live in enumerate(projected.lives, 1):
        _look_at(plan, projected, live, written, work, judged)
        # What this projection took is given back before the next one is looked at.
        live.projector.store.close()
        live.journal = Journal(polls=live.journal.polls, batches=live.journal.batches)
        progress.done(number)
    if any(one.answers for one in of_truth):
        judged.truth, found = judge_truth([wrong for one in of_truth for wrong in one.wrong])
        judged.verdicts.append(found)
    return judged


def _look_at(plan: Plan, projected: Projected, live: Live, written: Written, work: Path, judged: Judged) -> None:
    store, entities = live.projector.store, tuple(live.plan.layout.entities)
    rebuilt = None
    if plan.scenario.measure.rebuild:
        began = perf_counter()
        row, rebuilt = _rebuild(live, projected.main.truth, work / live.plan.name)
        rebuilt = _shared(rebuilt, live, written.oracle)
        judged.rebuild.append(row)
        judged.seconds["rebuild"] += perf_counter() - began
    dumps: dict[str, pl.DataFrame] | None
    dumps = _shared({name: dump(store, name) for name in entities}, live, written.oracle)
    if store.name == "null":
        dumps = rebuilt = None
    began = perf_counter()
    evidence = _evidence(live, written, dumps, rebuilt)
    verdict, found, witnesses = judge(evidence)
    judged.seconds["judge"] += perf_counter() - began
    judged.accounting.append(evidence.accounting)
    # Where the store's work is modelled, all is applied in large pages at the end: that isn't what batches would write.
    if store.documents_written and plan.scenario.time.service == "measured":
        judged.fan_out.append(_fan_out(live, int(evidence.accounting["applied"])))
    judged.verdicts.append(found)
    judged.witnesses.append(witnesses)
    look(plan, projected, live, evidence, judged.troubles)
    judged.settings[live.plan.name] = store.settings()
    judged.projections.append(_described(live, verdict, dumps))


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


def _shared(dumps: dict[str, pl.DataFrame], live: Live, oracle: Oracle) -> dict[str, pl.DataFrame]:
    """A dump that is what it must be takes no memory of its own: the oracle's frame stands for it."""
    layout = live.plan.layout
    must = {name: oracle.expected(layout.keeps, name, layout.totals) for name in dumps}
    return {name: must[name] if frame.equals(must[name]) else frame for name, frame in dumps.items()}


def _rebuild(live: Live, truth: Truth, path: Path) -> tuple[dict[str, Any], dict[str, pl.DataFrame]]:
    """A new store beside the live one, filled from position 0; the time includes opening and closing it."""
    store = live.plan.store(path)
    machine.forget_peak()
    began = perf_counter()
    store.open()
    changes = rebuild(store, live.plan.subscription(truth, before=False), live.plan.table.guard)
    store.close()
    seconds = perf_counter() - began
    peak = machine.peak_rss_bytes()
    size = store.size_bytes()
    store.open()
    dumps = {name: dump(store, name) for name in live.plan.layout.entities}
    store.close()
    shutil.rmtree(path, ignore_errors=True)
    row = {
        "projection": live.plan.name,
        "store": store.name,
        "changes": changes,
        "seconds": seconds,
        "changes_per_second": changes / seconds,
        "size_bytes": size,
        "peak_rss_bytes": peak,
    }
    return row, dumps


def _evidence(
    live: Live,
    written: Written,
    dumps: dict[str, pl.DataFrame] | None,
    rebuilt: dict[str, pl.DataFrame] | None,
) -> Evidence:
    plan, oracle = live.plan, written.oracle
    entities = tuple(plan.layout.entities)
    given_up = {position: at for at, position in (live.gate.given_up if live.gate else ()) if position}
    aside = parked(live)
    waiting = [live.projector.held(name) for name in entities]
    account = accounting.account(
        plan.name,
        oracle.committed(entities),
        live.chosen,
        live.published.committed_at.size,
        live.journal,
        np.concatenate([np.fromiter(aside, np.int64, len(aside)), *waiting]),
        np.fromiter(given_up, np.int64, len(given_up)),
        live.visible,
    )
    return Evidence(
        name=plan.name,
        layout=plan.layout,
        policy=plan.table.guard,
        oracle=oracle,
        published=live.published,
        journal=live.journal,
        chosen=live.chosen,
        visible=live.visible,
        dumps=dumps,
        rebuilt=rebuilt,
        checkpoints={name: live.projector.checkpoint(name) for name in entities},
        accounting=account,
        subsumes=plan.subsumes,
        asked=sum(len(one.answers) for one in live.asked) if dumps is not None else 0,
        wrong=[wrong for one in live.asked for wrong in one.wrong],
        order=plan.table.checkpoint,
        parked=aside,
        taken_at=None if live.strand.timeline is None else live.strand.timeline.begun_at,
        lost_messages=lost_messages(live),
        given_up=given_up,
    )


def _described(live: Live, verdict: str, dumps: dict[str, pl.DataFrame] | None) -> dict[str, Any]:
    table = live.plan.table
    return {
        "name": live.plan.name,
        "store": table.store,
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
        total.update(
            frame.drop([column for column in ("position", "committed_at") if column in frame.columns])
            .write_csv()
            .encode()
        )
    return total.hexdigest()

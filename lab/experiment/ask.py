"""Ask every projection and the source of truth the same questions, timed, and compare the answers with the oracle's."""

from __future__ import annotations

from typing import Any

from lab.base import TRUTH, stream
from lab.experiment.progress import Progress
from lab.experiment.project import Live
from lab.formatting import duration, listed
from lab.measure import asking, queries
from lab.measure.asked import Asked
from lab.queries.answers import Row
from lab.queries.kinds import KINDS
from lab.queries.model import Query
from lab.truth import Truth
from lab.verdict.oracle import Oracle
from lab.wiring import Plan

# What was asked of each projection by its name, and of the source of truth by `TRUTH`.
Answers = dict[str, list[Asked]]


def ask(plan: Plan, lives: list[Live], truth: Truth, oracle: Oracle, progress: Progress) -> Answers:
    """Time every query of every projection that can answer it, and compare the answers with the oracle's.

    They are asked in single calls first (cold), then in blocks (hot). The source of truth is asked along with them as
    a baseline: what it answers well enough needs no projection. Its budget also counts the warm-up, since it has no
    read indexes and one answer may take seconds.
    """
    measure, seed = plan.scenario.measure, plan.scenario.seed
    turns = measure.warm_up + measure.samples
    drawn = {
        query.name: KINDS[query.kind].draw(query, _tables(oracle, query), turns, stream(seed, "query", query.name))
        for query in plan.queries
    }
    answers: Answers = {
        live.plan.name: [Asked(live.plan.name, live.projector.store, query) for query in live.plan.queries]
        for live in lives
    }
    answers[TRUTH] = [
        Asked(TRUTH, truth, query, patient=False) for query in plan.queries if measure.truth and truth.answers(query)
    ]
    asked = [one for several in answers.values() for one in several]
    progress.step("asking", turns + measure.blocks)
    turn = iter(range(1, turns + measure.blocks + 1))
    each = call_limits(plan)
    asking.in_rounds(asked, drawn, each, stream(seed, "rounds"), lambda: progress.done(next(turn)))
    asking.in_blocks(asked, drawn, measure.blocks, each, stream(seed, "blocks"), lambda: progress.done(next(turn)))

    def right(query: Query, parameters: Row) -> list[Row]:
        return KINDS[query.kind].answer(query, parameters, _tables(oracle, query))

    queries.check(asked, right)
    return answers


def call_limits(plan: Plan) -> asking.CallLimits:
    """Return how often a query is asked; its limit is its budget at the least."""
    measure = plan.scenario.measure
    longest = max(measure.limit, measure.budget)
    return asking.CallLimits(measure.warm_up, measure.samples, measure.budget, limit_seconds=longest)


def cut_short(plan: Plan, answers: Answers) -> list[str]:
    """Return a note of the queries whose least number of calls `measure.limit` has cut; empty without any."""
    limit = call_limits(plan).limit_seconds
    cut = [one for asked in answers.values() for one in asked if one.cut(limit)]
    if not cut:
        return []
    told = [
        f"{one.query.name} of {one.projection} {len(one.nanoseconds)} times alone, {len(one.hot)} in blocks"
        for one in cut
    ]
    text = f"Answers took so long that measure.limit ({duration(limit)}) ended the asking early: {'; '.join(told)}."
    if slow := [one.query.name for one in answers[TRUTH] if asking.longer(one, limit)]:
        text += f" The source of truth was not asked {listed(slow)} beside commits."
    return [f"{text} Quantiles of so few calls have wide intervals or none."]


def _tables(oracle: Oracle, query: Query) -> dict[str, Any]:
    return oracle.histories if KINDS[query.kind].past else oracle.tables

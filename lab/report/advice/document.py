"""Advice as one JSON document, with the table row behind each claim."""

from __future__ import annotations

import math
from typing import Any

from lab.advice.answer import Advice
from lab.advice.model import Candidate, Reading
from lab.advice.portfolio import Portfolio
from lab.advice.reasons import Standing
from lab.advice.sensitivity import tied_answers
from lab.advice.weights import WeightRange
from lab.formatting import NOTHING, duration, size
from lab.report.advice.answers import decider_said, endless_said, standing_said
from lab.report.advice.text import binding_said, headline, notes, runner_said, said
from lab.report.facts import plain
from lab.statistics.intervals import CONFIDENCE

REPEATED = "of the median over repetitions"
METHODS = {
    "queries": "between order statistics of the samples, by the independent ones that they are worth",
    "lag_summary": "between order statistics of the table lag, by the independent changes that it is worth",
    "rebuild": "measured once: no interval",
}


def document(advice: Advice) -> dict[str, Any]:
    """Return the advice for `--json` in strict JSON types: seconds, bytes; null for what is unknown or infinite."""
    problem, answer = advice.problem, advice.recommended
    found = advice.binding
    result = {
        "run": problem.run,
        "levels": dict(problem.set_levels()),
        "weights": dict(problem.queries),
        "temperature": problem.temperature,
        "settings": {
            "gain": problem.settings.gain,
            "worth": problem.settings.worth,
            "reads_per_second": problem.reads_per_second,
        },
        "feasible": advice.feasible,
        "not_judged": [
            {"level": name, "reason": reading.reason, "remedy": reading.remedy}
            for name, reading in advice.unjudged.items()
        ],
        "says": headline(advice),
        "notes": notes(advice),
        "recommended": _recommended(advice),
        "answers": {
            name: _answer(each)
            for name, each in (("fewest", advice.answer), ("quickest", advice.quickest), ("bargain", advice.bargain))
            if each is not None
        },
        "deciding_queries": [
            {"query": each.query, "without": list(each.without.names), "says": decider_said(advice, each)}
            for each in advice.deciders
        ],
        "candidates": [_standing(advice, each) for each in advice.standings],
        "portfolio": [_member(answer, each) for each in answer.used] if answer else [],
        "figures": _figures(answer) if answer else None,
        "binding_level": binding_said(advice) or None,
        "binding": None
        if found is None
        else {"levels": found.levels, "asked": found.asked, "least": found.least, "unanswered": found.unanswered},
        "ties": [list(each.names) for each in advice.tied],
        "runners_up": [
            {"projections": list(each.names), "says": runner_said(advice, each)}
            | {"misses": [vars(miss) for miss in each.misses]}
            | _figures(each)
            for each in advice.runners_up
        ],
        "pareto": [
            {"projections": list(each.names), "meets_levels": each.meets_levels, "answer": each == answer}
            | _figures(each)
            for each in advice.front
        ],
        "weight_ranges": [_range(each) for each in advice.weights],
        "evidence": evidence(advice),
        "left_out": list(advice.left_out),
    }
    plain_result: dict[str, Any] = plain(result)
    return plain_result


def _recommended(advice: Advice) -> str | None:
    """Return which of the answers is recommended."""
    if advice.recommended is None:
        return None
    return "fewest" if advice.recommended.names == (advice.answer and advice.answer.names) else "bargain"


def _answer(each: Portfolio) -> dict[str, Any]:
    """Return one answer with what it costs."""
    return {
        "projections": list(each.names),
        "stores": [who.store for who in each.members],
        "queries": {query: who.name for query, who in each.assigned.items()},
        "changes_per_second": {who.name: who.rate for who in each.members},
        "busy_share": {who.name: who.busy for who in each.members},
        "busy_share_at_25_percent_more": {who.name: who.busy_more for who in each.members},
        "truth_reads_share": each.truth_reads.value if each.problem.truth else None,
        "truth_reads_interval": [each.truth_reads.low, each.truth_reads.high],
    } | _figures(each)


def _standing(advice: Advice, each: Standing) -> dict[str, Any]:
    """Return what a candidate is good for."""
    return {
        "projection": each.candidate.name,
        "store": each.candidate.store,
        "best_at": list(each.best),
        "only": list(each.only),
        "too_few_samples_at": list(each.blind),
        "slower_by": {query: factor for query, (_, factor) in each.beside.items()},
        "cannot": dict(each.cannot),
        "says": standing_said(advice, each),
    }


def _member(answer: Portfolio, each: Candidate) -> dict[str, Any]:
    queries = [name for name, who in answer.assigned.items() if who.name == each.name]
    tied = {name: [other.name for other in tied_answers(answer.problem, answer, name)] for name in queries}
    return {
        "projection": each.name,
        "store": each.store,
        "source_of_truth": each.truth,
        "queries": [
            {"query": name, "weight": answer.problem.queries[name], "level_seconds": answer.problem.query_level(name)}
            | {"p50_seconds": each.answers[name].p50.value, "p99_seconds": each.answers[name].p99.value}
            | {"tied_with": tied[name]}
            for name in queries
        ],
    }


def _figures(each: Portfolio) -> dict[str, Any]:
    return {
        "lag_p99_seconds": each.lag.value,
        "rebuild_seconds": each.rebuild.value,
        "query_seconds": each.cost,
        "query_interval_seconds": list(each.cost_interval),
        "disk_bytes": each.disk,
        "engines": list(each.engines),
    }


def _range(each: WeightRange) -> dict[str, Any]:
    ends = {"below": each.below, "above": each.above}
    return {"query": each.query, "weight": each.weight, "from": each.low, "to": each.high} | {
        name: None if other is None else list(other.names) for name, other in ends.items()
    }


def evidence(advice: Advice) -> list[dict[str, Any]]:
    """Return each claim about the answer with the table row behind it; empty if there is no answer."""
    answer, problem = advice.recommended, advice.problem
    if answer is None:
        return []
    found: list[dict[str, Any]] = []
    for query, who in answer.assigned.items():
        row = {"projection": who.name, "query": query}
        level = problem.query_level(query)
        for reading, held in ((who.answers[query].p50, None), (who.answers[query].p99, level)):
            if reading.untold and held is None:
                continue
            quantile = reading.column.removesuffix("_us").rpartition("_")[2]
            time = NOTHING if reading.untold else duration(reading.value)
            claim = f"{said(who)} answers {query} in {time} ({quantile}, {problem.temperature})"
            found.append(_claim(claim, reading, row, held))
    for who in answer.members:
        row = {"projection": who.name}
        found += [
            _claim(_lag_said(who), who.lag, row, _lag_level(answer, who)),
            _claim(f"{who.name} is rebuilt in {duration(who.rebuild.value)}", who.rebuild, row, problem.levels.rebuild),
            _claim(f"{who.name} takes {size(who.disk.value)}", who.disk, row, None),
            {"claim": f"{who.name} passes every check", "table": "verdicts", "row": row, "column": "verdict"}
            | {"value": "pass", "low": None, "high": None, "confidence": None, "method": "judged by the oracle"}
            | {"interval_reason": None}
            | {"level": None, "status": None},
        ]
    return found


def _lag_level(answer: Portfolio, who: Candidate) -> float | None:
    """Return the strictest level of lag among the queries that a projection answers; None if they have none."""
    mine = (query for query, each in answer.assigned.items() if each.name == who.name)
    levels = [level for query in mine if (level := answer.problem.lag_level(query)) is not None]
    return min(levels, default=None)


def _lag_said(who: Candidate) -> str:
    if who.lag.untold:
        return f"the lag of {who.name} is unknown: {who.lag.reason}"
    if math.isinf(who.lag.value):
        return f"the lag p99 of {who.name}: {endless_said(who.lag)}"
    return f"{who.name} shows 99 in 100 changes within {duration(who.lag.value)}"


def _claim(claim: str, reading: Reading, row: dict[str, str], level: float | None) -> dict[str, Any]:
    """Return a claim with its value, interval and level in the unit of the table's column."""
    repeated = reading.table == "rebuild" and not reading.once and reading.high is not None
    scale = 1e6 if reading.column.endswith("_us") else 1.0
    ends = {name: None if end is None else end * scale for name, end in (("low", reading.low), ("high", reading.high))}
    return {
        "claim": claim,
        "table": reading.table,
        "row": row,
        "column": reading.column,
        "value": reading.value * scale,
        **ends,
        "confidence": None if reading.once or (reading.low is None and reading.high is None) else CONFIDENCE,
        "interval_reason": reading.reason or None,
        "method": REPEATED if repeated else METHODS.get(reading.table, "not measured"),
        "level": None if level is None else level * scale,
        "status": None if level is None else reading.status(level),
    }

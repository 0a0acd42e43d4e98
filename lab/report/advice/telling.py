"""Advice as one JSON document, and as sentences that the terminal and the page share."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from lab.measure.intervals import CONFIDENCE
from lab.report.advice.answer import Advice
from lab.report.advice.model import Candidate, Problem, Reading
from lab.report.advice.portfolio import Miss, Portfolio
from lab.report.advice.sensitivity import WeightRange, tied_answers
from lab.report.facts import plain
from lab.report.words import duration, listed, number, plural, size

TRUTH_SAID = "the source of truth"
# What each level is called in a sentence.
LEVELS = {
    "lag_p99": "lag p99",
    "rebuild": "rebuild",
    "query_p99": "query p99",
    "disk_bytes": "disk",
    "engines": "engines to operate",
}
METHODS = {
    "queries": "between order statistics of the samples (binomial)",
    "lag_summary": "moving block bootstrap of the table lag",
    "rebuild": "measured once: no interval",
}


def document(advice: Advice) -> dict[str, Any]:
    """The advice for `--json`, in strict JSON types: seconds, bytes; null for what is unknown or endless."""
    problem, answer = advice.problem, advice.answer
    found = advice.binding
    result = {
        "run": problem.run,
        "levels": dict(problem.set_levels()),
        "weights": dict(problem.queries),
        "feasible": answer is not None,
        "says": headline(advice),
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
            {"projections": list(each.names), "meets_levels": not each.misses, "answer": each == answer}
            | _figures(each)
            for each in advice.front
        ],
        "weight_ranges": [_range(each) for each in advice.weights],
        "evidence": evidence(advice),
        "left_out": list(problem.left_out),
    }
    plain_result: dict[str, Any] = plain(result)
    return plain_result


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
    """Each claim about the answer with the row that it rests on; nothing where there is no answer."""
    answer, problem = advice.answer, advice.problem
    if answer is None:
        return []
    levels, found = problem.levels, []
    for query, who in answer.assigned.items():
        row = {"projection": who.name, "query": query}
        level = problem.query_level(query)
        for reading, held in ((who.answers[query].p50, None), (who.answers[query].p99, level)):
            quantile = reading.column.removesuffix("_us")
            claim = f"{_said(who)} answers {query} in {duration(reading.value)} ({quantile})"
            found.append(_claim(claim, reading, row, held))
    for who in answer.members:
        row = {"projection": who.name}
        found += [
            _claim(
                f"{who.name} shows 99 in 100 changes within {duration(who.lag.value)}", who.lag, row, levels.lag_p99
            ),
            _claim(f"{who.name} is rebuilt in {duration(who.rebuild.value)}", who.rebuild, row, levels.rebuild),
            _claim(f"{who.name} takes {size(who.disk.value)}", who.disk, row, None),
            {"claim": f"{who.name} passes every check", "table": "verdicts", "row": row, "column": "verdict"}
            | {"value": "pass", "low": None, "high": None, "confidence": None, "method": "judged by the oracle"}
            | {"level": None, "status": None},
        ]
    return found


def _claim(claim: str, reading: Reading, row: dict[str, str], level: float | None) -> dict[str, Any]:
    """Values in the unit of the table's column; `level` in the same."""
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
        "method": METHODS.get(reading.table, "not measured"),
        "level": None if level is None else level * scale,
        "status": None if level is None else reading.status(level),
    }


# --- sentences --------------------------------------------------------------------------------------------------------


def headline(advice: Advice) -> str:
    """The advice in a sentence or two."""
    answer = advice.answer
    if answer is None:
        return f"Nothing meets the levels. {binding_said(advice)}."
    helped = any(each.truth for each in answer.used)
    if not answer.members:
        return "The source of truth is enough: no projection is needed."
    names = listed([f"{each.name} ({each.store})" for each in answer.members])
    many = "One projection does it" if len(answer.members) == 1 else f"{len(answer.members)} projections do it"
    rest = ", beside the source of truth" if helped else ""
    told = f"{many}{rest}: {names}."
    return told if dict(advice.problem.set_levels()) else f"{told} No level is set, so whatever answers will do."


def binding_said(advice: Advice) -> str:
    """Which level binds, and what could be had; empty where none does."""
    found = advice.binding
    if found is None:
        return ""
    if found.unanswered:
        return "; ".join(f"queries.{name}: no projection that passed answers it" for name in found.unanswered)
    parts = [
        f"{level}: the smallest {level_said(level)} that can be had is {amount(level, least)},"
        f" and {amount(level, asked)} is asked"
        for level, asked, least in zip(found.levels, found.asked, found.least, strict=True)
    ]
    return parts[0] if len(parts) == 1 else "Only together: " + "; ".join(parts)


def level_said(level: str) -> str:
    """A level in a sentence: `lag p99`, `p99 of by_key`."""
    return LEVELS.get(level) or f"p99 of {level.removeprefix('queries.')}"


def amount(level: str, value: float) -> str:
    """A level's value in its unit; what can't be had at any price is `no number`."""
    if math.isinf(value):
        return "no number (never reached, or not measured)"
    if level == "engines":
        return f"{value:.0f}"
    return size(value) if level == "disk_bytes" else duration(value)


def portfolio_said(each: Portfolio) -> str:
    """A portfolio by its projections' names."""
    return " + ".join(each.names) or TRUTH_SAID


def runner_said(advice: Advice, each: Portfolio) -> str:
    """Why a portfolio was not chosen."""
    answer = advice.answer
    if each.misses:
        return f"misses {listed([miss_said(miss) for miss in each.misses])}"
    assert answer is not None
    if more := len(each.members) - len(answer.members):
        told = f"{plural(more, 'projection')} more"
        return told + (f", for {times(answer.cost, each.cost)} the weighted query time" if answer.cost else "")
    if each in advice.tied:
        return f"a tie: {duration(each.cost)} can't be told from {duration(answer.cost)} by what was measured"
    return f"{times(answer.cost, each.cost)} the weighted query time"


def miss_said(miss: Miss) -> str:
    """One level that is missed, with where, and by how much."""
    of = "" if miss.level.startswith("queries.") else f" ({miss.of})"
    had = "not reached or not measured" if math.isinf(miss.had) else amount(miss.level, miss.had)
    return f"{level_said(miss.level)}{of}: {had}, and {amount(miss.level, miss.asked)} is asked"


def times(one: float, other: float) -> str:
    """`1.42 times`, of what was measured."""
    return f"{number(other / one)} times" if one else "more than"


def ties_said(advice: Advice) -> str:
    """What can't be told from the answer; empty where everything can."""
    if not advice.tied or advice.answer is None:
        return ""
    names = listed([portfolio_said(each) for each in advice.tied])
    return (
        f"A tie: by weighted query time, {portfolio_said(advice.answer)} can't be told from {names}. "
        "It comes first by the measured values alone; a longer run (measure.samples) may tell them apart."
    )


def weights_said(advice: Advice) -> list[str]:
    """How far each weight can move; one sentence where none matters."""
    moving = [each for each in advice.weights if each.low > 0 or math.isfinite(each.high)]
    if not moving:
        return ["No weight changes the answer, whatever it is."] if advice.weights else []
    told = [_range_said(each) for each in moving]
    if rest := [each.query for each in advice.weights if each not in moving]:
        told.append(f"{listed(rest)}: any weight, the answer is the same")
    return told


def _range_said(each: WeightRange) -> str:
    told = [f"{each.query}: weight {each.weight:g}"]
    if each.below is not None and each.low > 0:
        told.append(f"below {number(each.low)} {portfolio_said(each.below)} takes its place")
    if each.above is not None:
        told.append(f"above {number(each.high)} {portfolio_said(each.above)} takes its place")
    return "; ".join(told)


def interval_said(reading: Reading) -> str:
    """A figure with its interval: `1.2 ms (1.1 ms to 1.4 ms)`; without an end, `at least`."""
    value = "not reached or not measured" if math.isinf(reading.value) else duration(reading.value)
    if reading.once:
        return value if math.isinf(reading.value) else f"{value} (measured once)"
    if reading.low is None and reading.high is None:
        return f"{value} (no interval)"
    if reading.high is None:
        return f"{value} (at least {duration(reading.low)})"
    if reading.low is None:
        return f"{value} (at most {duration(reading.high)})"
    return f"{value} ({duration(reading.low)} to {duration(reading.high)})"


def level_rows(advice: Advice) -> list[tuple[str, str, str, str]]:
    """What is asked, what the answer has, and how surely: level, asked, had, status. The worst figure of each level."""
    answer, problem = advice.answer, advice.problem
    if answer is None:
        return [(level_said(name), amount(name, asked), "", "") for name, asked in problem.set_levels()]
    found = []
    for name, asked in problem.set_levels():
        if name in ("disk_bytes", "engines"):
            value = answer.disk if name == "disk_bytes" else float(len(answer.engines))
            status = "measured once" if name == "disk_bytes" and answer.members else "shown"
            found.append((level_said(name), amount(name, asked), amount(name, value), status))
            continue
        readings = list(_held(answer, problem, name))
        if readings:
            worst = max(readings, key=lambda reading: (reading.value, reading.high or math.inf))
            found.append((level_said(name), amount(name, asked), interval_said(worst), worst.status(asked)))
    return found


def _held(answer: Portfolio, problem: Problem, name: str) -> Iterable[Reading]:
    """The answer's figures that a level is held against."""
    if name in ("lag_p99", "rebuild"):
        own = {"lag_p99": answer.lag, "rebuild": answer.rebuild}
        yield own[name]
        return
    for query, who in answer.assigned.items():
        if problem.level_name(query) == name:
            yield who.answers[query].p99


def assignment_rows(advice: Advice) -> list[dict[str, Any]]:
    """Which query goes where, for a table: query, weight, who, store, p50, p99, level, ties; texts."""
    answer, problem = advice.answer, advice.problem
    if answer is None:
        return []
    rows = []
    for query, who in answer.assigned.items():
        level = problem.query_level(query)
        tied = tied_answers(problem, answer, query)
        rows.append(
            {
                "query": query,
                "weight": f"{problem.queries[query]:g}",
                "who": _said(who),
                "store": who.store,
                "p50": interval_said(who.answers[query].p50),
                "p99": interval_said(who.answers[query].p99),
                "level": "" if level is None else duration(level),
                "status": "" if level is None else who.answers[query].p99.status(level),
                "tied": listed([_said(each) for each in tied]),
            }
        )
    return rows


def _said(who: Candidate) -> str:
    return TRUTH_SAID if who.truth else who.name

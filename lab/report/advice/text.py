"""Advice as sentences and as rows of tables, shared by the terminal and the page."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from lab.advice.answer import Advice
from lab.advice.model import Candidate, Reading
from lab.advice.portfolio import Miss, Portfolio
from lab.advice.sensitivity import tied, tied_answers
from lab.formatting import NOTHING, duration, listed, share, size
from lab.measure.temperatures import MEANING
from lab.report.advice.answers import (
    NAMES,
    TRUTH_SAID,
    decider_said,
    merits_said,
    more_said,
    portfolio_said,
    quicker_said,
    same_said,
    share_said,
    standing_said,
    stores_said,
)
from lab.report.advice.cautions import blind_said, busy_said, cautions, endless_of, overloaded

# The name of each level in a sentence.
LEVELS = {
    "lag_p99": "lag p99",
    "rebuild": "rebuild",
    "query_p99": "query p99",
    "disk_bytes": "disk",
    "engines": "engines to operate",
    "truth_reads": "share of time that reads take at the source of truth",
}


def headline(advice: Advice) -> str:
    """Return the advice in a few sentences: what to keep, and what the other answers would do."""
    chosen, answer = advice.recommended, advice.answer
    if answer is None or chosen is None:
        return f"Nothing meets the levels. {binding_said(advice)}."
    helped = any(each.truth for each in chosen.used)
    if not chosen.members:
        told = [_alone_said(advice, chosen)]
    else:
        many = "One projection does it" if len(chosen.members) == 1 else f"{len(chosen.members)} projections do it"
        told = [f"{many}{', beside the source of truth' if helped else ''}: {stores_said(chosen)}."]
    if advice.unjudged:
        told = [unjudged_said(advice), f"As far as is known: {told[0][0].lower()}{told[0][1:]}"]
    if chosen.names != answer.names:
        alike = len(chosen.members) == len(answer.members)
        told.append(
            f"It is the best bargain: {more_said(chosen, answer)} than {portfolio_said(answer)}, "
            f"{'the quickest of as few' if alike else 'the fewest that answer everything'}, and "
            f"{quicker_said(chosen, answer)}."
        )
    told += [_beside(advice, chosen, name, each) for name, each in _others(advice, chosen)]
    told += cautions(advice)
    if not advice.bounded:
        told.append("No level says what is quick enough (levels.query_p99).")
    return " ".join(told)


def _alone_said(advice: Advice, chosen: Portfolio) -> str:
    """Return that no projection is recommended."""
    if advice.bounded:
        if overloaded(chosen):
            return "The source of truth meets the levels without a projection."
        return "The source of truth is enough: no projection is needed."
    worth = "No projection is shown to be worth its price" if blind_said(advice) else "No projection is worth its price"
    if not advice.problem.projections:
        worth = "There is no projection to weigh"
    return f"{worth}: {TRUTH_SAID} answers in {duration(chosen.cost)} (weighted)."


def _others(advice: Advice, chosen: Portfolio) -> list[tuple[str, Portfolio]]:
    """Return the quickest and the bargain where they are others than what was chosen, each portfolio once."""
    found = {each.names: (NAMES["bargain"], each) for each in (advice.bargain,) if each}
    found |= {each.names: (NAMES["quickest"], each) for each in (advice.quickest,) if each}
    return [pair for names, pair in found.items() if names != chosen.names and pair[1].cost < chosen.cost]


def _beside(advice: Advice, chosen: Portfolio, name: str, each: Portfolio) -> str:
    if name == NAMES["quickest"] and advice.bargain and advice.bargain.names == each.names:
        name = f"{name}, and the best bargain,"
    return f"The {name} would be {stores_said(each)}: {quicker_said(each, chosen)}, for {more_said(each, chosen)}."


def unjudged_said(advice: Advice) -> str:
    """Return which levels are not judged for lack of samples, and what would give these; empty if all are."""
    told = [
        f"{level_said(name)} ({reading.reason or 'no interval'}; {reading.remedy or 'run it again'})"
        for name, reading in advice.unjudged.items()
    ]
    return f"Not judged for lack of samples: {'; '.join(told)}." if told else ""


def notes(advice: Advice) -> list[str]:
    """Return what must be known with the answers: what is the same, what decides, what has one merit, what is busy."""
    told = [same_said(advice)] if same_said(advice) else []
    told += [decider_said(advice, each) for each in advice.deciders]
    told += merits_said(advice)
    told += busy_said(advice)
    return told


def standings_said(advice: Advice) -> list[str]:
    """Return what each candidate is good for, in their order."""
    return [standing_said(advice, each) for each in advice.standings]


def binding_said(advice: Advice) -> str:
    """Return which level prevents a solution and its smallest feasible value; empty if there is a solution."""
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
    """Return a level's name in a sentence: `lag p99`, `p99 of by_key`."""
    table, _, query = level.partition(".")
    return LEVELS.get(level) or (f"lag p99 for {query}" if table == "lag" else f"p99 of {query}")


def amount(level: str, value: float) -> str:
    """Return a level's value with its unit; `no number` if it is infinite."""
    if math.isinf(value):
        return "no number (never reached, or not measured)"
    if level == "engines":
        return f"{value:.0f}"
    if level == "truth_reads":
        return share(value)
    return size(value) if level == "disk_bytes" else duration(value)


def runner_said(advice: Advice, each: Portfolio) -> str:
    """Return why a portfolio was not chosen."""
    answer = advice.answer
    if each.misses:
        return f"misses {listed([miss_said(miss) for miss in each.misses])}"
    if each.unjudged and not each.problem.lenient:
        return f"not judged for lack of samples: {listed([level_said(name) for name in each.unjudged])}"
    assert answer is not None
    if each.endless and not answer.endless:
        said = [f"that of {who.name} {endless_of(who)}" for who in each.endless]
        return f"no lag to rely on: {listed(said)}"
    if each in advice.tied:
        return f"a tie: {duration(each.cost)} can't be told from {duration(answer.cost)} by what was measured"
    told = [more_said(each, answer)] if each.units != answer.units else []
    cost = f"weighted query time {duration(each.cost)} instead of {duration(answer.cost)}"
    return "; ".join([*told, f"{cost}, no difference shown" if tied(answer, each) else cost])


def miss_said(miss: Miss) -> str:
    """Return a missed level with the projection or query, the value and the limit."""
    of = "" if "." in miss.level or not miss.of else f"{miss.of} "
    had = "not reached or not measured" if math.isinf(miss.had) else amount(miss.level, miss.had)
    return f"{level_said(miss.level)} ({of}{had}; asked {amount(miss.level, miss.asked)})"


def temperature_said(advice: Advice) -> str:
    """Return which query times the advice rests on."""
    temperature = advice.problem.temperature
    return f"{temperature} ({MEANING[temperature]})"


def interval_said(reading: Reading, formatted: Callable[[float], str] = duration) -> str:
    """Return a figure with its interval: `1.2 ms (1.1 ms to 1.4 ms)`; `at least` or `at most` if an end is unknown."""
    if reading.untold:
        return f"{NOTHING} ({reading.reason})"
    value = "not reached or not measured" if math.isinf(reading.value) else formatted(reading.value)
    if reading.once:
        return value if math.isinf(reading.value) else f"{value} (measured once)"
    if reading.low is None and reading.high is None:
        return f"{value} (no interval: {reading.reason})" if reading.reason else f"{value} (no interval)"
    if reading.high is None:
        return f"{value} (at least {formatted(reading.low or 0.0)})"
    if reading.low is None:
        return f"{value} (at most {formatted(reading.high)})"
    return f"{value} ({formatted(reading.low)} to {formatted(reading.high)})"


def level_rows(advice: Advice) -> list[tuple[str, str, str, str]]:
    """Return a row for each level: its name, the limit, the answer's worst figure, and how certain it is."""
    answer, problem = advice.recommended, advice.problem
    if answer is None:
        return [(level_said(name), amount(name, asked), "", "") for name, asked in problem.set_levels()]
    found = []
    for name, asked in problem.set_levels():
        if readings := answer.readings(name):
            worst = max(readings, key=lambda reading: (not reading.judged, reading.bound))
            counted = name == "engines" or (name == "disk_bytes" and not answer.members)
            said = share_said(worst) if name == "truth_reads" else interval_said(worst, partial(amount, name))
            had = amount(name, worst.value) if counted else said
            status: str = "shown" if counted else worst.status(asked)
            found.append((level_said(name), amount(name, asked), had, status))
    return found


def assignment_rows(advice: Advice) -> list[dict[str, Any]]:
    """Return a row of texts for each query: query, weight, candidate, store, p50, p99, level, status, ties."""
    answer, problem = advice.recommended, advice.problem
    if answer is None:
        return []
    rows = []
    for query, who in answer.assigned.items():
        level = problem.query_level(query)
        others = tied_answers(problem, answer, query)
        rows.append(
            {
                "query": query,
                "weight": f"{problem.queries[query]:g}",
                "who": said(who),
                "store": who.store,
                "p50": interval_said(who.answers[query].p50),
                "p99": interval_said(who.answers[query].p99),
                "level": "" if level is None else duration(level),
                "status": "" if level is None else who.answers[query].p99.status(level),
                "tied": listed([said(each) for each in others]),
            }
        )
    return rows


def said(who: Candidate) -> str:
    """Return a candidate's name, or that it is the source of truth."""
    return TRUTH_SAID if who.truth else who.name

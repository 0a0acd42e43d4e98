"""Modelled candidates for advice: figures in seconds and bytes, with intervals of a share around them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from rich.console import Console

from lab.advice import Advice, advise
from lab.advice.model import AnswerTime, Candidate, Reading, SelectionProblem
from lab.base import TRUTH
from lab.report.advice import print_advice
from lab.scenario import AdviceTable, LevelsTable

US, MS, MB = 1e-6, 1e-3, 1e6


def told(value: float, share: float = 0.05, **rest: Any) -> Reading:
    return Reading(value, value * (1 - share), value * (1 + share), **rest)


def times(p50: float, share: float = 0.05) -> AnswerTime:
    return AnswerTime(told(p50, share), told(2 * p50, share), told(1.1 * p50, share))


def store(
    name: str, engine: str, *, disk: float = 1 * MB, lag: float = 0.2, cannot: Mapping[str, str] | None = None,
    **answers: float | AnswerTime,
) -> Candidate:  # fmt: skip
    """A projection; an answer is a p50 in seconds, within 5 % either way."""
    made = {query: each if isinstance(each, AnswerTime) else times(each) for query, each in answers.items()}
    return Candidate(
        name, engine, made, told(lag), Reading(2.0, once=True), Reading(disk, once=True), cannot=cannot or {},
        rate=100.0, busy=0.1, busy_more=0.125,
    )  # fmt: skip


def source(**answers: float | AnswerTime) -> Candidate:
    """The source of truth, in SQLite."""
    made = {query: each if isinstance(each, AnswerTime) else times(each) for query, each in answers.items()}
    return Candidate(TRUTH, "sqlite.history", made, truth=True)


def problem(
    *candidates: Candidate, weights: Mapping[str, float] | None = None, kinds: Mapping[str, str] | None = None,
    reads: float = 100.0, settings: Mapping[str, Any] | None = None, **levels: Any,
) -> SelectionProblem:  # fmt: skip
    """The problem of these candidates, whose queries have weight 1 unless said."""
    asked = dict.fromkeys((query for each in candidates for query in each.answers), 1.0)
    return SelectionProblem(
        asked | dict(weights or {}), candidates, LevelsTable(**levels), frozenset({"sqlite"}), run="mine/1",
        settings=AdviceTable(**(settings or {})), reads_per_second=reads, kinds=kinds or {},
    )  # fmt: skip


def printed(advice: Advice, width: int = 120) -> str:
    """What `lab advise` prints, as one line: where it breaks doesn't matter."""
    out = io.StringIO()
    print_advice(advice, Console(file=out, width=width))
    return " ".join(out.getvalue().split())


def solved(*candidates: Candidate, **asked: Any) -> Advice:
    return advise(problem(*candidates, **asked))

"""Choosing databases: a survey of a business in many stores, and advice that is worked out again as wishes move.

The figures are those of one run. What is asked of them (weights, service levels) can be turned without another run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lab.advice import Advice, read
from lab.advice import advise as work_out
from lab.advice.model import SelectionProblem
from lab.report.advice.figure import pareto
from lab.report.advice.text import headline
from lab.runs import Run
from lab.scenario import LevelsTable
from lab.teach.experiments import experiment, from_file, messages, projection
from lab.teach.scale import scaled
from lab.teach.widgets import Drawn

__all__ = ["SURVEYS", "advice", "drawn", "headline", "kept", "pareto", "question", "survey"]

_QUICK = ("time.service=modelled", "measure.samples=12", "measure.warm_up=1", "readers.sessions=0")


def survey(business: str) -> Run:
    """Measure a business of the lab at teaching scale; the source of truth is left out of the running.

    `employees` is put into every store that is installed; the other two have the projections of their own scenarios.
    Raises KeyError for another.
    """
    return SURVEYS[business]()


def _employees() -> Run:
    measure = {"samples": 12, "warm_up": 1, "budget": 0.03, "truth": False}
    every = projection("sqlite-table", "sqlite.table")
    return experiment(
        every, commands=2_000, records=400, channel=messages(), projections="all", measure=measure,
        readers={"sessions": 0},
    )  # fmt: skip


def _flights() -> Run:
    # Fewer, and there is too little to go through for columns to pay.
    days = max(8, scaled(8))
    return from_file(
        "flights", f"domain.days={days}", "channel.outages=[]", "measure.truth=false", "measure.budget=0.1", *_QUICK
    )


def _marketing() -> Run:
    commands = max(2_000, scaled(3_000))
    return from_file(
        "marketing", f"workload.commands={commands}", f"domain.records={commands // 10}", "domain.change_at=0.6",
        "domain.change_takes=0.3", "channel.outages=[]", "measure.truth=false", "measure.budget=0.05", *_QUICK,
    )  # fmt: skip


SURVEYS = {"employees": _employees, "flights": _flights, "marketing": _marketing}


def question(finished: Run) -> SelectionProblem:
    """What the figures of a run are asked: candidates, weights and levels. Reading it is what takes time."""
    return read(finished)


def advice(asked: SelectionProblem, weights: Mapping[str, float] | None = None, **levels: Any) -> Advice:
    """The advice for other weights and levels. A query of weight 0 is one that nobody asks; None lifts a level.

    A query that is not named keeps its weight. Raises KeyError for a query that there is none of.
    """
    weighed = {**asked.queries}
    for name, weight in (weights or {}).items():
        weighed[name]
        weighed[name] = weight
    chosen = {name: weight for name, weight in weighed.items() if weight > 0}
    wished = LevelsTable.model_validate({**asked.levels.model_dump(), **levels})
    return work_out(replace(asked, queries=chosen, levels=wished))


def kept(given: Advice) -> tuple[str, ...]:
    """The names of the projections that are to be kept; none where nothing meets the levels."""
    return tuple(each.name for each in given.answer.members) if given.answer else ()


def drawn(given: Advice) -> Drawn:
    """The Pareto front, and the advice in a sentence: to be explored with sliders."""
    return pareto(given), headline(given)

"""Choose databases: measure a domain in many stores, and compute advice again as weights and levels change.

All figures come from one run; other weights and service levels need no further run.
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

_QUICK = (
    "time.service=modelled",
    "measure.samples=12",
    "measure.warm_up=1",
    "readers.sessions=0",
    "measure.trials=false",
)


def survey(business: str) -> Run:
    """Measure one of the lab's domains at teaching scale; the source of truth is not queried.

    `employees` is put into every installed store; `flights` and `marketing` have the projections of their scenarios.
    Raises KeyError for any other name.
    """
    return SURVEYS[business]()


def _employees() -> Run:
    measure = {"samples": 12, "blocks": 4, "warm_up": 1, "budget": 0.03, "truth": False, "trials": False}
    every = projection("sqlite-table", "sqlite.table")
    return experiment(
        every, commands=2_000, records=400, channel=messages(), projections="all", measure=measure,
        readers={"sessions": 0},
    )  # fmt: skip


def _flights() -> Run:
    # With fewer days there is too little data for a columnar store to be faster.
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
    """Read the candidates, weights and levels of a run; slow, so do it once for several calls of `advice`."""
    return read(finished)


def advice(asked: SelectionProblem, weights: Mapping[str, float] | None = None, **levels: Any) -> Advice:
    """Return the advice for other weights and levels. Weight 0 leaves a query out; None lifts a level.

    A query that is not named keeps its weight. Raises KeyError for an unknown query.
    """
    weighed = {**asked.queries}
    for name, weight in (weights or {}).items():
        weighed[name]
        weighed[name] = weight
    chosen = {name: weight for name, weight in weighed.items() if weight > 0}
    wished = LevelsTable.model_validate({**asked.levels.model_dump(), **levels})
    return work_out(replace(asked, queries=chosen, levels=wished))


def kept(given: Advice) -> tuple[str, ...]:
    """Return the names of the projections to keep; empty if nothing meets the levels."""
    return tuple(each.name for each in given.answer.members) if given.answer else ()


def drawn(given: Advice) -> Drawn:
    """Return the Pareto front and the advice in a sentence, for `explore`."""
    return pareto(given), headline(given)

"""Measure query times: the same queries in every projection and the source of truth, in shuffled rounds.

The wall clock is read around the store's `query`, which returns a complete list of rows whatever the engine. Answers
are kept and compared with the oracle's afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from time import perf_counter_ns
from typing import Protocol

import numpy as np
import polars as pl

from lab.base import NotAnswered
from lab.queries.answers import Row, same
from lab.queries.kinds import KINDS
from lab.queries.model import Query
from lab.statistics.intervals import quantile_interval
from lab.statistics.quantiles import reached
from lab.tables import TABLES

# How often a query is timed although its budget is used up: of a projection, and of the source of truth.
SAMPLES_MIN = 5
SAMPLES_FEW = 2


class Queryable(Protocol):
    """The target of a query: a store with a projection, or the source of truth."""

    @property
    def name(self) -> str:
        """Return `engine.shape`, or `engine.model`."""

    def query(self, query: Query, parameters: Row) -> list[Row]:
        """The rows of the answer."""


@dataclass(frozen=True)
class Wrong:
    """An answer that differs from the oracle's. `always`: the question is asked in every run of the scenario.

    Others depend on what is left of a budget of time, which no seed decides.
    """

    query: Query
    parameters: Row
    expected: list[Row]
    found: list[Row]
    # Why there is no answer.
    refused: str = ""
    always: bool = True

    def lines(self) -> list[str]:
        """Return the query and the first row that differs, or why there is no answer, as lines of text."""
        if self.refused:
            return [f"{self.query.name}: no answer", f"  {self.refused}"]
        pairs = zip([*self.expected, None], [*self.found, None], strict=False)
        expected, found = next(((a, b) for a, b in pairs if a is None or b is None or not same([a], [b])), (None, None))
        asked = ", ".join(map(repr, self.parameters[:5]))
        return [
            f"{self.query.name}({asked}): {len(self.found)} rows, must be {len(self.expected)}",
            f"  must be: {expected}",
            f"  answers: {found}",
        ]


@dataclass(slots=True)
class Asked:
    """The samples of one query in one projection: times in nanoseconds, parameters and answers.

    One that is asked without patience spends its budget from the first round on, warm-up or not; with it, only the
    rounds that count. `spent` is in nanoseconds.
    """

    projection: str
    store: Queryable
    query: Query
    patient: bool = True
    spent: int = 0
    nanoseconds: list[int] = field(default_factory=list)
    answers: list[tuple[Row, list[Row]]] = field(default_factory=list)
    # The numbers of the answers that are given in every run, whatever time the others took.
    always: set[int] = field(default_factory=set)
    wrong: list[Wrong] = field(default_factory=list)
    # Why a question came to no answer. A statement of the user's own that comes to none is not asked again.
    refused: dict[Row, str] = field(default_factory=dict)

    @property
    def unanswered(self) -> str:
        """Why a question came to no answer; empty if all were answered."""
        return next((f"{self.query.name}: {why}" for why in self.refused.values()), "")

    def ask(self, parameters: Row, counts: bool) -> None:
        """Ask once, timed; the time is kept as a sample if the round counts (not in warm-up)."""
        began = perf_counter_ns()
        try:
            rows = self.store.query(self.query, parameters)
        except NotAnswered as error:
            # What the data makes of a question is known by asking it: a sum may be too large for an engine.
            self.refused[parameters] = str(error)
            return
        took = perf_counter_ns() - began
        # What is timed at the least; and the first question of all, before which nothing was spent.
        few = SAMPLES_MIN if self.patient else SAMPLES_FEW
        if not self.answers or (len(self.nanoseconds) < few if counts else self.patient):
            self.always.add(len(self.answers))
        self.answers.append((parameters, rows))
        if counts:
            self.nanoseconds.append(took)
            self.spent += took
        elif not self.patient:
            self.spent += took

    def over(self, counts: bool, budget_seconds: float) -> bool:
        """Whether it has used up its budget and been asked as often as is needed all the same."""
        if self.refused and KINDS[self.query.kind].own:
            return True
        if self.spent <= budget_seconds * 1e9:
            return False
        if self.patient:
            return len(self.nanoseconds) >= SAMPLES_MIN
        return not counts or len(self.nanoseconds) >= SAMPLES_FEW


def interleave(
    asked: list[Asked],
    parameters: dict[str, list[Row]],
    warm_up: int,
    samples: int,
    budget_seconds: float,
    rng: np.random.Generator,
    progress: Callable[[], None] = lambda: None,
) -> None:
    """Ask everything in rounds, each in a new order, so that slow drift (thermal, cache) affects all contenders alike.

    `parameters` has `warm_up + samples` sets for each query by name; every projection is asked the same ones.
    """
    for turn in range(warm_up + samples):
        for place in rng.permutation(len(asked)):
            one = asked[place]
            drawn, counts = parameters[one.query.name], turn >= warm_up
            if drawn and not one.over(counts, budget_seconds):
                one.ask(drawn[turn % len(drawn)], counts)
        progress()


def check(asked: list[Asked], right: Callable[[Query, Row], list[Row]]) -> None:
    """Compare every answer with the oracle's, outside the timed region; the oracle's is computed once."""
    known: dict[tuple[str, Row], list[Row] | None] = {}

    def must(query: Query, parameters: Row) -> list[Row] | None:
        """The right answer; None where a statement can't be worked out over the data."""
        question = (query.name, parameters)
        if question not in known:
            try:
                known[question] = right(query, parameters)
            except NotAnswered:
                known[question] = None
        return known[question]

    for one in asked:
        for number, (parameters, found) in enumerate(one.answers):
            expected, always = must(one.query, parameters), number in one.always
            if expected is None and KINDS[one.query.kind].own:
                one.refused[parameters] = "the reference comes to no answer, so the right one is not known"
                # It may have taken as long as it may take: once is enough.
                break
            if expected is None:
                why = "there is no right answer over this data"
                one.wrong.append(Wrong(one.query, parameters, [], found, why, always))
            elif not KINDS[one.query.kind].agrees(one.query, expected, found):
                one.wrong.append(Wrong(one.query, parameters, expected, found, always=always))
        if not KINDS[one.query.kind].own:
            refused = ((asked, why) for asked, why in one.refused.items() if must(one.query, asked) is not None)
            one.wrong += [Wrong(one.query, asked_for, [], [], why) for asked_for, why in refused]
        whole = replace(one.query, limit=None)
        first = {one.answers[number][0] for number in one.always}
        for parameters, found in _every_match(one):
            expected = must(one.query, parameters)
            assert expected is not None
            if not KINDS[one.query.kind].agrees(whole, expected, found):
                one.wrong.append(Wrong(one.query, parameters, expected, found, always=parameters in first))


def _every_match(one: Asked) -> list[tuple[Row, list[Row]]]:
    """A ranked top k can be right while a match below it is missing: all matches are asked for, outside the timing."""
    if not KINDS[one.query.kind].ranked or one.query.limit is None or one.store.name == "null":
        return []
    whole = replace(one.query, limit=None)
    return [(parameters, one.store.query(whole, parameters)) for parameters in dict.fromkeys(p for p, _ in one.answers)]


def table(asked: list[Asked]) -> pl.DataFrame:
    """Return the table `queries`. The figures of a query with a wrong answer are null."""
    rows = []
    for one in asked:
        # The null store has no answers to be right or wrong about; its time is the harness's own.
        ok = None if one.store.name == "null" or (one.refused and not one.wrong) else not one.wrong
        times = np.array([] if one.refused else one.nanoseconds) / 1_000.0
        quantiles = {name: reached(times, share) for name, share in QUANTILES.items()}
        rows.append(
            {
                "projection": one.projection,
                "store": one.store.name,
                "query": one.query.name,
                "kind": one.query.kind,
                "samples": times.size,
                "rows": float(np.mean([len(found) for _, found in one.answers])) if one.answers else 0.0,
                **{name: None if ok is False else quantiles[name] for name in QUANTILES},
                "answer_ok": ok,
                "weight": one.query.weight,
                **(dict.fromkeys(ENDS) if ok is False else _ends(times)),
            }
        )
    return TABLES["queries"].frame(rows)


def _ends(times: np.ndarray) -> dict[str, float | None]:
    """Return the ends of the 95 % intervals of p50 and p99."""
    ends = [*quantile_interval(times, 0.5), *quantile_interval(times, 0.99)]
    return dict(zip(ENDS, ends, strict=True))


ENDS = ("p50_low_us", "p50_high_us", "p99_low_us", "p99_high_us")
QUANTILES = {"p50_us": 0.5, "p90_us": 0.9, "p99_us": 0.99}

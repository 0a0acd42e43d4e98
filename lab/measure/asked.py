"""What is asked of a store, and what came of it: times, answers, and answers that were wrong.

The wall clock is read around the store's `query`, which returns a complete list of rows whatever the engine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import Protocol

from lab.base import NotAnswered
from lab.queries.answers import Row, same
from lab.queries.kinds import KINDS
from lab.queries.model import Query
from lab.queries.readable import answered, asked

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
        expected, found = (None if row is None else answered(self.query, row) for row in (expected, found))
        parameters = ", ".join(map(repr, asked(self.query, self.parameters)[:5]))
        return [
            f"{self.query.name}({parameters}): {len(self.found)} rows, must be {len(self.expected)}",
            f"  must be: {expected}",
            f"  answers: {found}",
        ]


@dataclass(frozen=True, slots=True)
class HotBlock:
    """One block of calls, one right after the other: its number in the run, and the times of the calls that count.

    The calls of its warm-up came before them, `warm_up` in number. Times are in nanoseconds.
    """

    number: int
    warm_up: int
    nanoseconds: list[int]


@dataclass(slots=True)
class Asked:
    """The samples of one query in one projection: times in nanoseconds, parameters and answers.

    One that is asked without patience spends its budget from the first round on, warm-up or not; with it, only the
    rounds that count. `spent`, `spent_warm` and `spent_hot` are in nanoseconds. `nanoseconds` are of single calls
    (cold), `places` their rounds and their places within them, and `blocks` has the calls in blocks (hot).
    """

    projection: str
    store: Queryable
    query: Query
    patient: bool = True
    spent: int = 0
    spent_warm: int = 0
    nanoseconds: list[int] = field(default_factory=list)
    places: list[tuple[int, int]] = field(default_factory=list)
    spent_hot: int = 0
    blocks: list[HotBlock] = field(default_factory=list)
    # The answers to single calls; and those in blocks that differ from every answer to the same question before.
    answers: list[tuple[Row, list[Row]]] = field(default_factory=list)
    others: list[tuple[Row, list[Row]]] = field(default_factory=list)
    # The numbers of the answers that are given in every run in which no limit cuts the least number of calls.
    always: set[int] = field(default_factory=set)
    wrong: list[Wrong] = field(default_factory=list)
    # Why a question came to no answer. A statement of the user's own that comes to none is not asked again.
    refused: dict[Row, str] = field(default_factory=dict)

    @property
    def unanswered(self) -> str:
        """Why a question came to no answer; empty if all were answered."""
        return next((f"{self.query.name}: {why}" for why in self.refused.values()), "")

    @property
    def few(self) -> int:
        """How often it is timed at the least, whatever the budget, unless the limit cuts that short."""
        return SAMPLES_MIN if self.patient else SAMPLES_FEW

    def cut(self, limit_seconds: float) -> bool:
        """Whether the limit has cut the least number of single calls, or of calls in blocks."""
        spent = max(self.spent + self.spent_warm, self.spent_hot) > limit_seconds * 1e9
        return spent and min(len(times) for times in (self.nanoseconds, self.hot or self.nanoseconds)) < self.few

    @property
    def hot(self) -> list[int]:
        """The times of all blocks in nanoseconds."""
        return [one for block in self.blocks for one in block.nanoseconds]

    def ask(self, parameters: Row, counts: bool, limit_seconds: float = math.inf) -> None:
        """Ask once, timed; the time is kept as a sample if the round counts.

        In warm-up it doesn't, unless it takes longer than the limit: nothing has to be warmed up for such a call.
        """
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
        if counts or took > limit_seconds * 1e9:
            self.nanoseconds.append(took)
            self.spent += took
        elif self.patient:
            self.spent_warm += took
        else:
            self.spent += took

    def over_hot(self, budget_seconds: float, limit_seconds: float = math.inf) -> bool:
        """Whether it has used up its budget for blocks, or needs none: what came to no answer once has no time."""
        if self.refused:
            return True
        few = self.few if self.spent_hot <= limit_seconds * 1e9 else 1
        return self.spent_hot > budget_seconds * 1e9 and len(self.hot) >= few

    def over(self, counts: bool, budget_seconds: float, limit_seconds: float = math.inf) -> bool:
        """Whether it has used up its budget for single calls, and been asked as often as is needed all the same.

        What has taken the limit needs one call, and no more.
        """
        if self.refused and KINDS[self.query.kind].own:
            return True
        limited = self.spent + self.spent_warm > limit_seconds * 1e9
        if counts:
            return self.spent > budget_seconds * 1e9 and len(self.nanoseconds) >= (1 if limited else self.few)
        return limited or (not self.patient and self.spent > budget_seconds * 1e9)

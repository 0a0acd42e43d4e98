"""The input of advice: candidates with their measured figures, weights of queries, and the levels to meet. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from lab.measure.temperatures import HOT
from lab.scenario import LevelsTable

NO_LEVELS = LevelsTable()
Status = Literal["shown", "not certain", "measured once", "missed", "unknown"]


@dataclass(frozen=True)
class Reading:
    """A measured figure and its source: a table's column, in the row of a projection (and of a query).

    `value` is in seconds, bytes or a count; infinity where it was never reached or not measured. `low` and `high` are
    the ends of its 95 % interval, None where that end is unknown, for the `reason` that is given. `once`: one
    measurement, which has no interval. `untold`: there are too few samples to tell the figure; the value is infinite,
    and no level is judged by it.
    """

    value: float
    low: float | None = None
    high: float | None = None
    table: str = ""
    column: str = ""
    once: bool = False
    untold: bool = False
    reason: str = ""

    def meets(self, level: float | None) -> bool:
        """Return whether the value is within a level; without a level (None), or without a value, it always is."""
        return level is None or self.untold or self.value <= level

    def status(self, level: float) -> Status:
        """Return how certain it is that a level is met: by the whole interval, by the value alone, or by one sample.

        A level on a figure that isn't told is `unknown`.
        """
        if self.untold:
            return "unknown"
        if not self.meets(level):
            return "missed"
        if self.once:
            return "measured once"
        return "shown" if self.high is not None and self.high <= level else "not certain"


ZERO = Reading(0.0, 0.0, 0.0)
NOT_MEASURED = Reading(math.inf)


@dataclass(frozen=True)
class AnswerTime:
    """How fast a candidate answers one query: the p50 enters the cost, the p99 is compared with the level."""

    p50: Reading
    p99: Reading


@dataclass(frozen=True)
class Candidate:
    """A projection whose verdict passed, or the source of truth, which has no lag and needs no additional disk."""

    name: str
    store: str
    answers: Mapping[str, AnswerTime] = field(default_factory=dict)
    lag: Reading = ZERO
    rebuild: Reading = ZERO
    disk: Reading = ZERO
    truth: bool = False

    @property
    def engine(self) -> str:
        """Return the engine that has to be operated: the part of the store's name before the dot."""
        return self.store.partition(".")[0]


@dataclass(frozen=True)
class SelectionProblem:
    """Which candidates should answer these queries (name to weight) within these levels?

    `temperature` says which query times are taken (`lab.measure.temperatures`). `operated` are the engines that are
    operated anyway, for the source of truth. `left_out` has a sentence for each
    candidate or answer that could not be considered.
    """

    queries: Mapping[str, float]
    candidates: tuple[Candidate, ...]
    levels: LevelsTable = NO_LEVELS
    operated: frozenset[str] = frozenset()
    left_out: tuple[str, ...] = ()
    run: str = ""
    temperature: str = HOT

    @property
    def truth(self) -> Candidate | None:
        """Return the source of truth, if it was queried in the run."""
        return next((each for each in self.candidates if each.truth), None)

    @property
    def projections(self) -> tuple[Candidate, ...]:
        """Return the candidates without the source of truth."""
        return tuple(each for each in self.candidates if not each.truth)

    def query_level(self, query: str) -> float | None:
        """Return the limit of a query's p99 in seconds: its own level, else the one for all queries, else None."""
        return self.levels.queries.get(query, self.levels.query_p99)

    def level_name(self, query: str) -> str:
        """Return the name of the level that bounds a query."""
        return f"queries.{query}" if query in self.levels.queries else "query_p99"

    def set_levels(self) -> Iterator[tuple[str, float]]:
        """Yield each level that is set, with its value; a level of a single query only if the query was asked."""
        for name in ("lag_p99", "rebuild", "query_p99", "disk_bytes", "engines"):
            if (value := getattr(self.levels, name)) is not None:
                yield name, float(value)
        for name, seconds in self.levels.queries.items():
            if name in self.queries:
                yield f"queries.{name}", seconds

    def unanswered(self) -> list[str]:
        """Return the queries that no candidate answers, whatever the levels."""
        return [name for name in self.queries if not any(name in each.answers for each in self.candidates)]

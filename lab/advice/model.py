"""What advice is worked out from: candidates with their measured figures, weights, and the levels to meet. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from lab.scenario import LevelsTable

NO_LEVELS = LevelsTable()
Status = Literal["shown", "not certain", "measured once", "missed"]


@dataclass(frozen=True)
class Reading:
    """One figure and where it stands: a table's column, in the row of a projection (and of a query).

    `value` is in seconds, bytes or a count; infinity where it was never reached or not measured. `low` and `high` are
    the ends of its 95 % interval, None where that end is unknown. `once`: one measurement, which has no interval.
    """

    value: float
    low: float | None = None
    high: float | None = None
    table: str = ""
    column: str = ""
    once: bool = False

    def meets(self, level: float | None) -> bool:
        """Whether the figure itself is within a level; no level is always met."""
        return level is None or self.value <= level

    def status(self, level: float) -> Status:
        """How surely a level is met: by the whole interval, by the figure alone, or by a single measurement."""
        if not self.meets(level):
            return "missed"
        if self.once:
            return "measured once"
        return "shown" if self.high is not None and self.high <= level else "not certain"


ZERO = Reading(0.0, 0.0, 0.0)
NOT_MEASURED = Reading(math.inf)


@dataclass(frozen=True)
class AnswerTime:
    """How fast a candidate answers one query: the p50 is what it costs, the p99 is held against the level."""

    p50: Reading
    p99: Reading


@dataclass(frozen=True)
class Candidate:
    """A projection whose verdict passed, or the source of truth itself, which has no lag and takes no more disk."""

    name: str
    store: str
    answers: Mapping[str, AnswerTime] = field(default_factory=dict)
    lag: Reading = ZERO
    rebuild: Reading = ZERO
    disk: Reading = ZERO
    truth: bool = False

    @property
    def engine(self) -> str:
        """The engine that has to be operated: what stands before the dot."""
        return self.store.partition(".")[0]


@dataclass(frozen=True)
class SelectionProblem:
    """The question: which candidates are to answer these queries (name to weight), within these levels.

    `operated` are the engines that are operated already, for the source of truth. `left_out` says of each candidate or
    answer that could not be considered why not.
    """

    queries: Mapping[str, float]
    candidates: tuple[Candidate, ...]
    levels: LevelsTable = NO_LEVELS
    operated: frozenset[str] = frozenset()
    left_out: tuple[str, ...] = ()
    run: str = ""

    @property
    def truth(self) -> Candidate | None:
        """The source of truth, where it was asked too."""
        return next((each for each in self.candidates if each.truth), None)

    @property
    def projections(self) -> tuple[Candidate, ...]:
        """The candidates that cost a projection."""
        return tuple(each for each in self.candidates if not each.truth)

    def query_level(self, query: str) -> float | None:
        """What a query's p99 may take, in seconds: its own level, else the one for every query."""
        return self.levels.queries.get(query, self.levels.query_p99)

    def level_name(self, query: str) -> str:
        """The name of the level that holds for a query."""
        return f"queries.{query}" if query in self.levels.queries else "query_p99"

    def set_levels(self) -> Iterator[tuple[str, float]]:
        """The levels that are set, by name; those of single queries that were asked included."""
        for name in ("lag_p99", "rebuild", "query_p99", "disk_bytes", "engines"):
            if (value := getattr(self.levels, name)) is not None:
                yield name, float(value)
        for name, seconds in self.levels.queries.items():
            if name in self.queries:
                yield f"queries.{name}", seconds

    def unanswered(self) -> list[str]:
        """Queries that no candidate answers, whatever the levels."""
        return [name for name in self.queries if not any(name in each.answers for each in self.candidates)]

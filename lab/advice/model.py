"""The input of advice: candidates with their measured figures, weights of queries, and the levels to meet. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from lab.measure.temperatures import HOT
from lab.scenario import AdviceTable, LevelsTable

NO_LEVELS = LevelsTable()
USUAL = AdviceTable()
Status = Literal["shown", "not certain", "not judged", "measured once", "missed", "unknown"]


@dataclass(frozen=True)
class Reading:
    """A measured figure and its source: a table's column, in the row of a projection (and of a query).

    `value` is in seconds, bytes or a count; infinity where it was never reached or not measured, NaN where it is
    `untold`: there are too few samples to tell it. `low` and `high` are the ends of its 95 % interval, None where that
    end is unknown, for the `reason` that is given. `once`: one measurement, which has no interval. `remedy`: what would
    give the samples that an unknown end or value lacks. `spread`: between which values the middle 80 % of the samples
    are, by which a figure without an interval is told apart from others.
    """

    value: float
    low: float | None = None
    high: float | None = None
    table: str = ""
    column: str = ""
    once: bool = False
    untold: bool = False
    reason: str = ""
    remedy: str = ""
    spread: tuple[float, float] | None = None

    @property
    def ends(self) -> tuple[float, float | None]:
        """Return the ends by which it is told apart from others: of its interval, else of its spread."""
        low, high = self.spread or (0.0, None)
        return low if self.low is None else self.low, high if self.high is None else self.high

    @property
    def judged(self) -> bool:
        """Return whether a level can be held against it: it has an upper end, or is a single value."""
        return not self.untold and (self.once or self.high is not None or math.isinf(self.value))

    @property
    def bound(self) -> float:
        """Return what a level is held against: the upper end of the interval, else the value; 0 if it is untold."""
        if self.untold:
            return 0.0
        return self.value if self.high is None or self.once else max(self.value, self.high)

    @property
    def known(self) -> float:
        """Return the value for sorting: 0 if it is untold, so that what is unknown is not the worst."""
        return 0.0 if self.untold else self.value

    def meets(self, level: float | None, lenient: bool = False) -> bool:
        """Return whether the interval's upper end is within a level; without a level (None, infinity) it always is.

        A figure of too few samples meets no level; `lenient` lets it pass unless what is known of it is above.
        """
        if level is None or math.isinf(level):
            return True
        return self.bound <= level and (lenient or self.judged)

    def status(self, level: float) -> Status:
        """Return how a level is met: by the whole interval, by one measurement, or not.

        `not certain`: the value is within it and the upper end is not. `not judged`: there are too few samples for an
        upper end. `unknown`: there are too few for the value itself. None of the three counts as met.
        """
        if self.untold:
            return "unknown"
        if not self.value <= level:
            return "missed"
        if self.once:
            return "measured once"
        if self.high is None:
            return "not judged"
        return "shown" if self.high <= level else "not certain"


# What a commit is called in `SelectionProblem.beside` and in the table `beside`.
COMMIT = "commit"
ZERO = Reading(0.0, 0.0, 0.0)
NOT_MEASURED = Reading(math.inf)


@dataclass(frozen=True)
class AnswerTime:
    """How fast a candidate answers one query: the p50 enters the cost, the p99 is compared with the level.

    `mean` is the time that a read keeps the store busy, for the load on it; None if only quantiles are known.
    """

    p50: Reading
    p99: Reading
    mean: Reading | None = None

    @property
    def busy(self) -> Reading:
        """Return the mean time of an answer; without one, the median stands in for it."""
        return self.p50 if self.mean is None else self.mean


@dataclass(frozen=True)
class Candidate:
    """A projection whose verdict passed, or the source of truth, which has no lag and needs no additional disk.

    `cannot` has a reason for each query that it was not timed with. `rate` is the changes a second that it has to take,
    `busy` the share of the time in which it is at work on them, and `busy_more` the same at 25 % more; None: unknown.
    """

    name: str
    store: str
    answers: Mapping[str, AnswerTime] = field(default_factory=dict)
    lag: Reading = ZERO
    rebuild: Reading = ZERO
    disk: Reading = ZERO
    truth: bool = False
    cannot: Mapping[str, str] = field(default_factory=dict)
    rate: float | None = None
    busy: float | None = None
    busy_more: float | None = None

    @property
    def engine(self) -> str:
        """Return the engine that has to be operated: the part of the store's name before the dot."""
        return self.store.partition(".")[0]


@dataclass(frozen=True)
class SelectionProblem:
    """Which candidates should answer these queries (name to weight) within these levels?

    `temperature` says which query times are taken (`lab.measure.temperatures`). `operated` are the engines that are
    operated anyway, for the source of truth. `left_out` has a sentence for each candidate or answer that could not be
    considered. `settings` are those of `[advice]`; `reads_per_second` are all queries together, by weight.
    `write_busy` is the share of the time in which the source of truth executes commands, None if that is unknown.
    `replay` is the command that repeats the run, `options` what `lab advise` was told beyond it (`--set` and the like),
    `kinds` the class of each query by its name.
    `beside` has the p50 of a commit (`COMMIT`) and of each query at the source of truth, alone and beside each other.
    `changes_per_second` are those of the run, which replayed a recorded history `time_scale` times as fast as it was.
    `indexed`: whether the source of truth has indexes for readers; None where it can have none.
    `lenient`: figures of too few samples pass every level that they are not known to miss.
    """

    queries: Mapping[str, float]
    candidates: tuple[Candidate, ...]
    levels: LevelsTable = NO_LEVELS
    operated: frozenset[str] = frozenset()
    left_out: tuple[str, ...] = ()
    run: str = ""
    temperature: str = HOT
    settings: AdviceTable = USUAL
    reads_per_second: float = 0.0
    write_busy: float | None = None
    replay: str = ""
    kinds: Mapping[str, str] = field(default_factory=dict)
    beside: Mapping[str, tuple[Reading, Reading]] = field(default_factory=dict)
    lenient: bool = False
    indexed: bool | None = None
    time_scale: float = 1.0
    changes_per_second: float = 0.0
    options: tuple[str, ...] = ()

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

    def lag_level(self, query: str) -> float | None:
        """Return the limit of the lag p99 of what answers a query: its own level, else the one for all, else None."""
        return self.levels.lag.get(query, self.levels.lag_p99)

    def level_name(self, query: str) -> str:
        """Return the name of the level that bounds a query's time."""
        return f"queries.{query}" if query in self.levels.queries else "query_p99"

    def lag_name(self, query: str) -> str:
        """Return the name of the level that bounds the lag of what answers a query."""
        return f"lag.{query}" if query in self.levels.lag else "lag_p99"

    def meets(self, each: Candidate, query: str) -> bool:
        """Return whether a candidate answers a query within the query's levels of time and of lag."""
        if query not in each.answers:
            return False
        p99 = each.answers[query].p99
        return p99.meets(self.query_level(query), self.lenient) and each.lag.meets(self.lag_level(query), self.lenient)

    def truth_load(self, queries: Iterable[str]) -> Reading:
        """Return the share of the time in which reads of these queries keep the source of truth busy."""
        truth, total = self.truth, math.fsum(self.queries.values())
        if truth is None or not total:
            return ZERO
        asked = [name for name in queries if name in self.queries]
        rated = [
            (self.reads_per_second * self.queries[name] / total * self.slowed(name), truth.answers[name].busy)
            for name in asked
        ]
        if not rated:
            return ZERO
        high = [rate * busy.high for rate, busy in rated if busy.high is not None]
        upper = math.fsum(high) if len(high) == len(rated) else None
        value = math.fsum(rate * busy.known for rate, busy in rated)
        low = math.fsum(rate * (busy.low or 0.0) for rate, busy in rated)
        few = next((busy for _, busy in rated if busy.high is None), ZERO)
        return Reading(value, low, upper, "query_samples", "nanoseconds", reason=few.reason, remedy=few.remedy)

    def slowed(self, what: str) -> float:
        """Return how many times as long a read or a commit takes beside the others; 1 if that can't be told apart."""
        alone, crowded = self.beside.get(what, (ZERO, ZERO))
        apart = alone.high is not None and crowded.low is not None and crowded.low > alone.high
        return crowded.value / alone.value if apart and alone.value else 1.0

    def without(self, query: str) -> SelectionProblem:
        """Return the problem without one of its queries: the others are asked as often as before."""
        rest = {name: weight for name, weight in self.queries.items() if name != query}
        total, left = math.fsum(self.queries.values()), math.fsum(rest.values())
        share = left / total if total else 1.0
        return replace(self, queries=rest, reads_per_second=self.reads_per_second * share)

    def set_levels(self) -> Iterator[tuple[str, float]]:
        """Yield each level that is set, with its value; a level of a single query only if the query was asked."""
        for name in ("lag_p99", "rebuild", "query_p99", "disk_bytes", "engines", "truth_reads"):
            if (value := getattr(self.levels, name)) is not None:
                yield name, float(value)
        for table in ("queries", "lag"):
            for name, seconds in getattr(self.levels, table).items():
                if name in self.queries:
                    yield f"{table}.{name}", seconds

    def unanswered(self) -> list[str]:
        """Return the queries that no candidate answers, whatever the levels."""
        return [name for name in self.queries if not any(name in each.answers for each in self.candidates)]

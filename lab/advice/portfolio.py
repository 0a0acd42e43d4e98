"""A portfolio: which projections are kept, which of them answers which query, what it costs and which levels it misses.

Pure. Portfolios are made in `lab.advice.search`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from lab.advice.model import ZERO, Candidate, Reading, SelectionProblem


@dataclass(frozen=True)
class Miss:
    """A level that a portfolio misses: the projection or query, the limit and the value (seconds, bytes, count)."""

    level: str
    of: str
    asked: float
    had: float

    @property
    def overshoot(self) -> float:
        """Return by how much the value exceeds the level, as a share of the level."""
        return overshoot(self.asked, self.had)


def overshoot(asked: float, had: float) -> float:
    """Return by how much `had` exceeds `asked`, as a share of `asked`; of one if `asked` is 0."""
    return (had - asked) / (asked or 1.0)


@dataclass(frozen=True)
class Portfolio:
    """A set of projections in the scenario's order, with the candidate that answers each query."""

    problem: SelectionProblem
    members: tuple[Candidate, ...]
    assigned: dict[str, Candidate]

    def __hash__(self) -> int:
        return hash(self.names)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the projections' names, which identify the portfolio."""
        return tuple(each.name for each in self.members)

    @property
    def used(self) -> tuple[Candidate, ...]:
        """Return the candidates that answer a query, the source of truth included."""
        return tuple(each for each in self.problem.candidates if each.name in self._at_work)

    @cached_property
    def _at_work(self) -> set[str]:
        return {each.name for each in self.assigned.values()}

    @property
    def idle(self) -> bool:
        """Return whether a member answers no query."""
        return not self._at_work.issuperset(self.names)

    @cached_property
    def cost(self) -> float:
        """Return the weighted query time: the mean of the p50 by weight, in seconds."""
        return self._weighted([self.assigned[name].answers[name].p50.value for name in self.assigned])

    @cached_property
    def cost_interval(self) -> tuple[float, float | None]:
        """Return the cost at all lower ends and at all upper ends (None: unknown); wider than a 95 % interval."""
        readings = [self.assigned[name].answers[name].p50 for name in self.assigned]
        high = [reading.high for reading in readings]
        known = [end for end in high if end is not None]
        upper = self._weighted(known) if len(known) == len(high) else None
        return self._weighted([reading.low or 0.0 for reading in readings]), upper

    def _weighted(self, seconds: Sequence[float]) -> float:
        weights = [self.problem.queries[name] for name in self.assigned]
        total = math.fsum(weights)
        return math.fsum(w * t for w, t in zip(weights, seconds, strict=True)) / total if total else 0.0

    @property
    def lag(self) -> Reading:
        """Return the longest lag p99 among the members; untold if it is of one of them."""
        return _longest([each.lag for each in self.members])

    @property
    def rebuild(self) -> Reading:
        """Return the longest rebuild among the members; each is rebuilt alone."""
        return _longest([each.rebuild for each in self.members])

    @property
    def disk(self) -> float:
        """Return the bytes that all members take together."""
        return self.disk_taken.value

    @cached_property
    def disk_taken(self) -> Reading:
        """Return the bytes that all members take together, at all lower and at all upper ends, as a reading."""
        return disk_of(self.members)

    @property
    def engines(self) -> tuple[str, ...]:
        """Return the engines to operate in addition to those of the source of truth."""
        return tuple(sorted({each.engine for each in self.members} - self.problem.operated))

    @property
    def endless(self) -> tuple[Candidate, ...]:
        """Return the members whose lag grows without end, or of which changes never become visible: it has no p99."""
        return tuple(each for each in self.members if each.lag.table and math.isinf(each.lag.value))

    @property
    def units(self) -> int:
        """Return how much there is to operate: the projections, and the engines beside the source of truth's."""
        return len(self.members) + len(self.engines)

    @cached_property
    def truth_reads(self) -> Reading:
        """Return the share of the time in which the reads that it leaves to the source of truth keep that busy."""
        return self.problem.truth_load([query for query, who in self.assigned.items() if who.truth])

    @cached_property
    def burden(self) -> tuple[float, ...]:
        """Return the price without the time: new engines, projections, disk, lag, rebuild."""
        return (len(self.engines), len(self.members), self.disk, self.lag.known, self.rebuild.known)

    @cached_property
    def price(self) -> tuple[object, ...]:
        """Return what decides where time doesn't: new engines, projections, disk, lag, rebuild, time, names."""
        return (*self.burden, self.cost, self.names)

    @cached_property
    def order(self) -> tuple[object, ...]:
        """Return a sort key: size, then time, then the price."""
        return (len(self.members), self.cost, *self.price)

    @cached_property
    def unjudged(self) -> dict[str, Reading]:
        """Return the levels that are not judged for lack of samples, each with a figure that has too few."""
        found: dict[str, Reading] = {}
        for name, asked in self.problem.set_levels():
            few = [each for each in self.readings(name) if not each.judged and each.meets(asked, lenient=True)]
            found |= {name: few[0]} if few else {}
        return found

    @cached_property
    def misses(self) -> tuple[Miss, ...]:
        """Return every level that it is known to miss: by the value, or by the upper end of the interval."""
        problem, levels = self.problem, self.problem.levels
        found: dict[tuple[str, str], tuple[float | None, float]] = {}
        for each in self.members:
            if not each.rebuild.meets(levels.rebuild, lenient=True):
                found["rebuild", each.name] = (levels.rebuild, each.rebuild.bound)
        for query, each in self.assigned.items():
            lag, time = problem.lag_level(query), problem.query_level(query)
            if not each.lag.meets(lag, lenient=True):
                name = problem.lag_name(query)
                found[name, each.name if name == "lag_p99" else query] = (lag, each.lag.bound)
            if not each.answers[query].p99.meets(time, lenient=True):
                found[problem.level_name(query), query] = (time, each.answers[query].p99.bound)
        if not self.disk_taken.meets(levels.disk_bytes, lenient=True):
            found["disk_bytes", "all together"] = (levels.disk_bytes, self.disk_taken.bound)
        if levels.engines is not None and len(self.engines) > levels.engines:
            found["engines", ", ".join(self.engines)] = (levels.engines, len(self.engines))
        if not self.truth_reads.meets(levels.truth_reads, lenient=True):
            found["truth_reads", ""] = (levels.truth_reads, self.truth_reads.bound)
        return tuple(Miss(*key, asked or 0.0, had) for key, (asked, had) in found.items())

    @property
    def meets_levels(self) -> bool:
        """Return whether it meets the levels, as strictly as its problem asks."""
        return not self.misses and (self.problem.lenient or not self.unjudged)

    def readings(self, level: str) -> list[Reading]:
        """Return the figures that a level bounds: those of each query or projection that is under it."""
        if level == "rebuild":
            return [each.rebuild for each in self.members]
        if level == "truth_reads":
            return [self.truth_reads]
        if level == "disk_bytes":
            return [self.disk_taken]
        if level == "engines":
            return [Reading(float(len(self.engines)), once=True)]
        lags = [who.lag for query, who in self.assigned.items() if self.problem.lag_name(query) == level]
        bounded = (query for query in self.assigned if self.problem.level_name(query) == level)
        return [*lags, *(self.assigned[query].answers[query].p99 for query in bounded)]

    @property
    def figures(self) -> tuple[float, float, float, float]:
        """Return the dimensions of the Pareto front: lag p99, rebuild, weighted query time (seconds), disk (bytes).

        What is untold is NaN.
        """
        return self.lag.value, self.rebuild.value, self.cost, self.disk


def disk_of(members: Sequence[Candidate]) -> Reading:
    """Return the bytes that these take together: at all lower ends, at all upper ends, or measured once."""
    disks = [each.disk for each in members]
    value = math.fsum(each.value for each in disks)
    if all(each.once for each in disks):
        return Reading(value, table="rebuild", column="size_bytes", once=True)
    low = math.fsum(each.value if each.low is None else each.low for each in disks)
    return Reading(value, low, math.fsum(each.bound for each in disks), "rebuild", "size_bytes")


def _longest(readings: Sequence[Reading]) -> Reading:
    """Return the longest of several figures; of these the one that is untold, if any is."""
    return max(readings, key=lambda each: (each.untold, each.known, each.bound), default=ZERO)

"""The core of `lab plan`: a demand and laws in, needs out, and whether embedded, one server or partitions are enough.

A partition has its share of the changes, of the rate and of the records, as if keys were spread evenly, and a server
of its own. The fewest partitions are looked for with which every level is kept at the upper end of its interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache

from lab.planning.laws import Foretold, MeasuredRun, QueueLaw, law_of
from lab.planning.queue import QueueSettings
from lab.statistics.powers import FURTHEST

DAY = 86_400.0
EMBEDDED, SERVER, PARTITIONS = "the embedded default", "one server", "a partitioned set"
PARTITIONS_MAX = 1_024
KEPT, BROKEN, UNKNOWN = "kept", "broken", "unknown"


@dataclass(frozen=True)
class Demand:
    """What is asked for: changes a second, changes that are kept, levels, and how busy a server may be.

    `wider` is how many times the bytes that a measured change has a change will have. `levels` by quantity: `lag_p99`
    and `rebuild` in seconds, `size` in bytes, of each projection. With `partitions`, so many are planned for; else the
    fewest that keep the levels are looked for.
    """

    rate: float
    changes: float
    busiest: float = 0.7
    wider: float = 1.0
    levels: dict[str, float] = field(default_factory=dict)
    partitions: int | None = None


@dataclass(frozen=True)
class PlannedPart:
    """What the source of truth or a projection needs, with `partitions` of it; `enough` is empty where none is.

    `figures` are those of one partition, but `size`, which is that of all. `kept` says whether each level is kept.
    """

    name: str
    store: str
    source: str
    server: str
    figures: dict[str, Foretold]
    kept: dict[str, str]
    partitions: int | None
    reason: str = ""

    @property
    def enough(self) -> str:
        """Which kind of place is enough; empty if it isn't known, or none is."""
        if self.partitions is None or any(state != KEPT for name, state in self.kept.items() if name != "size"):
            return ""
        return PARTITIONS if self.partitions > 1 else SERVER if self.server else EMBEDDED


@dataclass(frozen=True)
class PlannedFeed:
    """What the feed has to carry: changes and bytes a second, polls, pages, and how quickly it was read at the least.

    `busy` is the share of the time that one reader takes at the most: a rebuild reads all of it, and does more.
    """

    rate: float
    bytes_per_second: float | None
    polls_per_second: float
    changes_per_poll: float
    pages_per_poll: int
    busy: Foretold
    source: str


@dataclass(frozen=True)
class PlannedNeeds:
    """The whole plan."""

    demand: Demand
    truth: PlannedPart
    feed: PlannedFeed
    projections: tuple[PlannedPart, ...]

    @property
    def parts(self) -> tuple[PlannedPart, ...]:
        """The source of truth and all projections."""
        return (self.truth, *self.projections)

    @property
    def verdict(self) -> str:
        """`kept` if everything is enough somewhere; `broken` if a level surely isn't kept; else `unknown`."""
        states = [state for each in self.parts for state in each.kept.values()]
        if BROKEN in states:
            return BROKEN
        return KEPT if all(each.kept for each in self.parts) and set(states) == {KEPT} else UNKNOWN


@dataclass(frozen=True)
class PlannedStore:
    """A projection to plan for: its runs, the model fitted to them, and how it is to be fed."""

    name: str
    store: str
    source: str
    server: str
    runs: tuple[MeasuredRun, ...]
    model: QueueLaw
    settings: QueueSettings
    withheld: str = ""


Figures = Callable[[int], dict[str, Foretold]]


def planned(
    demand: Demand, truth: tuple[str, str, str, float, Sequence[MeasuredRun]], stores: Sequence[PlannedStore],
    change_bytes: float | None = None,
) -> PlannedNeeds:  # fmt: skip
    """Return what a demand needs. `truth`: engine and model, source, server, changes per command, runs."""
    parts = tuple(_projection(demand, each) for each in stores)
    return PlannedNeeds(demand, _truth(demand, *truth), _feed(demand, stores, change_bytes), parts)


def _projection(demand: Demand, each: PlannedStore) -> PlannedPart:
    if each.withheld:
        return PlannedPart(each.name, each.store, each.source, each.server, {}, {}, None, each.withheld)
    rebuild, size, memory = (
        law_of(each.runs, quantity, unit)
        for quantity, unit in (("rebuild", "seconds"), ("size", "bytes"), ("peak_rss", "bytes"))
    )

    def figures(parts: int) -> dict[str, Foretold]:
        rate, changes = demand.rate / parts, demand.changes / parts
        found = each.model.at(rate, changes, each.settings)
        found |= {"rebuild": rebuild.at(changes), "size": size.at(changes).times(parts * demand.wider)}
        return found | {"peak_rss": memory.at(changes)}

    levels = {"busy_share": demand.busiest} | {
        name: level for name, level in demand.levels.items() if name in ("lag_p99", "rebuild", "size")
    }
    whose = each.name, each.store, each.source, each.server
    return _fewest(whose, figures, levels, _least(demand, each.runs), demand.partitions)


def _truth(
    demand: Demand, name: str, source: str, server: str, per_command: float, runs: Sequence[MeasuredRun]
) -> PlannedPart:
    write, size = law_of(runs, "write_seconds", "seconds"), law_of(runs, "truth_size", "bytes")

    def figures(parts: int) -> dict[str, Foretold]:
        changes, commands = demand.changes / parts, demand.rate / per_command / parts
        each = write.at(changes)
        return {
            "busy_share": each.times(commands, "busy_share", "share"),
            "write_seconds": each,
            "size": size.at(changes).times(parts * demand.wider),
        }

    # A write is timed by itself, at whatever rate.
    least = math.ceil(demand.changes / (FURTHEST * max(run.changes for run in runs)))
    whose = "source of truth", name, source, server
    return _fewest(whose, figures, {"busy_share": demand.busiest}, least, demand.partitions)


def _least(demand: Demand, runs: Sequence[MeasuredRun]) -> int:
    """Return with how many partitions each is small and slow enough for anything to be told."""
    size, rate = max(run.changes for run in runs), max(run.rate for run in runs)
    return max(1, math.ceil(demand.changes / (FURTHEST * size)), math.ceil(demand.rate / (FURTHEST * rate)))


def _fewest(
    whose: tuple[str, str, str, str], figures: Figures, levels: dict[str, float], least: int, given: int | None
) -> PlannedPart:
    """Return the part with the fewest partitions that keep every level; with one, if none do.

    Its size on disk is judged as it is: a total doesn't become smaller by being divided.
    """

    @cache
    def state(parts: int) -> tuple[dict[str, Foretold], dict[str, str]]:
        found = figures(parts)
        return found, {quantity: judged(found[quantity], level) for quantity, level in levels.items()}

    def kept(parts: int) -> bool:
        return all(each == KEPT for quantity, each in state(parts)[1].items() if quantity != "size")

    def part(parts: int, number: int | None, reason: str = "") -> PlannedPart:
        return PlannedPart(*whose, *state(parts), number, reason)

    if given is not None:
        return part(given, given)
    if kept(1):
        return part(1, 1)
    # Of larger parts than that, nothing is told.
    low, high = max(1, least - 1), max(2, least)
    while high <= PARTITIONS_MAX and not kept(high):
        low, high = high, 2 * high
    if high > PARTITIONS_MAX:
        if least > PARTITIONS_MAX:
            return part(1, None, f"not even of {PARTITIONS_MAX:,} partitions is anything told: measure larger sizes")
        broken = [quantity for quantity, each in state(1)[1].items() if each != KEPT and quantity != "size"]
        return part(1, None, f"no number of partitions up to {PARTITIONS_MAX:,} surely keeps {', '.join(broken)}")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if kept(middle) else (middle, high)
    if high == least:
        return part(high, high, "fewer may be enough, but of larger parts nothing is told")
    missed = [quantity for quantity, each in state(high - 1)[1].items() if each != KEPT and quantity != "size"]
    return part(high, high, f"with {high - 1:,}, {' and '.join(missed)} may be more than the level")


def judged(found: Foretold, level: float) -> str:
    """Return whether a level is kept by the whole interval, broken by the whole of it, or neither is sure."""
    if found.value is None or found.low is None:
        return BROKEN if "can't keep up" in found.reason else UNKNOWN
    if found.high is not None and found.high <= level:
        return KEPT
    return BROKEN if found.low > level else UNKNOWN


def _feed(demand: Demand, stores: Sequence[PlannedStore], change_bytes: float | None) -> PlannedFeed:
    """The feed of all projections; read as quickly as by the quickest rebuild, at the least."""
    polling = [each.settings for each in stores if each.settings.pace.polls]
    every = max((each.pace.every for each in polling), default=0.0)
    polled = demand.rate * every
    pages = max((math.ceil(demand.rate * each.pace.every / each.page) for each in polling), default=0)
    readers = [(law_of(each.runs, "rebuild", "seconds").at(demand.changes), each) for each in stores]
    known = [(found.value, found, each) for found, each in readers if found.value is not None]
    sent = None if change_bytes is None else demand.rate * change_bytes * demand.wider
    polls = sum(1 / each.pace.every for each in polling)
    if not known:
        why = readers[0][0].reason if readers else "no projection was measured"
        return PlannedFeed(demand.rate, sent, polls, polled, pages, Foretold("busy_share", "share", reason=why), "")
    _, quickest, whose = min(known, key=lambda each: each[0])
    busy = quickest.times(demand.rate / demand.changes, "busy_share", "share")
    return PlannedFeed(demand.rate, sent, polls, polled, pages, busy, f"{whose.source}, rebuild of {whose.name}")

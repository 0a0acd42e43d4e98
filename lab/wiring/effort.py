"""Estimate what a run asks for before it starts: simulated time, steps, and memory. What would not end is refused.

Each key has its own range; only together do they say how long a run takes. Of a history that is replayed, the changes
are counted when it has been read.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass

from lab.base import Problem
from lab.running.service_times import RecordedWork
from lab.scenario import FaultsTable, ProjectionTable, Scenario
from lab.scenario.draws import expected, longest
from lab.scenario.limits import READS_MAX, SECONDS_MAX
from lab.wiring.replicas import replica_names

# A step is a batch or a poll that is executed, or a query that is asked: from 20 microseconds to some milliseconds. So
# many take from some minutes to some hours.
STEPS_MAX = 20_000_000
# A poll that finds nothing is skipped, at a few nanoseconds.
POLLS_MAX = 1_000_000_000
# Of a command with its events and the oracle's states, and of a change in the journal of each projection.
BYTES_PER_COMMAND, BYTES_PER_CHANGE = 2_500, 150
# Of a change of a history that is replayed: nearly all of what there is for each of them is on disk. Ten million took
# 0.8 GB in all, a hundred million 1.8 GB while they were read.
BYTES_PER_REPLAYED = 80


@dataclass(frozen=True)
class _Estimate:
    """One projection's part: seconds of simulated time, steps, polls, and the keys that matter most."""

    seconds: float
    steps: float
    polls: float
    longest: str
    busiest: str


def problems(
    scenario: Scenario,
    changes: int,
    seconds: float,
    file: str,
    recorded: Mapping[str, RecordedWork],
    replayed: bool = False,
) -> list[Problem]:
    """Return what is too much, for so many changes committed within so many seconds of simulated time.

    `recorded` is the work that modelled times are drawn from, by projection; `replayed`, that the changes are a history
    and not commands.
    """
    found = _memory(scenario, changes, file, replayed) + _measuring(scenario, file)
    for table in scenario.projection:
        if math.isinf(_tries(table.faults or scenario.faults)):
            where = f"{file}: {f'projection.{table.name}.' if table.faults else ''}faults"
            what = "each apply is refused or crashes: the run would never end"
            found.append(Problem(where, what, "refuse and crash below 1"))
    if found:
        return found
    parts = {
        table.name: _projection(scenario, table, changes, seconds, recorded.get(table.name))
        for table in scenario.projection
    }
    slowest = max(parts.values(), key=lambda part: part.seconds)
    if slowest.seconds > SECONDS_MAX:
        what = f"the run would last about {_years(slowest.seconds)} of simulated time"
        found.append(Problem(f"{file}: {slowest.longest}", what, f"at most {_years(SECONDS_MAX)}"))
        return found
    if sum(part.steps for part in parts.values()) > STEPS_MAX:
        name, busiest = max(parts.items(), key=lambda item: item[1].steps)
        what = f"the run would take about {_many(sum(part.steps for part in parts.values()))} steps, most of them here"
        way_out = f"at most {STEPS_MAX:,}: larger batches, fewer faults, or fewer commands"
        found.append(Problem(f"{file}: projection.{name}: {busiest.busiest}", what, way_out))
    if sum(part.polls for part in parts.values()) > POLLS_MAX:
        name, longest = max(parts.items(), key=lambda item: item[1].polls)
        what = f"about {_many(longest.polls)} polls in {_time(longest.seconds)} of simulated time"
        way_out = f"at most {POLLS_MAX:,}: a longer interval, or less time ({longest.longest})"
        found.append(Problem(f"{file}: projection.{name}.every", what, way_out))
    return found


def _memory(scenario: Scenario, changes: int, file: str, replayed: bool) -> list[Problem]:
    """Refuse a history that doesn't fit into the memory of this machine."""
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 2**34
    twice = 1 + scenario.channel.duplicate if scenario.channel else 1
    needed = changes * (BYTES_PER_COMMAND + BYTES_PER_CHANGE * (1 + twice) * len(scenario.projection))
    where, way_out = "workload.commands", "fewer commands, or fewer projections"
    if replayed:
        needed = changes * BYTES_PER_REPLAYED
        where, way_out = "domain", "set domain.days or domain.records to replay a part of the history"
    if needed <= there:
        return []
    what = f"the run would need about {_many(needed / 1e9)} GB of memory, and this machine has {there / 1e9:.0f}"
    return [Problem(f"{file}: {where}", what, way_out)]


def _measuring(scenario: Scenario, file: str) -> list[Problem]:
    found = []
    readers, measure = scenario.readers, scenario.measure
    if (reads := readers.sessions * readers.reads) > READS_MAX:
        what = f"{reads:,} reads of each projection"
        found.append(Problem(f"{file}: readers.sessions", what, f"at most {READS_MAX:,}: sessions times reads"))
    if scenario.replicas and (asked_of := readers.sessions * len(replica_names(scenario))) > READS_MAX:
        what = f"{asked_of:,} requests to replicas"
        found.append(Problem(f"{file}: readers.sessions", what, f"at most {READS_MAX:,}: sessions times replicas"))
    asked = (
        (measure.samples + measure.warm_up)
        * (1 + measure.blocks)
        * max(1, len(scenario.query))
        * (1 + len(scenario.projection))
    )
    if asked > STEPS_MAX:
        what = f"about {asked:,} questions asked"
        found.append(
            Problem(f"{file}: measure.samples", what, f"at most {STEPS_MAX:,}: samples, blocks, queries, projections")
        )
    return found


def _projection(
    scenario: Scenario, table: ProjectionTable, changes: int, seconds: float, recorded: RecordedWork | None
) -> _Estimate:
    faults = table.faults or scenario.faults
    channel = scenario.channel if table.subscribe != "catch-up" else None
    copies = changes * (1 + channel.duplicate) if channel else 0.0
    times = {"workload.rate": seconds, **_waiting(scenario, table, changes, int(copies))}
    a_second = changes / max(seconds, 1e-9)
    taken = max(1.0, min(table.batch, 1 + a_second * table.linger))
    batches = copies / taken + (changes / table.batch if table.subscribe != "channel" else 0.0)
    tried = _tries(faults)
    batches *= tried
    slower = max([1.0, *(item.factor for item in faults.slow)])
    model = table.model or scenario.time.model
    if scenario.time.service == "modelled":
        name = f"projection.{table.name}.model" if table.model else "time.model"
        rows, one = copies + changes, recorded or model
        times[name] = tried * slower * one.per_row * rows + slower * one.per_batch * (batches + changes)
    times["faults.down"] = batches * faults.crash * faults.down
    times["faults.retry"] = batches * faults.refuse * faults.retry
    times["faults.crashes"] = sum(crash.lasts for crash in faults.crashes)
    whole = sum(times.values())
    every = table.every or scenario.catch_up.every
    polls = whole / every if table.subscribe != "channel" else 0.0
    tries = whole / faults.retry_parked if faults.poison else 0.0
    steps = {
        "workload.commands": changes / table.batch,
        "batch": batches,
        "faults.retry_parked": min(tries, polls + batches),
        "every": min(polls, changes + batches + _one_by_one(scenario, table, every)),
    }
    return _Estimate(
        whole, sum(steps.values()), polls, max(times, key=times.__getitem__), max(steps, key=steps.__getitem__)
    )


def _waiting(scenario: Scenario, table: ProjectionTable, changes: int, copies: int) -> dict[str, float]:
    """The seconds that changes and messages wait at most, by key: the last of them ends the run."""
    times = {f"projection.{table.name}.linger": table.linger}
    if writers := scenario.writers:
        strategy = table.gaps or scenario.catch_up.gaps
        abreast = 1 if strategy == "serialise" else writers.count
        busy = changes * (1 + writers.abort) / abreast
        times["writers.hold"] = busy * expected(writers.hold) + longest(writers.hold, changes)
        asleep = changes * writers.sleep.share
        times["writers.sleep"] = asleep / abreast * expected(writers.sleep.lasts)
        times["writers.sleep"] += longest(writers.sleep.lasts, int(asleep))
        if strategy == "hold":
            times["gap_limit"] = table.gap_limit or scenario.catch_up.gap_limit
    if (channel := scenario.channel) and copies:
        times["channel.delay"] = longest(channel.delay, copies)
        times["channel.reorder"] = longest(channel.reorder.extra, int(copies * channel.reorder.share))
        whole = changes / scenario.workload.rate + sum(times.values())
        within = [item.lasts for item in channel.outages if item.at <= whole and not item.loses]
        times["channel.outages"] = max(within, default=0.0)
    return times


def _tries(faults: FaultsTable) -> float:
    """How often a batch is tried on average until it lands; infinity for never."""
    lands = (1 - faults.refuse) * (1 - faults.crash)
    return 1 / lands if lands > 0 else math.inf


def _one_by_one(scenario: Scenario, table: ProjectionTable, every: float) -> float:
    """Polls that are executed although they find nothing: while a projection is built beside and is not yet level."""
    if table.rebuild is None or table.rebuild.mode != "blue-green" or scenario.writers is None:
        return 0.0
    writers = scenario.writers
    return (longest(writers.hold, 1_000) + longest(writers.sleep.lasts, 1_000)) / every


def _many(number: float) -> str:
    return f"{number:,.0f}" if number < 1e15 else f"{number:.0e}"


def _years(seconds: float) -> str:
    return f"{_many(seconds / (365.25 * 86_400))} years"


def _time(seconds: float) -> str:
    return f"{_many(seconds)} s"

"""Reads at the source of truth beside its commits: what each costs the other, on one connection.

The last changes of the run are committed once more to a source of truth of their own, one by one: in blocks by
themselves, and in blocks with reads between them, at the ratio of reads to changes. The same reads are timed by
themselves, too. In every other round the order of the blocks is reversed, so that a drift affects all alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from time import perf_counter_ns
from typing import Any

import numpy as np
import polars as pl

from lab.base import NotAnswered, stream
from lab.experiment.ask import call_limits
from lab.experiment.progress import Progress
from lab.experiment.write import Replay, Written
from lab.measure.asked import Asked
from lab.measure.asking import longer
from lab.place import FolderPlace
from lab.queries.answers import Row
from lab.queries.model import Query
from lab.spill import sifted
from lab.statistics.grouped import in_order
from lab.statistics.intervals import intervals
from lab.statistics.quantiles import told
from lab.truth import Truth
from lab.wiring import Plan

COMMIT = "commit"
# Commits in a block; blocks at the most; and the share of the changes that may be committed again.
_BLOCK, _ROUNDS_MAX, _SHARE = 20, 20, 0.5
_KINDS = ("alone", "beside", "reads")


@dataclass
class _Times:
    """Nanoseconds of each thing that was timed, by itself and beside the others."""

    alone: dict[str, list[int]] = field(default_factory=dict)
    beside: dict[str, list[int]] = field(default_factory=dict)


def beside(
    plan: Plan, written: Written, asked: Sequence[Asked], main: Truth, place: FolderPlace, progress: Progress
) -> list[dict[str, Any]]:
    """Return the rows of the table `beside`; none if the source of truth answered nothing, or has too few changes.

    It takes `measure.budget` for each of the three kinds of block, at the most one block longer. `main` has all of the
    changes. What takes longer than `measure.limit` is not asked: a note of the run says so.
    """
    limit = call_limits(plan).limit_seconds
    able = [one for one in asked if one.answers and not one.refused and not one.wrong and not longer(one, limit)]
    at = written.published.committed_at
    at = at if in_order(at) else np.sort(at)
    if not able or at.size < 4 * _BLOCK:
        return []
    again = min(int(at.size * _SHARE), _BLOCK * 2 * _ROUNDS_MAX)
    truth = plan.truth(place)
    try:
        cut = float(at[-again - 1])
        progress.step("loading a source of truth to be read beside", at.size - again)
        later = {name: _later(frame, cut)["position"].to_list() for name, frame in written.events.items()}
        if not truth.copy(main, later):
            Replay(truth, written.events).advance(cut, progress.done)
        times = _measure(plan, truth, _commits(written.events, cut), able, again)
    finally:
        truth.drop()
    names = [COMMIT, *(one.query.name for one in able)]
    return [_row(name, times) for name in names if times.alone.get(name) and times.beside.get(name)]


def _later(frame: pl.DataFrame, cut: float) -> pl.DataFrame:
    """Return the changes after a moment."""
    return sifted(frame, pl.col("committed_at") > cut)


def _commits(events: dict[str, pl.DataFrame], cut: float) -> Iterator[tuple[str, pl.DataFrame]]:
    """Yield each change after a moment as a frame of one row, in the order of their commits."""
    rows = [
        (moment, entity, number)
        for entity, frame in events.items()
        for number, moment in _later(frame.select("committed_at").with_row_index(), cut).iter_rows()
    ]
    for _, entity, number in sorted(rows):
        yield entity, events[entity][number : number + 1]


def _measure(
    plan: Plan, truth: Truth, commits: Iterator[tuple[str, pl.DataFrame]], able: Sequence[Asked], changes: int
) -> _Times:
    times, spent = _Times(), dict.fromkeys(_KINDS, 0)
    random = stream(plan.scenario.seed, "beside")
    budget = plan.scenario.measure.budget * 1e9
    reads = _reads(able, random)
    # Warm: the first commit and the first answer open files and fill caches.
    _commit(truth, commits, [])
    for _ in able:
        _read(truth, *next(reads), {})
    each = _per_commit(plan, changes)
    for turn in range(min(_ROUNDS_MAX, changes // (2 * _BLOCK))):
        for kind in _KINDS if turn % 2 else _KINDS[::-1]:
            began = perf_counter_ns()
            due = 0.0
            for _ in range(_BLOCK):
                if kind != "reads" and not _commit(truth, commits, _list(times, kind)):
                    return times
                due += each
                while kind != "alone" and due >= 1.0:
                    due -= 1.0
                    _read(truth, *next(reads), times.beside if kind == "beside" else times.alone)
                if perf_counter_ns() - began > budget / 2:
                    break
            spent[kind] += perf_counter_ns() - began
        if any(value > budget for value in spent.values()):
            break
    return times


def _list(times: _Times, kind: str) -> list[int]:
    return (times.alone if kind == "alone" else times.beside).setdefault(COMMIT, [])


def _per_commit(plan: Plan, changes: int) -> float:
    """Return how many reads there are for each change; one where the scenario doesn't say how often it is asked."""
    asked, rate = plan.scenario.advice.reads_per_second, plan.scenario.workload.rate
    return 1.0 if asked is None or not rate else min(asked / rate, 20.0)


def _reads(able: Sequence[Asked], random: np.random.Generator) -> Iterator[tuple[Query, Row]]:
    """Yield queries by weight, each with the parameters that it was asked with before, over and over."""
    weights = np.array([one.query.weight for one in able])
    drawn = [cycle([parameters for parameters, _ in one.answers]) for one in able]
    # Each of them once, then by weight.
    for place in range(len(able)):
        yield able[place].query, next(drawn[place])
    while True:
        for place in random.choice(len(able), 256, p=weights / weights.sum()):
            yield able[place].query, next(drawn[place])


def _commit(truth: Truth, commits: Iterator[tuple[str, pl.DataFrame]], times: list[int]) -> bool:
    """Commit the next change, timed; return False if there is none left."""
    found = next(commits, None)
    if found is None:
        return False
    began = perf_counter_ns()
    truth.load(*found)
    times.append(perf_counter_ns() - began)
    return True


def _read(truth: Truth, query: Query, parameters: Row, times: dict[str, list[int]]) -> None:
    began = perf_counter_ns()
    try:
        truth.query(query, parameters)
    except NotAnswered:
        return
    times.setdefault(query.name, []).append(perf_counter_ns() - began)


def _row(name: str, times: _Times) -> dict[str, Any]:
    row: dict[str, Any] = {"what": name}
    for kind, samples in (("alone", times.alone[name]), ("beside", times.beside[name])):
        micros = np.array(samples) / 1e3
        (found,) = intervals(micros, (0.5,))
        row |= {f"{kind}_samples": micros.size, f"{kind}_p50_us": told(micros, 0.5)}
        row |= {f"{kind}_mean_us": float(micros.mean())}
        row |= {f"{kind}_p50_low_us": found.low, f"{kind}_p50_high_us": found.high}
    return row

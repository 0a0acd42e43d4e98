"""The write step: decide and commit commands, or take a history as it is; and replay it in simulated time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter, perf_counter_ns
from typing import Any

import numpy as np
import polars as pl

from lab.base import stream
from lab.domain.model import Command
from lab.experiment.progress import Progress
from lab.feed.contracts import published
from lab.feed.published import Published
from lab.feed.reader import with_before
from lab.mapped import breathe
from lab.place import FolderPlace
from lab.scenario import refuse
from lab.spill import Spill, sized, taken
from lab.statistics.quantiles import told, unbiased
from lab.truth import Change, Truth
from lab.verdict.oracle import Oracle
from lab.wiring import Plan, effort
from lab.wiring.disk import disk_problem

# Rows that are committed to the source of truth at once, at the most: nothing reads it meanwhile.
LOADED_AT_ONCE = 200_000


@dataclass
class Written:
    """What was committed: as it was published, as the oracle has it, and as rows with their events, to be replayed.

    `events` has the columns of the write model, `published` those of the contracts.
    `source` has the rows of the table `source`.
    `writes` is the row of the table `writes`; a history that is loaded in bulk fills it in when it is replayed.
    `size_bytes` is what the source of truth takes at the end, filled in once it has been asked; None before.
    """

    published: Published
    oracle: Oracle
    events: dict[str, pl.DataFrame]
    writes: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    source: Sequence[Mapping[str, Any]] = ()
    size_bytes: int | None = None


def write(plan: Plan, work: Path, progress: Progress, spill: Spill | None = None) -> Written:
    """Commit everything of this run, with simulated commit times; what there is for each change goes to `spill`."""
    spill = spill or Spill()
    if plan.domain.has_trace:
        progress.step("reading the history", 1)
        trace = plan.domain.trace(plan.options)
        changes = trace.changes
        # Only what is spilled stays.
        events = {name: spill.kept(trace.frames.pop(name)) for name in list(trace.frames)}
        frames = {name: frame.drop("event") for name, frame in events.items()}
        lasts = max((float(frame["committed_at"][-1]) for frame in frames.values() if frame.height), default=0.0)
        refuse(effort.problems(plan.scenario, changes, lasts, plan.source.path.name, plan.recorded, True))
        _confirm_room(plan, frames, work, progress)
        oracle = Oracle.of_trace(plan.domain, frames, spill)
        progress.done(1)
        writes: dict[str, Any] = {"commands": changes, "accepted": changes, "rejected": 0, "conflicts": 0}
        writes |= dict.fromkeys(("per_second", "p50_us", "p99_us", "p99_unbiased_us"))
        bulk = "The history was loaded in bulk, as fast as it goes: `writes` is no rate of commands."
        notes = [*trace.notes, bulk]
        return Written(as_published(plan, frames, spill), oracle, events, writes, notes, source=trace.source)
    commands = list(plan.domain.workload(plan.options, stream(plan.scenario.seed, "workload")))
    truth = plan.truth(FolderPlace(work).within("written"))
    try:
        made, writes = _execute(truth, commands, progress)
        settings = truth.settings()
    finally:
        truth.drop()
    events = _frames(plan, made)
    frames = {name: frame.drop("event") for name, frame in events.items()}
    oracle = Oracle.of_commands(plan.domain, commands)
    oracle.confirm(frames)
    notes = ["A command is committed when it arrives: the source of truth's own time is in `writes`, not in the lag."]
    if plan.options.change_at is not None:
        changed = " and ".join(f"`{name}`" for name in plan.domain.contracts)
        notes.append(
            f"From {plan.options.change_at:g} s on the write model of {changed} is another one, and its records are "
            f"migrated over {plan.options.change_takes:g} s; what is published of them stays as it was."
        )
    as_it_was = as_published(plan, frames, spill, _transactions(made, spill))
    return Written(as_it_was, oracle, events, writes, notes, settings)


def _confirm_room(plan: Plan, frames: Mapping[str, pl.DataFrame], work: Path, progress: Progress) -> None:
    """Say what the run takes of the disk if that has too little room. Raises BadInput where it is far too little."""
    changes = sum(frame.height for frame in frames.values())
    row_bytes = sum(sized(frame) for frame in frames.values()) / max(1, changes)
    problem, warning = disk_problem(plan, changes, row_bytes, work)
    refuse([problem] if problem else [])
    if warning:
        progress.say(warning)


def _execute(truth: Truth, commands: list[Command], progress: Progress) -> tuple[list[Change], dict[str, Any]]:
    """Execute each command by itself, timed from outside."""
    progress.step("executing commands", len(commands))
    changes: list[Change] = []
    truth.publish = changes.append
    statuses = {"accepted": 0, "rejected": 0, "conflict": 0}
    nanoseconds = np.zeros(len(commands), np.int64)
    for index, command in enumerate(commands):
        began = perf_counter_ns()
        outcome = truth.execute(command)
        nanoseconds[index] = perf_counter_ns() - began
        statuses[outcome.status] += 1
        if not index % 500:
            progress.done(index)
    return changes, {
        "commands": len(commands),
        "accepted": statuses["accepted"],
        "rejected": statuses["rejected"],
        "conflicts": statuses["conflict"],
        "per_second": len(commands) / (float(nanoseconds.sum()) / 1e9),
        "p50_us": told(nanoseconds / 1e3, 0.5),
        "p99_us": told(nanoseconds / 1e3, 0.99),
        "p99_unbiased_us": unbiased(nanoseconds / 1e3, 0.99),
    }


def _transactions(changes: list[Change], spill: Spill) -> np.ndarray | None:
    """Return the transaction of each change by index; None if each has one of its own."""
    found = np.fromiter((item.transaction for item in changes), np.int64, len(changes))
    return spill.array(found) if np.any(found[1:] == found[:-1]) else None


def _frames(plan: Plan, changes: list[Change]) -> dict[str, pl.DataFrame]:
    rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in plan.domain.entities}
    columns = {name: list(entity.columns) for name, entity in plan.domain.entities.items()}
    for item in changes:
        values = (item.state[name] for name in columns[item.entity])
        meta = (item.position, item.key, item.revision, item.deleted, item.committed_at)
        rows[item.entity].append((*meta, *values, item.event))
    return {
        name: pl.DataFrame(rows[name], schema=entity.schema | {"event": pl.String()}, orient="row")
        for name, entity in plan.domain.entities.items()
    }


def as_published(
    plan: Plan, frames: dict[str, pl.DataFrame], spill: Spill | None = None, transaction: np.ndarray | None = None
) -> Published:
    """As messages carry them: translated by the contracts, with before-images for projections that add changes up."""
    contracts = plan.domain.contracts
    frames = {name: published(frame, contracts.get(name)) for name, frame in frames.items()}
    wanted: dict[str, dict[str, None]] = {}
    for item in plan.projections:
        if item.layout.totals and item.before:
            wanted.setdefault(item.layout.totals.entity, {}).update(dict.fromkeys(item.before))
    return Published.of(
        {name: with_before(frame, tuple(wanted[name])) if name in wanted else frame for name, frame in frames.items()},
        spill,
        transaction,
    )


class Replay:
    """The source of truth moved through simulated time: at t it holds what was committed by t, and nothing else.

    The rows of `events` are committed when they say, or at the times that `published` gives.
    """

    def __init__(self, truth: Truth, events: dict[str, pl.DataFrame], published: Published | None = None) -> None:
        self.truth, self.events = truth, events
        times = {
            name: published.times(name) if published else frame["committed_at"].to_numpy()
            for name, frame in events.items()
        }
        # With concurrent writers, commits don't come in the order of positions.
        self._order = {
            name: None if np.all(at[1:] >= at[:-1]) else np.argsort(at, kind="stable") for name, at in times.items()
        }
        self._times = {name: at if (order := self._order[name]) is None else at[order] for name, at in times.items()}
        self._loaded = dict.fromkeys(events, 0)
        self.seconds = 0.0

    @property
    def loaded(self) -> dict[str, int]:
        """Return how many changes of each entity have been committed."""
        return dict(self._loaded)

    def advance(self, at: float, done: Callable[[int], None] = lambda _: None) -> None:
        """Commit everything up to `at` seconds; a time before the last one changes nothing.

        `done` is told how many changes there are by now.
        """
        for name, times in self._times.items():
            last = int(np.searchsorted(times, at, side="right"))
            began = perf_counter()
            for some in self._slices(name, last, done):
                self.truth.load_once(name, some)
            if last > self._loaded[name]:
                self.seconds += perf_counter() - began
                self._loaded[name] = last

    def finish(self, done: Callable[[int], None] = lambda _: None) -> None:
        """Commit every change that is not committed yet; all at once where nothing was."""
        for name in [one for one, loaded in self._loaded.items() if not loaded and self._times[one].size]:
            began = perf_counter()
            self.truth.fill(name, self._slices(name, self._times[name].size, done))
            self.seconds += perf_counter() - began
            self._loaded[name] = self._times[name].size
        self.advance(float("inf"), done)

    def _slices(self, name: str, last: int, done: Callable[[int], None]) -> Iterator[pl.DataFrame]:
        """Yield the changes of an entity that are not committed yet, up to the last one, some at a time."""
        frame, order, first = self.events[name], self._order[name], self._loaded[name]
        before = sum(self._loaded.values()) - first
        for start in range(first, last, LOADED_AT_ONCE):
            breathe()
            some = slice(start, min(start + LOADED_AT_ONCE, last))
            yield frame[some] if order is None else taken(frame, np.sort(order[some]))
            done(before + some.stop)

"""`lab project`: projections kept up to date by a process of their own, from the source of truth of another one."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from lab.base import TRUTH, BadInput, Problem, nearest
from lab.feed.published import Published
from lab.process.running import Stop, owned
from lab.projection.projector import Projector
from lab.running.journal import Journal
from lab.running.services import Measured
from lab.running.worker import Inbox
from lab.truth import Truth
from lab.wiring import Plan, ProjectionPlan

Tell = Callable[[dict[str, Any]], None]


class Settled(Journal):
    """A journal of what has just been settled; a process that goes on for days can't remember everything."""

    def note(self, *_: Any, **__: Any) -> None:
        """Nobody asks what was written."""


def chosen(plan: Plan, names: tuple[str, ...]) -> list[ProjectionPlan]:
    """The projections of these names; all of them when none is named."""
    known = {item.name: item for item in plan.projections}
    problems = [
        Problem("--projection", f"no projection is called `{name}`", nearest(name, known))
        for name in names
        if name not in known
    ]
    problems += [
        Problem(f"projection.{item.name}.subscribe", "hears messages alone, and none cross from process to process",
                "subscribe by catch-up or both")
        for item in known.values()
        if item.table.subscribe == "channel" and (not names or item.name in names)
    ]  # fmt: skip
    if problems:
        raise BadInput(problems)
    return [known[name] for name in names] if names else list(plan.projections)


def project(
    plan: Plan,
    folder: Path,
    names: tuple[str, ...],
    every: float,
    until: int | None,
    stop: Stop,
    tell: Tell,
    make: Callable[[ProjectionPlan, Path], Projector] | None = None,
) -> None:
    """Poll until told to stop; or until everything up to position `until` is in, when that is given.

    A row is told for each checkpoint that has moved: projection, entity, position. Raises BadInput when another
    process is at work on one of the projections, and for a source of truth that can't be read beside its writer.
    """
    items = chosen(plan, names)
    with ExitStack() as stack:
        for item in items:
            stack.enter_context(owned(folder, item.name))
        truth = _wait_for(plan, folder, every, stop)
        if truth is None:
            return
        stack.callback(truth.close)
        workers = {}
        for item in items:
            projector = make(item, folder / item.name) if make else item.projector(folder / item.name)
            stack.callback(projector.store.close)
            workers[item.name] = follower(plan, item, truth, projector)
        while not stop.asked():
            # Asked before the poll: what a poll finds is at least as new.
            head = max(truth.head(name) for name in plan.domain.entities)
            more = False
            for name, worker in workers.items():
                more |= worker.poll(time.monotonic())[1]
                for _, entity, position in worker.journal.checkpoints:
                    tell({"projection": name, "entity": entity, "position": position})
                worker.journal.checkpoints.clear()
                if stop.asked():
                    return
            if until is not None and head >= until and not more:
                return
            if not more:
                time.sleep(every)


def _wait_for(plan: Plan, folder: Path, every: float, stop: Stop) -> Truth | None:
    """The source of truth, as soon as there is one; None when told to stop before."""
    while not stop.asked():
        truth = plan.truth_beside(folder / TRUTH)
        if truth is not None:
            return truth
        time.sleep(every)
    return None


def follower(plan: Plan, item: ProjectionPlan, truth: Truth, projector: Projector) -> Measured:
    """A worker that polls a source of truth that another process writes; messages don't come to it."""
    none = np.empty(0, np.int64)
    empty = {name: entity.empty() for name, entity in item.layout.entities.items()}
    nothing = Published.of(empty)
    inbox = Inbox(nothing, none, tuple(item.layout.entities))
    page, batch = plan.scenario.catch_up.page, item.table.batch
    return Measured(projector, item.subscription(truth), lambda _: None, page, batch, inbox, Settled())

"""`lab execute`: the scenario's commands, decided one after the other by a process of its own."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab.base import TRUTH, BadInput, Problem, stream
from lab.process.running import Stop, owned, shareable
from lab.wiring import Plan


def execute(
    plan: Plan, folder: Path, first: int, rate: float | None, stop: Stop, tell: Callable[[dict[str, Any]], None]
) -> None:
    """Decide the commands from number `first` on, at `rate` a second or as fast as it goes.

    Each command's number is the id of its request: one that was committed before a crash and not acknowledged is
    answered as it was then, and not done twice. A row is told for each after its commit: request, status, position.
    """
    if plan.domain.has_trace:
        what = f"`{plan.domain.name}` replays a history of its own and takes no commands"
        raise BadInput([Problem("domain.name", what, 'use a scenario of "employees"')])
    shareable(plan)
    commands = plan.domain.workload(plan.options, stream(plan.scenario.seed, "workload"))
    with owned(folder, TRUTH):
        truth = plan.truth(folder / TRUTH)
        try:
            began = time.monotonic()
            for number, command in enumerate(itertools.islice(commands, first, None), first):
                if stop.asked():
                    return
                if rate:
                    time.sleep(max(0.0, began + (number - first) / rate - time.monotonic()))
                outcome = truth.execute(command, request=str(number))
                tell({"request": number, "status": outcome.status, "position": outcome.position})
        finally:
            truth.close()

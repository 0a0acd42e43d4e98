"""Projections that several processes share in a live run: how far they are together, and mishaps on purpose.

A kill is what it says: the process is started again, and until then, or until its leases expire, the others have its
partitions or wait for them. A process that is frozen for longer than the lease doesn't know that it was replaced: what
it writes once it goes on is for the store to refuse.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from lab.live import freezing
from lab.service.member import LEASE
from lab.service.messages import ReadStatus
from lab.service.supervisor import Child
from lab.service.wire import Gone
from lab.wiring import Plan, ProjectionPlan

# How many leases a frozen process sleeps, and seconds between two looks.
_SLEEPS, _LOOK = 1.75, 0.05


async def shared_up_to(item: ProjectionPlan, members: Sequence[Child], head: int, until: float) -> bool:
    """Wait until every partition has everything up to `head`; false if not in time (`until` on the monotonic clock)."""
    reached = dict.fromkeys(range(item.layout.partitions), (-1, -1))
    while time.monotonic() < until:
        for child in members:
            with suppress(Gone, TimeoutError):
                reply = await asyncio.wait_for(child.ask(ReadStatus()), max(_LOOK, until - time.monotonic()))
                # What was in once stays in, whoever owns it now, unless it is built anew: then its last owner says so.
                for number, (generation, position) in json.loads(reply.body)["partitions"].items():
                    if generation >= reached[int(number)][0]:
                        reached[int(number)] = generation, position
        if min(position for _, position in reached.values()) >= head:
            return True
        await asyncio.sleep(_LOOK)
    return False


def mishaps(
    plan: Plan, children: Mapping[str, Child], began: float, done: Counter[str]
) -> Iterator[Coroutine[Any, Any, None]]:
    """Yield what is to befall members: kills and freezes at their times after `began`, each of the next member.

    `done` counts those that happened, by the projection's name.
    """
    for item in plan.projections:
        members = [children[name] for name in item.processes]
        planned = [(at, _kill) for at in item.table.kills] + [(at, _freeze) for at in item.table.freezes]
        for number, (at, what) in enumerate(sorted(planned, key=lambda one: one[0])):
            yield _later(began + at, partial(what, members[number % len(members)], partial(done.update, [item.name])))


async def _later(at: float, what: Callable[[], Coroutine[Any, Any, None]]) -> None:
    await asyncio.sleep(max(0.0, at - time.time()))
    await what()


async def _alive(child: Child) -> int:
    """Wait until its process is there: it may be between two lives."""
    while child.pid is None:
        await asyncio.sleep(_LOOK)
    return child.pid


async def _kill(child: Child, done: Callable[[], object]) -> None:
    with suppress(ProcessLookupError):
        os.kill(await _alive(child), signal.SIGKILL)
        done()


async def _freeze(child: Child, done: Callable[[], object]) -> None:
    # By another process: it sets the child going again at the end of the run, also if the run is killed.
    arguments = "-I", "-S", freezing.__file__, str(await _alive(child)), str(_SLEEPS * LEASE)
    pipe = asyncio.subprocess.PIPE
    freezer = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL, start_new_session=True
    )
    assert freezer.stdin is not None
    assert freezer.stdout is not None
    try:
        if await freezer.stdout.readline():
            done()
        await freezer.wait()
    finally:
        freezer.stdin.close()
        await freezer.wait()


def not_done(plan: Plan, done: Mapping[str, int]) -> list[str]:
    """Say of which projections fewer members were killed and frozen than planned: all had caught up before."""
    planned = {item.name: len(item.table.kills) + len(item.table.freezes) for item in plan.projections}
    said = "Of {} kills and freezes of {}'s members {} happened: the run was over before the others."
    return [said.format(most, name, done.get(name, 0)) for name, most in planned.items() if done.get(name, 0) < most]

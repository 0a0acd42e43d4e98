"""Perform a live run: start hub, projections and writers, let the commands flow, wait until all have caught up."""

from __future__ import annotations

import asyncio
import json
import pickle
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from lab.base import TRUTH, stream
from lab.ending import stopping
from lab.experiment.progress import Progress
from lab.live.broker import BrokerHub
from lab.live.crew import Crew
from lab.live.hub import Hub
from lab.live.members import mishaps, shared_up_to
from lab.live.refusals import too_late, too_long
from lab.live.slots import SlotWatch
from lab.live.writer import WriterOrders, commands_file
from lab.place import FolderPlace
from lab.scenario import refuse
from lab.service.messages import ReadStatus
from lab.service.part import Orders
from lab.service.supervisor import Child, ProgramFailed
from lab.service.temporary import temporary_folder
from lab.service.wire import Gone
from lab.wiring import Plan, ProjectionPlan

# Seconds from when all are ready to the scenario's first moment; in which projections must catch up at the end; and
# in which messages that have arrived are taken.
_HEAD_START, CATCHES_UP, _SETTLES = 0.25, 60.0, 0.25
# Seconds between two looks at whether something has happened.
_LOOK = 0.05


@dataclass
class Performed:
    """What a live run has left in its folder, beside its files.

    `began` is the scenario's first moment, in seconds since 1970. `channel` counts what became of messages, for each
    projection that listens. `restarts` are those of projections' processes, `slots` what was seen of their slots;
    `unpublished` counts by reason the messages that never came to a broker, `struck` the kills and freezes of members.
    """

    folder: Path
    journals: Sequence[Path]
    began: float
    caught_up: bool
    channel: dict[str, dict[str, int]] = field(default_factory=dict)
    restarts: dict[str, int] = field(default_factory=dict)
    slots: SlotWatch | None = None
    unpublished: dict[str, int] = field(default_factory=dict)
    struck: dict[str, int] = field(default_factory=dict)


class Performance:
    """One live run. Its event loop has a thread of its own, so that the main thread can be interrupted anywhere."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan, self.folder = plan, folder
        self.writers = plan.scenario.writers.count if plan.scenario.writers else 1
        self._stopped = asyncio.Event()
        self._began: float | None = None

    def perform(self, progress: Progress) -> Performed:
        """Perform it, in a folder that is there. Raises ProgramFailed when a process ends before its time."""
        lasts = self._prepare(progress)
        (self.folder / "scenario.toml").write_text(self.plan.source.text, encoding="utf-8")
        truth = self.plan.truth(FolderPlace(self.folder).within(TRUTH))
        self._slots = SlotWatch(self.plan, truth, self.folder)
        truth.close()
        with temporary_folder("lab-") as sockets:
            found: Future[Performed] = Future()
            # Not before: what is refused until then would leave it open.
            self._loop = asyncio.new_event_loop()
            thread = threading.Thread(target=self._run, args=(sockets, found), name="live")
            thread.start()
            try:
                self._follow(found, lasts, progress)
            finally:
                # What is started is ended, whatever happened.
                with stopping.held():
                    with suppress(RuntimeError):
                        self._loop.call_soon_threadsafe(self._stopped.set)
                    # By small steps, so that this thread isn't taken for one that hangs.
                    while not found.done():
                        wait([found], _LOOK)
                    thread.join()
        return found.result()

    def _prepare(self, progress: Progress) -> float:
        """Leave the commands where writers find them; return how many seconds they last, or the history does."""
        if self.plan.domain.has_trace:
            progress.step("reading the history", 1)
            trace = self.plan.domain.trace(self.plan.options)
            frames = trace.frames.values()
            lasts = max((float(frame["committed_at"][-1]) for frame in frames if frame.height), default=0.0)
            refuse(too_long(self.plan, lasts) + too_late(self.plan, lasts))
            return lasts
        progress.step("drawing the commands", 1)
        commands = list(self.plan.domain.workload(self.plan.options, stream(self.plan.scenario.seed, "workload")))
        with commands_file(self.folder).open("wb") as file:
            pickle.dump(commands, file, pickle.HIGHEST_PROTOCOL)
        lasts = commands[-1].at if commands else 0.0
        refuse(too_long(self.plan, lasts) + too_late(self.plan, lasts))
        return lasts

    def _follow(self, found: Future[Performed], lasts: float, progress: Progress) -> None:
        progress.step("starting the processes", 1)
        told = False
        # A thread whose `join` is interrupted counts as ended in some versions of Python, although it isn't.
        while not found.done():
            wait([found], _LOOK)
            stopping.check()
            if self._began is not None:
                if not told:
                    progress.step("live", lasts)
                    told = True
                progress.done(max(0.0, min(lasts, time.time() - self._began)))

    def _run(self, sockets: Path, found: Future[Performed]) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                found.set_result(runner.run(self._live(sockets)))
        except BaseException as error:
            found.set_exception(error)

    # -- in the loop ---------------------------------------------------------------------------------------------------

    async def _live(self, sockets: Path) -> Performed:
        hub = await self._hub()
        children = self._children(hub, sockets)
        crew, first = Crew(), next(iter(children.values())).orders
        tasks = [asyncio.create_task(self._slots.run())]
        try:
            if isinstance(hub, Hub):
                await hub.listen(first.socket(TRUTH))
            await self._or_stopped(asyncio.gather(*(child.start() for child in children.values())))
            if isinstance(hub, Hub):
                await self._or_stopped(hub.joined())
            path = first.channel if not isinstance(hub, Hub) else str(first.socket(TRUTH))
            named = first.scenario, first.overrides, first.seed, first.folder, first.copy
            orders = [WriterOrders(number, *named, path) for number in range(1, self.writers + 1)]
            await self._or_stopped(crew.start(orders))
            began = time.time() + _HEAD_START
            if hub is not None:
                hub.begin(time.monotonic() + _HEAD_START)
            await crew.begin(began)
            self._began = began
            struck = Counter[str]()
            tasks += [asyncio.create_task(each) for each in mishaps(self.plan, children, began, struck)]
            await self._or_stopped(crew.finished())
            if isinstance(hub, BrokerHub):
                hub.expect(crew.published())
            caught_up = await self._or_stopped(self._caught_up(children, hub))
            restarts = {
                item.name: sum(children[one].restarts for one in item.processes) for item in self.plan.projections
            }
            counts = {} if hub is None else hub.counts()
            journals = [each.journal for each in orders]
            seen = counts, restarts, self._slots, crew.unpublished(), dict(struck)
            return Performed(self.folder, journals, began, bool(caught_up), *seen)
        finally:
            for task in tasks:
                task.cancel()
            await crew.stop()
            await asyncio.gather(*(child.stop() for child in children.values()), return_exceptions=True)
            if hub is not None:
                await hub.close()

    def _children(self, hub: Hub | BrokerHub | None, sockets: Path) -> dict[str, Child]:
        """The projections' processes by name, not yet started; what several share is made first."""
        source = self.plan.source
        named = str(source.path.absolute()), source.overrides, source.seed, str(self.folder), str(sockets)
        copy, broker = str(self.folder / "scenario.toml"), hub if isinstance(hub, BrokerHub) else None
        found, since = dict[str, Child](), time.time()
        for item in self.plan.projections:
            channel, group = ("", "") if broker is None else (broker.name, broker.group(item.name))
            if group:
                store = item.store(FolderPlace(self.folder).within(item.name).current)
                store.open()
                store.close()
            for part in item.processes:
                orders = Orders(part, *named, since, journal=True, copy=copy, channel=channel, group=group)
                found[part] = Child(orders)
        return found

    async def _hub(self) -> Hub | BrokerHub | None:
        scenario = self.plan.scenario
        if (table := scenario.channel) is None:
            return None
        if table.broker is None:
            return Hub(table, scenario.seed, [item.name for item in self.plan.projections if item.by_messages])
        # In a thread: it waits for the broker, and some drivers have a loop of their own.
        make = partial(BrokerHub, table, self.plan.projections, self.folder)
        made = await asyncio.get_running_loop().run_in_executor(None, make)
        await made.open()
        return made

    async def _or_stopped(self, work: Any) -> Any:
        """Await it, unless the run is stopped before; then raise KeyboardInterrupt's stand-in for this thread."""
        task, stopped = asyncio.ensure_future(work), asyncio.ensure_future(self._stopped.wait())
        await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if task.done():
            return task.result()
        task.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await task
        raise ProgramFailed("the live run was stopped")

    async def _caught_up(self, children: dict[str, Child], hub: Hub | BrokerHub | None) -> bool:
        """Wait until nothing is on its way and all projections that poll are at the head; false if not in time."""
        until = time.monotonic() + CATCHES_UP
        while hub is not None and not await hub.idle() and time.monotonic() < until:
            await asyncio.sleep(_LOOK)
        head = await asyncio.get_running_loop().run_in_executor(None, self._head)
        polling = [item for item in self.plan.projections if item.pace.polls]
        found = await asyncio.gather(*(_up_to(item, children, head, until) for item in polling))
        # What was sent last is read by then.
        await asyncio.sleep(_SETTLES)
        listening = [children[item.name] for item in self.plan.projections if not item.pace.polls]
        found += await asyncio.gather(*(_emptied(child, until) for child in listening))
        return all(found) and (hub is None or await hub.idle())

    def _head(self) -> int:
        truth = self.plan.truth_beside(FolderPlace(self.folder).within(TRUTH))
        if truth is None:
            return 0
        try:
            return max(truth.head(name) for name in self.plan.domain.entities)
        finally:
            truth.close()


async def _up_to(item: ProjectionPlan, children: dict[str, Child], head: int, until: float) -> bool:
    if item.layout.partitions:
        return await shared_up_to(item, [children[name] for name in item.processes], head, until)
    return await _reached(children[item.name], head, until)


async def _reached(child: Child, head: int, until: float) -> bool:
    while (left := until - time.monotonic()) > 0:
        try:
            reply = await child.ask(ReadStatus(head, left))
        except Gone:
            await asyncio.sleep(_LOOK)
            continue
        return reply.status == 200
    return False


async def _emptied(child: Child, until: float) -> bool:
    """Wait until a projection that lives on messages alone has taken all of them; false if not in time."""
    while time.monotonic() < until:
        with suppress(Gone):
            if not json.loads((await child.ask(ReadStatus())).body)["counts"]["inbox"]:
                return True
        await asyncio.sleep(_LOOK)
    return False

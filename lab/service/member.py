"""A process among those that share the partitions of a projection: it works on those that its group assigns to it.

The broker says which partitions a member has; a thread asks it several times within a lease, however long the work
takes. The partitions' lanes take turns in this process's event loop, and one that is to go to another member is given
back once its work has ended. What each assignment came to is written down, so that hand-overs can be told afterwards.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, TextIO

from lab.base import Fenced, LabError, Unavailable
from lab.channel.groups import GROUPS
from lab.channel.patient import BackOff
from lab.feed.source import TruthReader
from lab.ports import Assignment, GroupMember
from lab.service.messages import Message, ReadStatus
from lab.service.partition import Claimed, GroupFiles, PartitionOwner, claimed, close
from lab.service.problems import encoded, problem
from lab.service.wire import Reply
from lab.truth.timeline import Diverged
from lab.wiring import Plan, ProjectionPlan

# Seconds after which a silent member's partitions are another's, and between two signs of life; and after which a
# member whose work doesn't come round falls silent.
LEASE, BEAT, STUCK = 2.0, 0.4, 30.0

# What became of an assignment, as it is written down.
BEGAN, GIVEN, STALE, STOPPED = "began", "given away", "refused as stale", "stopped"
ANEW = "built anew"

Opened = Callable[[], TruthReader | None]


class PartitionMember:
    """Owns what the group gives it, a lane for each partition."""

    def __init__(
        self, plan: Plan, item: ProjectionPlan, folder: Path, since: float, name: str, group: str,
        channels: list[str], find: Opened, tell: Callable[[str], None],
    ) -> None:  # fmt: skip
        """`group` is the group's name at the broker, `channels` those of the partitions' channels; none without."""
        table = plan.scenario.channel
        assert table is not None
        assert table.broker is not None
        self.plan, self.item, self.folder, self.since, self.name = plan, item, folder, since, name
        self._find, self._channels = find, channels
        self._group = GROUPS[table.broker](item.layout.partitions, LEASE, group)
        self._member: GroupMember = self._group.join(name)
        self._files = GroupFiles(folder, item.name)
        # Of the broker; and of the claims of partitions at the store, by partition.
        self._back_off = BackOff(tell)
        self._claims = dict[int, BackOff]()
        self._tell = tell
        self.owners: dict[Assignment, PartitionOwner] = {}
        self._works: dict[asyncio.Task[None], Assignment] = {}
        self._opening: dict[asyncio.Future[Claimed], Assignment] = {}
        # The generations at which partitions were emptied, to be built anew by the next owners.
        self._emptied = dict[int, int]()
        self._refused: list[Assignment] = []
        self._stopping, self._heard, self._silent = asyncio.Event(), asyncio.Event(), threading.Event()
        # Set while `work` does nothing with the owners.
        self._idle = asyncio.Event()
        self._idle.set()
        # What the group said last, what has gone wrong there, and when the loop last came round.
        self._mine: list[Assignment] = []
        self._defect: Exception | None = None
        self._begun, self._turned = False, time.monotonic()
        self._beats = threading.Thread(target=self._beat, name=f"leases of {name}", daemon=True)
        self._loop = asyncio.get_running_loop()
        self._told: TextIO = self._files.told(name).open("a", encoding="utf-8")

    async def handle(self, message: Message) -> Reply:
        """Answer how far each of its partitions is, with the generation of its owner."""
        if not isinstance(message, ReadStatus):
            return problem(409, f"{self.name} is one of several processes: it is asked for its status only")
        found = {str(number): (generation, 0) for number, generation in self._emptied.items()}
        for each, owner in self.owners.items():
            if each.generation >= self._emptied.get(each.partition, 0):
                found[str(each.partition)] = each.generation, owner.position
        waiting = sum(len(owner.inbox) for owner in self.owners.values())
        return Reply(200, encoded({"partitions": found, "inbox": waiting}))

    async def work(self) -> None:
        """Own partitions until `stop`. Raises what has ended the work on one, unless another became its owner."""
        self._idle.clear()
        self._beats.start()
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            while not self._stopping.is_set():
                heard = asyncio.ensure_future(self._heard.wait())
                waits: list[asyncio.Future[Any]] = [stopping, heard, *self._works, *self._opening]
                await asyncio.wait(waits, timeout=BEAT, return_when=asyncio.FIRST_COMPLETED)
                heard.cancel()
                self._turned = time.monotonic()
                await self._reap()
                for opening in [one for one in self._opening if one.done()]:
                    self._begin(self._opening.pop(opening), opening)
                if self._heard.is_set():
                    self._heard.clear()
                    await self._take_up()
        finally:
            stopping.cancel()
            self._idle.set()

    # -- in a thread of its own ----------------------------------------------------------------------------------------

    def _beat(self) -> None:
        while not self._silent.wait(BEAT if self._begun else 0.0):
            self._begun = True
            if time.monotonic() - self._turned > STUCK:
                # What stands still for so long is better done by another.
                continue
            refused, self._refused = self._refused, []
            try:
                mine = self._member.assigned(refused, [*self.owners])
            except Unavailable as error:
                # Nobody else hears from the broker either, and what one writes too long the store refuses.
                self._refused += refused
                self._back_off.failed(error)
                continue
            except Exception as error:
                self._defect = error
            else:
                self._back_off.succeeded()
                self._mine = mine
            with suppress(RuntimeError):
                # A loop that is closed has nothing to be told.
                self._loop.call_soon_threadsafe(self._heard.set)

    # -- in the loop ---------------------------------------------------------------------------------------------------

    async def _take_up(self) -> None:
        if self._defect is not None:
            raise self._defect
        mine = self._mine
        for one in [*self.owners]:
            if one not in mine:
                await self._end(one, GIVEN)
        wanted = {one.partition for one in mine}
        self._claims = {number: each for number, each in self._claims.items() if number in wanted}
        for one in mine:
            if one in self.owners or one in self._opening.values():
                continue
            if one.partition not in self._claims or self._claims[one.partition].ready:
                # In a thread: a frozen owner may have left its row locked, and the other partitions go on meanwhile.
                self._opening[self._loop.run_in_executor(None, claimed, self.item, self.folder, one)] = one

    def _begin(self, one: Assignment, opening: asyncio.Future[Claimed]) -> None:
        channel = self._channels[one.partition] if self._channels and self.item.by_messages else ""
        try:
            own = opening.result()
            if one not in self._mine or self._stopping.is_set():
                close(own.projector.store)
                return
            of = self.plan, self.item, self.folder, self.since, one
            owner = PartitionOwner(*of, self._find, channel, own)
        except Fenced as error:
            self._refused.append(Assignment(one.partition, error.generation))
            return
        except Unavailable as error:
            # Tried again at a later beat.
            claimed_at_last = f"partition {one.partition} is claimed"
            made = BackOff(self._tell, until=claimed_at_last, over=claimed_at_last)
            self._claims.setdefault(one.partition, made).failed(error)
            return
        if one.partition in self._claims:
            self._claims.pop(one.partition).succeeded()
        self.owners[one] = owner
        self._works[asyncio.create_task(owner.work())] = one
        self._note(one, BEGAN)

    async def _reap(self) -> None:
        """Give up what another owns now. Raises what else has ended the work on a partition."""
        for task in [task for task in self._works if task.done()]:
            one, error = self._works[task], task.exception()
            if isinstance(error, Fenced):
                self._refused.append(Assignment(one.partition, error.generation))
                await self._end(one, STALE)
            elif isinstance(error, Diverged):
                # The next owner has a generation and a journal of its own, and begins at position 0.
                self._refused.append(one)
                await self._end(one, ANEW)
            elif error is not None:
                raise error

    async def _end(self, one: Assignment, how: str, last: bool = False) -> None:
        """Give up a partition. Raises what had ended the work on it, unless the next owner can go on."""
        owner = self.owners.pop(one)
        (task,) = (task for task, owned in self._works.items() if owned == one)
        del self._works[task]
        await owner.stop(last)
        await asyncio.wait([task])
        error = task.exception()
        stale, anew = isinstance(error, Fenced), isinstance(error, Diverged)
        self._note(one, STALE if stale else ANEW if anew else how, owner.in_flight if stale else 0)
        if anew:
            self._tell(f"{error}: partition {one.partition} is built anew")
            self._emptied[one.partition] = one.generation
        if error is not None and not stale and not anew:
            raise error

    def _note(self, one: Assignment, what: str, stale: int = 0) -> None:
        row = [one.partition, one.generation, what, time.time(), stale]
        self._told.write(json.dumps(row) + "\n")
        self._told.flush()

    async def stop(self) -> None:
        """Stop all work, and give everything back. Raises what had ended the work on a partition by then."""
        self._stopping.set()
        await self._idle.wait()
        try:
            if self._opening:
                await asyncio.wait(self._opening)
            async with AsyncExitStack() as ends:
                for opening, one in self._opening.items():
                    ends.callback(self._begin, one, opening)
                for one in [*self.owners]:
                    ends.push_async_callback(self._end, one, STOPPED, last=True)
        finally:
            self._told.close()
            await self._loop.run_in_executor(None, self._leave)

    def _leave(self) -> None:
        self._silent.set()
        if self._beats.is_alive():
            self._beats.join()
        # While the broker is away, the leases expire by themselves.
        with suppress(LabError):
            self._member.leave()
            self._group.close()

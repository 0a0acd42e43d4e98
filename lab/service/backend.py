"""The parts behind the front: the executor, the projections and the file of changes, with their progress."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.base import TRUTH
from lab.place import FolderPlace
from lab.queries.kinds import KINDS
from lab.service.changes import Changes
from lab.service.messages import ExecuteCommand, Message, ReadStatus
from lab.service.problems import Refused
from lab.service.wire import Gone, Peer, Reply
from lab.stores import store_class
from lab.wiring import Plan, ProjectionPlan

# Seconds to wait for a part, beyond what a reader asked to wait.
PATIENCE = 30.0
# Seconds to wait for a status: lists and metrics must not wait for a part that is busy.
SHORT = 1.0


@dataclass(frozen=True)
class PartHandle:
    """A part: how to ask it, and what its supervisor reports (state, restarts, last_exit, pid)."""

    peer: Peer
    told: Callable[[], dict[str, Any]]


class Backend:
    """Sends requests to the parts. `head` is the newest position that is known here."""

    def __init__(self, plan: Plan, parts: Mapping[str, PartHandle], changes: Changes, folder: Path) -> None:
        self.plan, self.parts, self.changes = plan, parts, changes
        self.projections: dict[str, ProjectionPlan] = {item.name: item for item in plan.projections}
        self.head, self._starts = 0, 0
        # The folder that holds the projections' own, to tell what was set aside there.
        self.folder = folder

    async def ask(self, name: str, message: Message, more: float = 0.0) -> Reply:
        """Ask a part. Raises Gone if it ends before it answers, Refused after `PATIENCE` + `more` seconds.

        One that isn't started again is Refused with the reason.
        """
        told = self.parts[name].told()
        if told["state"] == "stopped" and told.get("reason"):
            raise Refused(503, f"`{name}` has stopped: {told['reason']}")
        try:
            return await asyncio.wait_for(self.parts[name].peer.ask(message), PATIENCE + more)
        except TimeoutError:
            raise Refused(503, f"no answer within {PATIENCE + more:g} s; whether it was done is not known") from None

    async def execute(self, command: ExecuteCommand) -> Reply:
        """Have a command decided; readers who wait for changes hear of it."""
        reply = await self.ask(TRUTH, command)
        if self.parts[TRUTH].told()["restarts"] != self._starts:
            # The position of a command that was executed earlier isn't the newest one.
            with contextlib.suppress(Gone, Refused):
                await self.newest()
        if reply.position > self.head:
            self.head = reply.position
            self.changes.news()
        return reply

    async def newest(self) -> int:
        """The newest position by the executor: of a commit whose answer was lost, `head` doesn't know."""
        starts = self.parts[TRUTH].told()["restarts"]
        reply = await self.ask(TRUTH, ReadStatus())
        self._reported(starts, reply.position)
        return self.head

    def _reported(self, starts: int, position: int) -> None:
        """Note the newest position by the executor that was asked after so many restarts.

        The first report of a new one holds, also below the former position: an older state may have been put back.
        Until then the former position holds.
        """
        if starts > self._starts:
            self._starts, self.head = starts, position
            self.changes.news()
        elif starts == self._starts:
            self.head = max(self.head, position)

    def states(self) -> dict[str, str]:
        """The state of each part's process."""
        return {name: part.told()["state"] for name, part in self.parts.items()}

    def pids(self) -> dict[str, int | None]:
        """The id of each part's process; None where there is none at present."""
        return {name: part.told()["pid"] for name, part in self.parts.items()}

    def reasons(self) -> dict[str, str]:
        """Why parts aren't running or were started again last, in their own words; without those that are well."""
        told = {name: part.told() for name, part in self.parts.items()}
        return {name: one["reason"] for name, one in told.items() if one.get("reason") and one["state"] != "running"}

    def set_aside(self, name: str) -> dict[str, str]:
        """The folders of a projection that were set aside, and why."""
        return dict(FolderPlace(self.folder).within(name).set_aside)

    async def look(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Return the state of the source of truth and the projections; if a part doesn't answer, its supervisor's."""
        truth, *found = await asyncio.gather(self._truth(), *map(self.look_at, self.projections.values()))
        positions = [row["position"] for row in found if row["position"] is not None]
        if max(positions, default=0) > self.head:
            # One that was asked later may have read what has been committed meanwhile.
            with contextlib.suppress(Gone, Refused):
                await self.newest()
        for row in found:
            row["behind"] = None if row["position"] is None else self.head - row["position"]
        return truth, found

    async def look_at(self, item: ProjectionPlan, status: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return one projection's settings and progress; it is asked for its `status`, unless that is given.

        An emulator's lag says nothing of the system, so none is told.
        """
        table, layout, level = item.table, item.layout, store_class(item.table.store).capabilities.level
        found: dict[str, Any] = {"name": item.name, "store": table.store, "level": level, "guard": table.guard}
        found |= self.parts[item.name].told()
        found["set_aside"] = self.set_aside(item.name)
        found |= {"subscribe": table.subscribe, "keeps": layout.keeps, "entities": [*layout.entities]}
        found["queries"] = {
            query.name: [one.name for one in KINDS[query.kind].parameters(query)] for query in item.queries
        }
        nothing = dict.fromkeys(("position", "highest", "age_seconds", "rebuild", "counts", "lag"))
        found |= status or await self._status(item.name) or nothing
        return found if level != "emulated" else found | {"lag": None}

    async def _truth(self) -> dict[str, Any]:
        starts = self.parts[TRUTH].told()["restarts"]
        found = await self._status(TRUTH) or {}
        if found:
            self._reported(starts, found["position"])
        return {**self.parts[TRUTH].told(), **found, "position": self.head}

    async def _status(self, name: str) -> dict[str, Any] | None:
        try:
            reply = await asyncio.wait_for(self.parts[name].peer.ask(ReadStatus()), SHORT)
        except (Gone, TimeoutError):
            return None
        found: dict[str, Any] = json.loads(reply.body)
        return found

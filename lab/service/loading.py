"""A small load generator: valid commands of the scenario's own workload, at a rate that is set while it runs.

It gives the live page something to show; measurements need a load generator outside the service. Each command's id is
its number in this workload, so after a restart no command is executed twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any
from zlib import crc32

from lab.base import stream
from lab.domain.model import Command
from lab.service.messages import LOAD, ExecuteCommand
from lab.service.problems import REUSED, Refused
from lab.service.wire import Gone, Reply
from lab.wiring import Plan

# The total number of commands.
COMMANDS = 100_000
# How often a portion is sent, in seconds; and how many commands may share one that makes up for lost time.
BEAT, PORTION_MAX = 0.02, 200

Send = Callable[[ExecuteCommand], Awaitable[Reply]]


class Load:
    """The generator of one service. `send` hands a command to the executor, `known` is the newest position."""

    def __init__(self, plan: Plan, send: Send, known: Callable[[], int]) -> None:
        self.plan, self.send, self.known = plan, send, known
        self.rate = 0.0
        self.sent = self.failed = 0
        self.finished = False
        self._commands: Iterator[tuple[int, Command]] | None = None
        self._again: list[tuple[int, Command]] = []
        self._task: asyncio.Task[None] | None = None
        self._offered: asyncio.Task[list[dict[str, Any]]] | None = None
        self._shares: dict[tuple[int, int], list[dict[str, Any]]] = {}

    def told(self) -> dict[str, Any]:
        """Rate and counts; `possible` is false for a domain without commands."""
        found: dict[str, Any] = {"rate": self.rate, "sent": self.sent, "failed": self.failed}
        return found | {"finished": self.finished, "possible": not self.plan.domain.has_trace}

    def set(self, rate: float) -> None:
        """Set the rate in commands a second. Raises Refused for a domain without commands."""
        if self.plan.domain.has_trace:
            raise Refused(409, f"`{self.plan.domain.name}` replays a history of its own and has no commands to send")
        self.rate = rate
        if rate and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._work())

    async def close(self) -> None:
        """Stop sending."""
        self.rate = 0.0
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def workload(self, part: int, of: int, since: int, limit: int) -> dict[str, Any]:
        """Commands for a load generator: those of one share of the records, in order, after the first `since`.

        They are the same for every client, and others than those that this generator sends. Raises Refused.
        """
        if self.plan.domain.has_trace:
            raise Refused(409, f"`{self.plan.domain.name}` replays a history of its own and has no commands to send")
        if self._offered is None:
            self._offered = asyncio.create_task(asyncio.to_thread(self._drawn_for_others))
        commands = await asyncio.shield(self._offered)
        if (part, of) not in self._shares:
            self._shares[part, of] = [
                one for one in commands if crc32(f"{one['entity']} {one['key']}".encode()) % of == part
            ]
        mine = self._shares[part, of]
        return {"commands": mine[since : since + limit], "more": since + limit < len(mine)}

    def _drawn_for_others(self) -> list[dict[str, Any]]:
        options = replace(self.plan.options, commands=COMMANDS)
        drawn = self.plan.domain.workload(options, stream(self.plan.scenario.seed, "workload"))
        return [
            {"entity": one.entity, "command": one.name, "key": one.key, "fields": dict(one.fields)} for one in drawn
        ]

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        if self._commands is None:
            # Drawing that many takes a moment, and the front has others to answer.
            self._commands = await asyncio.to_thread(self._drawn)
        owed, at = 0.0, loop.time()
        while self.rate and not self.finished:
            await asyncio.sleep(BEAT)
            now = loop.time()
            owed, at = min(owed + self.rate * (now - at), PORTION_MAX), now
            if owed >= 1:
                owed -= await self._portion(int(owed))
        self.rate = 0.0

    def _drawn(self) -> Iterator[tuple[int, Command]]:
        options = replace(self.plan.options, commands=COMMANDS, invalid=0.0)
        commands = self.plan.domain.workload(options, stream(self.plan.scenario.seed, "load"))
        # The first one takes as long as all the draws.
        return itertools.chain([(0, next(commands))], enumerate(commands, 1))

    async def _portion(self, count: int) -> int:
        """Send the next commands together, in their order; what is answered without a new commit was done before."""
        assert self._commands is not None
        before = self.known()
        portion = [*self._again, *itertools.islice(self._commands, max(0, count - len(self._again)))]
        self.finished = not portion
        orders = [self.send(self._order(number, command)) for number, command in portion]
        answers = await asyncio.gather(*orders, return_exceptions=True)
        # It may have been done: sent again under the same key, it is done once.
        gone = (Gone, TimeoutError, Refused)
        self._again = [one for one, answer in zip(portion, answers, strict=True) if isinstance(answer, gone)]
        self.failed += len(self._again)
        # Another command had this id: an older version of the lab may have drawn another workload.
        self.failed += sum(isinstance(answer, Reply) and _reused(answer) for answer in answers)
        done = [answer for answer in answers if isinstance(answer, Reply) and answer.position > before]
        self.sent += len(done)
        if self._again:
            await asyncio.sleep(0.2)
        return len(done) if answers and not self._again else count

    def _order(self, number: int, command: Command) -> ExecuteCommand:
        request = f"{LOAD}{self.plan.workload_digest}:{number}"
        return ExecuteCommand(command.entity, command.name, command.key, dict(command.fields), None, request)


def _reused(answer: Reply) -> bool:
    return answer.status == 422 and json.loads(answer.body)["title"] == REUSED

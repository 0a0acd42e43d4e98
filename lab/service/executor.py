"""The executor: the process that alone writes the source of truth. Commands that wait at one moment share a commit.

Committed changes are sent as messages through the live channel to every projection that listens. Commands are answered
after the commit, so what was acknowledged survives any kill.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lab.channel.fates import LiveFaults, SampledFates
from lab.channel.faulty import Faulty, MonotonicClock
from lab.channel.memory import MemoryChannel
from lab.domain.model import Command, Outcome
from lab.ports import Message as Published
from lab.service.messages import ChangeFaults, ExecuteCommand, Message, ReadStatus
from lab.service.problems import encoded, problem
from lab.service.wire import Reply
from lab.truth import Change, Truth
from lab.wiring import Plan

# At most so many commands share a commit; more would delay the first of them.
GROUP_MAX = 500
# Goes before the Idempotency-Key in the source of truth's table of requests.
REQUEST = "http:"


class Executor:
    """Decides commands, keeps the channel, and sends what arrives to `listeners`: a message each, as JSON."""

    def __init__(self, plan: Plan, truth: Truth, journal: Path | None = None) -> None:
        self.plan, self.truth = plan, truth
        # Every change as it was committed, a line each: a snapshot forgets what it has overwritten.
        self.journal = None if journal is None else journal.open("a", encoding="utf-8")
        self.listeners: list[Callable[[bytes], None]] = []
        self.counts = {"accepted": 0, "rejected": 0, "conflict": 0, "failed": 0, "commits": 0}
        self.channel: MemoryChannel | None = None
        if (table := plan.scenario.channel) is not None:
            # One group for all listeners: what happens to a message happens to it once.
            self.channel, self.clock = MemoryChannel(table.capacity), MonotonicClock()
            self.fates = SampledFates(LiveFaults.of(table), plan.scenario.seed)
            subscription = self.channel.subscribe("listeners", "executor")
            self.arriving = Faulty(subscription, self.fates, self.clock, capacity=table.capacity)
        self._waiting: list[tuple[Command, str | None, asyncio.Future[Reply]]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._changes: list[Change] = []
        truth.publish = self._changes.append
        self.load()
        self.head = max(truth.head(name) for name in plan.domain.entities)
        self._at = 0.0

    def load(self) -> None:
        """The history that the domain brings along, at the first start; one that was cut off goes on where it was."""
        if self.plan.domain.has_trace:
            for name, frame in self.plan.domain.trace(self.plan.options).frames.items():
                if not self.truth.head(name):
                    self.truth.load(name, frame)

    async def handle(self, message: Message) -> Reply:
        """Answer a message of the front; a command after its commit."""
        match message:
            case ExecuteCommand():
                future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
                self._accept(message, future)
                return await future
            case ReadStatus():
                return Reply(200, encoded(self.status()), self.head)
            case ChangeFaults(faults):
                return self._faults(faults)
        raise AssertionError(message)

    def status(self) -> dict[str, Any]:
        """What there is to know of the source of truth, and of the channel."""
        found: dict[str, Any] = {"position": self.head, "model": self.truth.model, "engine": self.truth.engine}
        found |= {"durability": self.truth.settings()["durability"], "commands": self.counts}
        found["channel"] = None
        if self.channel is not None:
            found["channel"] = {**self.arriving.counts, "waiting": self.arriving.waiting}
        return found

    # -- commands -----------------------------------------------------------------------------------------------------

    def _accept(self, order: ExecuteCommand, future: asyncio.Future[Reply]) -> None:
        command = Command(order.entity, order.command, order.key, order.fields, order.expected)
        once = order.request
        if not self._waiting:
            # After all that has arrived by now has been read: those that wait together are committed together.
            asyncio.get_running_loop().call_soon(self.commit)
        self._waiting.append((command, None if once is None else REQUEST + once, future))

    def commit(self) -> None:
        """Commit the waiting commands in one transaction, each with its own outcome."""
        group, self._waiting = self._waiting[:GROUP_MAX], self._waiting[GROUP_MAX:]
        if self._waiting:
            asyncio.get_running_loop().call_soon(self.commit)
        if not group:
            return
        # Commit times must not fall if the clock is set back.
        self._at = max(self._at, time.time())
        orders = [(replace(command, at=self._at), once) for command, once, _ in group]
        try:
            outcomes: list[Outcome | Reply] = list(self.truth.execute_together(orders))
            self.counts["commits"] += 1
        except Exception:
            # One of them can't be carried out at all. Nothing was committed: each by itself, to find out which.
            outcomes = [self._alone(*order) for order in orders]
        for (_, _, future), outcome in zip(group, outcomes, strict=True):
            if not future.done():
                future.set_result(outcome if isinstance(outcome, Reply) else self._answer(outcome))
        self._publish()

    def _alone(self, command: Command, once: str | None) -> Outcome | Reply:
        try:
            outcome = self.truth.execute(command, once)
        except OverflowError as error:
            return Outcome("rejected", command.key, (f"a number is too large: {error}",))
        except Exception as error:
            self.counts["failed"] += 1
            print(f"a command failed: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            return problem(500, "the command failed; nothing of it was committed")
        self.counts["commits"] += 1
        return outcome

    def _answer(self, outcome: Outcome) -> Reply:
        self.counts[outcome.status] += 1
        found = outcome._asdict()
        found["outcome"] = found.pop("status")
        position = outcome.position or 0
        self.head = max(self.head, position)
        if outcome.status == "accepted":
            return Reply(201 if outcome.revision == 1 and position else 200, encoded(found), position)
        return problem(422 if outcome.status == "rejected" else 409, "; ".join(outcome.reasons), **found)

    # -- messages -----------------------------------------------------------------------------------------------------

    def _publish(self) -> None:
        if self.journal is not None:
            for change in self._changes:
                row, _ = self._message(change)[1:]
                self.journal.write(json.dumps([change.entity, *row, change.event]) + "\n")
            self.journal.flush()
        if self.channel is not None and self._changes and self.listeners:
            now, room = self.clock.now(), self.channel.capacity
            found = [Published(item.position, (item.entity, item.key), now, item) for item in self._changes]
            for first in range(0, len(found), room):
                self.channel.publish(found[first : first + room])
                self.arriving.pull()
            self._deliver()
        self._changes.clear()

    def _deliver(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        arrived = self.arriving.take(sys.maxsize, 0.0)
        if arrived:
            message = json.dumps([self._message(item.message.body) for item in arrived]).encode()
            for listener in list(self.listeners):
                listener(message)
            self.arriving.acknowledge(arrived)
        next_at = self.arriving.next_at()
        if next_at is not None:
            wait = max(0.0, next_at - self.clock.now())
            self._timer = asyncio.get_running_loop().call_later(wait, self._deliver)

    def _message(self, change: Change) -> list[Any]:
        """Entity, row of the write model's change frame, and the record as it was before."""
        columns = self.plan.domain.entities[change.entity].columns
        row = [change.position, change.key, change.revision, change.deleted, change.committed_at]
        former = change.former
        live = former is not None and not former.deleted
        before = [live, *((former.state[name] if former else None) for name in columns)]
        return [change.entity, [*row, *(change.state[name] for name in columns)], before]

    def _faults(self, wanted: dict[str, Any] | None) -> Reply:
        if self.channel is None:
            return problem(409, "the scenario has no [channel]: no messages travel, and nothing can happen to them")
        if wanted is not None:
            try:
                self.fates.options = LiveFaults.model_validate_json(json.dumps(wanted))
            except ValidationError as error:
                wrong = [{"where": ".".join(map(str, item["loc"])), "what": item["msg"]} for item in error.errors()]
                return problem(400, "; ".join(f"{item['where']}: {item['what']}" for item in wrong), errors=wrong)
            self._deliver()
        table = self.plan.scenario.channel
        assert table is not None
        found = {"now": self.fates.options.model_dump(), "scenario": LiveFaults.of(table).model_dump()}
        return Reply(200, encoded(found))

    def close(self) -> None:
        """Commit what waits, and give the source of truth up."""
        while self._waiting:
            self.commit()
        if self._timer is not None:
            self._timer.cancel()
        self.truth.close()
        if self.journal is not None:
            self.journal.close()

"""The executor: the process that alone writes the source of truth. Commands that wait at one moment share a commit.

Committed changes are sent as messages through the live channel to every projection that listens. Commands are answered
after the commit, so what was acknowledged survives any kill.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lab.base import BadInput, CannotTake, Problem, Unavailable
from lab.channel.fates import LiveFaults, SampledFates
from lab.channel.faulty import Faulty, MonotonicClock
from lab.channel.memory import MemoryChannel
from lab.domain.model import Command, Outcome
from lab.ending import say
from lab.formatting import one_line, printable
from lab.identity import WAY_OUT
from lab.ports import Message as Published
from lab.running.live import Heard
from lab.service.messages import ChangeFaults, ExecuteCommand, Message, ReadStatus
from lab.service.problems import REUSED, encoded, problem
from lab.service.wire import Reply
from lab.truth import Change, Truth
from lab.wiring import Plan

# At most so many commands share a commit; more would delay the first of them.
GROUP_MAX = 500
# Seconds that the clock may be behind the newest commit before the log says so.
BEHIND = 1.0
# Seconds between two looks at the file while no command comes.
LOOK = 0.25


class Executor:
    """Decides commands, keeps the channel, and sends what arrives to `listeners`: a message each, as JSON."""

    def __init__(self, plan: Plan, truth: Truth, journal: Path | None = None) -> None:
        self.plan, self.truth = plan, truth
        # Every change as it was committed, a line each: a snapshot forgets what it has overwritten.
        self.journal = None if journal is None else journal.open("a", encoding="utf-8")
        self.listeners: list[Callable[[bytes], None]] = []
        self.counts = dict.fromkeys(("accepted", "rejected", "conflict", "reused", "failed", "commits"), 0)
        # What became of the source of truth's file; from then on nothing is acknowledged.
        self.lost: str | None = None
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
        # Commit times must not fall if the clock is set back, neither while this process runs nor between two.
        self._at = truth.newest_commit()
        if (behind := self._at - time.time()) > BEHIND:
            said = (
                f"the clock is {behind:,.0f} s behind the newest commit; until then, commits get the time of that one"
            )
            say(said, err=True)

    def load(self) -> None:
        """Load each entity's history unless it has changes already. Raises BadInput where a longer one is to be there.

        A slice is loaded as a whole or not at all, so the next start goes on after the entity that was loaded last.
        """
        if self.plan.domain.has_trace:
            for name, frame in self.plan.domain.trace(self.plan.options).frames.items():
                if not self.truth.head(name):
                    self.truth.load(name, frame)
                found, newest = self.truth.head(name), int(frame["position"].max() or 0)  # type: ignore[arg-type]
                # Commands may have come after it.
                if found < newest:
                    what = f"holds a history of `{name}` up to position {found}, and this one goes up to {newest}"
                    raise BadInput([Problem(self.truth.place.shown(), what, WAY_OUT)])

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
        found["lost"] = self.lost
        found["channel"] = None
        if self.channel is not None:
            found["channel"] = {**self.arriving.counts, "waiting": self.arriving.waiting}
        return found

    # -- commands -----------------------------------------------------------------------------------------------------

    def _accept(self, order: ExecuteCommand, future: asyncio.Future[Reply]) -> None:
        command = Command(order.entity, order.command, order.key, order.fields, order.expected)
        if not self._waiting:
            # After all that has arrived by now has been read: those that wait together are committed together.
            asyncio.get_running_loop().call_soon(self.commit)
        self._waiting.append((command, order.request, future))

    def look(self) -> bool:
        """Return whether the source of truth is still in its place; once it isn't, nothing more is done."""
        if self.lost is None:
            try:
                self.lost = self.truth.lost()
            except Exception as error:
                # An engine that can't tell of its file can't be trusted with a commit either.
                self.lost = f"it can't be looked at: {one_line(error)}"
        return self.lost is None

    async def watch(self) -> None:
        """Return once the source of truth is no longer in its place; looked for between commits too."""
        while self.look():
            await asyncio.sleep(LOOK)

    def commit(self) -> None:
        """Commit the waiting commands in one transaction, each with its own outcome."""
        group, self._waiting = self._waiting[:GROUP_MAX], self._waiting[GROUP_MAX:]
        if self._waiting:
            asyncio.get_running_loop().call_soon(self.commit)
        if not group:
            return
        outcomes = self._executed(group) if self.look() else []
        # Looked at again before anything is acknowledged: what was committed to a file without a name is lost with it.
        answers = map(self._answer, outcomes) if self.look() else itertools.repeat(self._refusal())
        for (_, _, future), answer in zip(group, answers, strict=False):
            if not future.done():
                future.set_result(answer)
        if self.lost is None:
            self._publish()

    def _refusal(self) -> Reply:
        said = f"the source of truth was lost under the running service ({self.lost}): nothing is acknowledged any more"
        return problem(503, said, lost=self.lost)

    def _executed(self, group: Sequence[tuple[Command, str | None, Any]]) -> list[Outcome | Reply]:
        self._at = max(self._at, time.time())
        orders = [(replace(command, at=self._at), once) for command, once, _ in group]
        try:
            outcomes: list[Outcome | Reply] = list(self.truth.execute_together(orders))
            self.counts["commits"] += 1
            return outcomes
        except Unavailable as error:
            # It may have been committed, so nothing of it is done again.
            self.counts["failed"] += len(orders)
            return [problem(503, printable(f"it isn't known that the command was executed: {error}")) for _ in orders]
        except Exception:
            # One of them can't be carried out at all. Nothing was committed: each by itself, to find out which.
            return [self._alone(*order) for order in orders]

    def _alone(self, command: Command, once: str | None) -> Outcome | Reply:
        try:
            outcome = self.truth.execute(command, once)
        except OverflowError as error:
            return Outcome("rejected", command.key, (f"a number is too large: {error}",))
        except CannotTake as error:
            return Outcome("rejected", command.key, (printable(str(error)),))
        except Unavailable as error:
            return problem(503, printable(str(error)))
        except Exception as error:
            self.counts["failed"] += 1
            say(printable(f"a command failed: {type(error).__name__}: {error}"), err=True)
            return problem(500, "the command failed; nothing of it was committed")
        self.counts["commits"] += 1
        return outcome

    def _answer(self, outcome: Outcome | Reply) -> Reply:
        if isinstance(outcome, Reply):
            return outcome
        self.counts[outcome.status] += 1
        if outcome.status == "reused":
            said = "this Idempotency-Key was sent before, with another command; this one was not decided"
            return problem(422, said, REUSED)
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
        return list(Heard.of(change, self.plan.domain.entities[change.entity].columns))

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
        if self.lost is None:
            # To close a database removes its log by name, which may be another's by now.
            self.truth.close()
        if self.journal is not None:
            self.journal.close()

"""One trial: run a script against a consumer, and write down what it shows after every step."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.base import BadInput
from lab.kit.driver import Consumer
from lab.kit.feed import TrialFeed
from lab.kit.history import Row
from lab.kit.script import CRASHES, Commit, Deliver, Die, Lose, Poll, Rewind, Step, TrialCase
from lab.kit.telling import brief, describe, told


@dataclass(frozen=True)
class Seen:
    """What a reader finds after a step: `told` are the positions acknowledged so far, in their order."""

    step: int
    rows: list[Row]
    checkpoint: int
    committed: int
    told: int
    after: str = ""


@dataclass
class TrialOutcome:
    """What a script led to. `told` are acknowledged positions and `handed` all that were handed over, both in order.

    `lines` are the story: (step, who, what, changes delivered).
    """

    case: TrialCase
    seen: list[Seen] = field(default_factory=list)
    told: list[int] = field(default_factory=list)
    handed: list[int] = field(default_factory=list)
    committed: list[int] = field(default_factory=list)
    lines: list[tuple[int, str, str, int]] = field(default_factory=list)
    raised: str | None = None
    raised_at: int = 0

    @property
    def deliveries(self) -> int:
        """How many changes were handed over."""
        return sum(count for _, _, _, count in self.lines)

    def raise_at(self, step: int, error: BaseException) -> None:
        """Note what the projector raised of itself, which ended the trial."""
        self.raised, self.raised_at = told(error), step
        self.lines.append((step, "projector", f"raises {self.raised}", 0))

    def complete(self) -> bool:
        """Whether everything that was committed was handed over and acknowledged."""
        return set(self.told) >= set(self.committed)


@dataclass
class TrialWatch:
    """Where a check is, for a parent process that watches it.

    `apart`: the check has a process of its own, in which a KeyboardInterrupt comes from the projector alone.
    """

    tell: Callable[[str, int, int], None] | None = None
    apart: bool = False
    prop: str = ""
    number: int = 0
    _dead: list[BaseException] = field(default_factory=list)

    def step(self, number: int) -> None:
        """Report that a step begins."""
        if self.tell is not None:
            self.tell(self.prop, self.number, number)

    def thread_died(self, args: threading.ExceptHookArgs) -> None:
        """Note what ended a thread of the projector: the hook of `threading`."""
        if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
            self._dead.append(args.exc_value)

    def confirm(self) -> None:
        """Raise what has ended a thread of the projector."""
        if self._dead:
            raise self._dead.pop()

    def passes(self, error: BaseException) -> bool:
        """Return whether an exception is not the projector's crash: a mistake to tell, or the user's Ctrl-C."""
        return isinstance(error, BadInput) or (isinstance(error, KeyboardInterrupt) and not self.apart)


WATCH = TrialWatch()


class _Run:
    """Executes the steps of one script against a consumer."""

    def __init__(self, consumer: Consumer, case: TrialCase, outcome: TrialOutcome) -> None:
        self.consumer, self.case, self.outcome = consumer, case, outcome
        self.feed = TrialFeed(case.history, case.committed(), case.snapshot)
        self.step = 0

    def observe(self, after: str = "") -> None:
        rows = [dict(row) for row in self.consumer.rows() if not row.get("deleted")]
        committed, told = len(self.feed.committed), len(self.outcome.told)
        self.outcome.seen.append(Seen(self.step, rows, self.consumer.checkpoint(), committed, told, after))

    def say(self, who: str, what: str, count: int = 0) -> None:
        self.outcome.lines.append((self.step, who, what, count))

    def do(self, step: Step) -> None:
        match step:
            case Commit(positions):
                self.feed.committed += positions
                self.outcome.committed += positions
                for position in positions:
                    self.say("source", f"commits {describe(self.case.history.at(position))}")
            case Lose(positions):
                for position in positions:
                    if position in self.feed.committed:
                        self.say("channel", f"loses the message of position {position}")
            case Die("idle"):
                self.crash("idle")
            case Die(at, reach):
                self.consumer.armed = at
                if hasattr(self.consumer, "reach"):
                    self.consumer.reach = reach
            case Rewind(count):
                if hasattr(self.consumer, "rewind"):
                    self.consumer.rewind(count)
                    self.say("catch-up", f"begins again after {count} commits" if count else "begins again from 0")
                    self.observe("rewind")
            case Deliver(positions):
                self.message([position for position in positions if position in self.feed.committed])
            case Poll(limit, lag):
                self.poll(limit, lag)

    def message(self, positions: list[int]) -> None:
        if not positions:
            return
        changes = [dict(self.case.history.at(position)) for position in positions]
        again = set(self.outcome.handed)
        for index, (position, change) in enumerate(zip(positions, changes, strict=True)):
            repeated = position in again or position in positions[:index]
            self.say("channel", f"brings {brief(change)}{' again' if repeated else ''}", 1)
        self.outcome.handed += positions
        if self.attempt(lambda: self.consumer.receive(changes)):
            self.outcome.told += positions
            self.observe()
        else:
            # It was not acknowledged, so the channel delivers it again.
            self.message(positions)

    def poll(self, limit: int, lag: int = 0) -> list[int]:
        lag = min(lag, len(self.feed.committed))
        feed = self.feed.lagging(lag)
        before = len(self.feed.handed)

        def ask() -> None:
            try:
                self.consumer.poll(feed, limit)
            finally:
                page = self.feed.handed[before:]
                known = set(self.outcome.handed)
                self.outcome.handed += page
                late = f", as it was {lag} commit{'s' if lag > 1 else ''} ago" if lag else ""
                for position in page:
                    again = " again" if position in known else ""
                    self.say("catch-up", f"hands over {brief(self.case.history.at(position))}{again}{late}", 1)
                if not page and self.step < len(self.case.script):
                    self.say("catch-up", f"asks the source{late}, and finds nothing new")

        if self.attempt(ask):
            page = self.feed.handed[before:]
            self.outcome.told += page
            self.observe()
            return page
        return self.poll(limit, lag)

    def drain(self) -> None:
        """Poll until nothing more comes, or nothing but the same page again."""
        last: list[int] = []
        for _ in range(len(self.case.history.changes) + 2):
            page = self.poll(self.case.page)
            if not page or page == last:
                return
            last = page

    def attempt(self, work: Callable[[], None]) -> bool:
        """Whether the work was done and acknowledged. With a crash in waiting it is not, however far it came."""
        armed = self.consumer.armed
        if armed is None:
            work()
            return True
        try:
            work()
        except BaseException as error:
            if WATCH.passes(error) or isinstance(error, SystemExit):
                raise
        self.crash(armed)
        return False

    def crash(self, at: str) -> None:
        self.consumer.armed = None
        self.consumer.restart()
        self.say("projector", f"dies {CRASHES[at]}, and starts again")
        self.observe("crash")


def run(make: Callable[[], Any], case: TrialCase) -> TrialOutcome:
    """Run a case against a new consumer. What the projector raises of itself ends the run, and is in the outcome."""
    outcome = TrialOutcome(case)
    here = Path.cwd()
    try:
        consumer = make()
        going = _Run(consumer, case, outcome)
        try:
            _go(going)
        finally:
            if hasattr(consumer, "close"):
                consumer.close()
    except BaseException as error:
        if WATCH.passes(error):
            raise
        if not outcome.raised:
            outcome.raise_at(len(case.script), error)
    finally:
        os.chdir(here)
    return outcome


def _go(going: _Run) -> None:
    """Take all steps. Not even `sys.exit()` of the projector's ends the check: it is a crash."""
    script = going.case.script
    try:
        for index, step in enumerate(script):
            going.step = index
            WATCH.step(index)
            going.do(step)
            WATCH.confirm()
        going.step = len(script)
        WATCH.step(len(script))
        if going.case.drain:
            going.drain()
        WATCH.confirm()
    except BaseException as error:
        if WATCH.passes(error):
            raise
        going.outcome.raise_at(going.step, error)

"""One trial: run a script against a consumer, and write down what it shows after every step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lab.base import BadInput
from lab.kit.driver import Consumer, Died
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

    def complete(self) -> bool:
        """Whether everything that was committed was handed over and acknowledged."""
        return set(self.told) >= set(self.committed)


class _Run:
    """Executes the steps of one script against a consumer."""

    def __init__(self, consumer: Consumer, case: TrialCase) -> None:
        self.consumer, self.case = consumer, case
        self.feed = TrialFeed(case.history, case.committed(), case.snapshot)
        self.outcome = TrialOutcome(case)
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
            if isinstance(error, BadInput | KeyboardInterrupt | SystemExit):
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
    consumer = make()
    going = _Run(consumer, case)
    try:
        for index, step in enumerate(case.script):
            going.step = index
            going.do(step)
        going.step = len(case.script)
        if case.drain:
            going.drain()
    except (Exception, Died, SystemExit) as error:
        if isinstance(error, BadInput):
            raise
        going.outcome.raised, going.outcome.raised_at = told(error), going.step
        going.say("projector", f"raises {going.outcome.raised}")
    finally:
        if hasattr(consumer, "close"):
            consumer.close()
    return going.outcome

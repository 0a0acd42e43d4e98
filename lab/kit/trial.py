"""One trial: run a script against a consumer, and write down what it shows after every step."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lab.kit.driver import Consumer
from lab.kit.feed import TrialFeed
from lab.kit.history import Change
from lab.kit.outcome import Seen, TrialOutcome
from lab.kit.script import (
    CRASHES,
    TOLD_MAX,
    Commit,
    Deliver,
    Die,
    Each,
    Lose,
    Poll,
    Rewind,
    Step,
    Takeover,
    TrialCase,
    Wake,
)  # fmt: skip
from lab.kit.telling import brief, describe, in_all, told
from lab.kit.watch import WATCH


class _Run:
    """Executes the steps of one script against a consumer."""

    def __init__(self, consumer: Consumer, case: TrialCase, outcome: TrialOutcome, telling: bool) -> None:
        self.telling = telling
        self.consumer, self.case, self.outcome = consumer, case, outcome
        self.feed = TrialFeed(case.history, case.committed(), case.snapshot)
        self.step = 0
        # Owners made in this trial, and the frozen one with what it has in hand.
        self.owners: list[Consumer] = [consumer]
        self.former: tuple[Consumer, list[int]] | None = None
        if hasattr(consumer, "said"):
            consumer.said = lambda what: self.say("poller", what, 1)

    def observe(self, after: str = "") -> None:
        rows = [dict(row) for row in self.consumer.rows() if not row.get("deleted")]
        committed, told = len(self.feed.committed), len(self.outcome.told)
        self.outcome.seen.append(Seen(self.step, rows, self.consumer.checkpoint(), committed, told, after))

    def say(self, who: str, what: str, count: int = 0) -> None:
        if self.telling:
            self.outcome.lines.append((self.step, who, what, count))

    def do(self, step: Step) -> None:
        match step:
            case Commit(positions):
                self.commit(positions)
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
                self.message(self.sent(positions))
            case Each(positions):
                self.one_by_one(self.sent(positions))
            case Poll(limit, lag, meanwhile):
                self.poll(limit, lag, meanwhile)
            case Takeover(positions):
                self.take_over(self.sent(positions))
            case Wake():
                self.wake()

    def commit(self, positions: Sequence[int], when: str = "") -> None:
        self.feed.committed += positions
        self.outcome.committed += positions
        if not self.telling:
            return
        changes = [self.case.history.at(position) for position in positions]
        if len(changes) > TOLD_MAX:
            self.say("source", f"commits{when} {in_all(changes)}")
            return
        for change in changes:
            self.say("source", f"commits{when} {describe(change)}")

    def sent(self, positions: Sequence[int]) -> list[int]:
        """Those that can be sent, since they are committed."""
        committed = set(self.feed.committed)
        return [position for position in positions if position in committed]

    def message(self, positions: list[int]) -> None:
        if not positions:
            return
        changes = [dict(self.case.history.at(position)) for position in positions]
        if self.telling:
            self.bring(positions, changes)
        self.outcome.handed += positions
        if self.attempt(lambda: self.consumer.receive(changes)):
            self.outcome.told += positions
            self.observe()
        else:
            # It was not acknowledged, so the channel delivers it again.
            self.message(positions)

    def bring(self, positions: list[int], changes: list[Change]) -> None:
        """Tell of a batch of messages."""
        if len(changes) > TOLD_MAX:
            self.say("channel", f"brings {in_all(changes)} in one batch", 1)
            return
        again = set(self.outcome.handed)
        for index, (position, change) in enumerate(zip(positions, changes, strict=True)):
            repeated = position in again or position in positions[:index]
            self.say("channel", f"brings {brief(change)}{' again' if repeated else ''}", 1)

    def one_by_one(self, positions: list[int]) -> None:
        changes = [dict(self.case.history.at(position)) for position in positions]
        if not changes:
            return
        self.say("channel", f"brings {in_all(changes)}, one at a time", 1)
        self.outcome.handed += positions
        for change in changes:
            self.consumer.receive([change])
        self.outcome.told += positions
        self.observe()

    def take_over(self, positions: list[int]) -> None:
        """Let a second owner go on; a projector that can't have one goes on itself."""
        if not positions:
            return
        if hasattr(self.consumer, "twin"):
            self.former = (self.consumer, positions)
            self.consumer = self.consumer.twin()
            self.owners.append(self.consumer)
        places = ", ".join(map(str, positions))
        self.say("projector", f"freezes with position {places} in hand, and a second owner takes over")

    def wake(self) -> None:
        """Let the frozen owner go on. That it is refused is no failure."""
        if self.former is None:
            return
        (owner, positions), self.former = self.former, None
        for position in positions:
            self.say("projector", f"wakes, and applies {brief(self.case.history.at(position))}", 1)
        try:
            owner.receive([dict(self.case.history.at(position)) for position in positions])
        except Exception as error:
            self.say("projector", f"is refused: {told(error)}")
        self.observe("wake")

    def poll(self, limit: int, lag: int = 0, meanwhile: Sequence[int] = ()) -> list[int]:
        lag = min(lag, len(self.feed.committed))
        feed = self.feed.lagging(lag)
        late = [meanwhile] if meanwhile else []
        feed.asked = lambda: self.commit(late.pop(), ", while the page is read,") if late else None
        before = len(self.feed.handed)
        polls = bool(getattr(self.consumer, "polls", False))

        def ask() -> None:
            try:
                self.consumer.poll(feed, limit)
            finally:
                page = self.feed.handed[before:]
                known = set(self.outcome.handed) if self.telling else ()
                self.outcome.handed += page
                ago = f", as it was {lag} commit{'s' if lag > 1 else ''} ago" if lag else ""
                for position in page if self.telling and not polls else ():
                    again = " again" if position in known else ""
                    self.say("catch-up", f"hands over {brief(self.case.history.at(position))}{again}{ago}", 1)
                if not page and self.step < len(self.case.script) and not polls:
                    self.say("catch-up", f"asks the source{ago}, and finds nothing new")

        done = self.attempt(ask)
        feed.asked()
        if done:
            page = self.feed.handed[before:]
            self.outcome.told += page
            self.observe()
            return page
        return self.poll(limit, lag)

    def drain(self) -> None:
        """Poll until nothing more comes, or nothing but the same page again; of a poller by SQL that isn't seen."""
        last: list[int] = []
        blind = bool(getattr(self.consumer, "polls", False))
        for _ in range(len(self.case.history.changes) + 2):
            page = self.poll(self.case.page)
            if not blind and (not page or page == last):
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


def run(make: Callable[[], Any], case: TrialCase, telling: bool = True) -> TrialOutcome:
    """Run a case against a new consumer. What the projector raises of itself ends the run, and is in the outcome.

    Without `telling`, the outcome has no lines: most trials need none.
    """
    outcome = TrialOutcome(case)
    here = Path.cwd()
    try:
        # A consumer in a process of its own is told the whole case at once.
        consumer = make.of(case) if hasattr(make, "of") else make()
        going = _Run(consumer, case, outcome, telling)
        try:
            _go(going)
        finally:
            outcome.notes = set[str]().union(*(getattr(owner, "notes", ()) for owner in going.owners))
            if hasattr(consumer, "printed"):
                outcome.printed = consumer.printed()
            for owner in reversed(going.owners):
                if hasattr(owner, "close"):
                    owner.close()
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

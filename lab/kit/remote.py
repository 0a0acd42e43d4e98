"""A consumer that is a process of its own, as a projector: what a trial asks of it is known before and sent at once.

A trial's deliveries depend on its script alone. So the script is first run against a recorder, then everything up to
the next crash is written to the process, and the trial itself reads the answers as it goes.
"""

from __future__ import annotations

import shutil
import time
from collections import deque
from pathlib import Path

from lab.base import BadInput, Problem
from lab.formatting import first_line, printable
from lab.kit import trial
from lab.kit.declared import shaped
from lab.kit.driver import Driver
from lab.kit.exchange import Answer, Exchange, Stock
from lab.kit.history import COLUMNS, Change, Row, Shape
from lab.kit.process import ChildEnded, ChildSilent
from lab.kit.script import TrialCase
from lab.kit.wire import PROTOCOL, checked_rows, restored

# A request: what, the changes, after how many of them the process is to end itself.
Call = tuple[str, list[Change], int | None]


class ConsumerFailed(Exception):
    """The consumer answered with an error, or its process has ended. `lab_told` is what a witness says that it did."""

    def __init__(self, told: str) -> None:
        super().__init__(told)
        self.lab_told = printable(told)


class ConsumerHangs(BadInput):
    """The consumer doesn't answer; with the trial in which that was, and what it has printed."""

    def __init__(self, where: str, why: str, case: TrialCase | None, printed: list[str]) -> None:
        super().__init__([Problem(where, why)])
        self.why, self.case, self.printed = why, case, printed


class TrialRecorder:
    """A projector that only notes what a trial asks of it, crash by crash."""

    def __init__(self) -> None:
        self.parts: list[deque[Call]] = [deque()]
        self._reach: int | None = None

    def apply(self, changes: list[Change]) -> None:
        """Note the changes."""
        reach, self._reach = self._reach, None
        self.parts[-1].append(("apply", list(changes), _torn(reach, changes)))

    def interrupt(self, reach: int) -> None:
        """Note that the next `apply` is torn."""
        self._reach = reach

    def rows(self) -> list[Row]:
        """Note the question; there is no row."""
        self.parts[-1].append(("rows", [], None))
        return []

    def reopen(self) -> None:
        """Note a crash."""
        self.parts.append(deque())


def _torn(reach: int | None, changes: list[Change]) -> int | None:
    return None if reach is None else 1 + (reach - 1) % len(changes)


class Remote:
    """`apply`, `rows` and `reopen` of a process: the projector of one trial."""

    def __init__(self, consumers: Consumers, case: TrialCase | None) -> None:
        self._consumers, self._case = consumers, case
        self._folder = consumers.stock.folder()
        self._reach: int | None = None
        self._hangs = False
        self._parts: deque[deque[Call]] = deque()
        if case is not None:
            recorder = TrialRecorder()
            trial.run(lambda: Driver(recorder), case)
            self._parts.extend(recorder.parts)
        self._planned: deque[Call] = deque()
        self._exchange = consumers.take()
        try:
            self._begin(again=False)
        except BaseException:
            self.close()
            raise

    def _begin(self, again: bool) -> None:
        """Send `init`, and everything that comes before the next crash."""
        self._planned = self._parts.popleft() if self._parts else deque()
        self._exchange.process.printed.clear()
        self._consumers.init(self._exchange, self._folder, again)
        for call in self._planned:
            self._add(call)
        self._exchange.flush()
        if "error" in (answer := self._answer("init")):
            raise ConsumerFailed(f"raises {first_line_of(answer)} (in `init`)")

    def _add(self, call: Call) -> None:
        do, changes, after = call
        if do == "rows":
            self._exchange.add("rows")
        elif after is None:
            self._exchange.add("apply", changes=changes)
        elif self._consumers.tears:
            self._exchange.add("apply", changes=changes, die_after=after)
        else:
            # It can't stop in the middle of a batch: it gets the part that it would have come to, and is killed then.
            self._exchange.add("apply", changes=changes[:after])

    def _ask(self, call: Call) -> Answer:
        if self._planned and self._planned[0] == call:
            self._planned.popleft()
        elif self._planned:
            raise AssertionError(f"a trial asked for {call[0]} where {self._planned[0][0]} was recorded")
        else:
            self._add(call)
            self._exchange.flush()
        return self._answer(call[0])

    def _answer(self, do: str) -> Answer:
        patience = self._consumers.stock.patience
        try:
            return self._exchange.answer(patience)
        except ChildEnded as error:
            raise ConsumerFailed(str(error)) from None
        except ChildSilent:
            self._hangs = True
            why = f"does not return: `{do}` has had no answer for {patience:g} s (more time: --set patience=SECONDS)"
            raise ConsumerHangs(self._consumers.stock.name, why, self._case, self.lab_printed()) from None

    def apply(self, changes: list[Change]) -> None:
        """Send the changes, and wait until they are applied. Raises ConsumerFailed."""
        reach, self._reach = self._reach, None
        answer = self._ask(("apply", list(changes), _torn(reach, changes)))
        if "error" in answer:
            raise ConsumerFailed(f"raises {first_line_of(answer)}")

    def interrupt(self, reach: int) -> None:
        """The next `apply` is cut off in its middle."""
        self._reach = reach

    def rows(self) -> list[Row]:
        """Ask for the live records. Raises ConsumerFailed, and BadInput for what are no rows."""
        answer = self._ask(("rows", [], None))
        if "error" in answer:
            raise ConsumerFailed(f"raises {first_line_of(answer)}")
        return restored(checked_rows(answer.get("rows")), self._consumers.shape)

    def reopen(self) -> None:
        """Kill the process, and start another one on the same folder."""
        self._exchange = self._consumers.replace(self._exchange)
        self._begin(again=True)

    def lab_printed(self) -> list[str]:
        """Return the last lines that the process has written to standard error."""
        return self._exchange.process.said()

    def close(self) -> None:
        """Give the process back for the next trial."""
        self._consumers.give_back(self._exchange, self._folder, self._hangs)


def wanted(said: Answer, name: str) -> Shape:
    """Return the shape of histories that an answer to `init` asks for. Raises BadInput."""
    key = said.get("key") or "int"
    if key not in ("int", "str"):
        raise BadInput([Problem(name, f"a key can't be of type `{key}`", "valid: int, str")])
    return shaped(
        said.get("columns") or COLUMNS, key, f"{name}, its answer to `init`", said.get("bits", 64),
        words=("", "object"),
    )  # fmt: skip


def first_line_of(answer: Answer) -> str:
    """Return what an answer says went wrong, in one line."""
    return first_line(Exception(answer["error"])) if answer["error"].strip() else "an error without a text"


class Consumers:
    """Makes the consumer of each trial: one process serves trial after trial, until a crash is the story.

    `keeps` and `tears` are what its answer to the first `init` says; `trials` is how many there were.
    """

    def __init__(self, stock: Stock, seed: int) -> None:
        self.stock, self.seed = stock, seed
        self.shape = Shape()
        self.keeps = self.tears = False
        self.trials = 0
        self._idle: Exchange | None = None
        self._old: Path | None = None
        self._crashed = False

    def __call__(self) -> Driver:
        return self.of(None)

    def of(self, case: TrialCase | None) -> Driver:
        """Return the consumer of this trial; of None, one that is asked step by step."""
        self.trials += 1
        return Driver(Remote(self, case), shape=self.shape)

    def meet(self) -> None:
        """Start the first process, and learn from its answer what it keeps and which columns it wants.

        Raises BadInput for a process that doesn't answer, or that shows rows before anything was applied.
        """
        began = time.monotonic()
        folder, exchange = self.stock.folder(), self.stock.take()
        said = self._said_to_init(exchange, folder)
        self.stock.start_seconds = time.monotonic() - began
        self.keeps, self.tears = said.get("keeps") is True, said.get("tears") is True
        self.shape = wanted(said, self.stock.name)
        self.init(exchange, folder, again=False)
        exchange.add("rows")
        exchange.flush()
        answers = [self._first(exchange, do) for do in ("init", "rows")]
        if checked_rows(answers[1].get("rows")):
            what = f"a fresh consumer has {len(answers[1]['rows'])} rows already"
            raise BadInput([Problem(self.stock.name, what, "begin empty at each `init` that is not `again`")])
        self.give_back(exchange, folder)

    def _said_to_init(self, exchange: Exchange, folder: Path) -> Answer:
        self.init(exchange, folder, again=False)
        exchange.flush()
        return self._first(exchange, "init")

    def _first(self, exchange: Exchange, do: str) -> Answer:
        """Return an answer of a process that is not on trial yet: whatever is wrong with it is bad input."""
        try:
            answer = exchange.answer(self.stock.patience)
        except ChildEnded as error:
            raise self.stock.broken(f"{error}, before it has answered `{do}`", exchange.process.said()) from None
        except ChildSilent:
            what = f"has not answered `{do}` for {self.stock.patience:g} s"
            raise self.stock.broken(what, exchange.process.said()) from None
        if "error" in answer:
            raise self.stock.broken(f"answers `{do}` with an error: {first_line_of(answer)}", exchange.process.said())
        return answer

    def take(self) -> Exchange:
        """Return an exchange with a process that is good for another history."""
        idle, self._idle = self._idle, None
        if idle is not None and not idle.process.alive():
            self.stock.kill(idle)
            idle = None
        return idle or self.stock.take()

    def replace(self, exchange: Exchange) -> Exchange:
        """Kill a process, and return the exchange with the next one."""
        self.stock.kill(exchange)
        return self.stock.take(reserve=True)

    def init(self, exchange: Exchange, folder: Path, again: bool) -> None:
        """Add the request that begins a history, or goes on with it."""
        exchange.add(
            "init", protocol=PROTOCOL, seed=self.seed, folder=str(folder), again=again,
            key=self.shape.key, columns=dict(self.shape.columns),
        )  # fmt: skip

    def give_back(self, exchange: Exchange, folder: Path, hangs: bool = False) -> None:
        """Keep the process for the next history, if it answers everything that it was asked."""
        if not hangs and exchange.drain():
            self._idle = exchange
        else:
            self.stock.kill(exchange)
        # A process may have files open in the folder of its latest history; the one before is nobody's any more.
        self._old, old = folder, self._old
        if old is not None:
            shutil.rmtree(old, ignore_errors=True)

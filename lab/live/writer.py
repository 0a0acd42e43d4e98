"""The process of one writer of a live run: `python -m lab.live.writer ORDERS`, the orders as JSON.

It says `ready` on standard output, reads from standard input when the scenario begins, and takes one command after the
other until none is left: each at its time, or as soon as the writer is free after that. What it committed, and when
that was acknowledged, it writes down, a line of JSON for each command. It ends when its standard input does.
"""

from __future__ import annotations

import json
import pickle
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from lab.base import TRUTH, stream
from lab.domain.model import Command
from lab.ending import complain, output
from lab.live.broker import BrokerPublisher, opened
from lab.live.publishing import LOOK, HistoryWriter, Publisher, wait
from lab.live.tickets import Tickets
from lab.place import FolderPlace
from lab.running.live import Heard
from lab.scenario import Source, WritersTable
from lab.scenario.draws import delays
from lab.service.wire import abandoned
from lab.truth import Change, Truth
from lab.wiring import Plan, plan

READY = "ready"


class RolledBack(Exception):
    """A transaction was rolled back on purpose, after it had taken its positions."""


@dataclass(frozen=True)
class WriterOrders:
    """What a writer is to do: `number` among the writers, the scenario, the folder of the run's files.

    `copy` has the scenario's text, `hub` is the path of the hub's socket, or the name of a broker's channel; "" without
    messages.
    """

    number: int
    scenario: str
    overrides: tuple[str, ...]
    seed: int | None
    folder: str
    copy: str
    hub: str

    @property
    def journal(self) -> Path:
        """Return the file in which this writer writes down what it did."""
        return Path(self.folder) / f"writer-{self.number}.journal"

    @property
    def tally(self) -> Path:
        """Return the file with how many messages this writer published to a broker, and never could, by reason."""
        return self.journal.with_suffix(".published")

    def plan(self) -> Plan:
        """Plan the scenario again."""
        text = Path(self.copy).read_text(encoding="utf-8")
        return plan(Source(Path(self.scenario), self.overrides, self.seed, text))

    def publisher(self, made: Plan) -> Publisher | BrokerPublisher | None:
        """Return what publishes; None without messages."""
        table = made.scenario.channel
        if not self.hub or table is None:
            return None
        if table.broker is None:
            return Publisher(self.hub)
        return BrokerPublisher(opened(table, self.hub), table.capacity, self.number, abandoned, self.tally)

    def json(self) -> str:
        """Serialise to the argument of the process."""
        return json.dumps(asdict(self))


def commands_file(folder: Path) -> Path:
    """Return the file of a run's commands, in their order."""
    return folder / "commands.pickle"


def tickets_file(folder: Path) -> Path:
    """Return the file of the counter by which writers share the commands."""
    return folder / "tickets"


@dataclass(frozen=True)
class Pauses:
    """For each command: how many seconds its transaction stays open before the commit, and if a first attempt fails."""

    seconds: np.ndarray
    aborted: np.ndarray

    @classmethod
    def draw(cls, options: WritersTable | None, commands: int, seed: int) -> Pauses:
        """Draw them as the scenario's writers have them, the same in every process; none without such a table."""
        if options is None:
            return cls(np.zeros(commands), np.zeros(commands, bool))
        rng = stream(seed, "live writers")
        aborted = rng.random(commands) < options.abort
        slept = rng.random(commands) < options.sleep.share
        seconds = delays(options.hold, commands, rng)
        return cls(seconds + np.where(slept, delays(options.sleep.lasts, commands, rng), 0.0), aborted)


class Writer:
    """Executes commands on a source of truth that it has open beside other writers."""

    def __init__(
        self, made: Plan, truth: Truth, publisher: Publisher | BrokerPublisher | None, journal: TextIO, pauses: Pauses
    ) -> None:
        self.plan, self.truth, self.publisher, self.pauses = made, truth, publisher, pauses
        self._journal = journal
        self._changes: list[Change] = []
        self._pause, self._aborts = 0.0, False
        truth.publish, truth.committing = self._changes.append, self._before_commit

    def execute(self, number: int, command: Command, due: float) -> None:
        """Execute the command of this number, which was due at `due` (seconds since 1970); note what came of it.

        A server can be lost at the commit: the number is the id of the request under which the command is asked about
        then. Writers share the numbers, and the source of truth is the run's own, so no other command has it.
        """
        began, request = time.time(), str(number) if self.truth.server else None
        self._pause = float(self.pauses.seconds[number])
        if self.pauses.aborted[number]:
            self._aborts = True
            with suppress(RolledBack):
                self.truth.execute(replace(command, at=time.time()), request)
            self._aborts = False
        outcome = self.truth.execute(replace(command, at=time.time()), request)
        acknowledged = time.time()
        rows: list[list[Any]] = []
        if self._changes:
            heard = [Heard.of(one, self.plan.domain.entities[one.entity].columns) for one in self._changes]
            if self.publisher is not None:
                self.publisher.publish(heard)
            rows = [[one.entity, *one.row, change.event] for one, change in zip(heard, self._changes, strict=True)]
            self._changes.clear()
        self._journal.write(json.dumps([due, began, acknowledged, outcome.status, rows]) + "\n")
        self._journal.flush()

    def _before_commit(self, changes: Sequence[Change]) -> None:
        if self._aborts:
            raise RolledBack
        if self._pause > 0:
            time.sleep(self._pause)

    def work(self, commands: Sequence[Command], tickets: Tickets, began: float) -> None:
        """Take one command after the other until none is left, or the parent is gone."""
        looked = time.monotonic()
        while (number := tickets.next()) < len(commands):
            command = commands[number]
            if not wait(began + command.at):
                return
            self.execute(number, command, began + command.at)
            if time.monotonic() - looked > LOOK:
                looked = time.monotonic()
                if abandoned():
                    return


def _begins() -> float | None:
    """Say that this writer is ready, and return when the scenario begins; None if it never does."""
    sys.stdout.write(f"{READY}\n")
    sys.stdout.flush()
    line = sys.stdin.readline()
    return float(line) if line else None


def _work(orders: WriterOrders) -> None:
    made, folder = orders.plan(), Path(orders.folder)
    truth = made.truth_joined(FolderPlace(folder).within(TRUTH))
    publisher = orders.publisher(made)
    try:
        if made.domain.has_trace:
            history = HistoryWriter(made, truth, publisher, orders.journal)
            if (began := _begins()) is not None:
                history.work(began)
            return
        with commands_file(folder).open("rb") as file:
            # Written by the process that started this one.
            commands: list[Command] = pickle.load(file)
        pauses = Pauses.draw(made.scenario.writers, len(commands), made.scenario.seed)
        with orders.journal.open("a", encoding="utf-8") as journal:
            writer = Writer(made, truth, publisher, journal, pauses)
            if (began := _begins()) is not None:
                writer.work(commands, Tickets(tickets_file(folder)), began)
    finally:
        try:
            if publisher is not None:
                publisher.close()
        finally:
            truth.close()


def main(argument: str) -> None:
    """Do what the argument says."""
    found = json.loads(argument)
    orders = WriterOrders(**found | {"overrides": tuple(found["overrides"])})
    output.prepare()
    try:
        _work(orders)
    except (Exception, SystemExit) as error:
        sys.exit(complain(error, who=f"writer {orders.number}"))


if __name__ == "__main__":
    main(sys.argv[1])

"""One transaction of a group of commands in PostgreSQL, in as few round trips as there are.

The first one begins, locks the records of all commands in one order, and reads them, each in a statement after the
lock: under READ COMMITTED it sees what the former holder has committed. Then everything is decided here. The second one
takes the gate lock and writes, and commits where nothing has to be known before; else a third one commits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import psycopg

from lab.base import CannotTake, Key
from lab.domain.model import Command, Outcome, Record
from lab.engines.postgres import NUL, Session, alive
from lab.queries.answers import Row
from lab.truth import outbox
from lab.truth.deciding import Answered, Change, Draft, accepted, decided, repeated

if TYPE_CHECKING:
    from lab.truth.postgres import Postgres

Orders = Sequence[tuple[Command, str | None]]
Step = tuple[str, Sequence[Any]]
_LOCK = "SELECT pg_advisory_xact_lock(?)"
_LOCK_SHARED = "SELECT pg_advisory_xact_lock_shared(?)"
_COMMIT: Step = ("COMMIT", ())
# What positions are taken from.
SEQUENCE = "lab_position"
# A quoted name or text, in which a question mark is none; a mark; and what the driver takes for the start of one.
_MARKS = re.compile(r""""(?:[^"]|"")*"|'(?:[^']|'')*'|\?|%""")


class CommitUnknown(psycopg.OperationalError):
    """The connection was lost after the commit was sent: it isn't known whether it happened."""


@dataclass(frozen=True)
class UnknownCommit:
    """What a transaction came to whose commit was not answered: outcomes, and the changes that nobody was told of."""

    outcomes: Sequence[Outcome] = ()
    changes: Sequence[Change] = ()

    def committed(self, found: Sequence[Outcome]) -> Sequence[Change]:
        """Return the changes if these outcomes, found under the ids of the requests, say that they were committed."""
        before = [outcome.position for outcome in self.outcomes]
        return self.changes if before == [outcome.position for outcome in found] else ()


class Transaction:
    """Used once. It is what a decision sees of the write model, and locks what that reads."""

    def __init__(self, truth: Postgres, session: Session) -> None:
        self.truth, self.session = truth, session
        self._records: dict[tuple[str, Key], Record | None] = {}
        self._answered: dict[str, Answered] = {}
        self._sent = False
        # What a run came to before it was committed.
        self.drafted: tuple[list[Outcome], list[Change]] = ([], [])
        # What is written with the commit only.
        self._put: list[Step] = []

    def run(self, orders: Orders) -> tuple[list[Outcome], list[Change]]:
        """Execute the commands and commit. Raises what the driver raises, after everything was rolled back."""
        try:
            self._start(orders)
            return self._carried_out(orders)
        except BaseException as error:
            if not alive(self.session.connection):
                if self._sent and isinstance(error, psycopg.Error):
                    raise CommitUnknown(str(error)) from None
            else:
                self.truth.on.roll_back()
            raise

    def get(self, entity: str, key: Key) -> Record | None:
        """Return a record as it will be at the commit: it is locked until then, for writers."""
        name = (entity, key)
        if name not in self._records:
            _check(entity, key, (("key", key),))
            lock = (_LOCK_SHARED, (self.truth.gate.record(entity, key),))
            _, found = self._sent_together([lock, self._get(entity, key)])
            self._records[name] = self.truth._read(entity, found)
        return self._records[name]

    def _get(self, entity: str, key: Key) -> Step:
        return self.truth.on.prepared("get", self.truth._gets[entity], 1), (key,)

    def _start(self, orders: Orders) -> None:
        truth = self.truth
        names = list(dict.fromkeys((command.entity, command.key) for command, _ in orders))
        for entity, key in names:
            _check(entity, key, (("key", key),))
        requests = [request for _, request in orders if request is not None]
        locks = sorted({truth.gate.record(*name) for name in names})
        found = self._sent_together(
            [
                ("BEGIN", ()),
                *((_LOCK, (number,)) for number in locks),
                *(self._get(entity, key) for entity, key in names),
                *((truth.on.prepared("request", truth.looks_up, 1), (request,)) for request in requests),
            ]
        )[1 + len(locks) :]
        self._records = {name: truth._read(name[0], rows) for name, rows in zip(names, found, strict=False)}
        former = zip(requests, map(truth.former, found[len(names) :]), strict=True)
        self._answered = {request: answered for request, answered in former if answered is not None}

    def _carried_out(self, orders: Orders) -> tuple[list[Outcome], list[Change]]:
        outcomes: dict[int, Outcome] = {}
        drafted: list[tuple[int, Command, list[Draft]]] = []
        first: dict[str, int] = {}
        again: list[int] = []
        for number, (command, request) in enumerate(orders):
            if request is not None:
                if (former := self._answered.get(request)) is not None:
                    outcomes[number] = repeated(command, former)
                    continue
                if first.setdefault(request, number) != number:
                    again.append(number)
                    continue
            found = decided(self.truth.domain, self, command, self.get(command.entity, command.key))
            if isinstance(found, Outcome):
                outcomes[number] = found
            else:
                drafted.append((number, command, found))
                self._records[command.entity, command.key] = found[-1].record
        changes: list[Change] = []
        positions = iter(self._written(drafted, last=not first and self.truth.committing is None))
        for number, command, drafts in drafted:
            outcomes[number], made = accepted(command, drafts, [next(positions) for _ in drafts])
            changes += made
        for number in again:
            command, request = orders[number]
            one = first[str(request)]
            outcomes[number] = repeated(command, Answered(orders[one][0].digest, outcomes[one]))
        if changes and self.truth.committing is not None:
            self.truth.committing(changes)
        self.drafted = [outcomes[number] for number in range(len(orders))], changes
        self._commit((request, Answered(orders[one][0].digest, outcomes[one])) for request, one in first.items())
        return self.drafted

    def _written(self, drafted: Sequence[tuple[int, Command, list[Draft]]], last: bool) -> list[int]:
        """Write the drafts, and commit with them if nothing comes after; return their positions."""
        if not drafted:
            return []
        truth = self.truth
        rows = list[tuple[str, tuple[Any, ...]]]()
        for _, command, drafts in drafted:
            names = truth.domain.entities[command.entity].columns
            for record, event, _ in drafts:
                values = tuple(truth._values(command.entity, record, event))
                _check(command.entity, command.key, zip(names, values, strict=False))
                rows.append((command.entity, (command.key, record.revision, record.deleted, command.at, *values)))
        if truth.gaps == "xmin":
            return self._put_off(rows)
        steps: list[Step] = []
        for (entity, row), delivered in zip(rows, self._delivered(drafted), strict=True):
            steps += [(truth.on.prepared("append", truth._appends[entity], len(row)), row), *delivered]
        self._sent = last
        each = len(steps) // len(rows)
        found = self._sent_together([*steps, *truth.notification, *([_COMMIT] if last else [])])
        return [int(position) for ((position,),) in found[: len(steps) : each]]

    def _delivered(self, drafted: Sequence[tuple[int, Command, list[Draft]]]) -> list[list[Step]]:
        """For each draft what writes it into the outbox, if there is one."""
        readers = self.truth.outlets.outboxes
        columns = {name: list(entity.columns) for name, entity in self.truth.domain.entities.items()}
        return [
            [outbox.step(command, draft, columns[command.entity], readers, SEQUENCE)] if readers else []
            for _, command, drafts in drafted
            for draft in drafts
        ]

    def _put_off(self, rows: Sequence[tuple[str, Row]]) -> list[int]:
        """Take a position for each row now, and write them with the commit, as object mappers do."""
        truth = self.truth
        steps: list[Step] = [(f"SELECT {truth.gate.lock(truth.gaps)}", ())]
        steps += [(f"SELECT {truth.dialect.next_position(())}", ())] * len(rows)
        positions = [int(position) for ((position,),) in self._sent_together(steps)[1:]]
        for position, (entity, row) in zip(positions, rows, strict=True):
            self._put.append((truth.on.prepared("append", truth.placed[entity], 1 + len(row)), (position, *row)))
        self._put += truth.notification
        return positions

    def _commit(self, kept: Iterable[tuple[str, Answered]]) -> None:
        """Keep what requests came to, and commit; also where nothing was written, since a rollback costs more."""
        if self._sent:
            return
        truth = self.truth
        steps = [
            *self._put,
            *(
                (truth.on.prepared("answer", truth.keeps_answer, 3), truth.kept(request, answered))
                for request, answered in kept
            ),
        ]
        self._sent = True
        self._sent_together([*steps, _COMMIT])

    def _sent_together(self, steps: Sequence[Step]) -> list[list[Row]]:
        """Send statements as one text, with their values in it, and return the rows of each.

        The server executes each after the one before it, with a snapshot of its own. It is one message there and one
        back; the driver's pipeline has as few round trips, but sends each statement by itself.
        """
        cursor = psycopg.ClientCursor(self.session.connection)
        cursor.execute(_joined(*[statement for statement, _ in steps]), [one for _, values in steps for one in values])
        found: list[list[Row]] = []
        while True:
            gives = cursor.pgresult is not None and cursor.pgresult.nfields
            found.append(cursor.fetchall() if gives else [])
            if not cursor.nextset():
                return found


@lru_cache(maxsize=1_024)
def _joined(*statements: str) -> bytes:
    """The statements one after the other, with the driver's mark in the place of each `?` outside of quotes."""
    text = ";".join(statements)
    return _MARKS.sub(lambda found: "%s" if found[0] == "?" else found[0].replace("%", "%%"), text).encode()


def _check(entity: str, key: Key, values: Iterable[tuple[str, Any]]) -> None:
    """Raise CannotTake, with the place and the way out, for a text that the engine can't hold."""
    for name, value in values:
        if isinstance(value, str) and "\0" in value:
            raise CannotTake(f'{entity} {key!r}: `{name}`: {NUL}; take it out, or set truth.engine to "sqlite"')

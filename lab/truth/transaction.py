"""One transaction of a group of commands in PostgreSQL, in as few round trips as there are.

The first one begins, locks the records of all commands in one order, and reads them, each in a statement after the
lock: under READ COMMITTED it sees what the former holder has committed. Then everything is decided here. The second one
takes the gate lock and writes, and commits where nothing has to be known before; else a third one commits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg

from lab.base import CannotTake, Key
from lab.domain.model import Command, Outcome, Record
from lab.engines.postgres import NUL, Session, alive
from lab.truth.deciding import Answered, Change, Draft, accepted, decided, repeated

if TYPE_CHECKING:
    from lab.truth.postgres import Postgres

Orders = Sequence[tuple[Command, str | None]]
_LOCKS = "SELECT pg_advisory_xact_lock(n) FROM unnest(?::bigint[]) AS n"
_LOCK_SHARED = "SELECT pg_advisory_xact_lock_shared(?)"


class CommitUnknown(psycopg.OperationalError):
    """The connection was lost after the commit was sent: it isn't known whether it happened."""


class Transaction:
    """Used once. It is what a decision sees of the write model, and locks what that reads."""

    def __init__(self, truth: Postgres, session: Session) -> None:
        self.truth, self.session = truth, session
        self._records: dict[tuple[str, Key], Record | None] = {}
        self._answered: dict[str, Answered] = {}
        self._sent = False

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
                self.session.execute("ROLLBACK")
            raise

    def get(self, entity: str, key: Key) -> Record | None:
        """Return a record as it will be at the commit: it is locked until then, for writers."""
        name = (entity, key)
        if name not in self._records:
            with self._trip() as execute:
                execute(_LOCK_SHARED, (self.truth.gate.record(entity, key),))
                found = execute(self.truth._gets[entity], (key,))
            self._records[name] = self.truth._read(entity, found.fetchall())
        return self._records[name]

    def _start(self, orders: Orders) -> None:
        truth = self.truth
        names = dict.fromkeys((command.entity, command.key) for command, _ in orders)
        for entity, key in names:
            _check(entity, key, (("key", key),))
        locks = sorted(truth.gate.record(*name) for name in names)
        with self._trip() as execute:
            execute("BEGIN")
            execute(_LOCKS, (locks,))
            found = {name: execute(truth._gets[name[0]], (name[1],)) for name in names}
            requests = {request: execute(truth.looks_up, (request,)) for _, request in orders if request is not None}
        self._records = {name: truth._read(name[0], rows.fetchall()) for name, rows in found.items()}
        former = {request: truth.former(rows.fetchall()) for request, rows in requests.items()}
        self._answered = {request: answered for request, answered in former.items() if answered is not None}

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
        self._commit((request, Answered(orders[one][0].digest, outcomes[one])) for request, one in first.items())
        return [outcomes[number] for number in range(len(orders))], changes

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
        with self._trip() as execute:
            execute(truth.gate.statement(truth.gaps), truth.gate.arguments)
            found = [execute(truth._appends[entity], row) for entity, row in rows]
            if last:
                self._sent = True
                execute("COMMIT")
        return [int(cursor.fetchone()[0]) for cursor in found]

    def _commit(self, kept: Iterable[tuple[str, Answered]]) -> None:
        """Keep what requests came to, and commit; also where nothing was written, since a rollback costs more."""
        if self._sent:
            return
        with self._trip() as execute:
            for request, answered in kept:
                execute(self.truth.keeps_answer, self.truth.kept(request, answered))
            self._sent = True
            execute("COMMIT")

    @contextmanager
    def _trip(self) -> Iterator[Callable[..., Any]]:
        """Statements that are sent one after the other without waiting for results, which are there afterwards."""
        session: Session = self.session

        def execute(statement: str, arguments: Sequence[Any] = ()) -> Any:
            return session.execute(statement, arguments, prepare=True)

        with session.connection.pipeline():
            yield execute


def _check(entity: str, key: Key, values: Iterable[tuple[str, Any]]) -> None:
    """Raise CannotTake, with the place and the way out, for a text that the engine can't hold."""
    for name, value in values:
        if isinstance(value, str) and "\0" in value:
            raise CannotTake(f'{entity} {key!r}: `{name}`: {NUL}; take it out, or set truth.engine to "sqlite"')

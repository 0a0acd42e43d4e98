"""One transaction of a group of commands on a server, in as few round trips as there are.

The first one begins, locks the records of all commands in one order, and reads them, each in a statement after the
lock: under READ COMMITTED it sees what the former holder has committed. Then everything is decided here. The second one
takes the gate lock and writes, and commits where nothing has to be known before; else a third one commits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lab.base import Key
from lab.domain.model import Command, Outcome, Record, changes_too
from lab.queries.answers import Row
from lab.truth.attached import Step, TruthSession
from lab.truth.deciding import Answered, Change, Draft, accepted, decided, repeated

if TYPE_CHECKING:
    from lab.truth.server_truth import ServerTruth

Orders = Sequence[tuple[Command, str | None]]
# What positions are taken from.
SEQUENCE = "lab_position"


class CommitUnknown(Exception):
    """The connection was lost after the commit was sent: it isn't known whether it happened."""


class Overtaken(Exception):
    """A record that wasn't there when a decision looked for it has been made by another transaction since."""


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

    def __init__(self, truth: ServerTruth, session: TruthSession) -> None:
        self.truth, self.session = truth, session
        self._records: dict[tuple[str, Key], Record | None] = {}
        self._answered: dict[str, Answered] = {}
        self._sent = False
        # What a run came to before it was committed.
        self.drafted: tuple[list[Outcome], list[Change]] = ([], [])
        # What is written with the commit only.
        self._put: list[Step] = []
        # Records that a decision looked for, are not there, and that the engine has no lock of.
        self._missing: list[tuple[str, Key]] = []

    def run(self, orders: Orders) -> tuple[list[Outcome], list[Change]]:
        """Execute the commands and commit. Raises what the driver raises, after everything was rolled back."""
        try:
            self._start(orders)
            return self._carried_out(orders)
        except BaseException as error:
            if not self.session.alive:
                if self._sent and isinstance(error, self.truth.on.errors):
                    raise CommitUnknown(str(error)) from None
            else:
                self.truth.on.roll_back()
            raise

    def get(self, entity: str, key: Key) -> Record | None:
        """Return a record as it will be at the commit: it is locked until then, for writers."""
        name = (entity, key)
        if name not in self._records:
            self.truth.check(entity, key, (("key", key),))
            steps = [self.truth.shared_lock(entity, key), self._get(entity, key)]
            locked, found = self._sent_together(steps)
            if found and not locked:
                # It was made between the two statements: now there is something to lock.
                locked, found = self._sent_together(steps)
            self.truth.on.held(locked)
            if not locked:
                self._missing.append(name)
            self._records[name] = self.truth._read(entity, found)
        return self._records[name]

    def _get(self, entity: str, key: Key) -> Step:
        return self.truth.on.prepared("get", self.truth._gets[entity], 1), (key,)

    def _start(self, orders: Orders) -> None:
        truth = self.truth
        own = [(command.entity, command.key) for command, _ in orders]
        others = [name for command, _ in orders for name in changes_too(truth.domain, command)]
        names = list(dict.fromkeys([*own, *others]))
        for entity, key in names:
            truth.check(entity, key, (("key", key),))
        requests = [request for _, request in orders if request is not None]
        locks = truth.locks(names)
        found = self._sent_together(
            [
                ("BEGIN", ()),
                *locks,
                *(self._get(entity, key) for entity, key in names),
                *((truth.on.prepared("request", truth.looks_up, 1), (request,)) for request in requests),
            ]
        )[1:]
        for rows in found[: len(locks)]:
            truth.on.held(rows)
        found = found[len(locks) :]
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
                self._records.update(((draft.entity, draft.key), draft.record) for draft in found)
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
            for entity, key, record, event, _ in drafts:
                names, values = truth.domain.entities[entity].columns, tuple(truth._values(entity, record, event))
                truth.check(entity, key, zip(names, values, strict=False))
                rows.append((entity, (key, record.revision, record.deleted, command.at, *values)))
        if truth.gaps == "xmin":
            return self._put_off(rows)
        steps: list[Step] = []
        deliveries = [truth.delivered(command, draft) for _, command, drafts in drafted for draft in drafts]
        for (entity, row), delivered in zip(rows, deliveries, strict=True):
            steps += [(truth.on.prepared("append", truth._appends[entity], len(row)), row), *delivered]
        last = last and not self._missing
        self._sent = last
        each = len(steps) // len(rows)
        found = self._sent_together([*steps, *truth.notification, *(truth.commits if last else [])])
        self._still_missing()
        return [truth.position(rows) for rows in found[: len(steps) : each]]

    def _still_missing(self) -> None:
        """Raise Overtaken if a record is there by now that a decision found missing.

        What is written here can be seen by such locks, so of two transactions that each miss what the other one makes,
        one finds it, or both wait and the server ends one.
        """
        for entity, key in self._missing:
            if self._sent_together([self.truth.shared_lock(entity, key)])[0]:
                raise Overtaken(f"{entity} {key!r} was made by another transaction")

    def _put_off(self, rows: Sequence[tuple[str, Row]]) -> list[int]:
        """Take a position for each row now, and write them with the commit, as object mappers do."""
        truth = self.truth
        steps: list[Step] = [truth.gated, *[(f"SELECT {truth.dialect.next_position(())}", ())] * len(rows)]
        positions = [truth.position(found) for found in self._sent_together(steps)[1:]]
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
        self._sent_together([*steps, *truth.commits])

    def _sent_together(self, steps: Sequence[Step]) -> list[list[Row]]:
        """On this transaction's connection alone: a new one would know nothing of what came before."""
        return self.truth.on.together(self.session, steps)

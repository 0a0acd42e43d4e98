"""One command, decided on the record as it is: what is to be written, before any of it is, and what came of it then.

Nothing here reads or writes: a write model reads the record, has the command decided, writes the drafts, and learns
from the engine which positions they got.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from lab.base import Key, Unsound
from lab.domain.model import (
    Command,
    Domain,
    Event,
    Named,
    Outcome,
    Record,
    Rejection,
    State,
    View,
    changes_too,
)


class Change(NamedTuple):
    """One committed revision as it is published.

    `transaction` is the position of the first change of its command: those that one command made are told by it.
    """

    entity: str
    position: int
    key: Key
    revision: int
    deleted: bool
    committed_at: float
    event: str
    state: State
    # The record before the change; None if the change made it.
    former: Record | None = None
    transaction: int = 0


class Answered(NamedTuple):
    """What is kept of a request: the digest of its command, and the outcome."""

    digest: str
    outcome: Outcome


class Draft(NamedTuple):
    """One revision that a command asks for and that has no position yet."""

    entity: str
    key: Key
    record: Record
    event: Event
    former: Record | None


@dataclass(slots=True)
class KnownRecord:
    """The write model as a decision sees it; the command's own record has been read already, in its transaction."""

    truth: View
    command: Command
    record: Record | None

    def get(self, entity: str, key: Key) -> Record | None:
        """Return the record, also if it is deleted; None if there never was one."""
        if key == self.command.key and entity == self.command.entity:
            return self.record
        return self.truth.get(entity, key)


def repeated(command: Command, former: Answered) -> Outcome:
    """Return the outcome of a request that came before; `reused` if it was that of another command."""
    if former.digest == command.digest:
        return former.outcome
    return Outcome("reused", command.key, ("the id of this request was that of another command before",))


def decided(domain: Domain, truth: View, command: Command, record: Record | None) -> Outcome | list[Draft]:
    """Decide a command on its record: what it is to write, or its outcome where that is nothing."""
    revision = record.revision if record else 0
    if command.expected is not None and command.expected != revision:
        reason = f"expected revision {command.expected}, found {revision}"
        return Outcome("conflict", command.key, (reason,), revision=revision)
    decision = domain.decide(KnownRecord(truth, command, record), command)
    if isinstance(decision, Rejection):
        return Outcome("rejected", command.key, decision.reasons, revision=revision)
    drafts: list[Draft] = []
    own = (command.entity, command.key)
    known: dict[Named, Record | None] = {own: record}
    for event in decision:
        name = event.about or own
        if name not in known:
            if name not in changes_too(domain, command):
                raise Unsound(f"`{command.name}` changes {name[0]} {name[1]!r}, which `changes_too` doesn't tell of")
            known[name] = truth.get(*name)
        former = known[name]
        state = domain.evolve(former.state if former else None, event)
        deleted = domain.events[name[0]][event.name].deletes
        made = known[name] = Record(state, (former.revision if former else 0) + 1, deleted)
        drafts.append(Draft(*name, made, event, former))
    return drafts or Outcome("accepted", command.key, revision=revision)


def accepted(command: Command, drafts: Sequence[Draft], positions: Sequence[int]) -> tuple[Outcome, list[Change]]:
    """Return what came of a command whose drafts were written at these positions."""
    changes = [
        Change(
            entity, position, key, record.revision, record.deleted, command.at, event.name, record.state, former,
            positions[0],
        )
        for (entity, key, record, event, former), position in zip(drafts, positions, strict=True)
    ]  # fmt: skip
    # Of its own record, if it changed that.
    last = next((one for one in reversed(changes) if (one.entity, one.key) == (command.entity, command.key)), None)
    last = last or changes[-1]
    outcome = Outcome(
        "accepted",
        command.key,
        event=last.event,
        position=changes[-1].position,
        revision=last.revision,
        deleted=last.deleted,
        state=last.state,
    )
    return outcome, changes

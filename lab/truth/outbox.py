"""The outbox: a table in which each change is a row for each reader, written in the transaction of its command.

A reader deletes its rows once it has committed what they say. So nothing that was committed is missed, whatever the
order of commits, and after a crash the rows that were not deleted yet are read again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from lab.domain.model import Command
from lab.engines import postgres as driver
from lab.engines.postgres import Session
from lab.truth.deciding import Draft

TABLE = "lab_outbox"
DECLARED = (
    f"CREATE TABLE IF NOT EXISTS {TABLE} (id bigint GENERATED ALWAYS AS IDENTITY, reader text NOT NULL, "
    # Readers ask for the oldest of their own rows.
    "entity text NOT NULL, position bigint NOT NULL, change text NOT NULL, PRIMARY KEY (reader, id))"
)


def declared(readers: Sequence[str]) -> list[tuple[str, tuple[Any, ...]]]:
    """The statements that make the outbox of these readers, and drop what waits for any other one."""
    if not readers:
        return [(f"DROP TABLE IF EXISTS {TABLE}", ())]
    # A reader that was taken out of the scenario would leave its rows for ever. If it comes back, it reads the tables.
    return [(DECLARED, ()), (f"DELETE FROM {TABLE} WHERE reader <> ALL(?)", (list(readers),))]


def step(command: Command, draft: Draft, columns: Sequence[str], readers: Sequence[str], sequence: str) -> Any:
    """The statement and its values that write one change for each reader, at the position that was taken last."""
    record, _, former = draft
    row = [command.key, record.revision, record.deleted, command.at, *(record.state[name] for name in columns)]
    before: list[Any] = [former is not None and not former.deleted]
    before += [former.state[name] if former else None for name in columns]
    rows = ", ".join(f"(?, ?, currval('{sequence}'), ?)" for _ in readers)
    change = json.dumps([row, before])
    values = [value for reader in readers for value in (reader, command.entity, change)]
    return f"INSERT INTO {TABLE} (reader, entity, position, change) VALUES {rows}", values


class OutboxRows:
    """The rows of one reader, on a connection of its own."""

    def __init__(self, session: Session, reader: str, name: str) -> None:
        self._session, self._reader, self._name = session, reader, name

    def read(self, limit: int) -> list[tuple[int, str, list[Any], list[Any]]]:
        """The oldest rows, at most `limit`: id, entity, row of the change frame, and the record before."""
        with driver.mapped(self._name):
            found = self._session.execute(
                f"SELECT id, entity, position, change FROM {TABLE} WHERE reader = ? ORDER BY id LIMIT ?",
                (self._reader, limit),
                prepare=True,
            ).fetchall()
        told = [(number, entity, position, json.loads(change)) for number, entity, position, change in found]
        return [(number, entity, [position, *row], before) for number, entity, position, (row, before) in told]

    def delete(self, numbers: Sequence[int]) -> None:
        """Delete rows by their ids: what they say has been committed."""
        with driver.mapped(self._name):
            statement = f"DELETE FROM {TABLE} WHERE reader = ? AND id = ANY(?)"
            self._session.execute(statement, (self._reader, list(numbers)), prepare=True)

"""The outbox of a source of truth in PostgreSQL: its table, and the rows of one reader."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lab.domain.model import Command
from lab.engines import postgres as driver
from lab.engines.postgres import Session
from lab.servers.postgres import SERVER
from lab.truth.deciding import Draft
from lab.truth.outbox import TABLE, told, written

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
    change = written(command, draft, columns)
    rows = ", ".join(f"(?, ?, currval('{sequence}'), ?)" for _ in readers)
    values = [value for reader in readers for value in (reader, draft.entity, change)]
    return f"INSERT INTO {TABLE} (reader, entity, position, change) VALUES {rows}", values


class PostgresOutboxRows:
    """The rows of one reader, on a connection of its own."""

    def __init__(self, session: Session, reader: str, name: str) -> None:
        self._session, self._reader, self._name = session, reader, name

    @classmethod
    def of(cls, schema: str, reader: str) -> PostgresOutboxRows:
        """Connect to the outbox of the source of truth in this schema. Raises Unavailable."""
        session = Session(SERVER.connect(schema, application_name=f"lab relays {schema}"))
        return cls(session, reader, f"outbox {schema}")

    @property
    def alive(self) -> bool:
        """Whether the connection is open, as far as this side knows."""
        return driver.alive(self._session.connection)

    def read(self, limit: int) -> list[tuple[int, str, list[Any], list[Any]]]:
        """The oldest rows, at most `limit`: id, entity, row of the change frame, and the record before."""
        with driver.mapped(self._name):
            found = self._session.execute(
                f"SELECT id, entity, position, change FROM {TABLE} WHERE reader = ? ORDER BY id LIMIT ?",
                (self._reader, limit),
                prepare=True,
            ).fetchall()
        return told(found)

    def delete(self, numbers: Sequence[int]) -> None:
        """Delete rows by their ids: what they say has been committed."""
        with driver.mapped(self._name):
            statement = f"DELETE FROM {TABLE} WHERE reader = ? AND id = ANY(?)"
            self._session.execute(statement, (self._reader, list(numbers)), prepare=True)

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

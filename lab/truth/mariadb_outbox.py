"""The outbox of a source of truth in MariaDB: what `lab.truth.outbox` is in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lab.domain.model import Command
from lab.engines.mariadb import MariadbSession
from lab.engines.mariadb_errors import mapped
from lab.servers.mariadb import SERVER
from lab.truth.attached import Step
from lab.truth.deciding import Draft
from lab.truth.outbox import TABLE, told, written

# A projection's name has 100 characters at the most; the counter must come first in a key.
DECLARED = (
    f"CREATE TABLE IF NOT EXISTS {TABLE} (id bigint NOT NULL AUTO_INCREMENT, reader varchar(200) NOT NULL, "
    'entity varchar(200) NOT NULL, position bigint NOT NULL, "change" longtext NOT NULL, '
    "PRIMARY KEY (reader, id), KEY (id)) ENGINE=InnoDB"
)


def declared(readers: Sequence[str]) -> list[Step]:
    """The statements that make the outbox of these readers, and drop what waits for any other one."""
    if not readers:
        return [(f"DROP TABLE IF EXISTS {TABLE}", ())]
    marks = ", ".join("?" for _ in readers)
    return [(DECLARED, ()), (f"DELETE FROM {TABLE} WHERE reader NOT IN ({marks})", tuple(readers))]


def steps(command: Command, draft: Draft, columns: Sequence[str], readers: Sequence[str], sequence: str) -> list[Step]:
    """The statements, with their values, that write one change for each reader, at the position that was taken last.

    One for each, since the server limits the size of a statement.
    """
    change = written(command, draft, columns)
    insert = f'INSERT INTO {TABLE} (reader, entity, position, "change") VALUES (?, ?, LASTVAL({sequence}), ?)'
    return [(insert, (reader, draft.entity, change)) for reader in readers]


class MariadbOutboxRows:
    """The rows of one reader, on a connection of its own."""

    def __init__(self, session: MariadbSession, reader: str, name: str) -> None:
        self._session, self._reader, self._name = session, reader, name

    @classmethod
    def of(cls, database: str, reader: str) -> MariadbOutboxRows:
        """Connect to the outbox of the source of truth in this database. Raises Unavailable."""
        return cls(SERVER.connect(database), reader, f"outbox {database}")

    @property
    def alive(self) -> bool:
        """Whether the connection is open, as far as this side knows."""
        return self._session.alive

    def read(self, limit: int) -> list[tuple[int, str, list[Any], list[Any]]]:
        """The oldest rows, at most `limit`: id, entity, row of the change frame, and the record before."""
        with mapped(self._name):
            found = self._session.execute(
                f'SELECT id, entity, position, "change" FROM {TABLE} WHERE reader = ? ORDER BY id LIMIT ?',
                (self._reader, limit),
            ).fetchall()
        return told(found)

    def delete(self, numbers: Sequence[int]) -> None:
        """Delete rows by their ids: what they say has been committed."""
        marks = ", ".join("?" for _ in numbers)
        with mapped(self._name):
            self._session.execute(f"DELETE FROM {TABLE} WHERE reader = ? AND id IN ({marks})", (self._reader, *numbers))

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

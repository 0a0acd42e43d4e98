"""A poller's table on a real PostgreSQL server: temporary, so it is gone with its connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
from psycopg.rows import dict_row

from lab.kit.feed import TrialFeed
from lab.kit.history import META
from lab.kit.polled import TABLE, PolledSource
from lab.servers.postgres import SERVER

_TYPES = {"int": "bigint", "float": "float8", "str": "text", "bool": "boolean"}
# Of what every change has, what is no whole number; `key` is as the history has it.
_META = {"deleted": "boolean", "event": "text", "committed_at": "float8"}


class PostgresSource(PolledSource):
    """Answers SELECTs on a PostgreSQL table, with psycopg's placeholders (`%s`); a row is a dict."""

    def __init__(self, feed: TrialFeed, say: Callable[[str], None]) -> None:
        super().__init__(feed, say)
        self._server: psycopg.Connection[Any] | None = None

    def _selected(self, statement: str, parameters: Any) -> list[Any]:
        cursor = psycopg.Cursor(self._filled(), row_factory=dict_row)
        return cursor.execute(statement, parameters or None).fetchall()

    def _filled(self) -> psycopg.Connection[Any]:
        """The connection, whose table has everything that is committed by now."""
        shape = self._feed.history.shape
        if self._server is None:
            self._server = SERVER.connect(durability="normal")
            key = "bigint" if shape.key == "int" else "text"
            types = [key if name == "key" else _META.get(name, "bigint") for name in META]
            types += [_TYPES[kind] for _, kind in shape.columns]
            columns = ", ".join(f"{name} {kind}" for name, kind in zip(self._names(), types, strict=True))
            self._server.execute(f"CREATE TEMPORARY TABLE {TABLE} ({columns}, PRIMARY KEY (position))".encode())
        marks = ", ".join(f"${number}" for number in range(1, len(self._names()) + 1))
        for values in self._more():
            self._server.execute(f"INSERT INTO {TABLE} VALUES ({marks})".encode(), values)
        return self._server

    def close(self) -> None:
        """Close the connection, and with it the table."""
        if self._server is not None:
            self._server.close()

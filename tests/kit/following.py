"""A projection of the library `eventsourcing`, as its manual writes one: rows and tracking in one transaction."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eventsourcing.dispatch import singledispatchmethod
from eventsourcing.persistence import Tracking
from eventsourcing.projection import Projection
from eventsourcing.sqlite import SQLiteDatastore, SQLiteTrackingRecorder

SOURCE = "customers"
TABLE = "CREATE TABLE IF NOT EXISTS customers (key INTEGER PRIMARY KEY, name TEXT, amount INTEGER, price REAL)"
PUT = "INSERT OR REPLACE INTO customers VALUES (:key, :name, :amount, :price)"


@dataclass(frozen=True)
class Put:
    """A customer was created or changed."""

    state: dict[str, Any]


@dataclass(frozen=True)
class Removed:
    """A customer was deleted."""

    key: int


class CustomersView(SQLiteTrackingRecorder):
    """Writes a row and how far it has come in one transaction."""

    def construct_create_table_statements(self) -> list[str]:
        return [*super().construct_create_table_statements(), TABLE]

    def write(self, statement: str, values: dict[str, Any], tracking: Tracking) -> None:
        with self.datastore.transaction(commit=True) as cursor:
            self._insert_tracking(cursor, tracking)
            cursor.execute(statement, values)

    def rows(self) -> list[dict[str, Any]]:
        with self.datastore.transaction(commit=False) as cursor:
            cursor.execute("SELECT key, name, amount, price FROM customers")
            return [dict(row) for row in cursor.fetchall()]


class Customers(Projection[CustomersView]):
    """Decides by the type of an event what is written."""

    @singledispatchmethod
    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        raise NotImplementedError(type(domain_event))

    @process_event.register
    def put(self, domain_event: Put, tracking: Tracking) -> None:
        self.view.write(PUT, domain_event.state, tracking)

    @process_event.register
    def removed(self, domain_event: Removed, tracking: Tracking) -> None:
        self.view.write("DELETE FROM customers WHERE key = :key", {"key": domain_event.key}, tracking)


class Followed:
    """Hands changes to the projection as its runner does, and goes on where the view says that it is."""

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="lab-check-")
        self._open()

    def _open(self) -> None:
        self.datastore = SQLiteDatastore(str(Path(self.folder.name) / "view.db"))
        self.view = CustomersView(self.datastore)
        self.view.create_table()
        self.projection = Customers(self.view)

    def handle(self, change: dict[str, Any]) -> None:
        names = ("key", "name", "amount", "price")
        event = Removed(change["key"]) if change["deleted"] else Put({name: change[name] for name in names})
        self.projection.process_event(event, Tracking(SOURCE, change["position"]))

    def checkpoint(self) -> int:
        return self.view.max_tracking_id(SOURCE) or 0

    def reopen(self) -> None:
        self.datastore.close()
        self._open()

    def rows(self) -> list[dict[str, Any]]:
        return self.view.rows()

    def close(self) -> None:
        self.datastore.close()
        self.folder.cleanup()

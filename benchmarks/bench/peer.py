"""The peer: the library `eventsourcing`, used as its own guides use it, with the same employees.

Its subscriptions read from memory (or PostgreSQL): its SQLite recorder has none. So its feed is in memory, which is to
its advantage, and what it writes is in SQLite.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event as Signal
from typing import Any, ClassVar
from uuid import NAMESPACE_OID, UUID, uuid5

import polars as pl
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import ApplicationRecorder, Tracking
from eventsourcing.projection import ApplicationSubscription, Projection, ProjectionRunner
from eventsourcing.sqlite import SQLiteConnectionPool, SQLiteTrackingRecorder

from benchmarks.bench.data import COLUMNS, EMPLOYEE, ENTITY, History

PATIENCE_SECONDS = 600.0
Row = tuple[Any, ...]


class Employee(Aggregate):
    """The same events as those of the lab's employees."""

    @event("Hired")
    def __init__(self, key: int, at: float, name: str, manager: int, department: str, salary: int) -> None:
        self.key, self.at, self.deleted = key, at, False
        self.name, self.manager, self.department, self.salary = name, manager, department, salary

    @staticmethod
    def create_id(key: int) -> UUID:
        """An id that follows from the key."""
        return employee_id(key)

    @event("Renamed")
    def rename(self, at: float, name: str) -> None:
        """Another name."""
        self.at, self.name = at, name

    @event("Moved")
    def move(self, at: float, manager: int, department: str) -> None:
        """Another manager and department."""
        self.at, self.manager, self.department = at, manager, department

    @event("RaiseGiven")
    def give_raise(self, at: float, salary: int) -> None:
        """Another salary."""
        self.at, self.salary = at, salary

    @event("Dismissed")
    def dismiss(self, at: float) -> None:
        """The end."""
        self.at, self.deleted = at, True


def employee_id(key: int) -> UUID:
    """The aggregate's id."""
    return uuid5(NAMESPACE_OID, f"employee {key}")


class Company(Application[UUID]):
    """An application in SQLite or in memory, as its environment says."""

    name = "company"


def in_sqlite(folder: Path) -> Company:
    """An application in a new SQLite file, with the library's own settings: WAL, and a sync for each commit."""
    return Company(env=_sqlite(folder / "company.sqlite"))


def _sqlite(file: Path, prefix: str = "") -> dict[str, str]:
    return {f"{prefix}PERSISTENCE_MODULE": "eventsourcing.sqlite", f"{prefix}SQLITE_DBNAME": str(file)}


@contextmanager
def synchronous_normal() -> Iterator[None]:
    """Connections that are made meanwhile don't wait for the disk: the library has no such setting of its own."""
    made = SQLiteConnectionPool._create_connection

    def relaxed(pool: SQLiteConnectionPool) -> Any:
        connection = made(pool)
        connection._sqlite_conn.execute("PRAGMA synchronous = NORMAL")
        return connection

    SQLiteConnectionPool._create_connection = relaxed  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        SQLiteConnectionPool._create_connection = made  # type: ignore[method-assign]


def fill(application: Company, history: History) -> None:
    """Record a history event by event, in its order; some hundreds of events a transaction."""
    employees: dict[int, Employee] = {}
    waiting: list[Any] = []
    for row in history.frame.iter_rows(named=True):
        key, at = row["key"], row["committed_at"]
        match row["event"]:
            case "hired":
                employees[key] = Employee(key, at, row["name"], row["manager"], row["department"], row["salary"])
            case "renamed":
                employees[key].rename(at, row["name"])
            case "moved":
                employees[key].move(at, row["manager"], row["department"])
            case "raise_given":
                employees[key].give_raise(at, row["salary"])
            case "dismissed":
                employees[key].dismiss(at)
        waiting += employees[key].collect_events()
        if len(waiting) >= 500:
            application.save(*waiting)
            waiting = []
    application.save(*waiting)


def state(employee: Employee) -> Row:
    """An aggregate as a row of the lab's, but for its position."""
    return (
        employee.key,
        employee.version,
        employee.deleted,
        employee.at,
        employee.name,
        employee.manager,
        employee.department,
        employee.salary,
    )


UNPLACED = COLUMNS[1:]


def frame(rows: list[Row]) -> pl.DataFrame:
    """Rows of the peer as a frame, to be compared with what must be."""
    schema = {name: EMPLOYEE.schema[name] for name in UNPLACED}
    return pl.DataFrame(rows, schema=schema, orient="row")


_TABLE = f"""CREATE TABLE IF NOT EXISTS {ENTITY} (key INTEGER PRIMARY KEY, revision INTEGER, deleted INTEGER,
    committed_at REAL, name TEXT, manager INTEGER, department TEXT, salary INTEGER)"""
_SETS = {
    "Renamed": ("name",),
    "Moved": ("manager", "department"),
    "RaiseGiven": ("salary",),
    "Dismissed": (),
}


class Directory(SQLiteTrackingRecorder):
    """The view: a table of employees, each row written with its tracking record in one transaction."""

    def construct_create_table_statements(self) -> list[str]:
        """The library's own, and the employees."""
        return [*super().construct_create_table_statements(), _TABLE]

    def write(self, statement: str, values: Row, tracking: Tracking) -> None:
        """One transaction."""
        with self.datastore.transaction(commit=True) as cursor:
            self._insert_tracking(cursor, tracking)
            cursor.execute(statement, values)


class Listing(Projection[Directory]):
    """Employees into their table, event by event."""

    name = "listing"
    last: ClassVar[int] = 0
    done: ClassVar[Signal] = Signal()

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        """Insert who is hired, update everybody else."""
        kind = type(domain_event).__name__
        if kind == "Hired":
            of = domain_event
            values: Row = (of.key, 1, False, of.at, of.name, of.manager, of.department, of.salary)
            self.view.write(f"INSERT INTO {ENTITY} VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values, tracking)
        else:
            sets = "".join(f", {name} = ?" for name in _SETS[kind])
            statement = f"UPDATE {ENTITY} SET revision = ?, deleted = ?, committed_at = ?{sets} WHERE key = ?"
            changed = (getattr(domain_event, name) for name in _SETS[kind])
            key = KEYS[domain_event.originator_id]
            values = (domain_event.originator_version, kind == "Dismissed", domain_event.at, *changed, key)
            self.view.write(statement, values, tracking)
        if tracking.notification_id >= self.last:
            self.done.set()


# An event knows its aggregate's id only.
KEYS: dict[UUID, int] = {}


class Fed(Company):
    """An application over a recorder that is filled already."""

    name = "company"
    filled: ClassVar[ApplicationRecorder]

    def construct_recorder(self) -> ApplicationRecorder:
        """The one that is filled."""
        return self.filled


class Run:
    """A projection of a filled application into a new SQLite file: made outside the timed region, run within."""

    def __init__(self, folder: Path, history: History) -> None:
        self.file, self.history = folder / "view.sqlite", history
        application = Company()
        fill(application, history)
        Fed.filled = application.recorder
        KEYS.update((employee_id(key), key) for key in history.last["key"].to_list())
        Listing.last, Listing.done = history.changes, Signal()

    def project(self) -> None:
        """Everything, from the first event to the last."""
        env = _sqlite(self.file, "LISTING_")
        with ProjectionRunner(application_class=Fed, projection_class=Listing, view_class=Directory, env=env) as runner:
            while not Listing.done.wait(0.5):
                if runner.is_interrupted.is_set():
                    runner.run_forever(PATIENCE_SECONDS)
            runner.stop()

    def found(self) -> pl.DataFrame:
        """What is in the table."""
        connection = sqlite3.connect(self.file)
        rows = connection.execute(f"SELECT {', '.join(UNPLACED)} FROM {ENTITY}").fetchall()
        connection.close()
        return frame([(row[0], row[1], bool(row[2]), *row[3:]) for row in rows])


class Subscribed:
    """A subscription to a filled application, read to its end."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.application = Company()
        fill(self.application, history)
        self.seen: list[Any] = []

    def read(self) -> None:
        """Every event as an object, in its order."""
        with ApplicationSubscription(self.application, gt=0) as subscription:
            for domain_event, tracking in subscription:
                self.seen.append(domain_event)
                if tracking.notification_id >= self.history.changes:
                    break

"""Projectors that are right, each in another style; and some that look like them and are wrong."""

from __future__ import annotations

import asyncio
import copy
import json
import sqlite3
import tempfile
from collections import namedtuple
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from lab.kit.examples.by_transaction import Transfers
from lab.kit.examples.mended import handle as soft_delete
from lab.testing import live, on_sqlite

Change = dict[str, Any]


class Guarded:
    """Keeps the highest revision of each key, tombstones included, where a restart and a second owner find it."""

    def __init__(self) -> None:
        self.known: dict[Any, Change] = {}

    def take(self, change: Change) -> bool:
        if change["revision"] <= self.known.get(change["key"], {"revision": 0})["revision"]:
            return False
        self.known[change["key"]] = change
        return True

    def apply(self, changes: list[Change]) -> Any:
        for change in changes:
            self.take(change)

    def reopen(self) -> None:
        """Nothing was only in memory."""

    def twin(self) -> Any:
        return copy.copy(self)

    def rows(self) -> Any:
        return [row for row in self.known.values() if not row["deleted"]]


class LogAndView(Guarded):
    """Appends everything to a log, and folds it when it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[Change] = []

    def apply(self, changes: list[Change]) -> None:
        self.log += changes

    def rows(self) -> list[Change]:
        return live(self.log)


class Flushed(Guarded):
    """Collects a batch by key, and writes it at once before it returns."""

    def apply(self, changes: list[Change]) -> None:
        buffer: dict[Any, Change] = {}
        for change in changes:
            if change["revision"] > buffer.get(change["key"], {"revision": 0})["revision"]:
                buffer[change["key"]] = change
        for change in buffer.values():
            self.take(change)


class OneColumn(Guarded):
    """Shows one column, and one of its own making."""

    def rows(self) -> list[Change]:
        return [{"key": row["key"], "name": row["name"], "seen": True} for row in super().rows()]


class Awaited(Guarded):
    """Everything is a coroutine."""

    async def apply(self, changes: list[Change]) -> None:
        for change in changes:
            await asyncio.sleep(0)
            self.take(change)

    async def rows(self) -> list[Change]:
        return super().rows()


class Generating(Guarded):
    """Yields after each change, as a pipeline does."""

    def apply(self, changes: list[Change]) -> Iterator[Change]:
        for change in changes:
            if self.take(change):
                yield change

    def rows(self) -> Iterator[Change]:
        yield from (row for row in self.known.values() if not row["deleted"])


class Streaming(Guarded):
    """The same as an asynchronous generator."""

    async def apply(self, changes: list[Change]) -> AsyncIterator[Change]:
        for change in changes:
            self.take(change)
            yield change


class Shown:
    """What those share that take changes in a way of their own."""

    def __init__(self) -> None:
        self.inner = Guarded()
        self.rows = self.inner.rows

    def reopen(self) -> None:
        """Nothing was only in memory."""


class OneByOne(Shown):
    """Takes one change at a time."""

    def handle(self, change: Change) -> None:
        self.inner.take(change)


class ByKind(Shown):
    """Has a method for each kind of event."""

    def when_created(self, change: Change) -> None:
        self.inner.take(change)

    async def when_changed(self, change: Change) -> None:
        self.inner.take(change)

    def when_deleted(self, change: Change) -> None:
        self.inner.take(change)


class Records:
    """What looks to a caller like a frame of pandas, in which what is missing is NaN."""

    def __init__(self, rows: list[Change]) -> None:
        self.found = rows
        self.columns = list(rows[0]) if rows else []

    def to_dict(self, orient: str) -> list[Change]:
        assert orient == "records"
        return [{name: float("nan") if value is None else value for name, value in row.items()} for row in self.found]


class NaNs(Guarded):
    """Shows a frame with NaN for null."""

    def rows(self) -> Records:
        return Records(super().rows())


class Polars(Guarded):
    """Shows a frame of Polars."""

    def rows(self) -> pl.DataFrame:
        names = ["key", "name", "amount", "price"]
        schema = {"key": pl.Int64, "name": pl.String, "amount": pl.Int64, "price": pl.Float64}
        return pl.DataFrame([[row[name] for name in names] for row in super().rows()], schema=schema, orient="row")


class Hashes(Guarded):
    """Keys and values are bytes, as Redis gives hashes back; null is no field."""

    def rows(self) -> dict[bytes, dict[bytes, bytes]]:
        return {
            str(row["key"]).encode(): {
                name.encode(): str(row[name]).encode() for name in ("name", "amount", "price") if row[name] is not None
            }
            for row in super().rows()
        }


class JsonFile(Guarded):
    """Writes a file of JSON, in which keys are texts."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="lab-check-")
        self.path = Path(self.folder.name) / "rows.json"
        self.path.write_text("{}")

    def apply(self, changes: list[Change]) -> None:
        self.known = {int(key): row for key, row in json.loads(self.path.read_text()).items()}
        super().apply(changes)
        self.path.write_text(json.dumps(self.known))

    def rows(self) -> dict[str, Change]:
        return {key: row for key, row in json.loads(self.path.read_text()).items() if not row["deleted"]}

    def close(self) -> None:
        self.folder.cleanup()


Person = namedtuple("Person", "key name amount price")


class Tuples(Guarded):
    """Shows named tuples."""

    def rows(self) -> tuple[Person, ...]:
        return tuple(Person(*(row[name] for name in Person._fields)) for row in super().rows())


class Composite(Guarded):
    """Keys of two parts, which it shows as columns."""

    lab_key: ClassVar = {"region": "str", "number": "int"}

    def rows(self) -> list[Change]:
        return [{name: row[name] for name in ("region", "number", "name", "amount")} for row in super().rows()]


@on_sqlite(
    setup="CREATE TABLE people (key TEXT PRIMARY KEY, revision INTEGER, deleted INTEGER, name TEXT, amount INTEGER)",
    rows="SELECT key, name, amount FROM people WHERE NOT deleted",
    key="str",
)
def texts(connection: sqlite3.Connection, changes: list[Change]) -> None:
    """Keys are texts, which SQLite compares byte by byte."""
    with connection:
        for change in changes:
            connection.execute(
                "INSERT INTO people VALUES (:key, :revision, :deleted, :name, :amount) ON CONFLICT (key) DO UPDATE SET"
                " revision = excluded.revision, deleted = excluded.deleted, name = excluded.name,"
                " amount = excluded.amount WHERE excluded.revision > people.revision",
                change,
            )


class Follows(Shown):
    """Polls by a function, up to the oldest open transaction."""

    def __init__(self) -> None:
        super().__init__()
        self.cursor = 0

    def poll(self, source: Any) -> None:
        horizon = source.horizon()
        for change in source.changes_since(self.cursor):
            if change["position"] > horizon:
                return
            self.inner.take(change)
            self.cursor = change["position"]


class WaitsAtGaps(Shown):
    """Polls a table by SQL, and waits where a position is missing."""

    def __init__(self) -> None:
        super().__init__()
        self.cursor = 0

    def poll(self, source: Any) -> None:
        after = "SELECT * FROM changes WHERE position > ? ORDER BY position LIMIT 5"
        for row in source.execute(after, (self.cursor,)):
            if row["position"] != self.cursor + 1:
                return
            self.inner.take(dict(row))
            self.cursor = row["position"]


class WaitsAtGapsOnPostgres(WaitsAtGaps):
    """The same by SQL on a PostgreSQL server."""

    lab_source = "postgres"

    def poll(self, source: Any) -> None:
        after = "SELECT * FROM changes WHERE position > %s ORDER BY position LIMIT 5"
        for row in source.execute(after, (self.cursor,)):
            if row["position"] != self.cursor + 1:
                return
            self.inner.take(dict(row))
            self.cursor = row["position"]


class ReadsAfterLastOnPostgres(Shown):
    """Wrong: `WHERE position > last` there."""

    lab_source = "postgres"

    def __init__(self) -> None:
        super().__init__()
        self.cursor = 0

    def poll(self, source: Any) -> None:
        for row in source.execute("SELECT * FROM changes WHERE position > %s ORDER BY position", [self.cursor]):
            self.inner.take(dict(row))
            self.cursor = row["position"]


class Totals(Guarded):
    """Counts and sums by city: it remembers each record, and takes away what that was before."""

    lab_columns: ClassVar = {"city": "str", "amount": "int", "price": "float"}
    lab_view: ClassVar = {"by": "city", "sum": ["amount"]}

    def __init__(self) -> None:
        super().__init__()
        self.groups: dict[str, list[int]] = {}

    def apply(self, changes: list[Change]) -> None:
        for change in changes:
            before = self.known.get(change["key"])
            if not self.take(change):
                continue
            if before is not None and not before["deleted"]:
                self.add(before, -1)
            if not change["deleted"]:
                self.add(change, 1)

    def add(self, change: Change, sign: int) -> None:
        group = self.groups.setdefault(change["city"], [0, 0])
        group[0] += sign
        group[1] += sign * change["amount"]

    def rows(self) -> list[Change]:
        return [{"key": city, "count": count, "amount": amount} for city, (count, amount) in self.groups.items()]


class TotalsInHashes(Totals):
    """The same, and everything comes back as text."""

    def rows(self) -> dict[str, dict[str, str]]:
        return {city: {"count": str(count), "amount": str(amount)} for city, (count, amount) in self.groups.items()}


class Orders(Guarded):
    """Orders with the name of their customer, joined when they are read."""

    lab_view = "join"

    def rows(self) -> list[Change]:
        rows = super().rows()
        names = {row["key"]: row["name"] for row in rows if row["entity"] == "customer"}
        return [
            {"key": row["key"], "customer": row["customer"], "amount": row["amount"], "name": names[row["customer"]]}
            for row in rows
            if row["entity"] == "order" and row["customer"] in names
        ]


class ReadsAfterLast(Follows):
    """Wrong: `WHERE position > last`, whatever is still open below."""

    def poll(self, source: Any) -> None:
        after = "SELECT * FROM changes WHERE position > ? ORDER BY position"
        for row in source.execute(after, (self.cursor,)):
            self.inner.take(dict(row))
            self.cursor = row["position"]


class StaysInItsGroup(Totals):
    """Wrong: takes what a record was away from the group that it is in now."""

    def add(self, change: Change, sign: int) -> None:
        if sign < 0:
            change = change | {"city": self.known[change["key"]]["city"]}
        super().add(change, sign)


class CountsAgain(Totals):
    """Wrong: adds whatever comes."""

    def apply(self, changes: list[Change]) -> None:
        for change in changes:
            before = self.known.get(change["key"])
            self.known[change["key"]] = change
            if before is not None and not before["deleted"] and before["revision"] < change["revision"]:
                self.add(before, -1)
            if not change["deleted"]:
                self.add(change, 1)


class CountsWhatCameLast(Totals):
    """Wrong: an older revision replaces a newer one."""

    def take(self, change: Change) -> bool:
        self.known[change["key"]] = change
        return True


class ForgetsDeletes(Totals):
    """Wrong: keeps no tombstones."""

    def apply(self, changes: list[Change]) -> None:
        for change in changes:
            super().apply([change])
            if change["deleted"] and self.known[change["key"]] is change:
                del self.known[change["key"]]


class DeletedForEver(Totals):
    """Wrong: what was deleted once is never counted again."""

    def take(self, change: Change) -> bool:
        return not self.known.get(change["key"], {"deleted": False})["deleted"] and super().take(change)


class EmptiedForEver(Totals):
    """Wrong: a group that was empty once is never counted again."""

    def add(self, change: Change, sign: int) -> None:
        if self.groups.get(change["city"], [1])[0] != 0:
            super().add(change, sign)


class NameAtThatTime(Orders):
    """Wrong: keeps the name that the customer had when the order came."""

    def take(self, change: Change) -> bool:
        if change["entity"] == "order":
            change = change | {"name": self.known.get(change["customer"], {}).get("name")}
        return super().take(change)

    def rows(self) -> list[Change]:
        rows = Guarded.rows(self)
        alive = {row["key"] for row in rows}
        return [row for row in rows if row["entity"] == "order" and row["name"] and row["customer"] in alive]


class FirstPartOnly(Composite):
    """Wrong: one part of the key decides."""

    def take(self, change: Change) -> bool:
        return super().take(change | {"key": change["number"]})


class NotAwaited(Guarded):
    """Wrong: makes a task of it, and returns."""

    def apply(self, changes: list[Change]) -> None:
        self.later = changes

    def rows(self) -> Any:
        shown = super().rows()
        for change in self.__dict__.pop("later", []):
            self.take(change)
        return shown


# Right ones, with the options that they are checked with.
RIGHT: dict[Any, dict[str, Any]] = {
    Guarded: {}, LogAndView: {}, soft_delete: {}, Flushed: {}, OneColumn: {}, Awaited: {}, Generating: {},
    Streaming: {}, OneByOne: {}, ByKind: {}, NaNs: {}, Polars: {}, Hashes: {}, JsonFile: {}, Tuples: {},
    Composite: {}, texts: {}, Follows: {}, WaitsAtGaps: {}, Totals: {}, TotalsInHashes: {},
    Orders: {},
    Transfers: {"properties": ["no_torn_transaction"]},
}  # fmt: skip

# Wrong ones, each with the property that says so.
WRONG: dict[Any, str] = {
    ReadsAfterLast: "no_skipped_gap",
    StaysInItsGroup: "converged",
    CountsAgain: "no_double_effect",
    NameAtThatTime: "converged",
    FirstPartOnly: "converged",
    NotAwaited: "read_your_writes",
}

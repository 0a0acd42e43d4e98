"""One table for everything: a year of real departures in SQLite, with a report beside its writers, and with indexes.

Plain `sqlite3`, and nothing else of the lab between: what hurts here is the table, not the harness.
"""

from __future__ import annotations

import itertools
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from time import perf_counter

import polars as pl

from lab.domain.flights import DATA
from lab.teach.experiments import workplace
from lab.teach.scale import scaled

COLUMNS = ("carrier", "number", "origin", "destination", "tail", "distance", "departure_delay")
INSERT = f"INSERT INTO departure ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"
# The report: which carriers are late, and by how much. It goes through everything.
REPORT = "SELECT carrier, count(*), avg(departure_delay) FROM departure GROUP BY carrier ORDER BY 3 DESC"
# An index for each question that somebody asked once.
INDEXES = {
    "the worst delays of a carrier": "carrier, departure_delay",
    "an airport's departures by destination": "origin, destination",
    "what an aircraft did": "tail, number",
    "the longest flights to a place": "destination, distance",
}
# How many departures there are.
YEAR = 336_776
_places = itertools.count()


class DepartureTable:
    """A table `departure` with so many rows of the year (scaled), a primary key and the first `indexes` of INDEXES."""

    def __init__(self, rows: int, indexes: int = 0) -> None:
        self.path = workplace() / f"departures-{next(_places)}.db"
        self.rows = min(scaled(rows), YEAR)
        self.connection = self.connect()
        named = ", ".join(COLUMNS)
        self.connection.execute(f"CREATE TABLE departure (id INTEGER PRIMARY KEY, {named})")
        self.connection.executemany(INSERT, departures(self.rows))
        for number, columns in enumerate(list(INDEXES.values())[:indexes]):
            self.connection.execute(f"CREATE INDEX index_{number} ON departure ({columns})")
        self.connection.commit()
        self._more = itertools.cycle(departures(self.rows))

    def connect(self) -> sqlite3.Connection:
        """Return a connection of its own, which waits for locks for up to a minute."""
        return sqlite3.connect(self.path, timeout=60, check_same_thread=False)

    def ask(self, statement: str, *parameters: object) -> list[tuple[object, ...]]:
        """Return the rows of a question."""
        return self.connection.execute(statement, parameters).fetchall()

    def by_key(self, times: int = 100) -> None:
        """Look so many departures up by their primary key, spread over the table."""
        step = max(1, self.rows // times)
        for key in range(1, self.rows, step):
            self.ask("SELECT * FROM departure WHERE id = ?", key)

    def journal(self, mode: str) -> None:
        """Set SQLite's journal mode: `delete`, in which a writer waits for readers, or `wal`, in which it doesn't."""
        self.connection.execute(f"PRAGMA journal_mode = {mode}")

    def insert(self, count: int) -> None:
        """Insert so many further departures in one transaction."""
        self.connection.executemany(INSERT, itertools.islice(self._more, count))
        self.connection.commit()

    def commits(self, count: int) -> list[float]:
        """Insert so many departures, each in a transaction of its own; return the seconds of each (wall clock)."""
        took = []
        for row in itertools.islice(self._more, count):
            began = perf_counter()
            self.connection.execute(INSERT, row)
            self.connection.commit()
            took.append(perf_counter() - began)
        return took

    def commits_while_read(self) -> bool:
        """Try to commit while somebody reads the table, without waiting; return whether it was possible."""
        with closing(self.connect()) as reader, closing(sqlite3.connect(self.path, timeout=0)) as writer:
            reading = reader.execute("SELECT * FROM departure")
            reading.fetchone()
            try:
                writer.execute(INSERT, next(self._more))
                writer.commit()
            except sqlite3.OperationalError:
                return False
            return True

    @contextmanager
    def reported(self) -> Iterator[None]:
        """Run the report again and again on a connection of its own, in a thread, until the block is left."""
        left, begun = threading.Event(), threading.Event()

        def report() -> None:
            with closing(self.connect()) as reader:
                while not left.is_set():
                    begun.set()
                    reader.execute(REPORT).fetchall()

        thread = threading.Thread(target=report)
        thread.start()
        begun.wait()
        try:
            yield
        finally:
            left.set()
            thread.join()

    def slowest(self, rounds: int = 6, count: int = 5) -> dict[str, list[float]]:
        """Return the slowest of `count` commits in each round, `alone` and `beside` the report, in turns (seconds)."""
        found: dict[str, list[float]] = {"alone": [], "beside": []}
        for _ in range(rounds):
            found["alone"].append(max(self.commits(count)))
            with self.reported():
                found["beside"].append(max(self.commits(count)))
        return found

    def size_bytes(self) -> int:
        """Return what the table and its indexes take on disk."""
        pages, page_bytes = self.ask("PRAGMA page_count")[0][0], self.ask("PRAGMA page_size")[0][0]
        return int(str(pages)) * int(str(page_bytes))

    def close(self) -> None:
        """Close the table, and delete its file."""
        self.connection.close()
        for path in self.path.parent.glob(f"{self.path.name}*"):
            Path(path).unlink()


def departures(rows: int) -> Sequence[tuple[object, ...]]:
    """Return so many departures of the year, in no particular order; the year has YEAR of them."""
    return pl.read_parquet(DATA / "flights.parquet").select(COLUMNS).sample(rows, shuffle=True, seed=7).rows()

"""Climb the ladder from a plain table to a projection: what each rung makes of a read, of a write, and of freshness.

The question is the sum of each shop. Every rung is SQLite and holds the same sales, each in a file of its own: a table;
an index over what is asked; a summary table that triggers keep (SQLite has no materialised views); the answer in a
cache for a while; and a projection in another file, which catches up with a table of changes.
"""

from __future__ import annotations

import atexit
import itertools
import sqlite3
from collections.abc import Callable
from time import perf_counter

import numpy as np
import polars as pl

from lab.statistics.quantiles import median
from lab.statistics.replicated import of_median
from lab.teach.experiments import workplace
from lab.teach.scale import scaled

RUNGS = ("table", "index", "summary", "cache", "projection")
SHOPS = 20
_QUESTION = "SELECT shop, SUM(cents) FROM sale GROUP BY shop ORDER BY shop"
_TOTALS = "SELECT shop, cents FROM total ORDER BY shop"
_TRIGGER = """
CREATE TABLE total (shop INTEGER PRIMARY KEY, cents INTEGER NOT NULL);
INSERT INTO total SELECT shop, SUM(cents) FROM sale GROUP BY shop;
CREATE TRIGGER sold AFTER UPDATE ON sale BEGIN
  UPDATE total SET cents = cents - old.cents + new.cents WHERE shop = new.shop;
END;
"""
_CHANGES = """
CREATE TABLE change (position INTEGER PRIMARY KEY, shop INTEGER NOT NULL, more INTEGER NOT NULL);
CREATE TRIGGER noted AFTER UPDATE ON sale BEGIN
  INSERT INTO change (shop, more) VALUES (new.shop, new.cents - old.cents);
END;
"""
_places = itertools.count()

Sums = list[tuple[int, int]]


class Rung:
    """One rung of the ladder, with `rows` sales (not scaled): ask it, write to it, and let it catch up."""

    def __init__(self, name: str, rows: int, seed: int = 1087) -> None:
        self.name = name
        self._file = _opened(f"sales-{next(_places)}")
        self._file.execute("CREATE TABLE sale (key INTEGER PRIMARY KEY, shop INTEGER NOT NULL, cents INTEGER NOT NULL)")
        rng = np.random.default_rng(seed)
        sales = zip(
            range(rows), rng.integers(0, SHOPS, rows).tolist(), rng.integers(1, 9_000, rows).tolist(), strict=True
        )
        with self._file:
            self._file.execute("BEGIN")
            self._file.executemany("INSERT INTO sale VALUES (?, ?, ?)", sales)
        self._cached: Sums | None = None
        self._other: sqlite3.Connection | None = None
        if name == "index":
            self._file.execute("CREATE INDEX by_shop ON sale (shop, cents)")
        elif name == "summary":
            self._file.executescript(_TRIGGER)
        elif name == "projection":
            self._file.executescript(_CHANGES)
            self._other = _opened(f"totals-{next(_places)}")
            self.rebuild()

    def write(self, key: int, cents: int) -> None:
        """Change the amount of a sale, in a transaction of its own."""
        self._file.execute("UPDATE sale SET cents = ? WHERE key = ?", (cents, key))

    def ask(self) -> Sums:
        """Return the sum of each shop as this rung answers it."""
        if self.name == "cache":
            if self._cached is None:
                self._cached = self.truth()
            return self._cached
        if self._other is not None:
            return self._other.execute(_TOTALS).fetchall()
        return self._file.execute(_TOTALS if self.name == "summary" else _QUESTION).fetchall()

    def truth(self) -> Sums:
        """Return the sums from the sales themselves."""
        return self._file.execute(_QUESTION).fetchall()

    def catch_up(self) -> int:
        """Bring what lags up to date: the cache forgets, the projection reads. Return the number of changes read."""
        self._cached = None
        if self._other is None:
            return 0
        (checkpoint,) = self._other.execute("SELECT position FROM checkpoint").fetchone()
        rows = self._file.execute("SELECT * FROM change WHERE position > ?", (checkpoint,)).fetchall()
        if rows:
            self._other.execute("BEGIN")
            for _, shop, more in rows:
                self._other.execute("UPDATE total SET cents = cents + ? WHERE shop = ?", (more, shop))
            # Data and checkpoint in one transaction: what is read again after a death has not been added yet.
            self._other.execute("UPDATE checkpoint SET position = ?", (rows[-1][0],))
            self._other.execute("COMMIT")
        return len(rows)

    def rebuild(self) -> None:
        """Throw the projection away and fill it from the sales, as of the newest change."""
        assert self._other is not None
        (head,) = self._file.execute("SELECT coalesce(MAX(position), 0) FROM change").fetchone()
        self._other.executescript(
            "DROP TABLE IF EXISTS total; DROP TABLE IF EXISTS checkpoint; CREATE TABLE checkpoint (position INTEGER);"
            "CREATE TABLE total (shop INTEGER PRIMARY KEY, cents INTEGER NOT NULL);"
        )
        self._other.executemany("INSERT INTO total VALUES (?, ?)", self.truth())
        self._other.execute("INSERT INTO checkpoint VALUES (?)", (head,))

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        if self._other is not None:
            self._other.close()


def _opened(name: str) -> sqlite3.Connection:
    """Open a file of its own, in which each statement is a transaction unless one is begun."""
    connection = sqlite3.connect(workplace() / f"{name}.sqlite", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    atexit.register(connection.close)
    return connection


def climbed(rows: int = 25_000, rounds: int = 7, writes: int = 15) -> pl.DataFrame:
    """Measure every rung in rounds, interleaved; `rows` are scaled. A row for each rung and round.

    Columns: `rung`, `round`, `read_seconds` (p50), `write_seconds` (p50 of `writes` single ones), `later_seconds` (what
    a write costs afterwards: catching up with all of them, a share for each; 0 where nothing lags), `fresh` (whether an
    answer right after a write was right), `right` (whether it was after catching up).
    """
    rungs = [Rung(name, scaled(rows)) for name in RUNGS]
    found = []
    rng = np.random.default_rng(7)
    for number in range(rounds):
        order = rungs[number % len(rungs) :] + rungs[: number % len(rungs)]
        wanted = list(zip(rng.integers(0, scaled(rows), writes).tolist(), rng.integers(1, 9_000, writes), strict=True))
        for rung in order:
            rung.ask()
            wrote = [_timed(lambda rung=rung, one=one: rung.write(one[0], int(one[1]))) for one in wanted]  # type: ignore[misc]
            fresh = rung.ask() == rung.truth()
            later = _timed(rung.catch_up) if rung.name in ("cache", "projection") else 0.0
            right = rung.ask() == rung.truth()
            read = median([_timed(rung.ask) for _ in range(5)])
            found.append((rung.name, number, read, median(wrote), later / writes, fresh, right))
    for rung in rungs:
        rung.close()
    columns = ["rung", "round", "read_seconds", "write_seconds", "later_seconds", "fresh", "right"]
    return pl.DataFrame(found, schema=columns, orient="row")


def summed(measured: pl.DataFrame) -> pl.DataFrame:
    """Return the medians over the rounds of a read and of a write with what it costs later, for `figures.dots`.

    A row for each rung: `rung`, `read_seconds`, `whole_write_seconds`, and the ends of their intervals at 95 %.
    """
    rows = []
    whole = measured.with_columns(whole_write_seconds=pl.col("write_seconds") + pl.col("later_seconds"))
    for (name,), part in whole.group_by("rung", maintain_order=True):
        row: dict[str, object] = {"rung": name}
        for column in ("read_seconds", "whole_write_seconds"):
            values = part[column].to_list()
            row[column] = median(values)
            row[f"{column}_low"], row[f"{column}_high"] = of_median(values)
        rows.append(row)
    return pl.DataFrame(rows)


def _timed(call: Callable[[], object]) -> float:
    began = perf_counter()
    call()
    return perf_counter() - began

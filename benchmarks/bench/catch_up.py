"""Reading the feed from its beginning to its end, in pages."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import polars as pl

from benchmarks.bench import peer
from benchmarks.bench.data import COLUMNS, ENTITY, LISTED, Bench, History
from benchmarks.bench.harness import Attempt, Contestant, Row, Targets, differs

# The peer's subscription reads so many notifications at a time.
PEER_PAGE = 500


def rows(bench: Bench) -> Iterator[Row]:
    """`catch_up`, in pages of 10,000 and of 100,000."""
    changes = bench.size.changes
    few = min(10 * bench.size.peer, changes)
    targets = {"vs_peer": ("least", 12.0), "vs_limit": ("least", 0.75)}
    note = (
        f"The peer is given {few:,} events, in memory. It reads {PEER_PAGE} at a time: `peer_equal` is of the lab "
        "with pages as small."
    )
    for page in (10_000, 100_000):
        yield _row(bench, min(page, changes), few, targets, note)


def _row(bench: Bench, page: int, few: int, targets: Targets, note: str) -> Row:
    changes = bench.size.changes
    contestants = [
        Contestant("lab", changes, lambda folder: _lab(bench, page, changes)),
        Contestant("limit", changes, lambda folder: _limit(bench, page)),
        Contestant("peer", few, lambda folder: _peer(bench, few)),
        Contestant("lab_equal", few, lambda folder: _lab(bench, PEER_PAGE, few)),
    ]
    return Row("catch_up", f"pages of {page:,}", "changes/s", changes, contestants, targets, note)


def _lab(bench: Bench, page: int, changes: int) -> Attempt:
    truth = bench.truth()
    pages: list[pl.DataFrame] = []

    def run() -> None:
        position = 0
        while position < changes:
            pages.append(truth.changes_since(ENTITY, position, page))
            position = int(pages[-1]["position"][-1])

    def check() -> str | None:
        found = pl.concat(pages)
        must = bench.history.states[: found.height]
        short = found.height < changes
        return "the feed is short" if short else None if found.equals(must) else differs(found, must) or "wrong order"

    return Attempt(run, check, truth.close)


# Every column is looked at, as it is when rows are handed over.
AGGREGATE = [f"SUM(LENGTH({name}))" if name in ("name", "department") else f"SUM({name})" for name in COLUMNS]


def _limit(bench: Bench, page: int) -> Attempt:
    """SQLite's own aggregate over the rows of each page."""
    connection = sqlite3.connect(f"{bench.database().as_uri()}?mode=ro", uri=True)
    connection.execute("PRAGMA cache_size = -65536")
    inner = f"SELECT {LISTED} FROM {ENTITY} WHERE position > ? ORDER BY position LIMIT ?"
    statement = f"SELECT COUNT(*), MAX(position), {', '.join(AGGREGATE)} FROM ({inner})"
    found: list[tuple[float, ...]] = []

    def run() -> None:
        position = 0
        while True:
            figures = connection.execute(statement, (position, page)).fetchall()[0]
            if figures[0]:
                found.append(figures)
                position = figures[1]
            if figures[0] < page:
                return

    def check() -> str | None:
        states = bench.history.states
        lengths = (pl.col(name).str.len_chars() for name in ("name", "department"))
        must = [float(value) for value in states.with_columns(*lengths).sum().row(0)]
        sums = [sum(column) for column in list(zip(*found, strict=True))[2:]]
        close = all(abs(a - b) <= 1e-9 * max(1.0, abs(b)) for a, b in zip(sums, must, strict=True))
        return None if close else f"sums {sums}, must be {must}"

    return Attempt(run, check, connection.close)


def _peer(bench: Bench, events: int) -> Attempt:
    history = History(events, max(10, events // 10), bench.seed)
    subscribed = peer.Subscribed(history)

    def check() -> str | None:
        versions = pl.Series([one.originator_version for one in subscribed.seen])
        right = versions.equals(history.frame["revision"])
        return None if right else "the revisions are not those of the history, in its order"

    return Attempt(subscribed.read, check, subscribed.application.close)

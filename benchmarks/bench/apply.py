"""Live: micro-batches through a projector with the guard `revision`, into SQLite and into DuckDB."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import polars as pl

from benchmarks.bench import peer
from benchmarks.bench.data import COLUMNS, ENTITY, LAYOUT, LAYOUT_FULL, LISTED, Bench, History, last_of
from benchmarks.bench.harness import Attempt, Contestant, Row, differs
from lab.engines import duckdb as duckdb_engine
from lab.engines import sqlite
from lab.place import FolderPlace
from lab.projection.projector import Projector
from lab.stores import Store, dump, store_class

EQUAL = "`peer_equal`: one change a transaction, each with a sync, on both sides."


def rows(bench: Bench) -> Iterator[Row]:
    """`apply_sqlite` with batches of 1,000 and 10,000, `apply_duckdb` with 10,000 and 100,000."""
    size = bench.size
    targets = {"vs_peer": ("least", 50.0), "vs_limit": ("least", 0.75)}
    for batch in (1_000, 10_000):
        yield _row(bench, "apply_sqlite", "sqlite.table", batch, size.live, _upsert, targets)
    targets = {"vs_peer": ("least", 200.0), "vs_limit": ("least", 0.8)}
    for batch in (10_000, 100_000):
        yield _row(bench, "apply_duckdb", "duckdb.columnar", batch, size.changes, _delete_insert, targets)


def _row(
    bench: Bench,
    name: str,
    store: str,
    batch: int,
    changes: int,
    limit: Callable[[Bench, Path, int, int], Attempt],
    targets: dict[str, tuple[str, float]],
) -> Row:
    batch = min(batch, changes)
    contestants = [
        Contestant("lab", changes, lambda folder: applied(bench, folder, store, batch, changes)),
        Contestant("limit", changes, lambda folder: limit(bench, folder, batch, changes)),
        *against_peer(bench, store),
    ]
    note = f"The peer is its ProjectionRunner into SQLite, given {bench.size.peer:,} events. {EQUAL}"
    return Row(name, f"batches of {batch:,}", "changes/s", changes, contestants, targets, note)


def against_peer(bench: Bench, store: str) -> list[Contestant]:
    """The peer's runner as it is, and both sides at equal durability and equal size of transaction."""
    few = bench.size.peer
    single = bench.size.singly if store.startswith("duckdb") else few
    return [
        Contestant("peer", few, lambda folder: projected(bench, folder, few)),
        Contestant("lab_equal", single, lambda folder: applied(bench, folder, store, 1, single, full=True)),
    ]


def projected(bench: Bench, folder: Path, events: int) -> Attempt:
    """The peer's runner over a small history: event by event, it takes as long for each however many there are."""
    history = History(events, max(10, events // 10), bench.seed)
    run = peer.Run(folder, history)
    return Attempt(run.project, lambda: differs(run.found(), history.last.drop("position")))


def must_be(bench: Bench, changes: int) -> pl.DataFrame:
    """The last revisions of the first `changes` changes."""
    return bench.history.last if changes == bench.size.changes else last_of(bench.history.states[:changes])


def dumped(store: Store) -> pl.DataFrame:
    """What a store holds."""
    store.open()
    found = dump(store, ENTITY)
    store.close()
    return found


def applied(bench: Bench, folder: Path, name: str, batch: int, changes: int, full: bool = False) -> Attempt:
    """The lab: a projector is handed slices of the history; the checkpoint lands with each."""
    layout = LAYOUT_FULL if full else LAYOUT
    projector = Projector(store_class(name)(FolderPlace(folder / "lab"), layout), "revision", hold=0)
    slices = list(bench.history.states[:changes].iter_slices(batch))

    def run() -> None:
        for piece in slices:
            projector.apply(ENTITY, piece, int(piece["position"][-1]))

    def check() -> str | None:
        projector.store.close()
        return differs(dumped(projector.store), must_be(bench, changes))

    return Attempt(run, check, projector.store.close)


def empty_store(name: str, folder: Path) -> Store:
    """A store with empty tables, closed: the limits write into tables that are like the lab's own."""
    store = store_class(name)(FolderPlace(folder / "limit"), LAYOUT)
    store.open()
    store.close()
    return store


def _upsert(bench: Bench, folder: Path, batch: int, changes: int) -> Attempt:
    """Inside the engine: the source's file attached, an upsert of each range of positions, newer revisions only."""
    store = empty_store("sqlite.table", folder)
    connection = sqlite.connect(folder / "limit" / "projection.sqlite", "normal")
    connection.execute("PRAGMA wal_autocheckpoint = 16000")
    connection.execute("ATTACH ? AS source", (str(bench.database()),))
    sets = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS if name != "key")
    statement = (
        f"INSERT INTO main.{ENTITY} ({LISTED}) SELECT {LISTED} FROM source.{ENTITY} WHERE position > ? "
        f"AND position <= ? ORDER BY position ON CONFLICT (key) DO UPDATE SET {sets} "
        f"WHERE excluded.revision > {ENTITY}.revision"
    )

    def run() -> None:
        for first in range(0, changes, batch):
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(statement, (first, min(first + batch, changes)))
            connection.execute("INSERT OR REPLACE INTO main.lab_checkpoint VALUES (?, ?)", (ENTITY, first + batch))
            connection.execute("COMMIT")

    def check() -> str | None:
        connection.close()
        return differs(dumped(store), must_be(bench, changes))

    return Attempt(run, check, connection.close)


def _delete_insert(bench: Bench, folder: Path, batch: int, changes: int) -> Attempt:
    """The best bare technique: last revision of each batch, delete and insert from Arrow, no primary key, no guard."""
    store = empty_store("duckdb.columnar", folder)
    connection = duckdb_engine.connect(folder / "limit" / "projection.duckdb")
    slices = list(bench.history.states[:changes].iter_slices(batch))

    def run() -> None:
        for piece in slices:
            incoming = piece.unique("key", keep="last", maintain_order=True).to_arrow()
            connection.register("incoming", incoming)
            connection.execute("BEGIN")
            connection.execute(f"DELETE FROM {ENTITY} AS t USING incoming AS i WHERE t.key = i.key")
            connection.execute(f"INSERT INTO {ENTITY} SELECT * FROM incoming")
            connection.execute("COMMIT")
            connection.unregister("incoming")

    def check() -> str | None:
        _close(connection)
        return differs(dumped(store), must_be(bench, changes))

    return Attempt(run, check, lambda: _close(connection))


def _close(connection: duckdb.DuckDBPyConnection | sqlite3.Connection) -> None:
    connection.close()

"""A projection on PostgreSQL: batches, a rebuild and look-ups, beside bare psycopg on tables like the lab's."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np
import polars as pl
import psycopg

from benchmarks.bench.apply import applied, dumped, empty_store, must_be
from benchmarks.bench.data import COLUMNS, EMPLOYEE, ENTITY, LAYOUT, LISTED, Bench, last_of
from benchmarks.bench.harness import Attempt, Contestant, Row, Wrong, differs
from benchmarks.bench.queries import GET
from benchmarks.bench.rebuild import _read, rebuilt
from lab.base import Batch
from lab.place import FolderPlace
from lab.ports import Missing
from lab.servers import server
from lab.servers.postgres import SERVER
from lab.servers.postgres_place import PostgresPlace
from lab.statistics.quantiles import median
from lab.stores import Store, store_class

STORE = "postgres.table"
NAMES = ("postgres_apply", "postgres_rebuild", "postgres_get")
COPIED = f"COPY incoming ({LISTED}) FROM STDIN"
CHECKPOINT = (
    "INSERT INTO lab_checkpoint VALUES (%s, %s) ON CONFLICT (entity) DO UPDATE SET position = excluded.position"
)
# Lookups of one block; the sides take turns.
BLOCK = 500


def rows(bench: Bench) -> Iterator[Row]:
    """`postgres_apply`, `postgres_rebuild` and `postgres_get`: none where no server is reached."""
    if left_out():
        return
    changes = bench.size.changes
    targets = {"vs_limit": ("least", 0.7)}
    for batch in (1_000, 10_000, 100_000):
        count = min(bench.size.live if batch < 10_000 else changes, changes)
        yield Row(
            "postgres_apply",
            f"batches of {batch:,}",
            "changes/s",
            count,
            [
                Contestant("lab", count, partial(_applied, bench, batch, count)),
                Contestant("limit", count, partial(_merged, bench, batch, count)),
            ],
            targets,
            "The limit copies a batch's last revisions into a temporary table, and merges it by revision.",
        )
    yield Row(
        "postgres_rebuild",
        "",
        "changes/s",
        changes,
        [
            Contestant(
                "lab", changes, lambda folder: _dropping(rebuilt(bench, folder, STORE, changes), folder / "lab")
            ),
            Contestant("limit", changes, partial(_copied, bench, changes)),
        ],
        targets,
        "The limit reads by ADBC, reduces in Polars, copies into an empty table, and makes key and index last.",
    )
    yield Row(
        "postgres_get",
        "",
        "us",
        min(bench.size.calls, 20_000),
        targets={"vs_limit": ("most", 1.0 / 0.7)},
        note="A look-up by key through the store, and by a prepared statement of psycopg; blocks of each in turn.",
        joint=partial(_got, bench),
    )


def left_out() -> dict[str, str]:
    """The rows that need a server, and why there is none."""
    found = server("postgres").find()
    return dict.fromkeys(NAMES, f"{found.reason}; {found.way_out}") if isinstance(found, Missing) else {}


def _dropping(attempt: Attempt, folder: Path) -> Attempt:
    """The same attempt, whose schema is dropped when it is closed."""

    def close() -> None:
        attempt.close()
        PostgresPlace.of(FolderPlace(folder)).drop()

    return Attempt(attempt.run, attempt.check, close)


def _applied(bench: Bench, batch: int, changes: int, folder: Path) -> Attempt:
    return _dropping(applied(bench, folder, STORE, batch, changes), folder / "lab")


def _bare(folder: Path) -> tuple[Store, psycopg.Connection[tuple[object, ...]]]:
    """A store with empty tables, closed, and a connection of psycopg to its schema."""
    store = empty_store(STORE, folder)
    schema = PostgresPlace.of(FolderPlace(folder / "limit")).named
    options = f"-c search_path={schema} -c synchronous_commit=off -c jit=off"
    return store, psycopg.connect(SERVER.dsn().secret, options=options)


def _text(frame: pl.DataFrame) -> bytes:
    written = frame.write_csv(include_header=False, separator="\t", quote_style="never", null_value="\\N")
    return written.encode()


def _merged(bench: Bench, batch: int, changes: int, folder: Path) -> Attempt:
    store, connection = _bare(folder)
    slices = list(bench.history.states[:changes].iter_slices(batch))
    sets = ", ".join(f'"{name}" = excluded."{name}"' for name in COLUMNS if name != "key")
    connection.execute(f"CREATE TEMP TABLE incoming (LIKE {ENTITY}) ON COMMIT DELETE ROWS")
    connection.commit()
    merge = (
        f"INSERT INTO {ENTITY} ({LISTED}) SELECT {LISTED} FROM incoming ON CONFLICT (key) DO UPDATE SET {sets} "
        f"WHERE excluded.revision > {ENTITY}.revision"
    )

    def run() -> None:
        for piece in slices:
            last = piece.unique("key", keep="last", maintain_order=True)
            with connection.cursor() as cursor:
                with cursor.copy(COPIED) as copy:
                    copy.write(_text(last.select(COLUMNS)))
                cursor.execute(merge)
                cursor.execute(CHECKPOINT, (ENTITY, int(piece["position"][-1])))
            connection.commit()

    def check() -> str | None:
        connection.close()
        return differs(dumped(store), must_be(bench, changes))

    def close() -> None:
        connection.close()
        store.drop()

    return Attempt(run, check, close)


def _copied(bench: Bench, changes: int, folder: Path) -> Attempt:
    store, connection = _bare(folder)
    made = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema() AND tablename = %s"
    indexes = connection.execute(made, (ENTITY,)).fetchall()
    connection.commit()

    def run() -> None:
        with connection.cursor() as cursor:
            for name, _ in indexes:
                if "lab_key_" in str(name):
                    cursor.execute(f'ALTER TABLE {ENTITY} DROP CONSTRAINT "{name}"'.encode())
                else:
                    cursor.execute(f'DROP INDEX "{name}"'.encode())
            cursor.execute(f"TRUNCATE {ENTITY}")
            with cursor.copy(f"COPY {ENTITY} ({LISTED}) FROM STDIN (FREEZE)") as copy:
                copy.write(_text(_read(bench, changes).select(COLUMNS)))
            for _, definition in indexes:
                cursor.execute(str(definition).encode())
            cursor.execute(CHECKPOINT, (ENTITY, changes))
        connection.commit()

    def check() -> str | None:
        connection.close()
        return differs(dumped(store), bench.of(changes).last)

    def close() -> None:
        connection.close()
        store.drop()

    return Attempt(run, check, close)


def _got(bench: Bench, folder: Path) -> dict[str, float]:
    store = store_class(STORE)(FolderPlace(folder / "store"), LAYOUT)
    store.open()
    states = last_of(bench.history.states)
    store.bulk(ENTITY, [Batch(ENTITY, states, bench.size.changes)])
    schema = PostgresPlace.of(FolderPlace(folder / "store")).named
    bare = psycopg.connect(SERVER.dsn().secret, options=f"-c search_path={schema}", autocommit=True)
    listed = ", ".join(f'"{name}"' for name in EMPLOYEE.row)
    statement = f"SELECT {listed} FROM {ENTITY} WHERE NOT deleted AND key = %s"
    drawn = np.random.default_rng(bench.seed).integers(1, states.height + 1, min(bench.size.calls, 20_000)).tolist()
    try:
        seconds: tuple[list[float], list[float]] = ([], [])
        cursor = bare.cursor(binary=True)
        for number, first in enumerate(range(0, len(drawn), BLOCK)):
            block, answers = drawn[first : first + BLOCK], dict[int, list[object]]()
            # The side that comes second finds the block's pages warm: they take turns at it.
            for side in (0, 1) if number % 2 else (1, 0):
                began = perf_counter()
                if side == 0:
                    found: list[object] = [store.query(GET, (key,)) for key in block]
                else:
                    found = [cursor.execute(statement, (key,), prepare=True).fetchall() for key in block]
                seconds[side].append((perf_counter() - began) / len(block))
                answers[side] = found
            if answers[0] != answers[1]:
                raise Wrong("lab: another answer than psycopg's")
        return {"lab": median(seconds[0]) * 1e6, "limit": median(seconds[1]) * 1e6}
    finally:
        bare.close()
        store.drop()

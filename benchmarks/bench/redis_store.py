"""A projection in Redis: batches, a rebuild and look-ups, beside bare redis-py with values that are ready."""

from __future__ import annotations

import marshal
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import redis

from benchmarks.bench.apply import applied, dumped, empty_store, must_be
from benchmarks.bench.data import COLUMNS, ENTITY, LAYOUT, Bench, last_of
from benchmarks.bench.harness import Attempt, Contestant, Row, Wrong, differs
from benchmarks.bench.queries import GET
from benchmarks.bench.rebuild import _read, rebuilt
from lab.base import Batch
from lab.place import FolderPlace
from lab.ports import Missing
from lab.servers import server
from lab.servers.redis import SERVER
from lab.servers.redis_place import RedisPlace
from lab.statistics.quantiles import median
from lab.stores import store_class

STORE = "redis.keyvalue"
NAMES = ("redis_apply", "redis_rebuild", "redis_get")
# Lookups of one block; the sides take turns.
BLOCK = 500
# Rows of one transaction of a rebuild, as in the store.
AT_ONCE = 20_000


def rows(bench: Bench) -> Iterator[Row]:
    """`redis_apply`, `redis_rebuild` and `redis_get`: none where no server is reached."""
    if left_out():
        return
    changes = bench.size.changes
    targets = {"vs_limit": ("least", 0.7)}
    for batch in (1_000, 10_000, 100_000):
        count = min(bench.size.live if batch < 10_000 else changes, changes)
        yield Row(
            "redis_apply",
            f"batches of {batch:,}",
            "changes/s",
            count,
            [
                Contestant("lab", count, partial(_applied, bench, batch, count)),
                Contestant("limit", count, partial(_set, bench, batch, count)),
            ],
            targets,
            "The limit sends a batch's last revisions, encoded beforehand, as one MSET inside MULTI: it has no guard.",
        )
    yield Row(
        "redis_rebuild",
        "",
        "changes/s",
        changes,
        [
            Contestant(
                "lab", changes, lambda folder: _dropping(rebuilt(bench, folder, STORE, changes), folder / "lab")
            ),
            Contestant("limit", changes, partial(_filled, bench, changes)),
        ],
        targets,
        "The limit reads by ADBC, reduces in Polars, encodes, and sends 20,000 rows at a time.",
    )
    yield Row(
        "redis_get",
        "",
        "us",
        min(bench.size.calls, 20_000),
        targets={"vs_limit": ("most", 1.0 / 0.7)},
        note="A look-up by key through the store, and by GET of redis-py; blocks of each in turn.",
        joint=partial(_got, bench),
    )


def left_out() -> dict[str, str]:
    """The rows that need a server, and why there is none."""
    found = server("redis").find()
    return dict.fromkeys(NAMES, f"{found.reason}; {found.way_out}") if isinstance(found, Missing) else {}


def _dropping(attempt: Attempt, folder: Path) -> Attempt:
    """The same attempt, whose keys are removed when it is closed."""

    def close() -> None:
        attempt.close()
        RedisPlace.of(FolderPlace(folder)).drop()

    return Attempt(attempt.run, attempt.check, close)


def _applied(bench: Bench, batch: int, changes: int, folder: Path) -> Attempt:
    return _dropping(applied(bench, folder, STORE, batch, changes), folder / "lab")


def _values(prefix: str, rows: list[tuple[Any, ...]]) -> dict[Any, Any]:
    return {f"{prefix}:row:{ENTITY}:{row[1]}": marshal.dumps(row) for row in rows}


def _send(client: redis.Redis, prefix: str, values: dict[Any, Any], position: int) -> None:
    pipeline = client.pipeline(transaction=True)
    pipeline.mset(values)
    pipeline.hset(f"{prefix}:checkpoint", ENTITY, str(position))
    pipeline.execute()


def _set(bench: Bench, batch: int, changes: int, folder: Path) -> Attempt:
    store = empty_store(STORE, folder)
    prefix, client = RedisPlace.of(FolderPlace(folder / "limit")).named, SERVER.connect()
    pieces = list(bench.history.states[:changes].iter_slices(batch))
    lasts = [piece.unique("key", keep="last", maintain_order=True).select(COLUMNS).rows() for piece in pieces]
    ready = [(_values(prefix, rows), int(piece["position"][-1])) for rows, piece in zip(lasts, pieces, strict=True)]

    def run() -> None:
        for values, position in ready:
            _send(client, prefix, values, position)

    def check() -> str | None:
        return differs(dumped(store), must_be(bench, changes))

    def close() -> None:
        client.close()
        store.drop()

    return Attempt(run, check, close)


def _filled(bench: Bench, changes: int, folder: Path) -> Attempt:
    store = empty_store(STORE, folder)
    prefix, client = RedisPlace.of(FolderPlace(folder / "limit")).named, SERVER.connect()

    def run() -> None:
        for piece in _read(bench, changes).select(COLUMNS).iter_slices(AT_ONCE):
            _send(client, prefix, _values(prefix, piece.rows()), changes)

    def check() -> str | None:
        return differs(dumped(store), bench.of(changes).last)

    def close() -> None:
        client.close()
        store.drop()

    return Attempt(run, check, close)


def _got(bench: Bench, folder: Path) -> dict[str, float]:
    store = store_class(STORE)(FolderPlace(folder / "store"), LAYOUT)
    store.open()
    states = last_of(bench.history.states)
    store.bulk(ENTITY, [Batch(ENTITY, states, bench.size.changes)])
    prefix, bare = RedisPlace.of(FolderPlace(folder / "store")).named, SERVER.connect()
    drawn = np.random.default_rng(bench.seed).integers(1, states.height + 1, min(bench.size.calls, 20_000)).tolist()
    try:
        seconds: tuple[list[float], list[float]] = ([], [])
        for number, first in enumerate(range(0, len(drawn), BLOCK)):
            block, answers = drawn[first : first + BLOCK], dict[int, list[object]]()
            for side in (0, 1) if number % 2 else (1, 0):
                began = perf_counter()
                if side == 0:
                    found: list[object] = [store.query(GET, (key,)) for key in block]
                else:
                    found = [_bare(bare.get(f"{prefix}:row:{ENTITY}:{key}")) for key in block]
                seconds[side].append((perf_counter() - began) / len(block))
                answers[side] = found
            if answers[0] != answers[1]:
                raise Wrong("lab: another answer than redis-py's")
        return {"lab": median(seconds[0]) * 1e6, "limit": median(seconds[1]) * 1e6}
    finally:
        with suppress(redis.RedisError):
            bare.close()
        store.drop()


def _bare(value: object) -> list[tuple[object, ...]]:
    """The row as readers see it."""
    if value is None:
        return []
    row = marshal.loads(value)  # type: ignore[arg-type]
    return [] if row[3] else [(row[1], row[2], *row[5:])]

"""What the harness of the queries costs: around a store that does nothing, and around the quickest real look-up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import numpy as np

from benchmarks.bench.apply import dumped
from benchmarks.bench.data import EMPLOYEE, ENTITY, LAYOUT, Bench, last_of
from benchmarks.bench.harness import Row, Wrong, differs
from lab.base import Batch
from lab.measure.asked import Asked
from lab.place import FolderPlace
from lab.queries.answers import Row as Answer
from lab.queries.model import Query
from lab.statistics.quantiles import median
from lab.stores import Store, store_class

GET = Query("employee", "get", EMPLOYEE)


def rows(bench: Bench) -> Iterator[Row]:
    """`query_overhead`, of the `null` store and of a `get` in SQLite."""
    calls = bench.size.calls
    yield Row(
        "query_overhead",
        "null store",
        "us",
        calls,
        targets={"lab": ("most", 0.6)},
        note="A whole call through the harness; the limit is a loop that asks and keeps the answer, without a clock.",
        joint=lambda folder: _null(bench, folder),
    )
    yield Row(
        "query_overhead",
        "sqlite get",
        "us",
        calls,
        targets={"vs_limit": ("most", 1.02)},
        note="Calls through the harness and without it, a thousand of each in turn.",
        joint=lambda folder: _sqlite(bench, folder),
    )


def _null(bench: Bench, folder: Path) -> dict[str, float]:
    store = store_class("null")(FolderPlace(folder), LAYOUT)
    store.open()
    with_harness, without = alternating(store, [(key,) for key in range(1, bench.size.calls + 1)])
    return {"lab": with_harness, "limit": without}


def _sqlite(bench: Bench, folder: Path) -> dict[str, float]:
    store = store_class("sqlite.table")(FolderPlace(folder / "store"), LAYOUT)
    store.open()
    states = last_of(bench.history.states)
    store.bulk(ENTITY, [Batch(ENTITY, states, bench.size.changes)])
    if problem := differs(dumped(store), states):
        raise Wrong(f"lab: {problem}")
    store.open()
    keys = np.random.default_rng(bench.seed).integers(1, states.height + 1, bench.size.calls)
    with_harness, without = alternating(store, [(key,) for key in keys.tolist()])
    store.close()
    return {"lab": with_harness, "limit": without}


def alternating(store: Store, parameters: list[Answer]) -> tuple[float, float]:
    """Microseconds a call through the harness and without it: the medians over blocks that take turns."""
    blocks = [parameters[first : first + 1_000] for first in range(0, len(parameters), 1_000)]
    store.query(GET, parameters[0])
    seconds: tuple[list[float], list[float]] = ([], [])
    for number, block in enumerate(blocks):
        asked = Asked("benchmark", store, GET)
        bare: list[tuple[Answer, list[Answer]]] = []
        # Whoever comes second finds the block's pages warm: they take turns at it.
        for side in (0, 1) if number % 2 else (1, 0):
            ask, query, keep = asked.ask, store.query, bare.append
            began = perf_counter()
            if side == 0:
                for one in block:
                    ask(one, True)
            else:
                for one in block:
                    keep((one, query(GET, one)))
            seconds[side].append((perf_counter() - began) / len(block))
        if asked.answers != bare:
            raise Wrong("lab: the harness and the store have given different answers")
    return median(seconds[0]) * 1e6, median(seconds[1]) * 1e6

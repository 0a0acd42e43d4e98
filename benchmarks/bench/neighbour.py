"""Whether a query's time belongs to its store: the same calls by themselves, and beside a projection in DuckDB."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.bench.apply import dumped
from benchmarks.bench.data import EMPLOYEE, ENTITY, LAYOUT, Bench, last_of
from benchmarks.bench.harness import Row, Wrong, differs
from lab.base import Batch
from lab.measure import queries
from lab.measure.asked import Asked
from lab.measure.asking import CallLimits, Parameters, in_blocks, in_rounds
from lab.measure.temperatures import COLD, HOT, of
from lab.place import FolderPlace
from lab.queries.answers import ReferenceTable
from lab.queries.answers import Row as Answer
from lab.queries.kinds import KINDS
from lab.queries.model import Query
from lab.stores import Store, store_class

GET = Query("employee", "get", EMPLOYEE)
GET_MANY = Query("team_sheet", "get_many", EMPLOYEE, count=20)
PAYROLL = Query("payroll", "aggregate", EMPLOYEE, group_by=("department",), sum=("salary",))
BLOCKS = 4
# Of the calls that a row of queries is given at full size: a hundred samples for each block.
SAMPLES_SHARE = 1 / 500


def rows(bench: Bench) -> Iterator[Row]:
    """`neighbour`: a `get` and a `get_many` of SQLite and of LMDB."""
    for name in ("sqlite.table", "lmdb.keyvalue"):
        for query in (GET, GET_MANY):
            yield Row(
                "neighbour",
                f"{name} {query.kind}",
                "us",
                _limits(bench).samples * BLOCKS,
                targets={"vs_limit": ("most", 1.1)},
                note="The p50 of blocks (hot) beside DuckDB and by itself, which is the limit; `cold` in `others` is "
                "the same ratio of single calls, for information: they are in caches that the neighbour has filled.",
                joint=lambda folder, name=name, query=query: _beside(bench, folder, name, query),  # type: ignore[misc]
            )


def _limits(bench: Bench) -> CallLimits:
    return CallLimits(warm_up=3, samples=max(10, int(bench.size.calls * SAMPLES_SHARE)), budget_seconds=1.0)


def _beside(bench: Bench, folder: Path, name: str, query: Query) -> dict[str, float]:
    """Microseconds: the p50 beside a neighbour (`lab`) and without it (`limit`), hot and cold. Raises Wrong."""
    states = last_of(bench.of(max(2_000, bench.size.changes // 5)).states)
    table = {ENTITY: ReferenceTable(EMPLOYEE, states)}
    rng = np.random.default_rng(bench.seed)
    limits = _limits(bench)
    drawn = {one.name: KINDS[one.kind].draw(one, table, limits.samples, rng) for one in (GET, GET_MANY, PAYROLL)}
    found: dict[str, list[float]] = {}
    with ExitStack() as opened:
        stores = {}
        for each in (name, "duckdb.columnar"):
            stores[each] = store_class(each)(FolderPlace(folder / each), LAYOUT)
            opened.callback(stores[each].close)
            _fill(stores[each], states)
        # ABBA: a drift adds the same to both.
        for neighbour in (False, True, True, False):
            asked = [Asked("mine", stores[name], query)]
            if neighbour:
                asked += [Asked("neighbour", stores["duckdb.columnar"], one) for one in (GET, PAYROLL)]
            for key, value in _times(asked, drawn, table, limits, rng).items():
                found.setdefault(key.format("lab" if neighbour else "limit"), []).append(value)
    return {key: float(np.mean(values)) for key, values in found.items()}


def _fill(store: Store, states: pl.DataFrame) -> None:
    store.open()
    store.bulk(ENTITY, [Batch(ENTITY, states, int(states["position"].max()))])  # type: ignore[arg-type]
    if problem := differs(dumped(store), states):
        raise Wrong(f"{store.name}: {problem}")
    store.open()


def _times(
    asked: list[Asked],
    drawn: Parameters,
    table: dict[str, ReferenceTable],
    limits: CallLimits,
    rng: np.random.Generator,
) -> dict[str, float]:
    """The p50 of the first in microseconds, hot and cold, by names with a place for the contestant's."""
    in_rounds(asked, drawn, limits, rng)
    in_blocks(asked, drawn, BLOCKS, limits, rng)

    def right(query: Query, parameters: Answer) -> list[Answer]:
        return KINDS[query.kind].answer(query, parameters, table)

    queries.check(asked, right)
    if wrong := [one for each in asked for one in each.wrong]:
        raise Wrong("lab: " + "; ".join(wrong[0].lines()))
    measured = queries.table(asked[:1])
    return {
        name: float(of(measured, temperature)["p50_us"][0]) for name, temperature in (("{}", HOT), ("cold_{}", COLD))
    }

"""The grid of query times: a row for each projection, a column for each query, and every temperature in its cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from lab.base import TRUTH
from lab.measure.temperatures import COLD
from lab.report.facts import Overview


@dataclass(frozen=True)
class GridCell:
    """The p50 of one query in one projection, in microseconds: of the table's first figures, and of single calls.

    `best`: no projection that may be ranked has a smaller first figure. `wrong`: an answer was, so there is no time.
    """

    p50_us: float | None
    cold_us: float | None
    best: bool
    wrong: bool


@dataclass(frozen=True)
class QueryGrid:
    """The names of the queries in order, and a cell for each of them by projection.

    None stands where a projection can't answer a query, or isn't asked it.
    """

    queries: Sequence[str]
    rows: dict[str, list[GridCell | None]]


def query_grid(queries: pl.DataFrame, found: Sequence[Overview]) -> QueryGrid:
    """Return the grid of a run's table `queries`; the source of truth comes last."""
    names = queries["query"].unique(maintain_order=True).to_list()
    ranked = {TRUTH, *(each.name for each in found if each.ranked)}
    right = queries.filter(pl.col("projection").is_in(list(ranked)), pl.col("answer_ok")).drop_nulls("p50_us")
    best = dict(right.group_by("query").agg(pl.col("p50_us").min()).iter_rows())
    rows: dict[str, list[GridCell | None]] = {}
    for row in queries.iter_rows(named=True):
        cells = rows.setdefault(row["projection"], [None] * len(names))
        first = row["p50_us"] is not None and row["projection"] in ranked and row["p50_us"] == best.get(row["query"])
        cold = None if row["temperature"] == COLD else row["cold_p50_us"]
        cells[names.index(row["query"])] = GridCell(row["p50_us"], cold, first, row["answer_ok"] is False)
    return QueryGrid(names, rows)

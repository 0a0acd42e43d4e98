"""Measure the four corners: a source of truth of states or of events, queried itself or through projections.

Every write model executes the same commands, and every corner answers the same queries. `history` (states, with every
revision kept) is measured as well, between the two.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import Any

import polars as pl

from lab.base import BadInput, Key, Problem, stream
from lab.domain.model import Command
from lab.queries.answers import Row
from lab.statistics.quantiles import median
from lab.teach.desk import Reader, planned, source_of_truth
from lab.teach.experiments import projection
from lab.teach.scale import scaled
from lab.truth import Truth

NAMES = {"snapshot": "last states", "history": "every state", "events": "events"}
ENTITY = "employee"
_SAMPLES = 15


@dataclass
class Corner:
    """One write model after the same commands, with the projections that its feed can fill.

    `now` keeps the current records, `then` every revision; None if the feed doesn't show every revision.
    """

    truth: Truth
    commands: int
    write_seconds: float
    now: Reader
    then: Reader | None
    keys: list[Key] = field(default_factory=list)

    @property
    def model(self) -> str:
        """Return the write model: snapshot, history or events."""
        return self.truth.model

    def states(self) -> pl.DataFrame:
        """Return everything that the feed shows, as states: what a reader without a projection must scan."""
        return self.now.feed.changes_since(ENTITY, 0, 10_000_000)

    def payroll(self, at: float | None = None) -> list[Row]:
        """Return records and salaries by department from the source of truth, now or as of `at` seconds.

        The engine sums states. Events must all be folded first.
        """
        query = self.now.query("payroll")
        if at is None and self.truth.answers(query):
            return self.truth.query(query, ())
        if at is not None and self.then is None:
            raise BadInput(
                [Problem(f"{self.model}: payroll as of {at:g} s", refused(self.model), "ask for it as it is")]
            )
        seen = self.states()
        if at is not None:
            seen = seen.filter(pl.col("committed_at") <= at)
        last = seen.sort("position").unique("key", keep="last", maintain_order=True).filter(~pl.col("deleted"))
        sums = last.group_by("department").agg(pl.len().alias("records"), pl.col("salary").sum()).sort("department")
        return list(sums.iter_rows())

    def as_of(self, key: Key, at: float) -> Row | None:
        """Return a record as of a time, from the projection of every revision; None if it did not exist."""
        assert self.then is not None
        found = self.then.ask("employee_as_of", key, at)
        return found[0] if found else None


def corner(model: str, commands: int = 2_000, records: int = 100, seed: int = 1087) -> Corner:
    """Fill a write model by `commands` (scaled), each executed and timed by itself, then fill its projections."""
    count = scaled(commands)
    drawn = planned(projection("a"), model=model, records=records, commands=count)
    wanted: list[Command] = list(drawn.domain.workload(drawn.options, stream(seed, "workload")))
    truth = source_of_truth(model)
    began = perf_counter()
    for command in wanted:
        truth.execute(command)
    seconds = perf_counter() - began
    now = Reader(truth, "sqlite.table", guard="revision")
    now.catch_up(10_000_000)
    then = None
    if truth.publishes_every_revision:
        then = Reader(truth, "sqlite.log", keeps="revisions", guard="dedupe")
        then.catch_up(10_000_000)
    live = now.rows()["key"].to_list()
    return Corner(truth, count, seconds, now, then, live[:: max(1, len(live) // _SAMPLES)])


def measured(corners: list[Corner]) -> pl.DataFrame:
    """Measure each write model without and with projections on this machine; a row for each.

    Columns: `model`, `projections`, `corner` (both in words), `store` (what answers; null for the source of truth),
    `writes_per_second`, `read_one_seconds` (a record by its key, p50), `read_sum_seconds` (salaries by department,
    p50), `rows_for_sum` (that have to be gone through for it), `rebuild_seconds` (null without projections), `bytes`
    (on disk, the projections' included), `time_travel` (whether the payroll as of an earlier moment can be had).
    """
    rows = [_row(each, with_projections) for with_projections in (False, True) for each in corners]
    return pl.DataFrame(rows)


def _row(each: Corner, with_projections: bool) -> dict[str, Any]:
    truth, now = each.truth, each.now
    travel = each.then is not None
    kept = _payload(truth)
    if with_projections:
        one = _p50([partial(now.ask, "employee", key) for key in each.keys])
        total = _p50([lambda: now.ask("payroll")] * _SAMPLES)
        rows = now.rows().height
        rebuilt = median([now.rebuild()[1] for _ in range(3)])
        kept += sum(reader.projector.store.size_bytes() for reader in (now, each.then) if reader)
    else:
        one = _p50([partial(truth.get, ENTITY, key) for key in each.keys])
        total = _p50([each.payroll] * _SAMPLES)
        rows = each.states().height if truth.model != "snapshot" else now.rows().height
        rebuilt = None
    words = "with projections" if with_projections else "asked itself"
    return {
        "model": truth.model,
        "projections": with_projections,
        "corner": f"{NAMES[truth.model]}, {words}",
        "store": now.projector.store.name if with_projections else None,
        "writes_per_second": each.commands / each.write_seconds,
        "read_one_seconds": one,
        "read_sum_seconds": total,
        "rows_for_sum": rows,
        "rebuild_seconds": rebuilt,
        "bytes": kept,
        "time_travel": travel,
    }


def _p50(calls: list[Callable[[], Any]]) -> float:
    """Return the median time of these calls in seconds, after one call of each as a warm-up."""
    times = []
    for call in calls:
        call()
        began = perf_counter()
        call()
        times.append(perf_counter() - began)
    return median(times)


def _payload(truth: Truth) -> int:
    """Return the size of the used pages of the write model's file in bytes, after a checkpoint of its log."""
    file = next(path for path in truth.place.path.iterdir() if path.read_bytes()[:15] == b"SQLite format 3")
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as looking:
        pages, unused, page_bytes = (
            looking.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
    return int((pages - unused) * page_bytes)


def cost(table: pl.DataFrame, reads_per_write: float, read: str = "read_sum_seconds") -> pl.DataFrame:
    """Return the cost of one write with its share of reads, in seconds for each corner.

    With projections a write also includes the time of applying it, at least that of a rebuild for each change.
    """
    writes = pl.col("rows_for_sum").max()
    apply = pl.col("rebuild_seconds").fill_null(0.0) / writes
    seconds = 1 / pl.col("writes_per_second") + apply + reads_per_write * pl.col(read)
    return table.select("model", "corner", "projections", "store", seconds.alias("seconds"))


def refused(model: str) -> str:
    """Return why this write model can't feed a projection of every revision; empty if it can."""
    try:
        planned(projection("then", "sqlite.log", keeps="revisions", guard="dedupe"), model=model)
    except BadInput as error:
        return str(error.problems[0].what)
    return ""


def to_rewrite(each: Corner) -> dict[str, int]:
    """Count what a new format of names means for each write model: rows to migrate, kinds of events to understand.

    States that hold a name are rewritten in place. Events stay unchanged, so each fold must understand the old and the
    new ones from then on.
    """
    frame = each.truth.changes_since(ENTITY, 0, 10_000_000)
    if each.model == "events":
        named = frame.filter(pl.col("event").is_in(["hired", "renamed"]))
        return {"rows_to_migrate": 0, "events_to_understand_twice": named.height}
    return {"rows_to_migrate": frame.height, "events_to_understand_twice": 0}

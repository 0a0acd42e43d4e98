"""Measure the corners: a source of truth of states or of events, queried itself or through projections.

Every write model executes the same commands, and every corner answers the same queries. `history` (states, with every
revision kept) is measured as well, between the two. Times are taken in rounds, all corners in each of them, so that
what slows the machine down for a while slows all of them.
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
from lab.statistics.replicated import of_median
from lab.teach.desk import Reader, planned, source_of_truth
from lab.teach.experiments import projection
from lab.teach.scale import scaled
from lab.truth import Truth

NAMES = {"snapshot": "last states", "history": "every state", "events": "events"}
ENTITY = "employee"
ALL = 10_000_000
# Calls of each question in a round; changes that are applied one by one, and in pages of ten.
_SAMPLES, _ONE_BY_ONE, _PAGE = 5, 12, 10
# Rounds: a median of fewer than six values has no interval at 95 %.
ROUNDS = 7
TIMES = ("write_seconds", "apply_seconds", "apply_ten_seconds", "read_one_seconds", "read_sum_seconds")


@dataclass
class Corner:
    """One write model after the same commands, with the projections that its feed can fill.

    `write_seconds` is what a command took (p50). `now` keeps the current records, `sums` the payroll of each department
    as a running total, `then` every revision; `then` is None if the feed doesn't show every revision.
    """

    truth: Truth
    commands: int
    write_seconds: float
    now: Reader
    sums: Reader
    then: Reader | None
    keys: list[Key] = field(default_factory=list)

    @property
    def model(self) -> str:
        """Return the write model: snapshot, history or events."""
        return self.truth.model

    def states(self) -> pl.DataFrame:
        """Return everything that the feed shows, as states: what a reader without a projection must scan."""
        return self.now.feed.changes_since(ENTITY, 0, ALL)

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
    """Fill a write model by `commands` (scaled), each timed by itself, then fill its projections."""
    count = scaled(commands)
    drawn = planned(projection("a"), model=model, records=records, commands=count)
    wanted: list[Command] = list(drawn.domain.workload(drawn.options, stream(seed, "workload")))
    truth = source_of_truth(model)
    times = []
    for command in wanted:
        began = perf_counter()
        truth.execute(command)
        times.append(perf_counter() - began)
    now = Reader(truth, "sqlite.table", guard="revision")
    sums = Reader(truth, "sqlite.table", guard="revision", keeps="totals", totals="payroll")
    then = None
    if truth.publishes_every_revision:
        then = Reader(truth, "sqlite.log", keeps="revisions", guard="dedupe")
    for reader in (now, sums, then):
        if reader is not None:
            reader.catch_up(ALL)
    live = now.rows()["key"].to_list()
    return Corner(truth, count, median(times), now, sums, then, live[:: max(1, len(live) // _SAMPLES)])


def rounds(commands: int = 400, records: int = 100, times: int = ROUNDS) -> pl.DataFrame:
    """Measure every corner once a round on this machine; a row for each corner and round.

    Columns: `round`, `model`, `answered` (by what: `itself`, `table` or `totals`), `corner` (both in words), `store`
    (what answers; null for the source of truth), and times in seconds: `write_seconds` (a command, p50),
    `apply_seconds` (a change that its projection takes by itself, p50; null without one), `apply_ten_seconds` (the
    same in pages of ten), `read_one_seconds` (a record by its key, p50; null for totals, which have no records),
    `read_sum_seconds` (salaries by department, p50).
    """
    corner("snapshot", 50, 10)  # the first one pays for what is loaded and compiled
    rows: list[dict[str, Any]] = []
    models = list(NAMES)
    for number in range(times):
        # Each model is first, second and last equally often.
        for model in models[number % 3 :] + models[: number % 3]:
            each = corner(model, commands, records, seed=1087 + number)
            rows += [{"round": number, **_timed(each, answered)} for answered in ("itself", "table", "totals")]
            for reader in (each.now, each.sums, each.then):
                if reader is not None:
                    reader.projector.store.close()
            each.truth.drop()
    return pl.DataFrame(rows)


def _timed(each: Corner, answered: str) -> dict[str, Any]:
    reader = {"itself": None, "table": each.now, "totals": each.sums}[answered]
    payroll = each.payroll if reader is None else partial(reader.ask, "payroll")
    one: float | None = None
    if answered != "totals":
        one = _p50([partial(each.truth.get, ENTITY, key) if reader is None else partial(reader.ask, "employee", key)
                    for key in each.keys])  # fmt: skip
    return {
        "model": each.model,
        "answered": answered,
        "corner": _corner(each.model, answered),
        "store": None if reader is None else reader.projector.store.name,
        "write_seconds": each.write_seconds,
        "apply_seconds": None if reader is None else _applied(reader, _ONE_BY_ONE, 1),
        "apply_ten_seconds": None if reader is None else _applied(reader, 2 * _PAGE, _PAGE),
        "read_one_seconds": one,
        "read_sum_seconds": _p50([payroll] * _SAMPLES),
    }


def _corner(model: str, answered: str) -> str:
    words = {"itself": "asked itself", "table": "a table of records", "totals": "running totals"}
    return f"{NAMES[model]}, {words[answered]}"


def _applied(reader: Reader, changes: int, page: int) -> float:
    """Return the seconds for one of the last `changes` (p50), read and applied in pages, as a live projector does."""
    reader.throw_away()
    shown = reader.feed.changes_since(reader.entity, 0, ALL)
    start = shown.height - min(changes, shown.height // 2)
    reader.projector.apply(reader.entity, shown[:start], int(shown["position"][start - 1]))
    times: list[float] = []
    while True:
        began = perf_counter()
        frame = reader.feed.changes_since(reader.entity, reader.checkpoint, page)
        if not frame.height:
            return median(times)
        reader.projector.apply(reader.entity, frame, int(frame["position"][-1]))
        times.append((perf_counter() - began) / frame.height)


def _p50(calls: list[Callable[[], Any]]) -> float:
    """Return the median time of these calls in seconds, after one call of each as a warm-up."""
    times = []
    for call in calls:
        call()
        began = perf_counter()
        call()
        times.append(perf_counter() - began)
    return median(times)


def summary(measured: pl.DataFrame, columns: tuple[str, ...] = TIMES) -> pl.DataFrame:
    """Return the median of each time over the rounds, a row for each corner, with the ends of its interval at 95 %.

    The ends are `<column>_low` and `<column>_high`; null for fewer than six rounds, or where nothing was timed.
    """
    rows = []
    for (name,), part in measured.group_by("corner", maintain_order=True):
        row: dict[str, Any] = {"corner": name, **part.select("model", "answered", "store").row(0, named=True)}
        for column in columns:
            values = part[column].drop_nulls().to_list()
            row[column] = median(values) if values else None
            row[f"{column}_low"], row[f"{column}_high"] = of_median(values) if values else (None, None)
        rows.append(row)
    return pl.DataFrame(rows, infer_schema_length=None)


def cost(measured: pl.DataFrame, reads: float, read: str = "read_sum_seconds", page: int = 1) -> pl.DataFrame:
    """Return what one write costs with its share of `reads`, in seconds: `summary` of the column `seconds`.

    A write includes applying its change to the projection, by itself or in pages of ten (`page`), as it was measured.
    Corners that don't answer the question are left out.
    """
    apply = pl.col("apply_seconds" if page == 1 else "apply_ten_seconds").fill_null(0.0)
    billed = measured.with_columns(seconds=pl.col("write_seconds") + apply + reads * pl.col(read))
    return summary(billed.filter(pl.col("seconds").is_not_null()), ("seconds",))


def cheapest(costs: pl.DataFrame) -> list[str]:
    """Return the corners that may be the cheapest: that of the lowest median, and those whose intervals meet its own.

    Several of them are a tie: the rounds don't tell which one is cheaper.
    """
    best = costs.sort("seconds").row(0, named=True)
    high = best["seconds_high"] or best["seconds"]
    low = pl.coalesce("seconds_low", "seconds")
    return costs.sort("seconds").filter(low <= high)["corner"].to_list()


def kept(each: Corner, answered: str) -> int:
    """Return the bytes on disk of a write model and of what answers: `itself`, `table` or `totals`."""
    reader = {"itself": None, "table": each.now, "totals": each.sums}[answered]
    return _payload(each.truth) + (reader.projector.store.size_bytes() if reader is not None else 0)


def _payload(truth: Truth) -> int:
    """Return the size of the used pages of the write model's file in bytes, after a checkpoint of its log."""
    file = next(path for path in truth.place.path.iterdir() if path.read_bytes()[:15] == b"SQLite format 3")
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as looking:
        pages, unused, page_bytes = (
            looking.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
    return int((pages - unused) * page_bytes)


def scanned(each: Corner, answered: str) -> int:
    """Return how many rows are gone through for the sums by department."""
    if answered == "totals":
        return len(each.sums.ask("payroll"))
    if answered == "table" or each.model == "snapshot":
        return each.now.rows().height
    return each.states().height


def refused(model: str) -> str:
    """Return why this write model can't feed a projection of every revision; empty if it can."""
    try:
        planned(projection("then", "sqlite.log", keeps="revisions", guard="dedupe"), model=model)
    except BadInput as error:
        return str(error.problems[0].what)
    return ""

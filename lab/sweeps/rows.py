"""The rows of a run in the results of a sweep: one for each projection and quantity."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import polars as pl

from lab.runs import Run

if TYPE_CHECKING:
    from lab.sweeps.task import RunTask

# The columns before the varied keys, and after them.
BEFORE = {"run": pl.String, "seed": pl.Int64, "repetition": pl.Int64}
AFTER = {
    "projection": pl.String, "store": pl.String, "guard": pl.String, "quantity": pl.String, "unit": pl.String,
    "value": pl.Float64, "error": pl.String,
}  # fmt: skip
_ACCOUNTS = ("applied", "superseded", "duplicates", "parked", "skipped", "pending")


def schema(columns: tuple[tuple[str, Any], ...]) -> dict[str, Any]:
    """Return the types of the results' columns; a varied key is a number or a text."""
    return BEFORE | {key: pl.Float64 if isinstance(value, float) else pl.String for key, value in columns} | AFTER


def rows(run: Run, task: RunTask) -> pl.DataFrame:
    """Return the rows of a finished run: on the modelled clock, nothing that the wall clock has a part in."""
    found: list[dict[str, Any]] = []
    for entry in run.manifest["projections"]:
        whose = {"projection": entry["name"], "store": entry["store"], "guard": entry["guard"]}
        for quantity, unit, value in _quantities(run, entry, task.wall):
            if value is not None and math.isfinite(value):
                found.append(whose | {"quantity": quantity, "unit": unit, "value": float(value)})
    return _framed(task, found)


def failed(task: RunTask, why: str) -> pl.DataFrame:
    """Return the row of a run that came to nothing."""
    return _framed(task, [{"quantity": "error", "error": why}])


def _framed(task: RunTask, found: list[dict[str, Any]]) -> pl.DataFrame:
    common = {"run": task.name, "seed": task.seed, "repetition": task.repetition} | dict(task.columns)
    types = schema(task.columns)
    return pl.DataFrame([dict.fromkeys(types) | common | row for row in found], schema=types)


def _quantities(run: Run, entry: dict[str, Any], wall: bool) -> Iterator[tuple[str, str, float | None]]:
    name = entry["name"]
    yield from _lags(run, name)
    for row in run.table("accounting").filter(pl.col("projection") == name).iter_rows(named=True):
        yield from ((quantity, "changes", row[quantity]) for quantity in _ACCOUNTS)
    checks = run.table("verdicts").filter((pl.col("projection") == name) & (pl.col("verdict") != "unknown"))
    counts = dict(checks.select("check", "count").iter_rows())
    yield "violations", "violations", float(sum(counts.values()))
    for check, count in counts.items():
        yield f"violations.{check}", "violations", float(count)
    if "converged" in counts:
        wrong, shown = float(counts["converged"]), float(entry.get("rows") or 0)
        yield "wrong_rows", "rows", wrong
        yield "wrong_share", "share", wrong / max(wrong, shown) if wrong else 0.0
    yield "failed", "share", float(entry["verdict"] == "fail")
    if wall:
        yield from _on_the_wall(run, name)


def _lags(run: Run, name: str) -> Iterator[tuple[str, str, float | None]]:
    for row in run.table("lag_summary").filter(pl.col("projection") == name).iter_rows(named=True):
        yield "changes", "changes", row["changes"]
        yield "never_visible", "changes", row["never_visible"]
        yield "never_visible_share", "share", row["never_visible"] / row["changes"] if row["changes"] else None
        for quantile in ("p50", "p90", "p99", "max"):
            yield f"lag_{quantile}", "seconds", row[f"{quantile}_seconds"]
    with run.scanned("lag") as lags:
        mine = lags.filter(pl.col("projection") == name).select("lag_seconds").collect()["lag_seconds"].drop_nulls()
    # By the exact sum: a mean that is summed in parallel is not the same to the last bit.
    yield "lag_mean", "seconds", math.fsum(mine.to_list()) / mine.len() if mine.len() else None


def _on_the_wall(run: Run, name: str) -> Iterator[tuple[str, str, float | None]]:
    for row in run.table("rebuild").filter(pl.col("projection") == name).iter_rows(named=True):
        yield "rebuild", "seconds", row["seconds"]
        yield "size", "bytes", row["size_bytes"]
        yield "peak_rss", "bytes", row["peak_rss_bytes"]
    hot = (pl.col("projection") == name) & (pl.col("temperature") == "hot")
    for row in run.table("queries").filter(hot).iter_rows(named=True):
        if row["answer_ok"] is not False and row["p50_us"] is not None:
            yield f"query.{row['query']}", "seconds", row["p50_us"] / 1e6
    for row in run.table("writes").iter_rows(named=True):
        yield "writes_per_second", "1/s", row["per_second"]
    yield "truth_size", "bytes", run.manifest["truth"].get("size_bytes")
    yield "committed", "changes", run.manifest["changes"]
    yield from _work(run, name)


def _work(run: Run, name: str) -> Iterator[tuple[str, str, float | None]]:
    """How busy a projection was, and what its batches take: what `lab plan` foretells other rates by."""
    if not run.has("utilisation"):
        return
    for row in run.table("utilisation").filter(pl.col("projection") == name).iter_rows(named=True):
        yield "span", "seconds", row["span_seconds"]
        yield "busy_share", "share", row["busy_share"]
        if row["batches"]:
            rows_each = row["rows"] / row["batches"]
            yield "batch_rows", "rows", rows_each
            yield "batch_seconds", "seconds", row["per_batch_seconds"] + row["per_row_seconds"] * rows_each
            yield "per_batch", "seconds", row["per_batch_seconds"]
            yield "per_row", "seconds", row["per_row_seconds"]

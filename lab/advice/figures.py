"""Read a run's tables as readings: value, interval, and what would give an end that is unknown."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from lab.advice.model import NOT_MEASURED, AnswerTime, Reading
from lab.formatting import duration, listed
from lab.measure.figures import figures as every_figure
from lab.runs import Run
from lab.statistics.intervals import bounded, few
from lab.statistics.quantiles import SHARES, quantile, samples_needed
from lab.statistics.steady import NOT_STABLE
from lab.tables import TABLES

# A p99 has no upper end below so many samples (`lab.statistics.intervals`).
_FOR_UPPER_END = bounded(0.99)
# Batch means: so many batches of at least two samples, and Student's t for one degree less at 95 %.
_BATCHES, _STUDENT = 10, 2.262
# The middle 80 % of fewer samples say little.
_FOR_SPREAD = 10
# How much more load a projection is looked at with.
MORE = 1.25
# Why a query that a candidate was asked has no time that counts.
WRONG, UNCHECKED = "its answers are wrong", "its answers are not checked"
FAILED, UNTIMED = "half of its requests failed or were given up", "it was not timed"
LONGER = "a longer run: raise workload.commands"


def answers(
    name: str, rows: pl.DataFrame, column: str, samples: Mapping[str, np.ndarray], left_out: list[str]
) -> tuple[dict[str, AnswerTime], dict[str, str]]:
    """Return the timed queries that a candidate answers correctly, and why each other one that it was asked is none.

    `column` makes a figure's column in the table out of its name, `samples` has the seconds of each query. A sentence
    for each of the others is added to `left_out`.
    """
    found, cannot = {}, {}
    for row in rows.iter_rows(named=True):
        query = str(row["query"])
        if row["answer_ok"] is not True:
            cannot[query] = UNCHECKED if row["answer_ok"] is None else WRONG
        elif row["p50_us"] is None:
            cannot[query] = FAILED if row["samples"] else UNTIMED
        else:
            seconds = samples.get(query)
            mean = None if seconds is None else batch_mean(seconds)
            times = AnswerTime(_time(row, "p50", column, seconds), _time(row, "p99", column), mean)
            found[query] = times
            continue
        left_out.append(f"{name}, {query}: {cannot[query]}")
    if untold := [f"`{query}`" for query, times in found.items() if times.p99.untold]:
        left_out.append(
            f"{name}: no p99 of {listed(untold)} for lack of samples (raise measure.samples, measure.budget)"
        )
    return found, cannot


def _time(row: dict[str, Any], which: str, column: str, seconds: np.ndarray | None = None) -> Reading:
    """Return one quantile of a query's time in seconds; infinite if so many requests failed or were given up.

    Of too few samples it isn't told. Runs of older versions have no intervals: the ends are None.
    """
    name = column.format(f"{which}_us")
    value, low, high = (_seconds(row.get(f"{which}{end}_us")) for end in ("", "_low", "_high"))
    samples, needed = int(row[column.format("samples")]), samples_needed(SHARES[which])
    remedy = f"raise measure.samples and measure.budget: {_FOR_UPPER_END} timings are needed"
    if row["p50_us"] is not None:
        remedy += f", about {duration(_FOR_UPPER_END * row['p50_us'] / 1e6)} of them"
    if value is None and samples < needed:
        return Reading(math.nan, table="queries", column=name, untold=True, reason=few(samples, needed), remedy=remedy)
    reason = row.get(column.format(f"{which}_interval_reason")) or ""
    spread = None
    if seconds is not None and seconds.size >= _FOR_SPREAD:
        spread = (quantile(seconds, 0.1), quantile(seconds, 0.9))
    return Reading(
        math.inf if value is None else value, low, high, "queries", name, reason=reason,
        remedy="" if high else remedy, spread=spread,
    )  # fmt: skip


def _seconds(microseconds: float | None) -> float | None:
    return None if microseconds is None else microseconds / 1e6


def lag(summary: pl.DataFrame) -> Reading:
    """Return the p99 of the lag with its interval; infinite if it grows, or if too many changes were never visible."""
    if summary.is_empty():
        return NOT_MEASURED
    row = summary.row(0, named=True)
    if row["stable"] is False:
        # In a run of several repetitions one that grows is enough, whatever the median of the others is.
        return Reading(math.inf, table="lag_summary", column="p99_seconds", reason=NOT_STABLE)
    value, changes = row["p99_seconds"], int(row["changes"])
    if value is None and changes < samples_needed(0.99):
        reason = few(changes, samples_needed(0.99))
        return Reading(math.nan, untold=True, reason=reason, remedy=LONGER, table="lag_summary", column="p99_seconds")
    low, high = row["p99_low_seconds"], row["p99_high_seconds"]
    reason = row["p99_interval_reason"] or ""
    found = Reading(math.inf if value is None else value, low, high, "lag_summary", "p99_seconds", reason=reason)
    return found if high is not None else replace(found, remedy=LONGER)


def once(column: str, value: float | None = None) -> Reading:
    """Return a figure of the rebuild that was measured once; infinite if the run was told not to rebuild."""
    return Reading(math.inf if value is None else float(value), table="rebuild", column=column, once=True)


def rebuilds(run: Run) -> dict[tuple[str, str], Reading]:
    """Return the readings of (`rebuild` or `disk`, projection); with an interval if the run has several repetitions.

    A projection that was not rebuilt is not in the result.
    """
    found = {}
    for row in run.table("rebuild").iter_rows(named=True):
        for quantity, column in (("rebuild", "seconds"), ("disk", "size_bytes")):
            found[quantity, str(row["projection"])] = once(column, row[column])
    if run.repetitions == 1:
        return found
    repeated = every_figure(run).filter(pl.col("quantity").is_in(["rebuild", "disk"])).drop_nulls(["value", "high"])
    for quantity, name, value, low, high in repeated.select(
        "quantity", "projection", "value", "low", "high"
    ).iter_rows():
        if (quantity, name) in found:
            found[quantity, name] = replace(found[quantity, name], value=value, low=low, high=high, once=False)
    return found


def samples(run: Run, projection: str, temperature: str) -> dict[str, np.ndarray]:
    """Return the times of each query at one projection in seconds, in their order; empty for runs without them."""
    frame = run.table("query_samples").filter(projection=projection, temperature=temperature)
    parts = frame.group_by("query", maintain_order=True)
    return {str(query): part["nanoseconds"].to_numpy() / 1e9 for (query,), part in parts}


def batch_mean(seconds: np.ndarray) -> Reading:
    """Return the mean of samples in their order, with its 95 % interval by batch means.

    Samples that depend on their neighbours are in a batch together.
    """
    mean = float(seconds.mean())
    found = Reading(mean, table="query_samples", column="nanoseconds")
    if seconds.size < 2 * _BATCHES:
        reason = f"{seconds.size} samples; {2 * _BATCHES} are needed"
        return replace(found, reason=reason, remedy="raise measure.budget and measure.samples")
    parts = np.array([part.mean() for part in np.array_split(seconds, _BATCHES)])
    half = _STUDENT * float(parts.std(ddof=1)) / math.sqrt(_BATCHES)
    return replace(found, low=max(mean - half, 0.0), high=mean + half)


def busy(run: Run, projection: str, duration_seconds: float) -> tuple[float | None, float | None]:
    """Return the share of the time in which a projection is at work on changes, now and at 25 % more changes.

    None: its work was not measured. Runs of older versions have no table of it: their work grows with the changes.
    """
    if "utilisation" in TABLES and run.has("utilisation"):
        row = run.table("utilisation").filter(projection=projection)
        return (row["busy_share"][0], row["busy_share_foretold"][0]) if row.height else (None, None)
    work = run.table("work").filter(projection=projection)
    if work.is_empty() or not duration_seconds:
        return None, None
    share = float(work["seconds"].sum()) / duration_seconds
    return share, share * MORE


def beside(run: Run) -> dict[str, tuple[Reading, Reading]]:
    """Return the p50 of a commit and of each query at the source of truth, alone and beside each other, in seconds."""
    found = {}
    for row in run.table("beside").iter_rows(named=True):
        pair = []
        for kind in ("alone", "beside"):
            value, low, high = (_seconds(row[f"{kind}_p50{end}_us"]) for end in ("", "_low", "_high"))
            pair.append(Reading(math.nan if value is None else value, low, high, "beside", f"{kind}_p50_us"))
        found[str(row["what"])] = (pair[0], pair[1])
    return found

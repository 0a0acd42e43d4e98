"""The figures of a run, a row each: one value a repetition, their median, and its interval.

Of several repetitions the interval has both levels, between and within them (`lab.statistics.replicated`). Of one it
is that of its samples where the tables have it, and speaks for that repetition alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from lab.measure.once import once_for_each_run
from lab.measure.temperatures import of, queries, told_at
from lab.runs import Run
from lab.statistics.intervals import few
from lab.statistics.quantiles import SHARES, samples_needed
from lab.statistics.replicated import interval, middle
from lab.statistics.steady import NOT_STABLE
from lab.tables import REPETITION

SECONDS, SHARE, BYTES, RATE = "s", "share", "bytes", "1/s"
SCHEMA: dict[str, pl.DataType] = {
    "quantity": pl.String(),
    "projection": pl.String(),
    "query": pl.String(),
    "temperature": pl.String(),
    "unit": pl.String(),
    "value": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "reason": pl.String(),
    "repetitions": pl.Int64(),
    "values": pl.List(pl.Float64()),
    "note": pl.String(),
}
# Quantities with their meanings, in the order of the rows.
QUANTITIES = {
    "lag_p50": "the lag that half of all changes don't exceed",
    "lag_p90": "the same for 90 of 100",
    "lag_p99": "the same for 99 of 100",
    "lag_max": "the largest lag",
    "never_visible": "share of the changes that never became visible",
    "stale": "share of the run's time at which a committed change was not visible",
    "rebuild": "time of a rebuild from nothing",
    "disk": "size of the rebuilt store",
    "query_p50": "time of a query, for half of the calls at most",
    "query_p99": "the same for 99 of 100",
    "rate": "commands per second spent in the source of truth",
    "write_p50": "time of a command, for half of them at most",
    "write_p99": "the same for 99 of 100",
}
ONCE = "one repetition: `--repeat 5` gives an interval"
_SHARES = SHARES | {"max": 1.0}


@dataclass(frozen=True)
class _Single:
    """One figure in one repetition: None with a reason if it isn't told; `low` and `high` are those of its samples.

    `measured`: it stands among those that are averaged although it is an order statistic.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str = ""
    measured: bool = False


@dataclass(frozen=True)
class _Key:
    quantity: str
    projection: str
    unit: str
    query: str | None = None
    temperature: str | None = None


@dataclass
class _All:
    """What was found of each figure: one `_Single` a repetition, by the repetition's number."""

    rows: dict[_Key, dict[int, _Single]] = field(default_factory=dict)

    def add(self, number: int, key: _Key, told: _Single) -> None:
        self.rows.setdefault(key, {})[number] = told


def figures(run: Run) -> pl.DataFrame:
    """Return a row for each figure of a run, in the columns of `SCHEMA`.

    `value` is the median over the repetitions, infinite if it falls on changes that never became visible, null if it
    isn't told in each of them. `low` and `high` are the ends of its 95 % interval; `reason` says why an end is missing.
    `values` has one value a repetition. `note` says where a quantile could not be interpolated (`averaged`).
    """
    return _figures(run.whole)


@once_for_each_run
def _figures(run: Run) -> pl.DataFrame:
    found, several = _All(), run.repetitions
    within = several == 1
    for name, told_of in _TABLES.items():
        table = run.table(name) if name != "queries" else queries(run)
        numbered = {1: table} if within else _by_repetition(table)
        for number, part in numbered.items():
            for key, told in told_of(part, within):
                found.add(number, key, told)
    order = list(QUANTITIES)
    rows = [_row(key, each, several) for key, each in found.rows.items()]
    return pl.DataFrame(sorted(rows, key=lambda row: order.index(row["quantity"])), schema=SCHEMA)


def _row(key: _Key, told: dict[int, _Single], several: int) -> dict[str, Any]:
    each = [told.get(number, _Single(None, reason="not measured")) for number in range(1, several + 1)]
    values = [one.value for one in each]
    row: dict[str, Any] = {name: getattr(key, name) for name in ("quantity", "projection", "query", "temperature")}
    row |= {"unit": key.unit, "value": middle(values), "repetitions": several, "values": values}
    row["note"] = _note(sum(one.measured for one in each), several)
    if several == 1:
        return row | {"low": each[0].low, "high": each[0].high, "reason": each[0].reason}
    ends = interval(values)
    low, high = ends.low, ends.high
    if key.unit == SHARE and low is not None and high is not None:
        low, high = max(low, 0.0), min(high, 1.0)
    why = next((one.reason for one in each if one.value is None and one.reason), "")
    return row | {"low": low, "high": high, "reason": f"{ends.reason}: {why}" if ends.reason and why else ends.reason}


def _note(measured: int, several: int) -> str:
    if not measured:
        return ""
    where = "all" if measured == several else f"{measured} of {several}"
    return f"as measured, and not interpolated, in {where} repetitions: the next larger value is infinite, or not known"


def _by_repetition(table: pl.DataFrame) -> dict[int, pl.DataFrame]:
    return {int(str(key[0])): rows for key, rows in table.partition_by(REPETITION, as_dict=True).items()}


# What is told of the rows of one repetition. If it is the only one (`within`), tails are the measured values that the
# tables show; else they are those that can be averaged (`lab.statistics.quantiles.unbiased`).
Told = Iterator[tuple[_Key, _Single]]


def _lags(rows: pl.DataFrame, within: bool) -> Told:
    for entry in rows.to_dicts():
        yield from _lag(entry, set()) if within else _lag(averaged(entry), stay_measured(entry))


def _stale(rows: pl.DataFrame, _: bool) -> Told:
    behind = rows.group_by("projection", maintain_order=True).agg((pl.col("versions_behind") > 0).mean())
    for name, share in behind.iter_rows():
        yield _Key("stale", name, SHARE), _Single(share, reason=ONCE)


def _rebuilds(rows: pl.DataFrame, _: bool) -> Told:
    for entry in rows.to_dicts():
        name = entry["projection"]
        yield _Key("rebuild", name, SECONDS), _Single(entry["seconds"], reason=ONCE)
        yield _Key("disk", name, BYTES), _Single(float(entry["size_bytes"]), reason=ONCE)


def _queries(rows: pl.DataFrame, within: bool) -> Told:
    for temperature in told_at(rows):
        for entry in of(rows, temperature).to_dicts():
            told = _query(entry, temperature, set())
            if not within:
                told = _query(averaged(entry), temperature, stay_measured(entry))
            yield from told


def _writes(rows: pl.DataFrame, within: bool) -> Told:
    for entry in rows.to_dicts():
        for quantity, unit, value in _written(entry if within else averaged(entry)):
            yield _Key(quantity, "", unit), _Single(value, reason=ONCE if value is not None else "not measured")


_TABLES: dict[str, Callable[[pl.DataFrame, bool], Told]] = {
    "lag_summary": _lags,
    "staleness": _stale,
    "rebuild": _rebuilds,
    "queries": _queries,
    "writes": _writes,
}


def averaged(entry: dict[str, Any]) -> dict[str, Any]:
    """Return a row of a table with the quantiles that can be averaged; of older runs, as they were measured.

    A quantile that would be interpolated between a number and infinity is as it was measured, too (`stay_measured`).
    """
    better = {name.replace("_unbiased", ""): value for name, value in entry.items() if "_unbiased" in name}
    return entry | {name: value for name, value in better.items() if value is not None}


def stay_measured(entry: dict[str, Any]) -> set[str]:
    """Return the columns whose quantile was measured and has no interpolated value beside it."""
    better = {name.replace("_unbiased", ""): value for name, value in entry.items() if "_unbiased" in name}
    return {name for name, value in better.items() if value is None and entry[name] is not None}


def _written(entry: dict[str, Any]) -> Iterator[tuple[str, str, float | None]]:
    yield "rate", RATE, entry["per_second"]
    for name in ("p50", "p99"):
        yield f"write_{name}", SECONDS, _seconds(entry[f"{name}_us"])


def _lag(entry: dict[str, Any], measured: set[str]) -> Iterator[tuple[_Key, _Single]]:
    name, changes = entry["projection"], int(entry["changes"])
    for quantile, share in _SHARES.items():
        key, needed = _Key(f"lag_{quantile}", name, SECONDS), samples_needed(share)
        value = entry[f"{quantile}_seconds"]
        if changes < needed:
            yield key, _Single(None, reason=few(changes, needed))
            continue
        if value is None and entry.get("stable") is False:
            # It would tell how long the run was.
            yield key, _Single(None, reason=NOT_STABLE)
            continue
        low, high = entry.get(f"{quantile}_low_seconds"), entry.get(f"{quantile}_high_seconds")
        reason = entry.get(f"{quantile}_interval_reason") or ("" if None not in (low, high) else ONCE)
        stays = f"{quantile}_seconds" in measured
        yield key, _Single(math.inf if value is None else value, low, high, reason, stays)
    never = entry["never_visible"] / changes if changes else 0.0
    yield _Key("never_visible", name, SHARE), _Single(never, reason=ONCE)


def _query(entry: dict[str, Any], temperature: str, measured: set[str]) -> Iterator[tuple[_Key, _Single]]:
    for quantile in ("p50", "p99"):
        key = _Key(f"query_{quantile}", entry["projection"], SECONDS, entry["query"], temperature)
        value, low, high = (_seconds(entry[f"{quantile}{end}_us"]) for end in ("", "_low", "_high"))
        samples, needed = int(entry["samples"] or 0), samples_needed(_SHARES[quantile])
        if entry["answer_ok"] is False:
            yield key, _Single(None, reason="an answer was wrong")
        elif samples < needed:
            yield key, _Single(None, reason=few(samples, needed) if samples else "not timed")
        elif value is None:
            # Of so many requests no answer came.
            yield key, _Single(math.inf, reason="failed or given up")
        else:
            missing = "" if None not in (low, high) else ONCE
            reason = entry[f"{quantile}_interval_reason"] or missing
            yield key, _Single(value, low, high, reason, f"{quantile}_us" in measured)


def _seconds(microseconds: float | None) -> float | None:
    return None if microseconds is None else microseconds / 1e6


def figure(
    found: pl.DataFrame, quantity: str, projection: str, query: str | None = None, temperature: str | None = None
) -> dict[str, Any] | None:
    """Return one row of `figures`; None if the run has none. The source of truth's own have the projection "".

    Without a `temperature`, that of the first row, which is the one that the run's tables begin with.
    """
    rows = found.filter(quantity=quantity, projection=projection)
    if query is not None:
        rows = rows.filter(query=query)
    if temperature is not None:
        rows = rows.filter(temperature=temperature)
    return rows.row(0, named=True) if rows.height else None

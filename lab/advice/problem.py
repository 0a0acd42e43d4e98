"""Read a finished run into a `SelectionProblem`: measured figures as candidates, levels, weights.

The intervals of queries and lags were computed when they were measured (`lab.statistics.intervals`), and are in the
tables. Rebuild and disk were measured once and have no interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import polars as pl

from lab.advice.model import NOT_MEASURED, AnswerTime, Candidate, Reading, SelectionProblem
from lab.base import TRUTH, BadInput, Problem, nearest
from lab.measure.temperatures import LOAD, queries, temperatures
from lab.measure.typical import typical
from lab.runs import Run
from lab.scenario import AdviceQuestion, question
from lab.statistics.intervals import few
from lab.statistics.quantiles import SHARES, samples_needed

NOT_ASKED = "the source of truth was not asked itself in this run, so it is no candidate"


def read(run: Run, overrides: Sequence[str] = (), anyway: bool = False) -> SelectionProblem:
    """Read a run; `overrides` replace `levels` and `weights` as `--set` does.

    Raises BadInput for a level or weight of a query that doesn't exist, for a run in which no query was asked, and for
    a load that is void, unless `anyway`.
    """
    run = typical(run)
    if (void := run.void) is not None and not anyway:
        raise BadInput([Problem(run.name, f"the load is void: {void}", "`--anyway` advises on it all the same")])
    if run.table("queries").is_empty():
        raise BadInput([Problem(run.name, "no query was asked: there is nothing to advise on", "see [[query]]")])
    wished, there = asked(run, overrides), temperatures(run)
    levels, weights = wished.levels, wished.weights
    temperature = wished.advice.queries if wished.advice.queries in there else there[0]
    times = queries(run, temperature)
    entries = run.manifest["projections"]
    left_out = [] if void is None else [f"the load is void, so no figure means what it says: {void}"]
    left_out += [f"levels.queries.{name}: the query was not asked" for name in levels.queries if name not in weights]
    left_out += [f"{each['name']}: its verdict is {each['verdict']}" for each in entries if each["verdict"] != "pass"]
    names = {str(each["name"]) for each in entries}
    if temperature not in (wished.advice.queries, LOAD):
        left_out.append(f"{wished.advice.queries} query times: this run has none, so those that it has are taken")
    if times["p50_low_us"].is_null().all():
        left_out.append("intervals of query times: this run has none, so nothing is told apart")
    candidates, column = [], "{}" if temperature == there[0] else f"{temperature}_{{}}"
    # In a run of an older version a projection may have that name.
    truth = times.filter(projection=TRUTH) if TRUTH not in names else times.clear()
    if truth.is_empty():
        left_out.append(NOT_ASKED)
    else:
        candidates.append(
            Candidate(TRUTH, str(truth["store"][0]), _answers(TRUTH, truth, column, left_out), truth=True)
        )
    measured = {name: run.table(name) for name in ("lag_summary", "rebuild")}
    for each in entries:
        if each["verdict"] != "pass":
            continue
        name = str(each["name"])
        lag = _lag(measured["lag_summary"].filter(projection=name))
        if lag.untold:
            left_out.append(f"{name}: no p99 of its lag, {lag.reason} (raise workload.commands)")
        rebuilt = measured["rebuild"].filter(projection=name)
        candidates.append(
            Candidate(
                name,
                str(each["store"]),
                _answers(name, times.filter(projection=name), column, left_out),
                lag,
                _once(rebuilt, "seconds"),
                _once(rebuilt, "size_bytes"),
            )
        )
    engine = str(run.manifest.get("truth", {}).get("engine", ""))
    return SelectionProblem(
        weights, tuple(candidates), levels, frozenset({engine}), tuple(left_out), run.name, temperature
    )


def asked(run: Run, overrides: Sequence[str] = ()) -> AdviceQuestion:
    """Return the levels, the weight of every query by name in the table's order, and which query times to take."""
    measured = dict(
        run.table("queries")
        .select("query", pl.col("weight").fill_null(1.0))
        .unique("query", keep="first", maintain_order=True)
        .iter_rows()
    )
    of_scenario = {name: run.manifest.get(name) or {} for name in ("levels", "advice")}
    found = question({**of_scenario, "weights": measured}, overrides)
    problems = [
        Problem(f"{table}.{name}", f"no query of this run is called `{name}`", nearest(name, measured))
        for table, names in (("levels.queries", found.levels.queries), ("weights", found.weights))
        for name in names
        # A level of the scenario itself may be of a query that no projection can answer.
        if name not in measured and any(item.partition("=")[0].strip() == f"{table}.{name}" for item in overrides)
    ]
    if problems:
        raise BadInput(problems)
    return found


def _answers(name: str, rows: pl.DataFrame, column: str, left_out: list[str]) -> dict[str, AnswerTime]:
    """Return the timed queries that a candidate answers correctly; add a sentence to `left_out` for each other one.

    `column` makes a figure's column in the table out of its name.
    """
    found = {}
    for row in rows.iter_rows(named=True):
        if row["answer_ok"] is not True:
            wrong = "not checked" if row["answer_ok"] is None else "wrong"
            left_out.append(f"{name}, {row['query']}: its answers are {wrong}")
        elif row["p50_us"] is None:
            many = "half of its requests failed or were given up" if row["samples"] else "it was not timed"
            left_out.append(f"{name}, {row['query']}: {many}")
        else:
            times = AnswerTime(_time(row, "p50", column), _time(row, "p99", column))
            if times.p99.untold:
                left_out.append(f"{name}, {row['query']}: no p99, {times.p99.reason} (raise measure.samples)")
            found[str(row["query"])] = times
    return found


def _time(row: dict[str, Any], quantile: str, column: str) -> Reading:
    """Return one quantile of a query's time in seconds; infinite if so many requests failed or were given up.

    Of too few samples it isn't told. Runs of older versions have no intervals: the ends are None.
    """
    name = column.format(f"{quantile}_us")
    value, low, high = (_seconds(row.get(f"{quantile}{end}_us")) for end in ("", "_low", "_high"))
    samples, needed = int(row[column.format("samples")]), samples_needed(SHARES[quantile])
    if value is None and samples < needed:
        return Reading(math.inf, table="queries", column=name, untold=True, reason=few(samples, needed))
    reason = row.get(column.format(f"{quantile}_interval_reason")) or ""
    return Reading(math.inf if value is None else value, low, high, "queries", name, reason=reason)


def _seconds(microseconds: float | None) -> float | None:
    return None if microseconds is None else microseconds / 1e6


def _lag(summary: pl.DataFrame) -> Reading:
    """Return the p99 of the lag with its interval; infinite if too many changes never became visible."""
    if summary.is_empty():
        return NOT_MEASURED
    row = summary.row(0, named=True)
    value, changes = row["p99_seconds"], int(row["changes"])
    if value is None and changes < samples_needed(0.99):
        reason = few(changes, samples_needed(0.99))
        return Reading(math.inf, table="lag_summary", column="p99_seconds", untold=True, reason=reason)
    low, high = row["p99_low_seconds"], row["p99_high_seconds"]
    reason = row["p99_interval_reason"] or ""
    return Reading(math.inf if value is None else value, low, high, "lag_summary", "p99_seconds", reason=reason)


def _once(rebuilt: pl.DataFrame, column: str) -> Reading:
    """Return a figure of the rebuild; infinite if the run was told not to rebuild."""
    value = None if rebuilt.is_empty() else rebuilt[column][0]
    return Reading(math.inf if value is None else float(value), table="rebuild", column=column, once=True)

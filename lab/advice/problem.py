"""Read a finished run into a `SelectionProblem`: measured figures as candidates, levels, weights.

The intervals of queries and lags were computed when they were measured (`lab.statistics.intervals`), and are in the
tables. Rebuild and disk were measured once and have no interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from lab.advice import figures
from lab.advice.gaps import cannot
from lab.advice.model import Candidate, Reading, SelectionProblem
from lab.base import TRUTH, BadInput, MissingDriver, Problem, nearest
from lab.measure.temperatures import LOAD, queries, temperatures
from lab.measure.typical import typical
from lab.runs import Run
from lab.scenario import AdviceQuestion, LevelsTable, question
from lab.truth import ENGINES, truth_class

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
    left_out += _unasked(levels, weights)
    left_out += [f"{each['name']}: its verdict is {each['verdict']}" for each in entries if each["verdict"] != "pass"]
    if temperature not in (wished.advice.queries, LOAD):
        left_out.append(f"{wished.advice.queries} query times: this run has none, so those that it has are taken")
    if times["p50_low_us"].is_null().all():
        left_out.append("intervals of query times: this run has none, so no difference can be shown")
    column = "{}" if temperature == there[0] else f"{temperature}_{{}}"
    # In a run of an older version a projection may have that name.
    truth = times.clear() if any(each["name"] == TRUTH for each in entries) else times.filter(projection=TRUTH)
    candidates, lacking, rebuilt = [], cannot(run), figures.rebuilds(run)
    if truth.is_empty():
        left_out.append(NOT_ASKED)
    else:
        candidates.append(_truth(run, truth, column, temperature, lacking.get(TRUTH, {}), left_out))
    candidates += [
        _projection(
            run, each, times.filter(projection=each["name"]), column, lacking[str(each["name"])], rebuilt, left_out
        )
        for each in entries
        if each["verdict"] == "pass"
    ]
    lasts = float(run.manifest.get("duration_seconds") or 0.0)
    return SelectionProblem(
        weights,
        tuple(candidates),
        levels,
        frozenset({str(run.manifest.get("truth", {}).get("engine", ""))}),
        tuple(left_out),
        run.name,
        temperature,
        wished.advice,
        _reads_per_second(run, wished, lasts),
        _write_busy(run, lasts),
        str(run.manifest["replay"]),
        beside=figures.beside(run),
        kinds=dict(times.select("query", "kind").iter_rows()),
        indexed=_indexed(run.manifest.get("truth", {})),
        time_scale=float(run.manifest.get("time_scale") or 1.0),
        changes_per_second=float(run.manifest["changes"]) / lasts if lasts else 0.0,
        options=(*(word for item in overrides for word in ("--set", item)), *(["--anyway"] if anyway else [])),
    )


def _reads_per_second(run: Run, wished: AdviceQuestion, lasts: float) -> float:
    """Return how many queries a second are asked for: as many as there are changes, if nothing is said."""
    if wished.advice.reads_per_second is not None:
        return wished.advice.reads_per_second
    return float(run.manifest["changes"]) / lasts if lasts else 0.0


def _indexed(truth: Mapping[str, Any]) -> bool | None:
    """Return whether the source of truth has indexes for readers; None where it can have none.

    Without the engine's driver, that it has some is known from the run alone.
    """
    engine, model = str(truth.get("engine")), str(truth.get("model"))
    try:
        able = engine in ENGINES and truth_class(engine, model).indexable
    except MissingDriver:
        able = bool(truth.get("indexed"))
    return bool(truth.get("indexed", False)) if able else None


def _unasked(levels: LevelsTable, weights: Mapping[str, float]) -> list[str]:
    """Return a sentence for each level of a query that was not asked."""
    return [
        f"levels.{table}.{name}: the query was not asked"
        for table, names in (("queries", levels.queries), ("lag", levels.lag))
        for name in names
        if name not in weights
    ]


def _truth(
    run: Run, rows: pl.DataFrame, column: str, temperature: str, lacking: Mapping[str, str], left_out: list[str]
) -> Candidate:
    """Return the source of truth as a candidate."""
    found, wrong = figures.answers(TRUTH, rows, column, figures.samples(run, TRUTH, temperature), left_out)
    return Candidate(TRUTH, str(rows["store"][0]), found, truth=True, cannot={**lacking, **wrong})


def _projection(
    run: Run,
    entry: dict[str, Any],
    rows: pl.DataFrame,
    column: str,
    lacking: Mapping[str, str],
    rebuilt: Mapping[tuple[str, str], Reading],
    left_out: list[str],
) -> Candidate:
    """Return a projection as a candidate."""
    name, temperature = str(entry["name"]), "" if rows.is_empty() else str(rows["temperature"][0])
    summary = run.table("lag_summary").filter(projection=name)
    lag = figures.lag(summary)
    if lag.untold:
        left_out.append(f"{name}: no p99 of its lag, {lag.reason} ({lag.remedy})")
    found, wrong = figures.answers(name, rows, column, figures.samples(run, name, temperature), left_out)
    lasts = float(run.manifest.get("duration_seconds") or 0.0)
    share, more = figures.busy(run, name, lasts)
    return Candidate(
        name,
        str(entry["store"]),
        found,
        lag,
        rebuilt.get(("rebuild", name), figures.once("seconds")),
        rebuilt.get(("disk", name), figures.once("size_bytes")),
        cannot={**lacking, **wrong},
        rate=int(summary["changes"][0]) / lasts if lasts and summary.height else None,
        busy=share,
        busy_more=more,
    )


def _write_busy(run: Run, lasts: float) -> float | None:
    """Return the share of the run in which the source of truth executed commands; None for a history that is loaded."""
    writes = run.table("writes") if lasts and run.has("writes") else None
    if writes is None or writes.is_empty() or writes["p50_us"][0] is None or not writes["per_second"][0]:
        return None
    return float(writes["commands"][0]) / float(writes["per_second"][0]) / lasts


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
        for table, names in (
            ("levels.queries", found.levels.queries),
            ("levels.lag", found.levels.lag),
            ("weights", found.weights),
        )
        for name in names
        # A level of the scenario itself may be of a query that no projection can answer.
        if name not in measured and any(item.partition("=")[0].strip() == f"{table}.{name}" for item in overrides)
    ]
    if problems:
        raise BadInput(problems)
    return found

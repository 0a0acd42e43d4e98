"""Compare two runs: changes of verdicts first, then lag, rebuild and queries.

The difference of the lag has an interval, or the reason why it has none; changes are paired by position if both runs
committed the same ones. A query has an interval in each run, and if the two overlap, no difference is reported. Rebuild
is one measurement in each run, so only the ratio is reported.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from lab.base import TRUTH, BadInput, Problem
from lab.formatting import size
from lab.measure.temperatures import queries, temperatures
from lab.report.facts import plain, truth_asked
from lab.runs import Run
from lab.statistics.intervals import difference, few
from lab.statistics.quantiles import quantile, samples_needed

Lags = npt.NDArray[np.float64]
QUANTILES = {"p50": 0.50, "p99": 0.99}
NO_DIFFERENCE = "no difference shown"
ONE_EACH = "one measurement each"
# Machines report slightly different sizes of the same memory from boot to boot.
_MEMORY_TOLERANCE = 0.02


def compare(a: Run, b: Run, anyway: bool = False) -> dict[str, Any]:
    """Return what differs between two runs, in JSON types. Differences are b minus a, ratios b over a.

    Raises BadInput for runs of different machines, numbers of changes or durability, and for a load that is void,
    unless `anyway`.
    """
    differs = _differs(a, b)
    if differs and not anyway:
        raise BadInput(
            [Problem(f"{a.name} and {b.name}", text, "`--anyway` compares them all the same") for text in differs]
        )
    before, after = _verdicts(a), _verdicts(b)
    both = [name for name in before if name in after]
    result: dict[str, Any] = plain({
        "a": str(a.path),
        "b": str(b.path),
        "differs": differs,
        "verdict_changes": _verdict_changes(a, b),
        "only_in_a": [name for name in before if name not in after],
        "only_in_b": [name for name in after if name not in before],
        "lag": [_lag(a, b, name, _withheld(before[name], after[name])) for name in both],
        "rebuild": _single(a, b, "rebuild", ["projection"], "seconds", both),
        "queries": _queries(a, b, [*both, TRUTH]),
        "truth": [_truth(run) for run in (a, b)],
        "writes": _writes(a, b),
    })  # fmt: skip
    return result


def _differs(a: Run, b: Run) -> list[str]:
    """Return the reasons why the figures of two runs can't be compared."""
    told = [f"{run.name} is void: {run.void}" for run in (a, b) if run.void is not None]
    machine_a, machine_b = a.manifest.get("machine", {}), b.manifest.get("machine", {})
    for part in ("cpu", "cores"):
        if machine_a.get(part) != machine_b.get(part):
            told.append(f"different machines: {part} is {machine_a.get(part)} and {machine_b.get(part)}")
    memory = [float(machine.get("memory_bytes") or 0) for machine in (machine_a, machine_b)]
    if abs(memory[0] - memory[1]) > _MEMORY_TOLERANCE * max(memory):
        told.append(f"different machines: memory is {size(memory[0])} and {size(memory[1])}")
    parts = {"domain": "domains", "changes": "committed changes", "durability": "durability class"}
    loads: list[dict[str, Any]] = [run.manifest.get("load") or {} for run in (a, b)]
    if all(loads):
        # How many commands are accepted in a load is left to chance; what was asked for must be the same.
        del parts["changes"]
        # What a request that is given up has waited at least depends on the last two.
        for part in ("rate" if loads[0].get("rate") else "users", "seconds", "commands", "drain", "probe_timeout"):
            one, other = (load.get(part) for load in loads)
            if one != other:
                told.append(f"different loads: {part} is {one} and {other}")
    for part, what in parts.items():
        if a.manifest.get(part) != b.manifest.get(part):
            told.append(f"different {what}: {a.manifest.get(part)} and {b.manifest.get(part)}")
    measured = [temperatures(run) for run in (a, b)]
    if all(measured) and not set(measured[0]) & set(measured[1]):
        told.append(f"different temperatures of query times: {'; '.join(map(', '.join, measured))}")
    clocks = [run.manifest.get("clocks", {}).get("lag") for run in (a, b)]
    if clocks[0] != clocks[1]:
        told.append(f"different clocks of the lag: {clocks[0]} and {clocks[1]}")
    return told


def _verdicts(run: Run) -> dict[str, str]:
    return {str(entry["name"]): str(entry["verdict"]) for entry in run.manifest["projections"]}


def _withheld(verdict_a: str, verdict_b: str) -> str | None:
    """Return why a projection is left out of the comparison: it doesn't pass in both runs; else None."""
    if verdict_a == verdict_b != "pass":
        return f"withheld: {verdict_a} in both"
    told = [f"{verdict} in {run}" for verdict, run in ((verdict_a, "a"), (verdict_b, "b")) if verdict != "pass"]
    return f"withheld: {' and '.join(told)}" if told else None


def _verdict_changes(a: Run, b: Run) -> list[dict[str, Any]]:
    """Return each check, and each projection as a whole, whose verdict differs in b."""
    after = _verdicts(b)
    whole = [
        {"projection": name, "check": "all", "a": verdict, "b": after[name]}
        for name, verdict in _verdicts(a).items()
        if after.get(name, verdict) != verdict
    ]
    columns = ["projection", "check", "verdict"]
    one, other = (run.table("verdicts").select(columns) for run in (a, b))
    joined = one.join(other, on=["projection", "check"], suffix="_b", maintain_order="left")
    changed = joined.filter(pl.col("verdict") != pl.col("verdict_b"))
    return whole + changed.select("projection", "check", a="verdict", b="verdict_b").to_dicts()


def _lags(run: Run, name: str) -> pl.DataFrame:
    """Position and lag in seconds of one projection's changes; infinite for one that never became visible."""
    lag = pl.col("lag_seconds").fill_nan(None).fill_null(math.inf)
    with run.scanned("lag") as table:
        return table.filter(pl.col("projection") == name).select("position", lag).sort("position").collect()


def _lag(a: Run, b: Run, name: str, withheld: str | None) -> dict[str, Any]:
    """Compare one projection's lag; a change that never became visible has an infinite lag."""
    frames = [_lags(run, name) for run in (a, b)]
    never = [int(frame["lag_seconds"].is_infinite().sum()) for frame in frames]
    row: dict[str, Any] = {"projection": name, "never_visible_a": never[0], "never_visible_b": never[1]}
    if any(frame.is_empty() for frame in frames):
        nothing: dict[str, Any] = {
            "a_seconds": None,
            "b_seconds": None,
            "difference_seconds": None,
            "interval_seconds": None,
        }
        nothing |= {"never_a": False, "never_b": False}
        return row | {"pairing": None} | {part: nothing | {"says": "not measured"} for part in QUANTILES}
    # The same position is the same change only where both runs drew the same commands.
    paired = frames[0]["position"].equals(frames[1]["position"]) and a.manifest["seed"] == b.manifest["seed"]
    row["pairing"] = "by position" if paired else "none"
    lags = [frame["lag_seconds"].to_numpy() for frame in frames]
    return row | {part: _difference(lags, share, paired, withheld) for part, share in QUANTILES.items()}


def _difference(lags: list[Lags], share: float, paired: bool, withheld: str | None) -> dict[str, Any]:
    """Return one quantile's two values, their difference with its 95 % interval, and a conclusion in words.

    A value is NaN where a run has too few changes for the quantile; `never_a` and `never_b` mark infinite ones.
    """
    count, needed = min(len(each) for each in lags), samples_needed(share)
    a, b = (quantile(each, share) if len(each) >= needed else math.nan for each in lags)
    row: dict[str, Any] = {"a_seconds": a, "b_seconds": b, "difference_seconds": b - a, "interval_seconds": None}
    row |= {"never_a": math.isinf(a), "never_b": math.isinf(b)}
    if count < needed:
        return row | {"says": withheld or f"not told: {few(count, needed)}"}
    if not (math.isfinite(a) and math.isfinite(b)):
        return row | {"says": withheld or "not comparable: too many changes never visible"}
    _, found = difference(lags[0], lags[1], share, paired)
    if found.low is None or found.high is None:
        return row | {"says": withheld or f"not judged: {found.reason}"}
    return row | {"interval_seconds": [found.low, found.high], "says": withheld or _said(found.low, found.high)}


def _said(low: float, high: float) -> str:
    return NO_DIFFERENCE if low <= 0 <= high else "b lags more" if low > 0 else "b lags less"


def _answers(run: Run) -> dict[str, str]:
    """Return the verdict on the source of truth's answers, if it was queried."""
    asked = truth_asked(run)
    return {TRUTH: asked.verdict} if asked else {}


def _truth(run: Run) -> str:
    """Return the source of truth as `engine.model`."""
    truth = run.manifest.get("truth", {})
    return f"{truth.get('engine', '?')}.{truth.get('model', '?')}"


def _writes(a: Run, b: Run) -> dict[str, Any]:
    """Return the commands a second of each run, and their ratio."""
    rates = [run.table("writes")["per_second"].to_list() for run in (a, b)]
    one, other = (rate[0] if rate else None for rate in rates)
    return {"a_per_second": one, "b_per_second": other, "ratio": other / one if one and other else None}


def _queries(a: Run, b: Run, names: list[str]) -> list[dict[str, Any]]:
    """Compare query times of each temperature that both runs have figures of."""
    by = ["projection", "query", "kind", "temperature"]
    return [
        row
        for temperature in temperatures(a)
        if temperature in temperatures(b)
        for row in _single(a, b, "queries", by, "p50_us", names, temperature)
    ]


def _single(
    a: Run, b: Run, table: str, by: list[str], column: str, names: list[str], temperature: str | None = None
) -> list[dict[str, Any]]:
    """Compare a figure by row: the two values, their ratio, their intervals, and a conclusion in words."""
    before, after = (_verdicts(run) | _answers(run) for run in (a, b))
    tables = [run.table(table) if temperature is None else queries(run, temperature) for run in (a, b)]
    frames = [_figures(frame, by, column, names) for frame in tables]
    joined = frames[0].join(frames[1], on=by, suffix="_b", maintain_order="left")
    found = []
    for row in joined.iter_rows(named=True):
        a_value, b_value = row.pop(column), row.pop(f"{column}_b")
        ends = [(row.pop(f"low{run}"), row.pop(f"high{run}")) for run in ("", "_b")]
        reasons = [row.pop(f"reason{run}") for run in ("", "_b")]
        known = bool(a_value) and b_value is not None
        unit = column.removeprefix("p50_")
        values = {f"a_{unit}": a_value, f"b_{unit}": b_value, "ratio": b_value / a_value if known else None}
        intervals = {f"{run}_interval_{unit}": list(pair) for run, pair in zip("ab", ends, strict=True)}
        # The source of truth has no verdict of its own.
        name = row["projection"]
        withheld = _withheld(before.get(name, "pass"), after.get(name, "pass"))
        says = withheld or (_apart(ends[0], ends[1], *reasons) if known else "not measured in both")
        found.append(row | values | (intervals if table == "queries" else {}) | {"says": says})
    return found


def _figures(frame: pl.DataFrame, by: list[str], column: str, names: list[str]) -> pl.DataFrame:
    """Return one column of a table with its interval: `low`, `high`, `reason`; null if the run has none."""
    frame = frame.filter(pl.col("projection").is_in(names))
    parts = {"low": column.replace("p50", "p50_low"), "high": column.replace("p50", "p50_high")}
    parts["reason"] = column.replace("p50_us", "p50_interval_reason")
    ends = {
        end: pl.col(name) if name in frame.columns and name != column else pl.lit(None) for end, name in parts.items()
    }
    value = pl.col(column)
    if "answer_ok" in frame.columns:
        # The time of a wrong answer is not reported, whatever the table holds.
        value = pl.when(pl.col("answer_ok").fill_null(True)).then(value).alias(column)
    return frame.select(*by, value, **ends)


def _apart(a: tuple[float | None, float | None], b: tuple[float | None, float | None], *reasons: str | None) -> str:
    """Return what two 95 % intervals say of the difference. Requiring that they don't overlap is stricter than 95 %."""
    if None in (*a, *b):
        return next((f"not judged: {reason}" for reason in reasons if reason), ONE_EACH)
    (a_low, a_high), (b_low, b_high) = a, b
    if a_high < b_low:  # type: ignore[operator]
        return "b is slower"
    return "b is faster" if b_high < a_low else NO_DIFFERENCE  # type: ignore[operator]

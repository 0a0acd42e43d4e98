"""Compare two runs: changes of verdicts first, then lag, rebuild, disk, queries and the source of truth.

Runs of several repetitions are judged (`lab.report.judged`). With one repetition each, what differs may be chance, the
order of things or another program: then the figures stand side by side, and no difference is claimed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import polars as pl

from lab.base import TRUTH, BadInput, Problem
from lab.formatting import size
from lab.measure.temperatures import temperatures
from lab.measure.typical import typical
from lab.report.caveats import emulated, emulated_said
from lab.report.controls import ControlMovement
from lab.report.facts import plain, truth_asked
from lab.report.judged import LARGE, TOGETHER, Compared, Judged, compared, judge, paired, shown, times
from lab.runs import Run
from lab.statistics.replicated import Ratio

# Machines report slightly different sizes of the same memory from boot to boot.
_MEMORY_TOLERANCE = 0.02
_MACHINE = ("cpu", "cores")
# What the method is, for those who read `--json`.
METHOD = (
    "ratio of the means of logarithms over repetitions, Student's t; paired by repetition where seeds are the same; "
    "times beside the control (analysis of covariance); where the control moved, the lesser of that "
    "and of the figure by the control; Benjamini and Hochberg at 5 %, stores as a whole and single figures each"
)


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
    names, pairs = called(a, b), paired(a, b)
    before, after = _verdicts(a), _verdicts(b)
    found, shared = compared(a, b, pairs)
    judged = judge(found, shared, _withheld(found, a, b, names), names[1])
    result: dict[str, Any] = plain({
        "a": str(a.path),
        "b": str(b.path),
        "names": {"a": names[0], "b": names[1]},
        "repetitions": {"a": a.repetitions, "b": b.repetitions},
        "judged": min(a.repetitions, b.repetitions) > 1,
        "notes": _notes(a, b, shared, judged) + _of_emulators(a, b),
        "pairing": "by repetition" if pairs else "none",
        "method": METHOD,
        "differs": differs,
        "verdict_changes": _verdict_changes(typical(a), typical(b)),
        "only_in_a": [name for name in before if name not in after],
        "only_in_b": [name for name in after if name not in before],
        "control": _control(shared),
        "lag": _lags(a, b, judged),
        "rebuild": [_row(one, "seconds") for one in judged if one.compared.quantity == "rebuild"],
        "disk": [_row(one, "bytes") for one in judged if one.compared.quantity == "disk"],
        "stores": [
            _row(one, "us") | {"temperature": one.compared.temperature}
            for one in judged
            if one.compared.quantity == TOGETHER
        ],
        "queries": _queries(a, judged, "p50"),
        "queries_p99": _queries(a, judged, "p99"),
        "truth": [_truth(run) for run in (a, b)],
        "writes": next((_row(one, "per_second") for one in judged if one.compared.quantity == "rate"), _NO_WRITES),
    })  # fmt: skip
    return result


_NO_WRITES = {"a_per_second": None, "b_per_second": None, "ratio": None, "interval": None, "says": "not measured"}


def called(a: Run, b: Run) -> tuple[str, str]:
    """Return what two runs are called: their scenarios' names, or the last part of their ids if that is shorter."""
    scenarios = [str(run.manifest["scenario"].get("name") or run.path.parent.name) for run in (a, b)]
    if scenarios[0] != scenarios[1]:
        return scenarios[0], scenarios[1]
    ids = [run.path.name for run in (a, b)]
    short = [name.rpartition("-")[2] for name in ids]
    one, other = short if min(map(len, short)) > 2 else ids
    return (one, other) if one != other else (one, f"{one} again")


def _notes(a: Run, b: Run, shared: ControlMovement, judged: Sequence[Judged]) -> list[str]:
    """Return what must be read before the figures."""
    least = min(a.repetitions, b.repetitions)
    if a.path.resolve() == b.path.resolve():
        return ["this is one run, compared with itself: name two runs"]
    if least < 2:
        which = "one repetition each" if a.repetitions == b.repetitions else "one of the runs has one repetition"
        return [
            f"{which}: what differs here may be chance, and nothing is called a difference. `lab run … --repeat 10` of "
            "both gives each ratio an interval, says how small a difference would have been seen, and tells what was "
            "changed from what the machine did"
        ]
    notes = [] if shared.kinds else ["there is no control: nothing that both runs share was measured"]
    if shared.moved:
        two = any(
            a.manifest.get("machine", {}).get(part) != b.manifest.get("machine", {}).get(part) for part in _MACHINE
        )
        why = "these are two machines" if two else "this machine was not quiet"
        notes.append(
            f"{why}: what nobody changed took {times(shared.whole)}; a figure that moved no "
            "further is not called different"
        )
    if wide := sum(one.limited_by_spread for one in judged):
        notes.append(
            f"{wide} of {len(judged)} figures vary so much between the {least} repetitions that only a difference of "
            f"more than {100 * (LARGE - 1):.0f} % would have been seen: more repetitions show smaller ones"
        )
    return notes


def _of_emulators(a: Run, b: Run) -> list[str]:
    names = list(dict.fromkeys([*emulated(a), *emulated(b)]))
    return [emulated_said(names)] if names else []


def _control(shared: ControlMovement) -> dict[str, Any]:
    kinds = {kind: _ratio(found) for kind, found in shared.kinds.items()}
    return {"kinds": kinds, **_ratio(shared.whole), "moved": shared.moved} | {"left_out": list(shared.left_out)}


def _ratio(found: Ratio) -> dict[str, Any]:
    return {"ratio": found.value, "interval": None if found.low is None else [found.low, found.high], "p": found.p}


def _row(one: Judged, unit: str) -> dict[str, Any]:
    """One figure of both runs, in a unit (`us` is microseconds)."""
    was, scale = one.compared, 1e6 if unit == "us" else 1.0
    row: dict[str, Any] = {"projection": was.projection} if was.projection else {}
    for run, figure in (("a", was.a), ("b", was.b)):
        row[f"{run}_{unit}"] = _scaled(figure["value"], scale)
        row[f"{run}_interval_{unit}"] = [_scaled(figure[end], scale) for end in ("low", "high")]
    row |= _ratio(was.ratio) | {"measured_ratio": was.ratios.measured.value}
    return row | {"verdict": one.verdict, "says": one.says, "seen_from": one.seen_from}


def _scaled(value: float | None, scale: float) -> float | None:
    return None if value is None or not math.isfinite(value) else value * scale


def _lags(a: Run, b: Run, judged: Sequence[Judged]) -> list[dict[str, Any]]:
    """A row for each projection in both runs; a change that never became visible has an infinite lag."""
    never = [
        dict(typical(run).table("lag_summary").select("projection", "never_visible").iter_rows()) for run in (a, b)
    ]
    rows: dict[str, dict[str, Any]] = {}
    for one in judged:
        quantity, _, part = one.compared.quantity.partition("_")
        if quantity != "lag":
            continue
        name = one.compared.projection
        row = rows.setdefault(
            name,
            {"projection": name}
            | {f"never_visible_{run}": each.get(name) for run, each in zip("ab", never, strict=True)},
        )
        found = _row(one, "seconds")
        del found["projection"]
        infinite = {
            f"never_{run}": each["value"] == math.inf for run, each in (("a", one.compared.a), ("b", one.compared.b))
        }
        row[part] = found | infinite | {"difference_seconds": shown(one)}
    return list(rows.values())


def _queries(a: Run, judged: Sequence[Judged], quantile: str) -> list[dict[str, Any]]:
    """A row for each query, projection and temperature."""
    kinds = dict(a.first.table("queries").select("query", "kind").iter_rows())
    return [
        {"projection": was.projection, "query": was.query, "kind": kinds.get(was.query), "temperature": was.temperature}
        | _row(one, "us")
        for one in judged
        for was in (one.compared,)
        if was.quantity == f"query_{quantile}"
    ]


def _withheld(found: Sequence[Compared], a: Run, b: Run, names: tuple[str, str]) -> list[str | None]:
    """Return for each figure why it is left out of the judgement: its projection doesn't pass in both; else None."""
    verdicts = [_verdicts(run) | _answers(run) for run in (a, b)]
    return [_why(one, [each.get(one.projection, "pass") for each in verdicts], names) for one in found]


def _why(one: Compared, verdicts: Sequence[str], names: tuple[str, str]) -> str | None:
    if verdicts[0] == verdicts[1] == "unknown" and one.shared:
        # `null` has no content to be judged by.
        return None
    if verdicts[0] == verdicts[1] != "pass":
        return f"withheld: {verdicts[0]} in both"
    told = [f"{verdict} in {name}" for verdict, name in zip(verdicts, names, strict=True) if verdict != "pass"]
    return f"withheld: {' and '.join(told)}" if told else None


def _differs(a: Run, b: Run) -> list[str]:
    """Return the reasons why the figures of two runs can't be compared."""
    told = [f"{run.name} is void: {run.void}" for run in (a, b) if run.void is not None]
    machine_a, machine_b = a.manifest.get("machine", {}), b.manifest.get("machine", {})
    for part in _MACHINE:
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
    data: list[dict[str, str]] = [run.manifest.get("data") or {} for run in (a, b)]
    told += [
        f"different data: {name} has another content"
        for name in data[0]
        if data[1].get(name, data[0][name]) != data[0][name]
    ]
    measured = [temperatures(run) for run in (a, b)]
    if all(measured) and not set(measured[0]) & set(measured[1]):
        told.append(f"different temperatures of query times: {'; '.join(map(', '.join, measured))}")
    clocks = [run.manifest.get("clocks", {}).get("lag") for run in (a, b)]
    if clocks[0] != clocks[1]:
        told.append(f"different clocks of the lag: {clocks[0]} and {clocks[1]}")
    return told


def _verdicts(run: Run) -> dict[str, str]:
    return {str(entry["name"]): str(entry["verdict"]) for entry in run.manifest["projections"]}


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


def _answers(run: Run) -> dict[str, str]:
    """Return the verdict on the source of truth's answers, if it was queried."""
    asked = truth_asked(typical(run))
    return {TRUTH: asked.verdict} if asked else {}


def _truth(run: Run) -> str:
    """Return the source of truth as `engine.model`."""
    truth = run.manifest.get("truth", {})
    return f"{truth.get('engine', '?')}.{truth.get('model', '?')}"

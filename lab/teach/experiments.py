"""Run short experiments in a cell: a scenario in keyword arguments, at teaching scale.

The keys are those of a scenario file and the code is that of `lab run`, without the report. Runs go into a temporary
folder that is removed with the process. Calls with the same arguments return the same run without running it again.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl

from lab.domain import DOMAINS, domain
from lab.experiment import run
from lab.formatting import toml
from lab.runs import Run
from lab.scenario import Source
from lab.shipped import scenario_file
from lab.teach.scale import scaled
from lab.wiring import plan

SEED = 1087
_KEPT = 60
_runs: OrderedDict[str, Run] = OrderedDict()

Keys = dict[str, Any]


def projection(name: str, store: str = "memory", **keys: Any) -> Keys:
    """Return a `[[projection]]` of a scenario. `memory` is the quickest store; `keys` are any keys of a projection."""
    return {"name": name, "store": store, **keys}


def messages(
    duplicate: float = 0.05,
    lose: float = 0.0,
    reorder: float = 0.10,
    late: float = 0.5,
    delay: float = 0.02,
    **keys: Any,
) -> Keys:
    """Return a `[channel]`: shares of messages that are duplicated, lost, or detoured by `late` seconds on average.

    `delay` is the mean delay of every message in seconds. One draw serves all projections, since the chapters compare
    guards and stores over the very same deliveries.
    """
    return {
        "draws": "shared",
        "delay": {"kind": "lognormal", "mean": delay, "sigma": 1.0},
        "duplicate": duplicate,
        "lose": lose,
        "reorder": {"share": reorder, "extra": {"kind": "exponential", "mean": late}},
        **keys,
    }


def experiment(
    *projections: Keys,
    channel: Keys | None = None,
    commands: int = 2_000,
    records: int | None = None,
    model: str = "history",
    business: str = "employees",
    seed: int = SEED,
    **tables: Any,
) -> Run:
    """Run a small scenario and return the finished run, or the earlier run of the same arguments.

    `commands` and `records` are scaled; without `records` there is one for each ten commands. Any other table or key of
    a scenario can be given by its name (`catch_up={"every": 0.5}`) and is merged into the course's defaults: modelled
    stores, 1,000 commands a second, few samples, single calls. Raises BadInput for invalid keys.
    """
    raw = _usual(business, scaled(commands), scaled(records) if records else None)
    raw |= {"seed": seed, "projection": list(projections)}
    raw["truth"] = {"model": model}
    if channel is not None:
        raw["channel"] = channel
    for name, value in tables.items():
        raw[name] = {**raw.get(name, {}), **value} if isinstance(value, Mapping) else value
    text = scenario_text(raw)
    return _kept(text, Source.of_text(text, "lesson.toml"))


def from_file(name: str | Path, *settings: str) -> Run:
    """Run a shipped scenario (by its name) or one in a file, as `lab run FILE --set ...` does.

    It runs at its own scale, independent of the course's, and without a report.
    """
    path = scenario_file(name)
    source = Source(path, settings)
    return _kept("\n".join([str(path.resolve()), source.text, *settings]), source)


def _usual(business: str, commands: int, records: int | None) -> Keys:
    raw: Keys = {
        "schema": 1,
        "name": "lesson",
        "domain": {"name": business},
        "time": {"service": "modelled"},
        "readers": {"sessions": 200},
        "measure": {"samples": 5, "blocks": 0, "warm_up": 0, "budget": 0.1, "truth": False, "trials": False},
    }
    if business not in DOMAINS or not domain(business).has_trace:
        raw["domain"]["records"] = records or max(1, commands // 10)
        raw["workload"] = {"commands": commands, "rate": 1_000.0, "skew": 0.8, "deletes": 0.02}
    return raw


def _kept(key: str, source: Source) -> Run:
    """Return the run with this key; run the scenario if there is none yet, and forget the run used longest ago."""
    if key in _runs:
        _runs.move_to_end(key)
        return _runs[key]
    finished = run(plan(source), workplace() / "runs", report=False)
    _runs[key] = finished
    while len(_runs) > _KEPT:
        _, oldest = _runs.popitem(last=False)
        shutil.rmtree(oldest.path, ignore_errors=True)
    return finished


@cache
def workplace() -> Path:
    """Return the temporary folder of this process, which is removed with it."""
    folder = Path(tempfile.mkdtemp(prefix="lab-teach-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def scenario_text(raw: Mapping[str, Any]) -> str:
    """Format tables as TOML, each on a line of its own."""
    return "".join(f"{name} = {toml(value)}\n" for name, value in raw.items())


def verdict(finished: Run, name: str, check: str | None = None) -> str:
    """Return a projection's verdict, or that of one check: `pass`, `fail` or `unknown`.

    A check that did not apply is not in the run, and is `unknown`.
    """
    if check is None:
        return str(next(each["verdict"] for each in finished.manifest["projections"] if each["name"] == name))
    found = finished.verdicts.filter(pl.col("projection") == name, pl.col("check") == check)["verdict"]
    return str(found[0]) if len(found) else "unknown"


def witness(finished: Run, name: str, check: str) -> str:
    """Return the witness of a failed check; empty if it did not fail."""
    rows = finished.verdicts.filter(pl.col("projection") == name, pl.col("check") == check)
    return str(rows["witness"][0] or "") if rows.height else ""


def lag_of(finished: Run, name: str, quantile: str = "p99") -> float | None:
    """Return a quantile of a projection's lag (`p50`, `p90`, `p99`, `max`) in simulated seconds.

    None if it is infinite, if there are too few changes to tell it, or if the lag grows without end.
    """
    value = finished.lag_summary.filter(pl.col("projection") == name)[f"{quantile}_seconds"][0]
    return None if value is None else float(value)


def never_visible(finished: Run, name: str) -> int:
    """Return how many committed changes never became visible, themselves or by a later revision."""
    return int(finished.lag_summary.filter(pl.col("projection") == name)["never_visible"][0])

"""Short experiments for a cell: a scenario in keyword arguments, run at teaching scale, the finished run returned.

The same words as in a scenario file, the same code as `lab run`, without the report. Runs go into a temporary folder
that is removed with the process; the same arguments give the same run again, at once.
"""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl

from lab.base import NotReadable
from lab.domain import DOMAINS, domain
from lab.experiment import run
from lab.runs import Run
from lab.scenario import Source
from lab.teach.scale import scaled
from lab.wiring import plan

SEED = 1087
_KEPT = 60
_runs: OrderedDict[str, Run] = OrderedDict()

Keys = dict[str, Any]


def projection(name: str, store: str = "memory", **keys: Any) -> Keys:
    """One `[[projection]]` of a scenario. `memory` is the quickest store; any key of a projection may follow."""
    return {"name": name, "store": store, **keys}


def messages(
    duplicate: float = 0.05,
    lose: float = 0.0,
    reorder: float = 0.10,
    late: float = 0.5,
    delay: float = 0.02,
    **keys: Any,
) -> Keys:
    """The `[channel]` of a scenario: shares of messages that come twice, never, or by a detour of `late` seconds.

    `delay` is what every message takes on the average, in seconds.
    """
    return {
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
    """Run a small scenario and return the finished run; with the same arguments, the one that is there already.

    `commands` and `records` are scaled; without `records` there is one for ten commands. Any other table or key of a
    scenario may follow by its name (`catch_up={"every": 0.5}`) and is merged into what the course takes for granted:
    simulated time with modelled stores, 1,000 commands a second, few samples. Raises BadInput for words that are wrong.
    """
    raw = _usual(business, scaled(commands), scaled(records) if records else None)
    raw |= {"seed": seed, "projection": list(projections)}
    raw["truth"] = {"model": model}
    if channel is not None:
        raw["channel"] = channel
    for name, value in tables.items():
        raw[name] = {**raw.get(name, {}), **value} if isinstance(value, Mapping) else value
    text = toml(raw)
    return _kept(text, Source.of_text(text, "lesson.toml"))


def scenarios() -> Path:
    """The folder of the scenarios that ship: beside the notebooks, or above where Python was started."""
    for folder in (Path.cwd(), *Path.cwd().parents, *Path(__file__).parents):
        if (folder / "scenarios" / "employees.toml").is_file():
            return folder / "scenarios"
    raise NotReadable("scenarios/", "no such folder here or above", "start the notebook in the project's own folder")


def from_file(name: str | Path, *settings: str) -> Run:
    """Run a scenario that ships (by its name) or one in a file, as `lab run FILE --set ...` does.

    At its own scale, whatever the course's is, and without a report.
    """
    path = Path(name) if Path(name).suffix else scenarios() / f"{name}.toml"
    source = Source(path, settings)
    return _kept("\n".join([str(path.resolve()), source.text, *settings]), source)


def _usual(business: str, commands: int, records: int | None) -> Keys:
    raw: Keys = {
        "schema": 1,
        "name": "lesson",
        "domain": {"name": business},
        "time": {"service": "modelled"},
        "readers": {"sessions": 200},
        "measure": {"samples": 5, "warm_up": 0, "budget": 0.1, "truth": False},
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
    """The temporary folder of this process; it goes when the process does."""
    folder = Path(tempfile.mkdtemp(prefix="lab-teach-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def toml(raw: Mapping[str, Any]) -> str:
    """The tables as TOML, each on a line of its own."""
    return "".join(f"{name} = {_value(value)}\n" for name, value in raw.items())


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_value(str(name))} = {_value(item)}" for name, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    # As in JSON, but for the two things that TOML has otherwise: characters beyond 16 bits, and DEL.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def verdict(finished: Run, name: str, check: str | None = None) -> str:
    """What was found of a projection: `pass`, `fail` or `unknown`; of one check, if one is named.

    A check that had nothing to look at is not in the run: it is `unknown`.
    """
    if check is None:
        return str(next(each["verdict"] for each in finished.manifest["projections"] if each["name"] == name))
    found = finished.verdicts.filter(pl.col("projection") == name, pl.col("check") == check)["verdict"]
    return str(found[0]) if len(found) else "unknown"


def witness(finished: Run, name: str, check: str) -> str:
    """The smallest evidence for a check that failed; empty if it did not."""
    rows = finished.verdicts.filter(pl.col("projection") == name, pl.col("check") == check)
    return str(rows["witness"][0] or "") if rows.height else ""


def lag_of(finished: Run, name: str, quantile: str = "p99") -> float | None:
    """A quantile of a projection's lag in simulated seconds (`p50`, `p90`, `p99`, `max`); None if it is never."""
    value = finished.lag_summary.filter(pl.col("projection") == name)[f"{quantile}_seconds"][0]
    return None if value is None else float(value)


def never_visible(finished: Run, name: str) -> int:
    """How many committed changes the projection never showed, itself or a later revision."""
    return int(finished.lag_summary.filter(pl.col("projection") == name)["never_visible"][0])

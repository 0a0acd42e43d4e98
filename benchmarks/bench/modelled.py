"""A whole run with modelled times: what it takes beside its applies, and what its verdicts take beside its rebuilds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.bench.data import Bench
from benchmarks.bench.harness import Row, Wrong
from lab.experiment import run
from lab.projection.projector import Projector
from lab.scenario import Source
from lab.verdict.oracle import Oracle
from lab.wiring import plan

SCENARIO = Path(__file__).parent.parent.parent / "scenarios" / "flights.toml"
NOTE = "Of `scenarios/flights.toml`, its times modelled and each query asked once; the report is written, and counted."


def rows(bench: Bench) -> Iterator[Row]:
    """`run_modelled` and `verdict`, out of the same runs."""
    runs = _Runs(bench)
    size = bench.size.changes
    rounds = bench.size.rounds
    yield Row(
        "run_modelled",
        "",
        "s",
        size,
        targets={"vs_limit": ("most", 3.0)},
        note=f"{NOTE} The limit is the sum of its applies, taken within the run. `size` is about what a year has.",
        joint=lambda folder: runs.figures("run", folder),
        rounds=rounds,
    )
    yield Row(
        "verdict",
        "",
        "s",
        size,
        targets={"vs_limit": ("most", 0.5)},
        note="Oracle and all checks of those runs, against the rebuilds of all four projections.",
        joint=lambda folder: runs.figures("verdict", folder),
        rounds=rounds,
    )


class _Runs:
    """Each run gives a round of two rows; whichever row comes first makes it."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.waiting: dict[str, list[dict[str, float]]] = {"run": [], "verdict": []}

    def figures(self, row: str, folder: Path) -> dict[str, float]:
        """The next round of a row."""
        if not self.waiting[row]:
            for name, figures in once(folder, self.bench.size.days).items():
                self.waiting[name].append(figures)
        return self.waiting[row].pop(0)


class _Clock:
    """Seconds spent in the functions that it was put around."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, timed."""

        def timed(*arguments: Any, **named: Any) -> Any:
            began = perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                self.seconds += perf_counter() - began

        return timed

    @contextmanager
    def on(self, owner: type, *names: str) -> Iterator[None]:
        """Around these methods, for as long as it lasts."""
        former = {name: owner.__dict__[name] for name in names}
        for name in names:
            bound = isinstance(former[name], classmethod)
            timed = self.around(getattr(owner, name))
            setattr(owner, name, staticmethod(timed) if bound else timed)
        try:
            yield
        finally:
            for name, function in former.items():
                setattr(owner, name, function)


def once(folder: Path, days: int | None) -> dict[str, dict[str, float]]:
    """One run: the seconds of the whole and of its applies, of its verdicts and of its rebuilds."""
    overrides = ["time.service=modelled", "measure.samples=1", "measure.warm_up=0"]
    if days is not None:
        overrides.append(f"domain.days={days}")
    applies, oracle = _Clock(), _Clock()
    made = plan(Source(SCENARIO, overrides))
    with applies.on(Projector, "apply"), oracle.on(Oracle, "of_trace", "expected"):
        began = perf_counter()
        finished = run(made, folder / "runs")
        seconds = perf_counter() - began
    record = json.loads((finished.path / "manifest.json").read_text())
    if record["verdict"] != "pass":
        raise Wrong(f"lab: the run's verdict is {record['verdict']}")
    judging = record["phases"]["judge"] + oracle.seconds
    rebuilding = float(finished.table("rebuild")["seconds"].sum())
    return {
        "run": {"lab": seconds, "limit": applies.seconds},
        "verdict": {"lab": judging, "limit": rebuilding},
    }

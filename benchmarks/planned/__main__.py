"""Measure a scenario at several sizes, plan for a larger one, measure that, and count what is within its interval.

    python -m benchmarks.planned --sizes 3e3,1e4,3e4 --held 1e5

Whatever is done already is kept in `--folder`, so an interrupted measurement goes on. The exit status is 1 if fewer
than nine of ten figures are within their 95 % intervals.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lab.ending import run
from lab.planning.evidence import MeasuredProjection, evidence_of
from lab.planning.laws import Foretold, MeasuredRun
from lab.planning.planning import PlanRequest, plan_for
from lab.scenario import Source
from lab.sweeps import Sweep, carry_on
from lab.sweeps.folder import begin
from lab.sweeps.growth import RECORDS, SIZE, planned
from lab.sweeps.plan import SweepPlan

QUICK = ("measure.samples=3", "measure.trials=false", "measure.truth=false", "measure.budget=0.05")
# Outages are at fixed times, so that a longer run has a smaller share of them.
STEADY = ("truth.model=history", "channel.outages=[]", *QUICK)
FIGURES = ("busy_share", "lag_p50", "lag_p99", "rebuild", "size", "peak_rss")
SHARE = 0.9


def arguments(words: Sequence[str]) -> argparse.Namespace:
    """The words of the command line, parsed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.planned")
    parser.add_argument("--scenario", default="scenarios/employees.toml")
    parser.add_argument("--sizes", default="3e3,1e4,3e4", help="numbers of commands that the plan is fitted to")
    parser.add_argument("--held", type=float, default=1e5, help="the number that is foretold, then measured")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("build/planned"))
    return parser.parse_args(words)


def held_out(source: Source, size: float, repeat: int) -> SweepPlan:
    """The sweep of the case that is not fitted: one size, with as many records to a command as the others."""
    scenario = source.validate()[0]
    assert scenario is not None
    records = (scenario.domain.records or 0) / scenario.workload.commands * size
    measured = Source(source.path, (*source.overrides, "time.service=measured"), source.seed, source.text)
    return SweepPlan.of(measured, [f"{SIZE}={size:.0f}", f"{RECORDS}={records:.0f}"], repeat)


def compared(scenario: str, source: Source, fitted: Sweep, held: Sweep) -> list[tuple[str, Foretold, float]]:
    """Each figure of each held-out run beside what was told of it, at its own size and rate."""
    found = []
    for each in evidence_of(held).projections:
        for number in range(len(each.runs)):
            found += _of_run(scenario, source, fitted, each, each.runs[number])
    return found


def _of_run(
    scenario: str, source: Source, fitted: Sweep, each: MeasuredProjection, done: MeasuredRun
) -> list[tuple[str, Foretold, float]]:
    days = done.changes / done.rate / 86_400
    request = PlanRequest(rate=done.rate, days=days, stores=(each.store,), partitions=1)
    needs = plan_for(scenario, source, request, [fitted.path]).needs
    (part,) = (one for one in needs.projections if one.name == each.name)
    found = [(each.name, part.figures[name], done.figures[name]) for name in FIGURES if name in done.figures]
    truth = needs.truth.figures
    write = replace(truth["write_seconds"], quantity="write_seconds")
    found.append(("truth", write, done.figures["write_seconds"]))
    return [*found, ("truth", truth["size"], done.figures["truth_size"])]


def within(told: Foretold, value: float) -> bool | None:
    """Whether a value is in its interval; None if nothing is told."""
    if told.value is None or told.low is None:
        return None
    return told.low <= value and (told.high is None or value <= told.high)


def main() -> None:
    """Carry out what is left, print each figure, and exit."""
    given = arguments(sys.argv[1:])
    source = Source(Path(given.scenario), STEADY)
    sizes = [float(size) for size in given.sizes.split(",")]
    sweeps = []
    for name, made in (("fitted", planned(source, sizes, given.repeat)),
                       ("held", held_out(source, given.held, given.repeat))):  # fmt: skip
        sweep = begin(made, given.folder / name)
        carry_on(made, sweep)
        sweeps.append(sweep)
    kept = known = 0
    # Those of the source of truth come with each projection.
    for name, told, value in dict.fromkeys(compared(given.scenario, source, *sweeps)):
        state = within(told, value)
        known, kept = known + (state is not None), kept + bool(state)
        ends = f"{told.low} to {told.high}" if state is not None else told.reason
        word = {True: "within", False: "OUTSIDE", None: "not told"}[state]
        sys.stdout.write(f"{name:<12} {told.quantity:<14} told {told.value} ({ends}), measured {value}: {word}\n")
    sys.stdout.write(f"{kept} of {known} figures are within their intervals\n")
    sys.exit(0 if known and kept >= SHARE * known else 1)


if __name__ == "__main__":
    run(main)

"""Find the knee: the highest rate at which all levels hold, searched twice."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from lab.experiment.progress import Progress
from lab.load import events as log
from lab.load.driving import Order
from lab.load.judging import lag_summary
from lab.load.run import LoadResult, load, measure
from lab.runs import Run
from lab.statistics.quantiles import samples_needed, told
from lab.wiring import Plan

REPETITIONS = 2
FIRST, FACTOR, STEPS_MAX, HALVINGS = 50.0, 2.0, 9, 3
LAG_P99, ERRORS = 1.0, 0.01


@dataclass(frozen=True)
class Step:
    """One rate: what it brought at each projection, and why it was not held, if it wasn't."""

    rate: float
    rows: list[dict[str, Any]]
    why: str

    @property
    def held(self) -> bool:
        """True if every level was held."""
        return not self.why


def judged(seen: LoadResult, lag: pl.DataFrame, rate: float, level: float) -> Step:
    """Judge one rate: lag p99 of every projection against `level` (seconds), errors, and the generator's own delay.

    `lag` is the `lag_summary` of this rate. What failed and what was not answered in time are both errors.
    """
    asked = seen.log.events.filter((pl.col("row") == "COMMAND") | pl.col("row").str.starts_with("QUERY/"))
    lost = asked.filter(pl.col("failed").is_not_null() | pl.col("censored").fill_null(False))
    errors = lost.height / max(1, asked.height)
    rows, broken = [], [f"errors {errors:.1%}"] if errors > ERRORS else []
    for one in lag.to_dicts():
        projection, p99 = one["projection"], one["p99_seconds"]
        of_it = pl.col("row").str.starts_with(f"QUERY/{projection}/")
        query = told(log.times(seen.log.events.filter(of_it), "seconds"), 0.99)
        rows.append({"projection": projection, "lag_p99_seconds": p99, "query_p99_seconds": query})
        if 0 < one["changes"] < samples_needed(0.99):
            broken.append(f"{projection} had {one['changes']:,} changes, too few for a p99")
        elif p99 is None and one["changes"]:
            broken.append(f"{projection} showed {one['visible']:,} of {one['changes']:,} changes")
        elif p99 is not None and p99 > level:
            broken.append(f"lag p99 of {projection} {p99:.2f} s, at the most {level:g} s")
    if not seen.caught_up:
        broken.append("a projection had not caught up a minute later")
    if seen.void:
        broken.insert(0, f"void: {seen.void}")
    why = "; ".join(broken)
    common = {"rate": rate, "error_rate": errors, "held": not why, "why": why}
    return Step(rate, [common | row for row in rows], why)


def search(find: Any) -> tuple[float, list[Step]]:
    """Double the rate until it isn't held, then halve the interval. `find` judges a rate. Returns what was held."""
    steps: list[Step] = []
    held, broken, rate = 0.0, None, FIRST
    for _ in range(STEPS_MAX):
        steps.append(find(rate))
        if not steps[-1].held:
            broken = rate
            break
        held, rate = rate, rate * FACTOR
    for _ in range(HALVINGS if broken else 0):
        assert broken is not None
        middle = (held + broken) / 2
        steps.append(find(middle))
        held, broken = (middle, broken) if steps[-1].held else (held, middle)
    return held, steps


def knee(plan: Plan, arguments: list[str], order: Order, root: Path, progress: Progress) -> Run:
    """Search twice, then a run at the lower of the two capacities, with the table `knee`."""
    level = plan.scenario.levels.lag_p99 or LAG_P99
    found: list[float] = []
    rows: list[dict[str, Any]] = []

    def find(rate: float) -> Step:
        with tempfile.TemporaryDirectory(prefix="lab-knee-") as work:
            seen = measure(plan, arguments, replace(order, rate=rate), Path(work), progress)
            lag = lag_summary(plan, Path(work) / "served", seen.began)
        return judged(seen, lag, rate, level)

    for repetition in range(1, REPETITIONS + 1):
        held, steps = search(find)
        found.append(held)
        rows += [{"repetition": repetition} | row for step in steps for row in step.rows]
    low, high = min(found), max(found)
    told = {"capacity": low, "repetitions": found, "within_15_percent": high <= low * 1.15, "lag_p99_level": level}
    told["limited_by"] = next((row["why"] for row in rows if not row["held"]), "")
    return load(plan, arguments, replace(order, rate=low or FIRST), root, progress, {"rows": rows, "told": told})

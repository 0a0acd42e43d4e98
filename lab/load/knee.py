"""Find the knee: the highest rate at which all levels hold, searched twice."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from lab.experiment.progress import Progress
from lab.load import events as log
from lab.load.driving import Order
from lab.load.run import LoadResult, load, measure
from lab.runs import Run
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


def judged(seen: LoadResult, rate: float, level: float, names: Sequence[str]) -> Step:
    """Judge one rate: lag p99 of every projection against `level` (seconds), errors, and the generator's own delay."""
    table = {row["row"]: row for row in log.table(seen.events).to_dicts()}
    asked = [row for name, row in table.items() if name == "COMMAND" or name.startswith("QUERY/")]
    errors = sum(row["failures"] for row in asked) / max(1, sum(row["count"] for row in asked))
    rows, broken = [], [f"errors {errors:.1%}"] if errors > ERRORS else []
    accepted = seen.events.filter(pl.col("outcome") == "accepted").height
    for projection in names:
        row = table.get(f"LAG/{projection}", {"p99_seconds": None, "count": 0})
        if accepted and row["count"] < 0.99 * accepted:
            broken.append(f"{projection} had applied {row['count']:,} of {accepted:,} changes by the end")
        of_it = pl.col("row").str.starts_with(f"QUERY/{projection}/")
        one = log.table(seen.events.filter(of_it).with_columns(row=pl.lit("all")))
        query = one["p99_seconds"][0] if one.height else None
        rows.append({"projection": projection, "lag_p99_seconds": row["p99_seconds"], "query_p99_seconds": query})
        if row["p99_seconds"] is None:
            applied = f"{row['count']:,} changes, too few for a p99" if row["count"] else "nothing"
            broken.append(f"{projection} applied {applied}")
        elif row["p99_seconds"] > level:
            broken.append(f"lag p99 of {projection} {row['p99_seconds']:.2f} s, at the most {level:g} s")
    if not seen.caught_up:
        broken.append("a projection had not caught up a minute later")
    if seen.void:
        broken.insert(0, f"void: {seen.void}")
    why = "; ".join(broken)
    told = {"rate": rate, "error_rate": errors, "held": not why, "why": why}
    return Step(rate, [told | row for row in rows], why)


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
        return judged(seen, rate, level, [item.name for item in plan.projections])

    for repetition in range(1, REPETITIONS + 1):
        held, steps = search(find)
        found.append(held)
        rows += [{"repetition": repetition} | row for step in steps for row in step.rows]
    low, high = min(found), max(found)
    told = {"capacity": low, "repetitions": found, "within_15_percent": high <= low * 1.15, "lag_p99_level": level}
    told["limited_by"] = next((row["why"] for row in rows if not row["held"]), "")
    return load(plan, arguments, replace(order, rate=low or FIRST), root, progress, {"rows": rows, "told": told})

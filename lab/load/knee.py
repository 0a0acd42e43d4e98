"""Find the knee: the highest rate at which all levels hold, searched twice."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from lab.experiment.progress import Progress
from lab.live.judging import lag_summary
from lab.load import events as log
from lab.load.driving import Order
from lab.load.run import LoadResult, load, measure
from lab.runs import Run
from lab.scenario import refuse
from lab.service.liveonly import of_live_runs
from lab.statistics.quantiles import samples_needed, told
from lab.wiring import Plan

REPETITIONS = 2
FIRST, FACTOR, STEPS_MAX, HALVINGS = 50.0, 2.0, 9, 3
LAG_P99, ERRORS = 1.0, 0.01
# So many times as many commands are offered as a p99 needs: some are rejected, and arrivals are random.
SPARE = 1.5


@dataclass(frozen=True)
class Step:
    """One rate: what it brought at each projection, which levels were broken, and why others are `unknown`."""

    rate: float
    rows: list[dict[str, Any]]
    why: str
    unknown: str = ""

    @property
    def held(self) -> bool | None:
        """True if every level was held, False if one was broken; None if none was, and of one that is not known."""
        return False if self.why else None if self.unknown else True


def judged(seen: LoadResult, lag: pl.DataFrame, rate: float, level: float) -> Step:
    """Judge one rate: lag p99 of every projection against `level` (seconds), errors, and the generator's own delay.

    `lag` is the `lag_summary` of this rate. What failed and what was not answered in time are both errors.
    """
    asked = seen.log.events.filter((pl.col("row") == "COMMAND") | pl.col("row").str.starts_with("QUERY/"))
    lost = asked.filter(pl.col("failed").is_not_null() | pl.col("censored").fill_null(False))
    errors = lost.height / max(1, asked.height)
    rows, broken = [], [f"errors {errors:.1%}"] if errors > ERRORS else []
    unknown: list[str] = []
    for one in lag.to_dicts():
        projection, p99 = one["projection"], one["p99_seconds"]
        of_it = pl.col("row").str.starts_with(f"QUERY/{projection}/")
        query = told(log.times(seen.log.events.filter(of_it), "seconds"), 0.99)
        rows.append({"projection": projection, "lag_p99_seconds": p99, "query_p99_seconds": query})
        if 0 < one["changes"] < samples_needed(0.99):
            unknown.append(f"{projection} had {one['changes']:,} changes, too few for a p99")
        elif p99 is None and one["changes"]:
            broken.append(f"{projection} showed {one['visible']:,} of {one['changes']:,} changes")
        elif p99 is not None and p99 > level:
            broken.append(f"lag p99 of {projection} {p99:.2f} s, at the most {level:g} s")
    if not seen.caught_up:
        broken.append("a projection had not caught up a minute later")
    if seen.void:
        broken.insert(0, f"void: {seen.void}")
    found = Step(rate, [], "; ".join(broken), "; ".join(unknown))
    why = found.why or (found.unknown and f"unknown: {found.unknown}")
    common = {"rate": rate, "error_rate": errors, "held": found.held, "why": why}
    return replace(found, rows=[common | row for row in rows])


def search(find: Any) -> tuple[float, list[Step]]:
    """Double the rate until it isn't held, then halve the interval. `find` judges a rate. Returns what was held.

    A rate of which it isn't known ends the search: nothing is concluded from it.
    """
    steps: list[Step] = []
    held, broken, rate = 0.0, None, FIRST
    for _ in range(STEPS_MAX):
        steps.append(find(rate))
        if steps[-1].held is None:
            return held, steps
        if not steps[-1].held:
            broken = rate
            break
        held, rate = rate, rate * FACTOR
    for _ in range(HALVINGS if broken else 0):
        assert broken is not None
        middle = (held + broken) / 2
        steps.append(find(middle))
        if steps[-1].held is None:
            break
        held, broken = (middle, broken) if steps[-1].held else (held, middle)
    return held, steps


def lasting(order: Order, rate: float, commands: bool) -> Order:
    """Return the order for one rate: longer than asked for where a p99 needs it, in domains that have `commands`."""
    needed = SPARE * samples_needed(0.99) / (rate * order.commands) if commands and order.commands else 0.0
    return replace(order, rate=rate, seconds=max(order.seconds, needed))


def knee(plan: Plan, arguments: list[str], order: Order, root: Path, progress: Progress) -> Run:
    """Search twice, then a run at the lower of the two capacities, with the table `knee`."""
    refuse(of_live_runs(plan))
    level, commands = plan.scenario.levels.lag_p99 or LAG_P99, not plan.domain.has_trace
    found: list[float] = []
    rows: list[dict[str, Any]] = []

    def find(rate: float) -> Step:
        with tempfile.TemporaryDirectory(prefix="lab-knee-") as work:
            seen = measure(plan, arguments, lasting(order, rate, commands), Path(work), progress)
            lag = lag_summary(plan, Path(work) / "served", seen.began)
        return judged(seen, lag, rate, level)

    for repetition in range(1, REPETITIONS + 1):
        held, steps = search(find)
        found.append(held)
        rows += [{"repetition": repetition} | row for step in steps for row in step.rows]
    low, high = min(found), max(found)
    told = {"capacity": low, "repetitions": found, "within_15_percent": high <= low * 1.15, "lag_p99_level": level}
    told["limited_by"] = next((row["why"] for row in rows if row["held"] is False), "")
    # Then the capacity is what was held at least: the search ended before it came to its limit.
    told["unknown"] = next((row["why"] for row in rows if row["held"] is None), "")
    return load(plan, arguments, lasting(order, low or FIRST, commands), root, progress, {"rows": rows, "told": told})

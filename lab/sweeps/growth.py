"""`lab grow`: how writing, projecting, rebuilding, queries, disk and memory grow with the size of the history.

A scenario is run at several sizes, as many records to a command at each. Every figure of every projection is fitted by
a power law (`lab.statistics.powers`): 1 is linear, 0 doesn't grow. What is foretold for a larger size is marked so,
and refused beyond ten times the largest size that was measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from lab.base import BadInput, Problem
from lab.formatting import duration, listed, short_count, size
from lab.scenario import Source
from lab.statistics.intervals import Interval
from lab.statistics.powers import FURTHEST, Power, power
from lab.sweeps.design import TOGETHER
from lab.sweeps.folder import Sweep
from lab.sweeps.plan import SweepPlan

SIZE, RECORDS = "workload.commands", "domain.records"
SIZES_MIN = 3
# What has a cost, in the order of a reader's questions; queries follow, by name.
COSTS = ("write_seconds", "lag_p50", "lag_p99", "rebuild", "size", "peak_rss")


@dataclass(frozen=True)
class FigureGrowth:
    """How one figure of a projection grows, and what it is expected to be at another size, if that is asked."""

    projection: str
    store: str
    quantity: str
    unit: str
    law: Power
    at: float | None = None
    value: float | None = None
    expected: Interval = field(default_factory=Interval)
    breaks_at: float | None = None

    @property
    def extrapolated(self) -> bool:
        """Whether the size that is asked for is larger than any that was measured."""
        return self.at is not None and self.at > self.law.largest


def planned(source: Source, sizes: Sequence[float], repeat: int) -> SweepPlan:
    """Return the sweep over sizes: measured, with records in proportion to commands. Raises BadInput."""
    if len(set(sizes)) < SIZES_MIN or min(sizes) < 1:
        what = f"growth takes {SIZES_MIN} sizes or more, each once"
        raise BadInput([Problem("--sizes", what, "--sizes 1e4,1e5,1e6")])
    scenario, problems = source.validate()
    if scenario is None:
        raise BadInput(problems)
    each = (scenario.domain.records or 0) / scenario.workload.commands
    measured = Source(source.path, (*source.overrides, "time.service=measured"), source.seed, source.text)
    items = [f"{SIZE}=" + ",".join(str(round(one)) for one in sizes)]
    records = [max(1, round(one * each)) for one in sizes]
    if len(set(records)) == len(records) and each:
        items.append(f"{RECORDS}=" + ",".join(map(str, records)))
    return SweepPlan.of(measured, items, repeat, None, TOGETHER)


def growths(sweep: Sweep, at: float | None = None, levels: dict[str, float] | None = None) -> list[FigureGrowth]:
    """Return how each figure grows; `levels` are service levels by quantity. Raises BadInput for a size too far out."""
    frame = sweep.frame
    if frame.is_empty() or frame["value"].drop_nulls().is_empty():
        why = str(frame["error"].drop_nulls().to_list()[0]) if not frame.is_empty() else "no run is done"
        raise BadInput([Problem(str(sweep.path), f"no run came to anything: {why}")])
    foretellable(at, float(frame[SIZE].max()))  # type: ignore[arg-type]
    unknown = {(each.projection, each.quantity) for each in untold(frame)}
    found = []
    for key, rows in _costs(frame).group_by("projection", "store", "quantity", "unit", maintain_order=True):
        projection, store, quantity, unit = map(str, key)
        known = rows.filter(pl.col("value") > 0)
        if (projection, quantity) in unknown:
            continue
        if known[SIZE].n_unique() < SIZES_MIN:
            continue
        law = power(known[SIZE].to_list(), known["value"].to_list())
        value, expected = law.at(at) if at is not None else (None, Interval())
        level = (levels or {}).get(quantity)
        breaks = law.reaches(level) if level else None
        found.append(FigureGrowth(projection, store, quantity, unit, law, at, value, expected, breaks))
    return sorted(found, key=_place)


@dataclass(frozen=True)
class UntoldFigure:
    """A figure that some runs of a projection don't know, at these sizes: it has no law.

    A quantile that falls on a change which was never visible, or a lag that grows without end: a law of the other sizes
    would go on smoothly over them.
    """

    projection: str
    quantity: str
    sizes: tuple[float, ...]

    def said(self) -> str:
        """Return it in a line."""
        sizes = listed([f"{each:,.0f}" for each in self.sizes])
        return f"{self.quantity} of {self.projection} is unknown in some runs of {sizes} commands: it has no law"


def untold(frame: pl.DataFrame) -> list[UntoldFigure]:
    """Return the figures that some runs have and others of the same projection don't, from the results of a sweep."""
    costs = _costs(frame)
    ran = frame.drop_nulls("projection").select("projection", "run", SIZE).unique()
    known = costs.select("projection", "quantity").unique()
    missing = ran.join(known, "projection").join(costs, ["projection", "quantity", "run"], how="anti")
    found = missing.group_by("projection", "quantity").agg(pl.col(SIZE).unique().sort()).sort("projection", "quantity")
    return [UntoldFigure(name, quantity, tuple(sizes)) for name, quantity, sizes in found.iter_rows()]


def foretellable(at: float | None, largest: float) -> None:
    """Refuse a size that lies too far beyond the largest one that is measured."""
    if at is not None and at > FURTHEST * largest:
        what = f"{at:,.0f} is beyond {FURTHEST:g} times the largest size measured, {largest:,.0f}"
        raise BadInput([Problem("--at", what, "measure a larger size: nothing is foretold so far out")])


def levels_of(source: Source) -> dict[str, float]:
    """Return the service levels of a scenario, by the quantity that they limit."""
    scenario = source.validate()[0]
    if scenario is None:
        return {}
    levels = scenario.levels
    found = {"lag_p99": levels.lag_p99, "rebuild": levels.rebuild, "size": levels.disk_bytes}
    return {name: float(level) for name, level in found.items() if level}


def _costs(frame: pl.DataFrame) -> pl.DataFrame:
    """The figures that are costs; the rate of writing as the seconds that one write takes."""
    rate = pl.col("quantity") == "writes_per_second"
    turned = frame.drop_nulls("value").with_columns(
        pl.when(rate).then(1 / pl.col("value")).otherwise(pl.col("value")).alias("value"),
        pl.when(rate).then(pl.lit("seconds")).otherwise(pl.col("unit")).alias("unit"),
        pl.when(rate).then(pl.lit("write_seconds")).otherwise(pl.col("quantity")).alias("quantity"),
    )
    return turned.filter(pl.col("quantity").is_in(COSTS) | pl.col("quantity").str.starts_with("query."))


def _place(each: FigureGrowth) -> tuple[int, str, str]:
    place = COSTS.index(each.quantity) if each.quantity in COSTS else len(COSTS)
    return place, each.quantity, each.projection


def document(found: Sequence[FigureGrowth]) -> list[dict[str, Any]]:
    """Return the rows of a JSON document."""
    return [
        {
            "projection": each.projection,
            "store": each.store,
            "quantity": each.quantity,
            "unit": each.unit,
            "exponent": each.law.exponent,
            "low": each.law.interval.low,
            "high": each.law.interval.high,
            "measurements": each.law.count,
            "largest": each.law.largest,
            "at": each.at,
            "value": each.value,
            "value_low": each.expected.low,
            "value_high": each.expected.high,
            "extrapolated": each.extrapolated,
            "level_breaks_at": each.breaks_at,
        }
        for each in found
    ]


def said(each: FigureGrowth) -> str:
    """Return how a figure grows in a line."""
    law, parts = each.law, []
    ends = "" if law.interval.low is None else f" ({law.interval.low:.2f} to {law.interval.high:.2f})"
    parts.append(f"{each.quantity} of {each.projection} grows by size ^ {law.exponent:.2f}{ends}")
    if each.value is not None and each.at is not None:
        bounds = ""
        if each.expected.low is not None and each.expected.high is not None:
            bounds = f" ({_shown(each.expected.low, each.unit)} to {_shown(each.expected.high, each.unit)})"
        mark = "EXTRAPOLATED: " if each.extrapolated else ""
        parts.append(f"{mark}at {each.at:,.0f} {_shown(each.value, each.unit)}{bounds}")
    if each.breaks_at is not None:
        parts.append(f"its level is expected to break at {each.breaks_at:,.3g} commands")
    return "; ".join(parts)


def _shown(value: float, unit: str) -> str:
    return duration(value) if unit == "seconds" else size(value) if unit == "bytes" else short_count(value)

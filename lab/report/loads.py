"""The report's section on load: Locust's rows, the knee with its curve, and what a simulation had foretold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from lab.report.style import FAINT, Look, drawing, look_of, looks, sheet
from lab.report.words import duration
from lab.runs import Run


def knee(table: pl.DataFrame, known: Mapping[str, Look], level: float | None) -> Figure:
    """Lag and query p99 of each projection against the offered rate, both repetitions; log scales, in seconds."""
    with drawing():
        figure, axes = sheet(4.6, 0.9, 1.7, rows=2)
        for axis, column, named in zip(
            axes, ("lag_p99_seconds", "query_p99_seconds"), ("lag p99 (s)", "query p99 (s)"), strict=True
        ):
            for (name,), rows in sorted(table.group_by("projection"), key=lambda pair: str(pair[0][0])):
                look = look_of(known, str(name))
                for (_,), turn in rows.group_by("repetition"):
                    points = turn.sort("rate").drop_nulls(column)
                    axis.plot(points["rate"], points[column], color=look.colour, linestyle=look.line, linewidth=1.2)
                    axis.scatter(points["rate"], points[column], color=look.colour, s=9)
                last = rows.sort("rate").drop_nulls(column).tail(1)
                if last.height:
                    axis.annotate(
                        look.label, (last["rate"][0], last[column][0]), xytext=(6, 0), textcoords="offset points",
                        va="center", color=look.colour, annotation_clip=False,
                    )  # fmt: skip
            axis.set_xscale("log", base=2)
            axis.set_yscale("log")
            rates = sorted(table["rate"].unique().to_list())
            axis.set_xticks(rates[:: max(1, len(rates) // 8)])
            axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
            axis.xaxis.set_minor_formatter(NullFormatter())
            axis.set_ylabel(named)
        if level:
            axes[0].axhline(level, color=FAINT, linestyle=(0, (3, 2)), linewidth=0.9)
            axes[0].annotate(f"level {duration(level)}", (rates[0], level), xytext=(2, 3), textcoords="offset points")
        axes[-1].set_xlabel("offered arrivals (1/s, log scale)")
        return figure


def on_load(run: Run) -> tuple[str, Figure | None, str]:
    """What was offered, whether it counts, and the capacity where it was sought."""
    told: dict[str, Any] = run.manifest.get("load") or {}
    how = f"open loop at {told['rate']:g} arrivals a second" if told.get("rate") else f"{told.get('users')} users"
    late = told.get("generator_delay_p99_seconds")
    said = f"Locust offered load for {told.get('seconds', 0):g} s: {how}, from {told.get('processes')} processes."
    if late is not None:
        said += f" The generator itself was late by {duration(late)} at p99."
    if told.get("void"):
        said += f" These figures are void: {told['why']}."
    found = told.get("knee")
    table = run.table("knee")
    if not found or table.is_empty():
        return "", None, said
    low, high = min(found["repetitions"]), max(found["repetitions"])
    said += f" Capacity: {low:,.0f} arrivals a second"
    said += " in both of two searches" if low == high else f" to {high:,.0f}, in two searches"
    said += "" if found["within_15_percent"] else ": they differ by more than 15 %, so take it as an interval"
    said += f". What broke first: {found['limited_by']}." if found.get("limited_by") else "."
    spoken = "Lag and query p99 of each projection against the offered rate."
    return spoken, knee(table, looks(run.manifest["projections"]), found.get("lag_p99_level")), said

"""The report's section on load: Locust's rows, the knee with its curve, and the simulation's forecast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

from lab.formatting import NOTHING, duration
from lab.report.style import BAD, FAINT, Look, drawing, key, log_seconds, look_of, looks, margin_inches, sheet
from lab.runs import Run
from lab.statistics.quantiles import SHARES, samples_needed

_PANELS = (("lag_p99_seconds", "lag p99"), ("query_p99_seconds", "query p99"))


def knee(table: pl.DataFrame, known: Mapping[str, Look], level_seconds: float | None) -> Figure:
    """Draw lag and query p99 of each projection against the offered rate of every search, on logarithmic axes.

    Points of the first search are filled, later ones hollow; a rate at which a level broke is crossed.
    """
    names = sorted(table["projection"].unique().to_list())
    ends = {name: look_of(known, name) for name in names}
    with drawing():
        labels = [look.label for look in ends.values()] + ["× did not hold"]
        figure, panels = sheet(4.6, 0.75, 0.35 + margin_inches(labels), rows=2)
        for axes, (column, named) in zip(panels, _PANELS, strict=True):
            for (name, turn), rows in table.drop_nulls(column).group_by("projection", "repetition"):
                _curve(axes, rows.sort("rate"), column, ends[str(name)], filled=turn == 1)
            seconds = table[column].drop_nulls()
            if len(seconds):
                low, high = float(seconds.min()), float(seconds.max())  # type: ignore[arg-type]
                log_seconds(axes.yaxis, low / 1.4, max(high, (level_seconds or 0) * 1.1) * 1.4)
            axes.set_ylabel(f"{named} (log scale)")
        rates = sorted(table["rate"].unique().to_list())
        panels[-1].set_xscale("log", base=2)
        panels[-1].xaxis.set_major_locator(FixedLocator(_apart(rates)))
        panels[-1].xaxis.set_minor_locator(NullLocator())
        panels[-1].xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        panels[-1].xaxis.set_minor_formatter(NullFormatter())
        panels[-1].set_xlabel("offered arrivals (1/s, log scale)")
        if level_seconds:
            panels[0].axhline(level_seconds, color=FAINT, linestyle=(0, (3, 2)), linewidth=0.9)
            panels[0].annotate(
                f"level {duration(level_seconds)}", (rates[0], level_seconds), xytext=(0, -3),
                textcoords="offset points", va="top", fontsize=7.2, color=FAINT,
            )  # fmt: skip
        key(panels[0], [(look, "") for look in ends.values()], step_inches=0.2)
        _key_to_points(panels[1], table)
        return figure


def _curve(axes: Axes, rows: pl.DataFrame, column: str, look: Look, filled: bool) -> None:
    line = {"color": look.colour, "linestyle": look.line, "linewidth": 1.3 if filled else 0.8}
    face = look.colour if filled else "white"
    axes.plot(rows["rate"], rows[column], marker="o", markersize=3.6, markerfacecolor=face, **line)
    broken = rows.filter(~pl.col("held"))
    axes.plot(broken["rate"], broken[column], "x", color=BAD, markersize=6, markeredgewidth=1.4, zorder=5)


def _key_to_points(axes: Axes, table: pl.DataFrame) -> None:
    """Explain filled, hollow and crossed points in the margin."""
    entries = [("o", FAINT, FAINT, "first search")]
    entries += [("o", FAINT, "white", "second search")] if table["repetition"].n_unique() > 1 else []
    entries += [] if table["held"].all() else [("x", BAD, BAD, "did not hold")]
    for place, (marker, edge, face, said) in enumerate(entries):
        y = 0.94 - place * 0.11
        axes.plot(
            [1.045], [y], marker, color=edge, markerfacecolor=face, markersize=4.5, transform=axes.transAxes,
            clip_on=False,
        )  # fmt: skip
        axes.text(1.075, y, said, transform=axes.transAxes, va="center", fontsize=7.6)


def _apart(rates: Sequence[float], at_least: float = 1.25) -> list[float]:
    """Return those of the sorted rates whose labels don't touch on a logarithmic axis."""
    kept: list[float] = []
    for rate in rates:
        if not kept or rate >= kept[-1] * at_least:
            kept.append(rate)
    return kept


def quantile_said(row: Mapping[str, Any], name: str) -> str:
    """Format a quantile of a row of `load`; in words why there is none: too few requests, or too many unanswered."""
    seconds = row[f"{name}_seconds"]
    if seconds is not None:
        return duration(seconds)
    offered, unanswered = row["offered"] or 0, (row["failed"] or 0) + (row["censored"] or 0)
    if offered < samples_needed(SHARES[name]) and (unanswered or row["p50_seconds"] is not None):
        return f"too few ({offered})"
    return "never" if unanswered else NOTHING


def worth_a_line(row: Mapping[str, Any]) -> bool:
    """Return whether a row of `load` is shown in the terminal: all but queries that were all answered."""
    return not row["row"].startswith("QUERY/") or bool(row["failed"] or row["censored"])


def on_load(run: Run) -> tuple[str, Figure | None, str]:
    """Return the section's alternative text, figure and caption: the offered load, its validity, the knee if sought."""
    told: dict[str, Any] = run.manifest.get("load") or {}
    how = f"open loop at {told['rate']:g} arrivals a second" if told.get("rate") else f"{told.get('users')} users"
    late = told.get("generator_delay_p99_seconds")
    said = f"Locust offered load for {told.get('seconds', 0):g} s: {how}, from {told.get('processes')} processes."
    if late is not None:
        said += f" The generator itself was late by {duration(late)} at p99."
    if told.get("drain") is not None:
        said += (
            f" What was under way at the end was waited for, {duration(told['drain'])} at most; then it is censored."
        )
        said += " A request that failed or is censored counts as infinitely late in every quantile."
    if told.get("void"):
        said += f" These figures are void: {told['why']}."
    found = told.get("knee")
    table = run.table("knee")
    if not found or table.is_empty():
        return "", None, said
    said += capacity_said(found)
    said += " What to see: the curves are flat while the machine keeps up, and bend where it no longer does."
    spoken = "Lag and query p99 of each projection against the offered rate."
    return spoken, knee(table, looks(run.manifest["projections"]), found.get("lag_p99_level")), said


def capacity_said(found: Mapping[str, Any]) -> str:
    """Say what a search for the knee found: the capacity of both searches, or what was held at least, and why."""
    low, high = min(found["repetitions"]), max(found["repetitions"])
    if unknown := found.get("unknown"):
        least = f" Capacity: at least {low:,.0f} arrivals a second." if low else " No capacity is told."
        return f"{least} A search ended before a level broke: {unknown}."
    said = f" Capacity: {low:,.0f} arrivals a second"
    said += " in both of two searches" if low == high else f" to {high:,.0f}, in two searches"
    said += "" if found["within_15_percent"] else ": they differ by more than 15 %, so take it as an interval"
    return said + (f". What broke first: {found['limited_by']}." if found.get("limited_by") else ".")


def on_foretelling(run: Run) -> str:
    """Return whether the simulation foretold the lag of this load, and where it stops doing so."""
    rows = run.table("foretold").drop_nulls("holds")
    if rows.is_empty():
        return ""
    wrong = rows.filter(~pl.col("holds"))["projection"].to_list()
    found = f"for every projection but {', '.join(wrong)}" if wrong else "for every projection"
    return (
        "The simulation has the times at which changes were committed, messages arrived and requests were answered; it "
        "draws what each piece of work takes from the times that such work took here. The lag under load should be "
        f"within 15 % (p50) and 25 % (p99) of what is simulated, and in this run it is so {found}. The busiest process "
        f"was at work for {max(rows['busy_share'].to_list()):.0%} of the time. This stops holding when a "
        "process has more requests than it can answer, which mostly shows in a late generator and a void load: its "
        "queue then grows, and small differences in what work takes add up to seconds of lag."
    )

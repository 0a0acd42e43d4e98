"""Figures of the course, in the lab's one style (`lab.report.style`): a store has the colour it has everywhere.

A finished run goes in, a matplotlib Figure comes out; `lines` and `bars` take frames. What the report draws already is
taken from there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from lab.checks import CHECKS
from lab.formatting import duration, short_count, size, tick
from lab.report import bars as report_bars
from lab.report import figures as report_figures
from lab.report import timelines
from lab.report.style import (
    BAD,
    FAINT,
    GRID,
    INK,
    LINES,
    NEUTRAL,
    WIDTH_INCHES,
    Look,
    blank,
    drawing,
    elided,
    look_of,
    looks,
    margin_inches,
    sheet,
    store_colour,
)
from lab.report.words import MARKS
from lab.runs import Run

_CELL_INCHES = 1.25
# What a number means, for the label beside it and for the ticks of its axis.
UNITS: dict[str, Callable[[float], str]] = {
    "seconds": duration,
    "bytes": size,
    "count": short_count,
    "share": lambda value: f"{value * 100:.3g} %",
    "per second": lambda value: f"{short_count(value)}/s",
}
_TICKS: dict[str, Callable[[float], str]] = {
    "seconds": lambda value: duration(value, digits=1),
    "bytes": lambda value: _plain(size(value)),
    "count": tick,
    "share": lambda value: f"{value * 100:.3g} %",
    "per second": tick,
}


def _looks(finished: Run) -> dict[str, Look]:
    return looks(finished.manifest["projections"])


def lag(finished: Run) -> Figure:
    """The share of changes that were visible within a lag, for each projection."""
    return report_figures.lag_ecdf(finished.lag, _looks(finished))


def visibility(finished: Run) -> Figure:
    """How likely a change is visible within a time after its commit."""
    return report_figures.t_visibility(finished.visibility, _looks(finished))


def behind(finished: Run) -> Figure:
    """How far each projection is behind over the run; outages are shaded."""
    channel = finished.manifest["channel"] or {}
    return report_figures.staleness(finished.staleness, _looks(finished), channel.get("outages", ()))


def latencies(finished: Run) -> Figure:
    """How long each query takes in each projection: a dot for the p50, a whisker to the p99."""
    return report_bars.queries(finished.queries, _looks(finished))


def story(finished: Run, projection: str, check: str) -> Figure:
    """The witness of a check that failed, drawn: source of truth, channel, projector, reader."""
    rows = finished.witnesses.filter(pl.col("projection") == projection, pl.col("check") == check)
    return timelines.timeline(rows, look_of(_looks(finished), projection))


def verdicts(finished: Run, checks: Sequence[str] | None = None) -> Figure:
    """A column for each projection, a row for each check: a tick, or how often it went wrong. Its lag stands below."""
    found = _looks(finished)
    rows = list(checks or finished.verdicts["check"].unique(maintain_order=True).to_list())
    what = {(row["projection"], row["check"]): row for row in finished.verdicts.iter_rows(named=True)}
    named = [CHECKS[check].anomaly for check in rows]
    left = margin_inches(named)
    wide = min(_CELL_INCHES, (WIDTH_INCHES - left - 0.1) / len(found))
    tall = 0.27 * (len(rows) + 3.55) + 0.1
    with drawing():
        figure = Figure(figsize=(WIDTH_INCHES, tall))
        right = left + wide * len(found)
        axes = figure.add_axes((left / WIDTH_INCHES, 0.02, (right - left) / WIDTH_INCHES, 0.97))
        axes.set_xlim(0, len(found))
        axes.set_ylim(len(rows) + 2.05, -1.5)
        axes.axis("off")
        for y, name in enumerate([*named, "lag p50", "lag p99"]):
            axes.text(-0.06, y + 0.5, name, ha="right", va="center", fontsize=8)
        for x, look in enumerate(found.values()):
            colour = BAD if look.verdict == "fail" else INK
            title = f"{elided(look.name, 20)}\n{MARKS.get(look.verdict, '?')} {look.verdict}"
            axes.text(x + 0.5, -0.75, title, ha="center", va="center", fontsize=8, fontweight="bold", color=colour)
            for y, check in enumerate(rows):
                _verdict_cell(axes, x, y, what.get((look.name, check)))
            _lag_cells(axes, x, len(rows), finished, look.name)
    return figure


def _verdict_cell(axes: Axes, x: int, y: int, row: dict[str, Any] | None) -> None:
    said = "unknown" if row is None else row["verdict"]
    face, ink, text = {"pass": ("#f4f4f4", FAINT, "✓"), "fail": (BAD, "white", "✗")}.get(said, ("white", FAINT, "–"))
    if row is not None and said == "fail" and row["count"]:
        text = f"✗ {short_count(row['count'])}"
    _box(axes, x, y, face)
    axes.text(x + 0.5, y + 0.5, text, ha="center", va="center", fontsize=8, color=ink)


def _lag_cells(axes: Axes, x: int, y: int, finished: Run, name: str) -> None:
    row = finished.lag_summary.filter(pl.col("projection") == name).to_dicts()[0]
    for place, column in enumerate(("p50_seconds", "p99_seconds")):
        said = "never" if row[column] is None else duration(row[column])
        axes.text(x + 0.5, y + place + 0.5, said, ha="center", va="center", fontsize=8)


def _box(axes: Axes, x: float, y: float, face: str) -> None:
    xs = [x + 0.03, x + 0.97, x + 0.97, x + 0.03]
    ys = [y + 0.07, y + 0.07, y + 0.93, y + 0.93]
    axes.fill(xs, ys, facecolor=face, edgecolor=GRID, linewidth=0.8)


def grid(finished: Run) -> Figure:
    """A row for each projection, a column for each query: its p50, the darker the slower against the column's best."""
    found = _looks(finished)
    rows = list(found.values())
    columns = finished.queries.select("query", "kind").unique(maintain_order=True).rows()
    said = {(row["projection"], row["query"]): row for row in finished.queries.iter_rows(named=True)}
    best = dict(finished.queries.filter(answer_ok=True).group_by("query").agg(pl.col("p50_us").min()).iter_rows())
    left = margin_inches([look.label for look in rows]) + 0.2
    with drawing():
        tall = 0.24 * len(rows) + 1.35
        figure = Figure(figsize=(WIDTH_INCHES, tall))
        share = left / WIDTH_INCHES
        axes = figure.add_axes((share, 0.02, 0.945 - share, (0.24 * len(rows)) / tall))
        axes.set_xlim(0, len(columns))
        axes.set_ylim(len(rows), 0)
        axes.axis("off")
        for x, (query, kind) in enumerate(columns):
            axes.text(
                x + 0.25, -0.25, f"{elided(query, 22)}\n({kind})", rotation=42, ha="left", va="bottom", fontsize=7
            )
        for y, look in enumerate(rows):
            axes.text(-0.4, y + 0.5, look.label, ha="right", va="center", fontsize=8)
            swatch = axes.plot([-0.2], [y + 0.5], "s", color=look.colour, markersize=8)
            swatch[0].set_clip_on(False)
            for x, (query, _) in enumerate(columns):
                _grid_cell(axes, x, y, said.get((look.name, query)), best.get(query))
    return figure


def _grid_cell(axes: Axes, x: int, y: int, row: dict[str, Any] | None, best_us: float | None) -> None:
    if row is None:
        _box(axes, x, y, "white")
        return
    if row["answer_ok"] is False or row["p50_us"] is None or not best_us:
        _box(axes, x, y, BAD)
        axes.text(x + 0.5, y + 0.5, "wrong", ha="center", va="center", fontsize=7, color="white")
        return
    # From white (the best) to dark (a hundred times as slow, or more).
    dark = min(1.0, math.log10(max(1.0, row["p50_us"] / best_us)) / 2)
    tone = [round(channel + (low - channel) * dark) / 255 for channel, low in ((240, 40), (246, 62), (250, 86))]
    _box(axes, x, y, to_hex((tone[0], tone[1], tone[2])))
    weight = "bold" if row["p50_us"] <= best_us else "normal"
    text = duration(row["p50_us"] / 1e6, digits=2)
    note = axes.text(x + 0.5, y + 0.5, text, ha="center", va="center", fontsize=6.6, fontweight=weight)
    note.set_color("white" if dark > 0.5 else INK)


def lines(
    frame: pl.DataFrame,
    x: str,
    y: str,
    by: str,
    *,
    said: tuple[str, str],
    units: tuple[str, str] = ("count", "seconds"),
    log: tuple[bool, bool] = (True, True),
    store: str = "",
    mark: float | None = None,
    height_inches: float = 3.0,
) -> Figure:
    """A line for each value of `by`, named at its right end. `said` are the axes' names, with their units.

    Lines have the colours of stores: `by` is one, or the column `store` holds it. `mark` is a dotted line upright.
    """
    parts = [(str(name), part.sort(x)) for (name,), part in frame.group_by(by, maintain_order=True)]
    if not parts:
        return blank("There is nothing to draw.")
    with drawing():
        figure, (axes,) = sheet(height_inches, 0.95, 0.2 + margin_inches([name for name, _ in parts]))
        seen: dict[str, int] = {}
        ends = []
        for name, part in parts:
            colour = store_colour(str(part[store][0]) if store else name)
            nth = seen[colour] = seen.get(colour, -1) + 1
            axes.plot(part[x], part[y], color=colour, linestyle=LINES[nth % len(LINES)], marker="o", markersize=3.5)
            ends.append((float(part[y][-1]), name, colour))
        _axis(axes, "x", units[0], log[0], frame[x])
        _axis(axes, "y", units[1], log[1], frame[y])
        if mark is not None:
            axes.axvline(mark, color=FAINT, linestyle=(0, (2, 2)), linewidth=1.0)
        axes.set_xlabel(said[0])
        axes.set_ylabel(said[1])
        _name_ends(axes, ends)
    return figure


def _axis(axes: Axes, which: str, unit: str, log: bool, values: pl.Series) -> None:
    axis = axes.xaxis if which == "x" else axes.yaxis
    if log:
        low, high = float(values.min() or 1e-9), float(values.max() or 1.0)  # type: ignore[arg-type]
        getattr(axes, f"set_{which}scale")("log")
        getattr(axes, f"set_{which}lim")(low / 1.3, max(high, low * 8) * 1.4)
        if math.log10(max(high / low, 1)) < 1.8:
            axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_minor_formatter(NullFormatter())
    else:
        getattr(axes, f"set_{which}lim")(0, float(values.max() or 1.0) * 1.06)  # type: ignore[arg-type]
    axis.set_major_formatter(FuncFormatter(lambda value, _: _TICKS[unit](value)))


def _name_ends(axes: Axes, ends: Sequence[tuple[float, str, str]]) -> None:
    """Names at the lines' right ends, moved apart where they would touch."""
    transform = axes.transData.transform
    height = axes.get_figure(root=True).get_figheight() * 72  # type: ignore[union-attr]
    pixels = [(float(transform((axes.get_xlim()[1], value))[1]), name, colour) for value, name, colour in ends]
    total = float(axes.get_figure(root=True).bbox.height)  # type: ignore[union-attr]
    at = -np.inf
    for y, name, colour in sorted(pixels):
        at = max(y / total * height, at + 10.5)
        axes.annotate(
            name, (1, at), xycoords=("axes fraction", "figure points"), xytext=(6, 0), textcoords="offset points",
            va="center", fontsize=8.5, color=colour,
        )  # fmt: skip


def bars(
    frame: pl.DataFrame,
    name: str,
    panels: dict[str, tuple[str, str]],
    store: str = "",
    log: bool = True,
    most: float | None = None,
) -> Figure:
    """A row for each row of the frame, a panel for each column of `panels`: its title, and the unit of its values.

    A null is said to be none. With `log`, each panel has a logarithmic axis, which begins a little below its least.
    `most` is where the axes end at the least, for figures that are to be compared with each other.
    """
    rows = frame.to_dicts()
    names = [str(row[name]) for row in rows]
    left = margin_inches(names)
    with drawing():
        tall = 0.72 + 0.3 * len(rows)
        figure = Figure(figsize=(WIDTH_INCHES, tall))
        grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        figure.subplots_adjust(
            left=left / WIDTH_INCHES, right=0.99, top=1 - 0.3 / tall, bottom=0.34 / tall, wspace=0.12
        )
        for axes, (column, (title, unit)) in zip(grid, panels.items(), strict=True):
            values = [row[column] for row in rows]
            colours = [store_colour(str(row[store])) if store and row[store] else NEUTRAL for row in rows]
            _bar_panel(axes, values, colours, unit, log, most)
            axes.set_title(title, fontsize=8.5, loc="left")
        grid[0].set_yticks(range(len(rows)), names)
        if log:
            figure.text(0.99, 0.03, "bars on a log scale", ha="right", fontsize=7, color=FAINT)
        grid[0].set_ylim(len(rows) - 0.4, -0.6)
    return figure


def _bar_panel(
    axes: Axes, values: Sequence[float | None], colours: Sequence[str], unit: str, log: bool, most: float | None
) -> None:
    there = [float(value) for value in values if value]
    low, high = (min(there) / 2.5, max([*there, most or 0.0])) if there else (0.5, 1.0)
    start = low if log else 0.0
    for place, (value, colour) in enumerate(zip(values, colours, strict=True)):
        if value is not None:
            axes.barh(place, max(float(value), start) - start, left=start, height=0.6, color=colour)
        said = "none" if value is None else UNITS[unit](float(value))
        x = start if value is None else max(float(value), start)
        note = axes.annotate(said, (x, place), xytext=(4, 0), textcoords="offset points", fontsize=8, va="center")
        note.set_color(FAINT if value is None else INK)
    if log:
        axes.set_xscale("log")
        # Room for the label behind the longest bar.
        axes.set_xlim(low, low * (high / low) ** 1.75 * 1.6)
    else:
        axes.set_xlim(0, high * 1.6)
    axes.xaxis.set_major_formatter(NullFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(axis="both", length=0, which="both")
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)


def _plain(text: str) -> str:
    number, _, unit = text.partition(" ")
    return f"{number.rstrip('0').rstrip('.') if '.' in number else number} {unit}"

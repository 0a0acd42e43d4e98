"""Draw charts of any frame in the style of the report: lines, bars, and dots with their intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from lab.formatting import duration, short_count, size, tick
from lab.report.style import (
    FAINT,
    INK,
    LINES,
    NEUTRAL,
    WIDTH_INCHES,
    blank,
    drawing,
    margin_inches,
    sheet,
    store_colour,
)

# How a number of each unit is written, in labels (UNITS) and on ticks (_TICKS).
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
    """Draw a line for each value of `by`, named at its right end. `said` has the labels of both axes, with units.

    Lines have the colours of stores: `by` is a store, or the column `store` holds it. `mark` is a vertical dotted line.
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
    """Write names at the right ends of the lines, moved apart if they would touch."""
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
    """Draw a row for each row of the frame and a panel for each column of `panels` (its title and its unit).

    A null is labelled `none`. With `log`, each axis is logarithmic and begins a little below its smallest value. The
    axes extend at least to `most`, for figures that are compared with each other.
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
        # Leave room for the label after the longest bar.
        axes.set_xlim(low, low * (high / low) ** 1.75 * 1.6)
    else:
        axes.set_xlim(0, high * 1.6)
    axes.xaxis.set_major_formatter(NullFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(axis="both", length=0, which="both")
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)


def dots(frame: pl.DataFrame, name: str, panels: dict[str, tuple[str, str]], store: str = "") -> Figure:
    """Draw a row for each row of the frame and a panel for each column of `panels` (its title and its unit).

    A dot on a logarithmic axis stands for the value, and a line through it for the interval from `<column>_low` to
    `<column>_high`, where the frame has them. A null is labelled `none`.
    """
    rows = frame.to_dicts()
    names = [str(row[name]) for row in rows]
    with drawing():
        tall = 0.75 + 0.3 * len(rows)
        figure = Figure(figsize=(WIDTH_INCHES, tall))
        grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        left = margin_inches(names) / WIDTH_INCHES
        figure.subplots_adjust(left=left, right=0.99, top=1 - 0.3 / tall, bottom=0.42 / tall, wspace=0.08)
        for axes, (column, (title, unit)) in zip(grid, panels.items(), strict=True):
            _dot_panel(axes, rows, column, unit, store)
            axes.set_title(title, fontsize=8.5, loc="left")
        grid[0].set_yticks(range(len(rows)), names)
        grid[0].set_ylim(len(rows) - 0.4, -0.6)
    return figure


def _dot_panel(axes: Axes, rows: Sequence[dict[str, Any]], column: str, unit: str, store: str) -> None:
    seen = [float(row[end]) for row in rows for end in (column, f"{column}_low", f"{column}_high") if row.get(end)]
    low, high = (min(seen), max(seen)) if seen else (1.0, 10.0)
    # Ends at powers of ten or beyond, and room on the right for the label of the last dot.
    low, span = low / 1.6, max(math.log10(high / low), 0.5)
    axes.set_xscale("log")
    axes.set_xlim(low, low * 10 ** (span * 1.75 + 0.7))
    for place, row in enumerate(rows):
        value = row[column]
        if value is None:
            axes.annotate("none", (low, place), xytext=(4, 0), textcoords="offset points", fontsize=8, va="center")
            continue
        colour = store_colour(str(row[store])) if store and row[store] else NEUTRAL
        ends = [row.get(f"{column}_low") or value, row.get(f"{column}_high") or value]
        axes.plot(ends, [place, place], color=colour, linewidth=1.6)
        axes.plot([value], [place], "o", color=colour, markersize=5)
        said = UNITS[unit](float(value))
        axes.annotate(said, (max(ends), place), xytext=(5, 0), textcoords="offset points", fontsize=8, va="center")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _TICKS[unit](value)))
    powers = list(range(math.ceil(math.log10(low)), math.floor(math.log10(high * 3)) + 1))
    axes.set_xticks([10.0**power for power in powers[:: math.ceil(len(powers) / 3) or 1]])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.tick_params(axis="x", labelsize=7)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")


def _plain(text: str) -> str:
    number, _, unit = text.partition(" ")
    return f"{number.rstrip('0').rstrip('.') if '.' in number else number} {unit}"

"""The figures of a sweep: response curves with bands, heat maps, small multiples, and which keys matter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from lab.formatting import duration, short_count
from lab.report.style import FAINT, INK, Look, blank, drawing, elided, key, look_of
from lab.sweeps.response import TITLES, Response, label, logarithmic
from lab.sweeps.sensitivity import KeyEffect

WIDTH = 7.6
# More panels than these are no figure any more.
PANELS_MAX = 9
_COLOURS = "cividis"


def shown(value: float, unit: str) -> str:
    """Return a value with its unit, short."""
    if unit == "share":
        return f"{100 * value:.3g} %"
    return duration(value, digits=2) if unit == "seconds" else short_count(value)


def curves(found: Response, along: str, quantity: str, looks: Mapping[str, Look], by: str | None = None) -> Figure:
    """Draw a figure along a numeric key, a line for each projection; with `by`, a panel for each value of that key.

    Bands are the 95 % intervals between repetitions.
    """
    rows = found.of(quantity)
    if rows.is_empty():
        return blank("There is nothing to draw.")
    others: Sequence[float | str | None] = found.values(by)[:PANELS_MAX] if by else [None]
    across = min(3, len(others))
    down = -(-len(others) // across)
    margin = 2.1
    height = max(0.75 + 2.1 * down if by else 3.2, 0.9 + 0.36 * len(found.projections))
    with drawing():
        figure = Figure(figsize=(WIDTH, height))
        grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
        figure.subplots_adjust(left=0.8 / WIDTH, right=1 - margin / WIDTH, top=1 - 0.3 / height,
                               bottom=0.55 / height, hspace=0.3, wspace=0.12)  # fmt: skip
        unit = str(rows["unit"][0])
        for place, other in enumerate(others):
            axes = grid[place // across][place % across]
            mine = rows if by is None else rows.filter(pl.col(by) == other)
            _panel(axes, mine, found, along, looks)
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: shown(value, unit)))
            if by is not None and other is not None:
                axes.set_title(elided(label(by, other), 30), fontsize=8, color=INK)
        for place in range(len(others), across * down):
            grid[place // across][place % across].set_visible(False)
        grid[-1][0].set_xlabel(along.removeprefix("projection."))
        grid[0][0].set_ylabel(TITLES.get(quantity, quantity))
        key(grid[0][-1], [(look_of(looks, name), "") for name in found.projections])
    return figure


def _panel(axes: Axes, rows: pl.DataFrame, found: Response, along: str, looks: Mapping[str, Look]) -> None:
    xs = [float(value) for value in found.values(along)]
    for name in found.projections:
        look = look_of(looks, name)
        mine = rows.filter(pl.col("projection") == name).group_by(along).agg(
            pl.col("value").mean(), pl.col("low").mean(), pl.col("high").mean()
        ).sort(along)  # fmt: skip
        axes.plot(mine[along], mine["value"], color=look.colour, linestyle=look.line, marker="o", markersize=2.5)
        sure = mine.drop_nulls()
        if not sure.is_empty():
            axes.fill_between(sure[along], sure["low"], sure["high"], color=look.colour, alpha=0.15, linewidth=0)
    if len(xs) > 1 and logarithmic(xs):
        axes.set_xscale("log")


def heat(found: Response, across: str, down: str, quantity: str) -> Figure:
    """Draw a figure over two keys, a map for each projection; all maps have one scale, and each cell its number."""
    rows = found.of(quantity)
    names = found.projections
    if rows.is_empty():
        return blank("There is nothing to draw.")
    xs, ys = found.values(across), found.values(down)
    highest = float(rows["value"].max() or 0.0)  # type: ignore[arg-type]
    unit = str(rows["unit"][0])
    columns = min(4, len(names))
    lines = -(-len(names) // columns)
    height = 0.6 + lines * (0.42 + max(0.3 * len(ys), 0.9))
    guards = dict(rows.select("projection", "guard").unique().iter_rows())
    with drawing():
        figure = Figure(figsize=(WIDTH, height))
        grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
        figure.subplots_adjust(left=0.75 / WIDTH, right=0.99, top=1 - 0.36 / height, bottom=0.5 / height,
                               hspace=0.45, wspace=0.08)  # fmt: skip
        for place, name in enumerate(names):
            axes = grid[place // columns][place % columns]
            mine = rows.filter(pl.col("projection") == name).group_by([across, down]).agg(pl.col("value").mean())
            values = {(row[across], row[down]): row["value"] for row in mine.iter_rows(named=True)}
            _map(axes, [[values.get((x, y)) for x in xs] for y in ys], highest, unit)
            title = name if guards[name] in name else f"{name} ({guards[name]})"
            axes.set_title(elided(title, 24), fontsize=7.5, color=INK)
            axes.set_xticks(range(len(xs)), [_tick(x) for x in xs], fontsize=6.5)
            axes.set_yticks(range(len(ys)), [_tick(y) for y in ys], fontsize=6.5)
        for place in range(len(names), columns * lines):
            grid[place // columns][place % columns].set_visible(False)
        figure.supxlabel(across.removeprefix("projection."), fontsize=8.5, color=INK, y=0.06 / height)
        figure.supylabel(down.removeprefix("projection."), fontsize=8.5, color=INK, x=0.004)
    return figure


def _map(axes: Axes, values: list[list[float | None]], highest: float, unit: str) -> None:
    axes.grid(visible=False)
    numbers = [[float("nan") if value is None else value for value in row] for row in values]
    axes.imshow(numbers, cmap=_COLOURS, vmin=0.0, vmax=highest or 1.0, aspect="auto", origin="lower")
    for y, row in enumerate(values):
        for x, value in enumerate(row):
            text = "" if value is None else "0" if value == 0 else shown(value, unit).replace(" %", "")
            dark = value is not None and value < 0.55 * (highest or 1.0)
            axes.text(x, y, text, ha="center", va="center", fontsize=5.8, color="white" if dark else INK)


def _tick(value: float | str) -> str:
    return f"{value:g}" if isinstance(value, float) else elided(value, 9)


def bars(found: Sequence[KeyEffect], morris: bool) -> Figure:
    """Draw how much each key has to do with a figure, with intervals; a group of bars for each projection."""
    if not found:
        return blank("There is nothing to draw.")
    names = list(dict.fromkeys(each.projection for each in found))
    height = 0.6 + 0.21 * len(found) + 0.22 * len(names)
    with drawing():
        figure = Figure(figsize=(WIDTH, height))
        axes = figure.subplots()
        figure.subplots_adjust(left=2.7 / WIDTH, right=0.97, top=1 - 0.1 / height, bottom=0.45 / height)
        y, ticks = 0.0, []
        for name in names:
            for each in (effect for effect in found if effect.projection == name):
                error = [[min(each.total_half, max(each.total, 0.0))], [each.total_half]]
                axes.barh(y, max(each.total, 0.0), 0.7, xerr=error, color="#0072B2" if each.shown else "#c9cdd1",
                          error_kw={"ecolor": FAINT, "elinewidth": 0.8})  # fmt: skip
                ticks.append((y, elided(f"{name}: {each.key.removeprefix('projection.')}", 38)))
                y -= 1
            y -= 0.6
        axes.set_yticks([place for place, _ in ticks], [text for _, text in ticks], fontsize=7.5)
        axes.set_xlabel("effect over the whole range" if morris else "share of the variance (total index)")
        axes.set_xlim(left=0)
    return figure

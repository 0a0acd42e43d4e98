"""Draw the Pareto front: a row for each portfolio, a panel for each of lag p99, rebuild, query time and disk."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from lab.advice.answer import Advice
from lab.advice.model import Reading
from lab.advice.portfolio import Portfolio
from lab.formatting import duration
from lab.report.advice.answers import portfolio_said
from lab.report.style import BAD, FAINT, INK, WIDTH_INCHES, blank, drawing, elided, margin_inches, store_colour

ROWS_MAX = 14
_NAME_MAX = 30
_SWATCH_INCHES = 0.11
# The width of a tick's text, as a share of a panel's width.
_APART = 0.45
_FACTOR_MIN = 30.0


@dataclass(frozen=True)
class _Panel:
    """One measure: its title, a portfolio's value, the ends of its interval, the level, and how values are written."""

    title: str
    value: Callable[[Portfolio], float]
    ends: Callable[[Portfolio], tuple[float | None, float | None]]
    level: float | None
    said: Callable[[float], str]


def shown(advice: Advice) -> list[Portfolio]:
    """Return the portfolios to draw: the one that is recommended, then the front in order, at most `ROWS_MAX`."""
    first = [advice.recommended] if advice.recommended else []
    names = {each.names for each in first}
    return [*first, *(each for each in advice.front if each.names not in names)][:ROWS_MAX]


def pareto(advice: Advice) -> Figure:
    """Draw the front: a hollow dot is not shown to meet all levels, a dashed line is one; the answer is in bold."""
    rows = shown(advice)
    if not rows:
        return blank("No portfolio answers every query.")
    levels = advice.problem.levels
    panels = (
        _Panel("lag p99", lambda each: each.lag.value, lambda each: _ends(each.lag), levels.lag_p99, _time),
        _Panel("rebuild", lambda each: each.rebuild.value, lambda each: _ends(each.rebuild), levels.rebuild, _time),
        _Panel("query (weighted)", lambda each: each.cost, lambda each: each.cost_interval, None, _time),
        _Panel("disk", lambda each: each.disk, lambda each: _ends(each.disk_taken), levels.disk_bytes, _bytes),
    )
    labels = [_label(each) for each in rows]
    stores = [[member.store for member in each.members or each.used] for each in rows]
    with drawing():
        swatches = 0.12 + _SWATCH_INCHES * max(map(len, stores))
        lines = [line for label in labels for line in label.splitlines()]
        left = min(margin_inches(lines), 2.3) + swatches
        tall = 0.95 + 0.33 * len(rows)
        figure = Figure(figsize=(WIDTH_INCHES, tall))
        grid = figure.subplots(1, len(panels), sharey=True)
        figure.subplots_adjust(
            left=left / WIDTH_INCHES, right=0.985, top=1 - 0.32 / tall, bottom=0.62 / tall, wspace=0.2
        )
        for axes, panel in zip(grid, panels, strict=True):
            _draw(axes, panel, rows, advice)
        _name(grid[0], rows, labels, advice, swatches)
        _swatch(grid[0], stores)
    return figure


def _ends(reading: Reading) -> tuple[float | None, float | None]:
    return reading.low, reading.high


def _label(each: Portfolio) -> str:
    """Return a portfolio's name in at most two lines."""
    lines = textwrap.wrap(portfolio_said(each), _NAME_MAX, break_long_words=False, break_on_hyphens=False)
    rest = " ".join(lines[1:])
    return "\n".join(elided(line, _NAME_MAX) for line in (lines[0], rest) if line)


def _time(value: float) -> str:
    return duration(value, digits=1)


def _bytes(value: float) -> str:
    units = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("B", 1.0))
    unit, scale = next((pair for pair in units if value >= pair[1]), units[-1])
    return f"{value / scale:.3g} {unit}"


def _draw(axes: Axes, panel: _Panel, rows: Sequence[Portfolio], advice: Advice) -> None:
    """Draw one panel: dots, whiskers where there is an interval, and the level."""
    values = [panel.value(each) for each in rows]
    known = [value for value in [*values, panel.level or 0.0] if 0 < value < math.inf]
    low, high = (min(known), max(known)) if known else (1.0, 10.0)
    # A logarithmic axis, since values can be far apart, and long enough for two ticks. 0 is drawn at its left edge.
    room = max((high / low) ** 0.12 * 1.6, (_FACTOR_MIN / (high / low)) ** 0.5)
    left, right = low / room, high * room
    axes.set_xscale("log")
    axes.set_xlim(left, right)
    _ticks(axes, left, right, panel.said)
    for place, (each, value) in enumerate(zip(rows, values, strict=True)):
        if not math.isfinite(value):
            said = "none" if math.isinf(value) else "unknown"
            axes.annotate(said, (right, place), xytext=(-3, 0), textcoords="offset points", fontsize=7, color=FAINT,
                          ha="right", va="center")  # fmt: skip
            continue
        at = max(value, left)
        start, end = panel.ends(each)
        if value and start and end:
            axes.plot([max(start, left), min(end, right)], [place, place], color=INK, linewidth=1.2)
        inside = INK if each.meets_levels else "white"
        axes.plot([at], [place], "o", color=INK, markerfacecolor=inside, markersize=5, clip_on=False, zorder=3)
        if not value:
            axes.annotate("0", (at, place), xytext=(6, 0), textcoords="offset points", fontsize=7, color=FAINT,
                          va="center")  # fmt: skip
    if panel.level is not None:
        axes.axvline(max(panel.level, left), color=BAD, linewidth=1.1, linestyle=(0, (4, 2)), zorder=1)
    if advice.recommended is not None:
        axes.axhspan(-0.45, 0.45, color="#f0f1f1", zorder=0)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.set_title(panel.title, fontsize=8.5, loc="left")
    axes.set_xlabel("kB to MB, log scale" if panel.said is _bytes else "µs to s, log scale", fontsize=7.5)
    axes.tick_params(axis="x", labelsize=7)
    axes.tick_params(axis="y", left=False)


def _ticks(axes: Axes, left: float, right: float, said: Callable[[float], str]) -> None:
    """Set two round ticks, or one where two would touch in the narrow panel."""
    low, high = math.log10(left), math.log10(right)
    start, end = low + 0.14 * (high - low), high - 0.14 * (high - low)
    decades = range(math.floor(start), math.ceil(end) + 1)
    ticks: list[float] = []
    for steps in ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0), (1.0, 2.0, 3.0, 5.0, 7.0)):
        able = [step * 10.0**decade for decade in decades for step in steps]
        able = [value for value in able if start <= math.log10(value) <= end]
        ticks = ticks or able[:1]
        if able and math.log10(able[-1] / able[0]) >= _APART * (high - low):
            ticks = [able[0], able[-1]]
            break
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: said(value)))


def _name(axes: Axes, rows: Sequence[Portfolio], labels: Sequence[str], advice: Advice, swatches: float) -> None:
    """Write the portfolios' names into the left margin, that of the recommended one in bold."""
    axes.set_yticks(range(len(rows)), labels)
    axes.tick_params(axis="y", length=0, pad=swatches * 72, labelsize=7.2)
    if advice.recommended is not None:
        axes.get_yticklabels()[0].set_fontweight("bold")


def _swatch(axes: Axes, stores: Sequence[Sequence[str]]) -> None:
    """Draw a small square in the colour of each store beside the portfolio's name."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    width = axes.get_position().width * figure.get_figwidth()
    step = _SWATCH_INCHES / width
    for place, found in enumerate(stores):
        for nth, store in enumerate(reversed(found)):
            x = -0.06 / width - step * (nth + 1)
            axes.add_patch(
                Rectangle((x, place - 0.17), step * 0.8, 0.34, color=store_colour(store), linewidth=0,
                          transform=axes.get_yaxis_transform(), clip_on=False)
            )  # fmt: skip

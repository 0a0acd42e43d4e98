"""Draw small panels side by side that share their rows; used for gaps, readers and rebuilds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from lab.report.style import BAD, CHARACTER_INCHES, FAINT, INK, WIDTH_INCHES, drawing, margin_inches

_ROW_INCHES, _HEAD_INCHES, _FOOT_INCHES = 0.44, 0.36, 0.5
_VALUE_SIZE = 7.5
_GAP_INCHES = 0.3
_ROOMY_INCHES = 1.4


@dataclass(frozen=True)
class Panel:
    """One panel: a bar for each row with its value beside it; None draws no bar.

    `bad` marks rows whose value is a violation: in another colour and hatched. `top` is the highest value that the axis
    must hold. Panels of one line with the same `scale` have the same axis.
    """

    title: str
    unit: str
    values: Sequence[float | None]
    texts: Sequence[str]
    said: Callable[[float], str]
    bad: Sequence[bool] = ()
    top: float = 0.0
    scale: str = ""


def side_by_side(names: Sequence[tuple[str, str]], colours: Sequence[str], panels: Sequence[Sequence[Panel]]) -> Figure:
    """Draw lines of panels; each panel has a row for each of `names` (a name and a remark below it)."""
    left = margin_inches([text for name in names for text in name], 0.9)
    block = _HEAD_INCHES + _ROW_INCHES * len(names) + _FOOT_INCHES
    tall = block * len(panels)
    with drawing():
        figure = Figure(figsize=(WIDTH_INCHES, tall))
        for place, line in enumerate(panels):
            room = (WIDTH_INCHES - left - _GAP_INCHES * len(line)) / len(line)
            for column, panel in enumerate(line):
                alike = [other for other in line if other is panel or (panel.scale and other.scale == panel.scale)]
                low = tall - place * block - _HEAD_INCHES - _ROW_INCHES * len(names)
                start = left + column * (room + _GAP_INCHES)
                axes = figure.add_axes(
                    (start / WIDTH_INCHES, low / tall, room / WIDTH_INCHES, _ROW_INCHES * len(names) / tall)
                )
                _rows(axes, names if column == 0 else [], len(names))
                _bars(axes, panel, colours)
                _scale(axes, panel, max(map(_highest, alike)), max(_end(other, room) for other in alike), room)
    return figure


def _rows(axes: Axes, names: Sequence[tuple[str, str]], many: int) -> None:
    """Write the names of the rows into the margin of a line's first panel."""
    axes.set_ylim(many - 0.45, -0.55)
    axes.set_yticks([])
    axes.grid(visible=False, axis="y")
    for place, (name, remark) in enumerate(names):
        for text, size, colour, offset in ((name, 8.5, INK, 1), (remark, 7.2, FAINT, -9.5)):
            axes.annotate(
                text, (0, place), xycoords=axes.get_yaxis_transform(), xytext=(-7, offset if remark else -3),
                textcoords="offset points", ha="right", va="bottom", fontsize=size, color=colour,
            )  # fmt: skip


def _bars(axes: Axes, panel: Panel, colours: Sequence[str]) -> None:
    for place, (value, text) in enumerate(zip(panel.values, panel.texts, strict=True)):
        bad = bool(panel.bad) and panel.bad[place]
        if value:
            axes.barh(
                place, value, height=0.5, color="white" if bad else colours[place], edgecolor=BAD if bad else "none",
                hatch="////" if bad else None, linewidth=1.0 if bad else 0,
            )  # fmt: skip
        axes.annotate(
            text, (value or 0.0, place), xytext=(3.5, 0), textcoords="offset points", va="center",
            fontsize=_VALUE_SIZE, color=BAD if bad else INK, weight="bold" if bad else "normal",
        )  # fmt: skip


def _highest(panel: Panel) -> float:
    return max(panel.top, *(value or 0.0 for value in panel.values)) or 1.0


def _end(panel: Panel, room_inches: float) -> float:
    """Return the end of the axis at which each text fits beside its bar inside the panel."""
    end = _highest(panel) * 1.2
    for value, text in zip(panel.values, panel.texts, strict=True):
        taken = (len(text) * CHARACTER_INCHES + 0.08) / room_inches
        end = max(end, (value or 0.0) / max(1 - taken, 0.15))
    return end


def _scale(axes: Axes, panel: Panel, highest: float, end: float, room_inches: float) -> None:
    """Set few ticks, since the values are written beside the bars."""
    axes.set_xlim(0, end)
    ticks = [tick for tick in MaxNLocator(2, steps=[1, 2, 5, 10]).tick_values(0, highest) if 0 <= tick <= end]
    # The last label must not reach into the next panel.
    ticks = [tick for tick in ticks if tick <= highest * 1.001 or tick < end * 0.8]
    axes.set_xticks(ticks[:3] if room_inches > _ROOMY_INCHES else [*ticks[:1], *ticks[1:][-1:]])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: panel.said(value)))
    axes.tick_params(axis="x", labelsize=7.2)
    axes.set_xlabel(panel.unit, fontsize=7.5, loc="left")
    axes.set_title(panel.title, fontsize=8.5, loc="left", weight="bold", pad=5)

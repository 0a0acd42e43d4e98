"""The style of all figures: a colour for each store, a line style for each projection, and inline SVG.

Every figure is drawn within `drawing()` and written by `svg()`, so a store looks the same everywhere and several
figures can be in one page without sharing an element id.
"""

from __future__ import annotations

import contextlib
import io
import math
import re
import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from lab.base import TRUTH
from lab.formatting import duration
from lab.report.words import MARKS
from lab.stores import STORES

INK, FAINT, GRID = "#222222", "#666666", "#e4e4e4"
BAD = "#D55E00"
# The source of truth, in a colour of no store.
NEUTRAL = "#4d4d4d"

# For stores without a colour of their own: chosen by the name, so a colour doesn't depend on what else is drawn.
REST = ("#009E73", "#CC79A7", "#D55E00", "#B3A600", "#4CC4A2", "#8F3F6B")
LINES: tuple[Any, ...] = ("solid", (0, (5, 1.8)), (0, (1.2, 1.4)), (0, (6, 1.6, 1.2, 1.6)), (0, (9, 1.5)))

WIDTH_INCHES = 7.6
CHARACTER_INCHES = 0.074
_RC: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#999999",
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.labelsize": 8.5,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": "#999999",
    "ytick.color": "#999999",
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "lines.linewidth": 1.7,
    "figure.facecolor": "white",
    "svg.fonttype": "none",
    # A dollar sign in a name doesn't start a formula.
    "text.parse_math": False,
}
# Matplotlib's settings are global to the process, so threads that draw take turns.
_TURN = threading.RLock()


@dataclass(frozen=True)
class Look:
    """How one projection is drawn in every figure, with its verdict."""

    name: str
    store: str
    colour: str
    line: Any
    verdict: str

    @property
    def label(self) -> str:
        """Return the name, shortened for a margin, with the verdict's mark unless it passed."""
        short = elided(self.name, 24)
        return short if self.verdict == "pass" else f"{short} {MARKS.get(self.verdict, '?')}"


def store_colour(store: str) -> str:
    """Return the colour of a store, the same in every figure of every run."""
    spec = STORES.get(store)
    return (spec.colour if spec else "") or REST[zlib.crc32(store.encode()) % len(REST)]


def looks(projections: Sequence[Mapping[str, Any]]) -> dict[str, Look]:
    """Return the look of each projection of a manifest: its store's colour, with a line style that is unique in it."""
    seen: dict[str, int] = {}
    found = {}
    for projection in projections:
        store = str(projection.get("store", ""))
        colour = store_colour(store)
        nth = seen[colour] = seen.get(colour, -1) + 1
        name = str(projection["name"])
        verdict = str(projection.get("verdict", "unknown"))
        found[name] = Look(name, store, colour, LINES[nth % len(LINES)], verdict)
    return found


def truth_look(store: str, verdict: str) -> Look:
    """Return the look of the source of truth beside projections."""
    return Look(TRUTH, store, NEUTRAL, "solid", verdict)


def look_of(known: Mapping[str, Look], name: str) -> Look:
    """Return the look of a projection; grey if the manifest doesn't name it."""
    return known.get(name) or Look(name, "", FAINT, "solid", "unknown")


def elided(text: str, characters: int) -> str:
    """Shorten a text to `most` characters by leaving out its middle."""
    text = " ".join(text.split())
    if len(text) > characters:
        text = text[: characters * 2 // 3] + "…" + text[-(characters - characters * 2 // 3 - 1) :]
    return text


@contextlib.contextmanager
def drawing() -> Iterator[None]:
    """Apply the style within a block, and restore the process's own settings afterwards."""
    with _TURN, matplotlib.rc_context(_RC):
        yield


def sheet(
    height_inches: float,
    left_inches: float,
    right_inches: float,
    rows: int = 1,
    top_inches: float = 0.12,
    heights: Sequence[float] | None = None,
) -> tuple[Figure, list[Axes]]:
    """Return a figure of the page's width, and panels above each other (of these relative heights) in fixed margins."""
    figure = Figure(figsize=(WIDTH_INCHES, height_inches))
    grid = figure.subplots(rows, 1, sharex=True, squeeze=False, height_ratios=heights)
    figure.subplots_adjust(
        left=left_inches / WIDTH_INCHES,
        right=1 - right_inches / WIDTH_INCHES,
        top=1 - top_inches / height_inches,
        bottom=0.5 / height_inches,
        hspace=0.14,
    )
    return figure, [axes for (axes,) in grid]


def margin_inches(labels: Sequence[str], at_least: float = 0.6) -> float:
    """Return the width that the longest label needs beside the axes, in inches."""
    longest = max((len(label) for label in labels), default=0)
    return min(max(at_least, 0.2 + longest * CHARACTER_INCHES), 2.9)


def key(axes: Axes, entries: Sequence[tuple[Look, str]], step_inches: float = 0.36) -> None:
    """Write names into the right margin, each with a sample of its line and a remark below it."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    width = axes.get_position().width * figure.get_figwidth()
    height = axes.get_position().height * figure.get_figheight()
    for place, (look, remark) in enumerate(entries):
        y = 1 - (0.09 + place * step_inches) / height
        x = 1 + 0.12 / width
        sample = Line2D([x, x + 0.26 / width], [y, y], color=look.colour, linestyle=look.line, transform=axes.transAxes)
        sample.set_clip_on(False)
        axes.add_line(sample)
        at = x + 0.34 / width
        axes.text(at, y, look.label, transform=axes.transAxes, va="center", fontsize=8.5)
        if remark:
            low = y - 0.145 / height
            axes.text(at, low, remark, transform=axes.transAxes, va="center", fontsize=7.2, color=FAINT)


def time_axis(axes: Axes, low_seconds: float, high_seconds: float) -> None:
    """Make an axis logarithmic, with ticks in µs, ms, s or min."""
    log_seconds(axes.xaxis, low_seconds, high_seconds)


def log_seconds(axis: Axis, low_seconds: float, high_seconds: float) -> None:
    """Make the x or y axis a logarithmic time axis between two ends."""
    across = isinstance(axis, XAxis)
    (axis.axes.set_xscale if across else axis.axes.set_yscale)("log")
    (axis.axes.set_xlim if across else axis.axes.set_ylim)(low_seconds, high_seconds)
    decades = math.log10(high_seconds / low_seconds)
    subs = (1.0, 2.0, 5.0) if decades <= 2.2 else (1.0, 3.0) if decades <= 3.2 else (1.0,)
    axis.set_major_locator(LogLocator(base=10, subs=subs, numticks=20))
    axis.set_major_formatter(FuncFormatter(lambda value, _: duration(value, digits=1)))
    axis.set_minor_formatter(NullFormatter())


def blank(text: str) -> Figure:
    """Return a figure with a text that says why there is nothing to draw."""
    figure = Figure(figsize=(WIDTH_INCHES, 0.7))
    figure.text(0.5, 0.5, text, ha="center", va="center", color=FAINT)
    return figure


_TAG = re.compile(r"<[^>]*>")
_ID = re.compile(r'(\bid="|href="#|url\(#)')
_FAMILY = re.compile(r"font-family: [^;\"]*;? ?|(?<=font: )([^;\"]*?px) [^;\"]*")


def svg(figure: Figure, name: str, spoken: str) -> str:
    """Return the figure as inline SVG with `spoken` as alternative text and ids that are unique on the page.

    Texts stay texts and take the page's font; they are laid out in a wide font, so they fit.
    """
    out = io.StringIO()
    with drawing(), matplotlib.rc_context({"svg.hashsalt": name}):
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(out, format="svg", metadata=metadata)
    text = out.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    # Text between tags is escaped data without angle brackets, so only tags are rewritten.
    text = _TAG.sub(lambda tag: _ID.sub(rf"\1{name}-", _FAMILY.sub(r"\1", tag[0])), text)
    head = f'<svg role="img" aria-label="{escape(spoken)}" '
    first, rest = text.split(">", 1)
    return head + re.sub(r'\b(width|height)="[^"]*" ?', "", first.removeprefix("<svg ")) + ">" + rest.strip()

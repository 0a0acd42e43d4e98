"""Draw the course's figures in the style of the report (`lab.report.style`).

Each function takes a finished run and returns a matplotlib Figure; `lines`, `bars` and `dots` (`charts`) take frames.
What the report draws already is taken from there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from lab.checks import CHECKS
from lab.formatting import duration, short_count
from lab.report import bars as report_bars
from lab.report import figures as report_figures
from lab.report import timelines
from lab.report.facts import lag_said
from lab.report.style import (
    BAD,
    FAINT,
    GRID,
    INK,
    WIDTH_INCHES,
    Look,
    drawing,
    elided,
    look_of,
    looks,
    margin_inches,
)
from lab.report.words import MARKS
from lab.runs import Run
from lab.teach.charts import bars, dots, lines

__all__ = ["bars", "behind", "dots", "grid", "lag", "latencies", "lines", "story", "verdicts", "visibility"]

_CELL_INCHES = 1.25


def _looks(finished: Run) -> dict[str, Look]:
    return looks(finished.manifest["projections"])


def lag(finished: Run) -> Figure:
    """Draw the share of changes that were visible within a lag, for each projection."""
    return report_figures.lag_ecdf(finished.lag, _looks(finished))


def visibility(finished: Run) -> Figure:
    """Draw the probability that a change is visible within a time after its commit."""
    return report_figures.t_visibility(finished.visibility, _looks(finished))


def behind(finished: Run) -> Figure:
    """Draw how far each projection is behind over the run; outages are shaded."""
    channel = finished.manifest["channel"] or {}
    return report_figures.staleness(finished.staleness, _looks(finished), channel.get("outages", ()))


def latencies(finished: Run) -> Figure:
    """Draw the time of each query in each projection: a dot for the p50, a whisker to the p99, a mark if cold."""
    return report_bars.queries(finished.queries, _looks(finished))


def story(finished: Run, projection: str, check: str) -> Figure:
    """Draw the witness of a failed check: source of truth, channel, projector, reader."""
    rows = finished.witnesses.filter(pl.col("projection") == projection, pl.col("check") == check)
    return timelines.timeline(rows, look_of(_looks(finished), projection))


def verdicts(finished: Run, checks: Sequence[str] | None = None) -> Figure:
    """Draw a column for each projection and a row for each check (a tick or the number of violations), then lag."""
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
    for place, quantile in enumerate(("p50", "p99")):
        axes.text(x + 0.5, y + place + 0.5, lag_said(row, quantile), ha="center", va="center", fontsize=8)


def _box(axes: Axes, x: float, y: float, face: str) -> None:
    xs = [x + 0.03, x + 0.97, x + 0.97, x + 0.03]
    ys = [y + 0.07, y + 0.07, y + 0.93, y + 0.93]
    axes.fill(xs, ys, facecolor=face, edgecolor=GRID, linewidth=0.8)


def grid(finished: Run) -> Figure:
    """Draw the p50 of each query (columns) in each projection (rows), darker the slower it is relative to the best.

    Times are hot where the run has blocks of calls, and cold otherwise.
    """
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
    # From white (the best) to dark (at least a hundred times slower).
    dark = min(1.0, math.log10(max(1.0, row["p50_us"] / best_us)) / 2)
    tone = [round(channel + (low - channel) * dark) / 255 for channel, low in ((240, 40), (246, 62), (250, 86))]
    _box(axes, x, y, to_hex((tone[0], tone[1], tone[2])))
    weight = "bold" if row["p50_us"] <= best_us else "normal"
    text = duration(row["p50_us"] / 1e6, digits=2)
    note = axes.text(x + 0.5, y + 0.5, text, ha="center", va="center", fontsize=6.6, fontweight=weight)
    note.set_color("white" if dark > 0.5 else INK)

"""Draw figures over time: the lag's distribution, t-visibility and staleness.

Millions of lags are reduced to a few hundred quantiles before they are drawn.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter

from lab.formatting import count, duration, short_count, tick
from lab.report import shading
from lab.report.style import (
    BAD,
    FAINT,
    Look,
    blank,
    drawing,
    elided,
    key,
    look_of,
    margin_inches,
    sheet,
    time_axis,
)
from lab.statistics.quantiles import median, rank

# Shares at which an ECDF is evaluated: evenly spaced, and closer together in both tails.
_TAIL = [0.0001, 0.0003, 0.001, 0.002, 0.003, 0.004]
SHARES = np.array(sorted({*np.linspace(0, 1, 201).tolist(), *_TAIL, *(1 - tail for tail in _TAIL)}))
_NEVER = "never visible"
_POINTS = 400
_NINES_MAX = 5.0


def lag_quantiles(lag: pl.DataFrame | pl.LazyFrame, names: Sequence[str] | None = None) -> pl.DataFrame:
    """Return quantiles of the visible lags: projection, share (of the visible), lag_seconds, visible, never_visible.

    Reads one projection at a time, so memory stays small for millions of changes.
    """
    lazy = lag.lazy()
    if names is None:
        names = lazy.select(pl.col("projection").unique(maintain_order=True)).collect()["projection"].to_list()
    parts = []
    for name in names:
        column = lazy.filter(pl.col("projection") == name).select(pl.col("lag_seconds").fill_nan(None)).collect()
        seconds = column["lag_seconds"]
        seen = seconds.drop_nulls().sort()
        if len(seconds) == 0:
            continue
        at = [rank(len(seen), share) - 1 for share in SHARES] if len(seen) else []
        part = pl.DataFrame({"share": SHARES[: len(at)], "lag_seconds": seen.gather(at)})
        if len(seen) == 0:
            part = pl.DataFrame({"share": [0.0], "lag_seconds": [None]}, schema_overrides={"lag_seconds": pl.Float64})
        parts.append(
            part.select(
                pl.lit(name).alias("projection"),
                "share",
                "lag_seconds",
                pl.lit(len(seen)).alias("visible"),
                pl.lit(len(seconds) - len(seen)).alias("never_visible"),
            )
        )
    columns = {"projection": pl.String, "share": pl.Float64, "lag_seconds": pl.Float64}
    return (
        pl.concat(parts) if parts else pl.DataFrame(schema=columns | {"visible": pl.Int32, "never_visible": pl.Int32})
    )


def _limits(seconds: pl.Series) -> tuple[float, float]:
    """Return the ends of a logarithmic axis around the positive values; 0 is drawn at the left end."""
    positive = seconds.filter(seconds > 0)
    low, high = (float(positive.min()), float(positive.max())) if len(positive) else (1e-3, 1.0)  # type: ignore[arg-type]
    # A single tiny value must not compress all others into the end of the axis.
    low = max(low, high / 1e7)
    return low / 1.6, max(high * 1.4, low * 10)


def lag_ecdf(lag: pl.DataFrame | pl.LazyFrame, looks: Mapping[str, Look]) -> Figure:
    """Draw the share of changes visible within a lag; a curve ends below 1 if some never became visible."""
    quantiles = lag if isinstance(lag, pl.DataFrame) and "share" in lag.columns else lag_quantiles(lag)
    groups = {str(name): part for (name,), part in quantiles.group_by("projection", maintain_order=True)}
    if not groups:
        return blank("No lag was measured.")
    low, high = _limits(quantiles["lag_seconds"].drop_nulls())
    ordered = _in_order(looks, {name: _median(part) for name, part in groups.items()})
    remarks = {name: _lag_remark(groups[name]) for name in ordered}
    with drawing():
        labels = [look_of(looks, name).label for name in ordered] + [text[:22] for text in remarks.values()]
        figure, (axes,) = sheet(max(3.4, 0.75 + 0.37 * len(ordered)), 0.65, 0.35 + margin_inches(labels))
        for name in ordered:
            _lag_curve(axes, groups[name], look_of(looks, name), low, high)
        _name_censored(axes, groups, high)
        time_axis(axes, low, high)
        axes.set_ylim(0, 1.03)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
        axes.set_ylabel("visible by then (% of changes)")
        zero = "; a lag of 0 is drawn at the left edge" if (quantiles["lag_seconds"] <= low).any() else ""
        axes.set_xlabel(f"lag from commit to visible (µs to s, log scale{zero})")
        key(axes, [(look_of(looks, name), remarks[name]) for name in ordered])
    return figure


def _in_order(looks: Mapping[str, Look], by: Mapping[str, float]) -> list[str]:
    """Sort projections by a figure; those that don't pass come last, in their own order."""
    return sorted(by, key=lambda name: (0, by[name]) if look_of(looks, name).verdict == "pass" else (1, 0.0))


def _median(part: pl.DataFrame) -> float:
    """Return the lag that half of all changes don't exceed; infinite if half never became visible."""
    visible, never = int(part["visible"][0]), int(part["never_visible"][0])
    middle = part.filter(pl.col("share") * visible >= 0.5 * (visible + never))["lag_seconds"]
    return float(middle[0]) if len(middle) and middle[0] is not None else math.inf


def _lag_remark(part: pl.DataFrame) -> str:
    never = int(part["never_visible"][0])
    middle = "p50 never" if math.isinf(_median(part)) else f"p50 {duration(_median(part))}"
    return middle if not never else f"{middle} · {short_count(never)} {_NEVER}"


def _lag_curve(axes: Axes, part: pl.DataFrame, look: Look, low: float, high: float) -> None:
    visible, never = int(part["visible"][0]), int(part["never_visible"][0])
    level = visible / (visible + never)
    x = np.maximum(part["lag_seconds"].drop_nulls().to_numpy(), low)
    y = part["share"].to_numpy()[: len(x)] * level
    axes.plot(np.append(x, high), np.append(y, level), color=look.colour, linestyle=look.line, label=look.name)
    if never:
        axes.plot([high], [level], "x", color=BAD, markersize=6, markeredgewidth=1.6, clip_on=False, zorder=5)


def _name_censored(axes: Axes, groups: Mapping[str, pl.DataFrame], high: float) -> None:
    """Write at the end of each curve that stays below 1 how many changes never became visible."""
    ends = []
    for name, part in groups.items():
        visible, never = int(part["visible"][0]), int(part["never_visible"][0])
        if never:
            text = f"{count(never)} {_NEVER}"
            ends.append((visible / (visible + never), text, f"{elided(name, 20)}: {text}"))
    y = 1.0
    for level, alone, named in sorted(ends, reverse=True):
        # Below its own curve and below the text before it, but within the axes.
        y = max(min(level - 0.055, y - 0.065), 0.03)
        axes.annotate(
            alone if len(ends) == 1 else named,
            (high, y),
            xytext=(-6, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=7.5,
            color=BAD,
            bbox={"boxstyle": "square,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.8},
        )


def t_visibility(visibility: pl.DataFrame, looks: Mapping[str, Look]) -> Figure:
    """Draw P(visible within t after commit) on a scale where each additional 9 has the same height."""
    if visibility.is_empty():
        return blank("No visibility was measured.")
    low, high = _limits(visibility["after_seconds"])
    high /= 1.4
    below_one = visibility.filter(pl.col("probability") < 1)["probability"].max()
    top = min(_NINES_MAX, max(2.5, _nines(float(below_one or 0.0)) + 0.4))  # type: ignore[arg-type]
    groups = {str(name): part for (name,), part in visibility.group_by("projection", maintain_order=True)}
    waits = {name: _wait(part, 0.99) for name, part in groups.items()}
    ordered = _in_order(looks, waits)
    with drawing():
        remarks = [_wait_remark(waits[name]) for name in ordered]
        labels = [look_of(looks, name).label for name in ordered] + remarks
        figure, (axes,) = sheet(max(3.4, 0.75 + 0.37 * len(ordered)), 0.75, 0.35 + margin_inches(labels))
        for name in ordered:
            part, look = groups[name].sort("after_seconds"), look_of(looks, name)
            x = np.maximum(part["after_seconds"].to_numpy(), low)
            y = np.minimum([_nines(value) for value in part["probability"]], top)
            axes.plot(x, y, color=look.colour, linestyle=look.line, label=look.name)
        time_axis(axes, low, high)
        axes.set_ylim(0, top + 0.06)
        levels = [level for level in (0.0, 0.5, 0.9, 0.99, 0.999, 0.9999) if _nines(level) < top - 0.25]
        axes.set_yticks([*map(_nines, levels), top], [*(f"{level * 100:.6g} %" for level in levels), "all"])
        axes.set_ylabel("P(visible within t) (%)")
        axes.set_xlabel("t, the time since commit (µs to s, log scale)")
        key(axes, [(look_of(looks, name), remark) for name, remark in zip(ordered, remarks, strict=True)])
    return figure


def _nines(probability: float) -> float:
    """Return the number of nines of a probability: 0.9 is 1, 0.99 is 2."""
    return -math.log10(max(1 - probability, 10**-_NINES_MAX))


def _wait(part: pl.DataFrame, probability: float) -> float:
    """Return the shortest time after which a change is visible with this probability."""
    times = part.filter(pl.col("probability") >= probability)["after_seconds"]
    return float(times.min()) if len(times) else math.inf  # type: ignore[arg-type]


def _wait_remark(wait_seconds: float) -> str:
    return "99 % never reached" if math.isinf(wait_seconds) else f"99 % within {duration(wait_seconds)}"


def staleness(
    staleness: pl.DataFrame,
    looks: Mapping[str, Look],
    outages: Sequence[Mapping[str, Any]] = (),
    faults: pl.DataFrame | None = None,
) -> Figure:
    """Draw how far each projection is behind over the run, in seconds and versions; outages and faults are shaded."""
    if staleness.is_empty():
        return blank("No staleness was measured.")
    thin = _thinned(staleness)
    groups = {str(name): part for (name,), part in thin.group_by("projection", maintain_order=True)}
    ordered = _in_order(looks, {name: -_peak(part) for name, part in groups.items()})
    remarks = [f"at most {duration(_peak(groups[name]))}" for name in ordered]
    end = float(thin["at_seconds"].max() or 1.0)  # type: ignore[arg-type]
    rug = shading.strips(faults, end)
    with drawing():
        labels = [look_of(looks, name).label for name in ordered] + remarks + [strip.remark[:36] for strip in rug]
        tall = max(4.4, 0.75 + 0.37 * len(ordered))
        below = shading.inches(rug)
        figure, panels = sheet(
            tall + below,
            0.75,
            0.35 + margin_inches(labels),
            rows=3 if rug else 2,
            top_inches=0.28,
            heights=[tall / 2, tall / 2, below] if rug else None,
        )
        for axes, column in zip(panels, ("seconds_behind", "versions_behind"), strict=False):
            for name in reversed(ordered):
                part, look = groups[name], look_of(looks, name)
                axes.plot(part["at_seconds"], part[column], color=look.colour, linestyle=look.line, linewidth=1.2)
            _behind_axis(axes, thin, column)
            shading.outages(axes, outages)
            shading.lines(axes, rug, looks)
        shading.name_outages(panels[0], outages)
        if rug:
            shading.draw(panels[2], rug, looks)
        panels[0].set_ylabel("behind (seconds)")
        panels[1].set_ylabel("behind (versions)")
        panels[1].yaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
        panels[-1].set_xlabel("time since the start (seconds)")
        panels[-1].set_xlim(float(thin["at_seconds"].min()), end)  # type: ignore[arg-type]
        key(panels[0], [(look_of(looks, name), remark) for name, remark in zip(ordered, remarks, strict=True)])
    return figure


def _thinned(frame: pl.DataFrame) -> pl.DataFrame:
    """Keep the highest value of each slice of time, so peaks are kept."""
    end = frame["at_seconds"].max()
    slice_seconds = float(end or 1.0) / _POINTS  # type: ignore[arg-type]
    return (
        frame.with_columns((pl.col("at_seconds") / slice_seconds).floor().alias("slice"))
        .group_by("projection", "slice", maintain_order=True)
        .agg(pl.col("at_seconds").first(), pl.col("seconds_behind", "versions_behind").fill_nan(None).max())
        .sort("slice", maintain_order=True)
    )


def _peak(part: pl.DataFrame) -> float:
    return float(part["seconds_behind"].max() or 0.0)  # type: ignore[arg-type]


def _behind_axis(axes: Axes, thin: pl.DataFrame, column: str) -> None:
    """Scale the axis from 0; compressed above the other projections' peaks if one is far behind all others."""
    peaks = thin.group_by("projection").agg(pl.col(column).max()).drop_nulls()[column]
    high = float(peaks.max() or 1.0) if len(peaks) else 1.0  # type: ignore[arg-type]
    middle = median(peaks) if len(peaks) else 0.0
    if 0 < middle * 25 < high:
        axes.set_yscale("symlog", linthresh=middle)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
        axes.text(0.005, 0.97, "log scale above", transform=axes.transAxes, fontsize=7, color=FAINT, va="top")
    axes.set_ylim(0, high * 1.06 or 1.0)

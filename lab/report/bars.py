"""Draw totals: rebuild, query times, the fates of messages, and the accounting of changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from lab.formatting import count, duration, share, short_count, size, tick
from lab.measure.temperatures import HOT
from lab.report.facts import unaccounted
from lab.report.style import (
    BAD,
    FAINT,
    INK,
    Look,
    blank,
    drawing,
    elided,
    look_of,
    margin_inches,
    sheet,
    time_axis,
)

# The parts of the committed changes, in the order of the identity. These are not the colours of stores.
PARTS: dict[str, tuple[str, str | None]] = {
    "applied": ("#4d4d4d", None),
    "superseded": ("#b9b9b9", None),
    "parked": ("#F0E442", "///"),
    "skipped": ("#CC79A7", "\\\\\\"),
    "pending": ("#ffffff", "..."),
    "unaccounted": (BAD, "xxx"),
}
_ROW_INCHES = 0.27


def rebuild(rebuild: pl.DataFrame, looks: Mapping[str, Look]) -> Figure:
    """Draw the seconds of each rebuild, the quickest first; projections that don't pass come last."""
    rows = rebuild.drop_nulls("seconds").to_dicts()
    if not rows:
        return blank("Nothing was rebuilt.")
    rows.sort(key=lambda row: (look_of(looks, row["projection"]).verdict != "pass", row["seconds"]))
    shown = [look_of(looks, row["projection"]) for row in rows]
    with drawing():
        figure, (axes,) = sheet(0.75 + 0.36 * len(rows), margin_inches([look.label for look in shown]), 2.5)
        for place, (row, look) in enumerate(zip(rows, shown, strict=True)):
            passed = look.verdict == "pass"
            axes.barh(place, row["seconds"], height=0.62, color=look.colour, alpha=1 if passed else 0.45)
            text = f"{duration(row['seconds'])} · {short_count(row['changes_per_second'])} changes/s"
            text += "" if row["size_bytes"] is None else f" · {size(row['size_bytes'])}"
            _beside(axes, row["seconds"], place, text if passed else f"{text} · {look.verdict}")
        _named_rows(axes, [look.label for look in shown])
        axes.set_xlim(0, max(row["seconds"] for row in rows) * 1.02 or 1.0)
        axes.set_xlabel("rebuild from position 0 (seconds, wall clock)")
    return figure


def _beside(axes: Axes, x: float, y: float, text: str, colour: str = INK, before: bool = False) -> None:
    offset = (-5.5, 0) if before else (4, 0)
    note = axes.annotate(text, (x, y), xytext=offset, textcoords="offset points", fontsize=7.5, color=colour)
    note.set(va="center", ha="right" if before else "left")


def _named_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)


def queries(queries: pl.DataFrame, looks: Mapping[str, Look]) -> Figure:
    """Draw a dot at p50 and a whisker to p99 for each query and projection; wrong answers are left out.

    An upright mark is the p50 of single calls, where the first figures are those of blocks.
    """
    if queries.is_empty():
        return blank("No query was asked.")
    blocks = [part for _, part in queries.group_by("kind", "query", maintain_order=True)]
    # All queries of a kind stand together, kinds in the order in which they first appear.
    kinds = queries["kind"].unique(maintain_order=True).to_list()
    blocks.sort(key=lambda part: kinds.index(part["kind"][0]))
    labels = [look_of(looks, name).label for name in queries["projection"].unique()]
    times = queries.select("p50_us", "p99_us", "cold_p50_us").unpivot()["value"].drop_nulls()
    times = times.filter(times > 0) / 1e6
    low, high = (float(times.min()), float(times.max())) if len(times) else (1e-5, 1e-2)  # type: ignore[arg-type]
    rows = sum(len(part) for part in blocks)
    with drawing():
        tall = 0.65 + 0.19 * rows + 0.34 * len(blocks)
        figure, (axes,) = sheet(tall, margin_inches(labels), 0.75)
        y, ticks, names = 0.0, [], []
        for part in blocks:
            title = f"{elided(part['query'][0], 40)} ({part['kind'][0]})"
            across = axes.get_yaxis_transform()
            axes.text(0.005, y + 0.1, title, transform=across, fontsize=8.5, weight="bold", va="center")
            if y:
                axes.axhline(y - 0.85, color="#cccccc", linewidth=0.7)
            y += 1.05
            for row in part.iter_rows(named=True):
                look = look_of(looks, row["projection"])
                _query_row(axes, y, row, look, low)
                ticks.append(y)
                names.append(look.label)
                y += 1
            y += 0.75
        # Room for the two texts beside each dot and whisker.
        high = max(high, low * 5)
        time_axis(axes, low / (high / low) ** 0.16 / 1.3, high * 1.3)
        axes.set_yticks(ticks, names)
        axes.set_ylim(y - 1.0, -0.6)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0, labelsize=7.5)
        axes.set_xlabel(f"time of one query{_at(queries)} (µs and ms, log scale)")
    return figure


def _at(queries: pl.DataFrame) -> str:
    """Say what dot, whisker and mark stand for."""
    if HOT not in queries["temperature"]:
        return ": dot at p50, whisker to p99"
    return ", hot: dot at p50, whisker to p99; upright mark: p50 cold"


def _query_row(axes: Axes, y: float, row: Mapping[str, Any], look: Look, low_seconds: float) -> None:
    p50, p99 = row["p50_us"], row["p99_us"]
    if row["answer_ok"] is False:
        _beside(axes, low_seconds, y, "✗ wrong answer, no time", BAD)
    elif p50 is None:
        _beside(axes, low_seconds, y, "not measured", FAINT)
    else:
        x, end = max(p50 / 1e6, low_seconds), max(p99 or p50, p50) / 1e6
        axes.plot([x, end], [y, y], color=look.colour, linewidth=1.6, solid_capstyle="butt")
        axes.plot([end, end], [y - 0.22, y + 0.22], color=look.colour, linewidth=1.6)
        # A hollow dot: the projection didn't pass, so its time is not comparable.
        inside = look.colour if look.verdict == "pass" else "white"
        axes.plot([x], [y], "o", color=look.colour, markerfacecolor=inside, markersize=5.2, markeredgewidth=1.3)
        if row["temperature"] == HOT and row["cold_p50_us"]:
            axes.plot([row["cold_p50_us"] / 1e6], [y], "|", color=look.colour, markersize=9, markeredgewidth=1.3)
        _beside(axes, x, y, duration(p50 / 1e6), INK, before=True)
        _beside(axes, end, y, duration(end), FAINT)


def channel(channel: pl.DataFrame) -> Figure:
    """Draw a bar for each fate of the messages."""
    rows = [row for row in channel.to_dicts() if row["messages"] is not None]
    if not rows:
        return blank("There was no channel.")
    with drawing():
        figure, (axes,) = sheet(0.7 + _ROW_INCHES * len(rows), margin_inches([row["fate"] for row in rows]), 2.9)
        for place, row in enumerate(rows):
            colour = "#4d4d4d" if row["fate"] == "delivered" else "#b9b9b9"
            axes.barh(place, row["messages"], height=0.6, color=colour)
            text = f"{count(row['messages'])} ({share(row['share'])})"
            if row["delay_p50_seconds"] is not None:
                middle, tail = duration(row["delay_p50_seconds"]), duration(row["delay_p99_seconds"])
                text += f" · delay p50 {middle}, p99 {tail}"
            _beside(axes, row["messages"], place, text)
        _named_rows(axes, [row["fate"] for row in rows])
        axes.set_xlim(0, max(row["messages"] for row in rows) * 1.02 or 1.0)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
        axes.set_xlabel("messages (count)")
    return figure


def accounting(accounting: pl.DataFrame, looks: Mapping[str, Look]) -> Figure:
    """Draw what became of the committed changes, as shares; small parts are written beside the bar."""
    rows = [row for row in accounting.to_dicts() if row["committed"]]
    if not rows:
        return blank("No change was committed.")
    for row in rows:
        row["unaccounted"] = unaccounted(row)
    shown = [part for part in PARTS if any(row[part] for row in rows)]
    labels = [look_of(looks, row["projection"]).label for row in rows]
    with drawing():
        figure, (axes,) = sheet(1.0 + 0.36 * len(rows), margin_inches(labels), 2.3, top_inches=0.42)
        for place, row in enumerate(rows):
            told = _account_bar(axes, place, row, shown)
            if row["duplicates"]:
                told.append(f"{count(row['duplicates'])} duplicates")
            _beside(axes, 1.0, place, " · ".join(told))
        _named_rows(axes, labels)
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
        axes.set_xlabel("share of committed changes (%)")
        handles = [axes.barh([0], [0], label=part, **_part_style(part)) for part in shown]
        axes.legend(handles=handles, ncols=len(shown), frameon=False, loc="lower left", bbox_to_anchor=(0, 1.0))
    return figure


def _part_style(part: str) -> dict[str, Any]:
    colour, hatch = PARTS[part]
    return {"color": colour, "hatch": hatch, "edgecolor": "#333333", "linewidth": 0.4}


def _account_bar(axes: Axes, place: int, row: Mapping[str, int], shown: Sequence[str]) -> list[str]:
    """Draw one bar; return the texts of the parts that are too narrow to be labelled inside."""
    left, told = 0.0, []
    for part in shown:
        if not row[part]:
            continue
        width = max(row[part], 0) / row["committed"]
        axes.barh(place, width, left=left, height=0.62, **_part_style(part))
        if width >= 0.16 and not PARTS[part][1]:
            ink = "white" if part == "applied" else INK
            text = count(row[part])
            axes.text(left + width / 2, place, text, ha="center", va="center", fontsize=7.5, color=ink)
        else:
            told.append(f"{count(row[part])} {part}")
        left += width
    return told

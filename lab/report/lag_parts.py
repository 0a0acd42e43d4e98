"""What the lag was spent on: the stacked figure, its table, a line for each projection, and settings that differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from lab.formatting import configured, count, duration, listed, share
from lab.report.facts import Overview
from lab.report.style import INK, Look, blank, drawing, look_of, margin_inches, sheet

# Each part's name, colour (after Okabe and Ito) and hatch.
PARTS: dict[str, tuple[str, str, str]] = {
    "wait": ("poll or message", "#56B4E9", ""),
    "queue": ("queue", "#D55E00", "///"),
    "linger": ("linger and batch", "#F0E442", ""),
    "work": ("store's work", "#0072B2", ""),
    "refresh": ("refresh", "#CC79A7", "..."),
    "repair": ("repair", "#4d4d4d", "xxx"),
}
_SETTINGS = {"batch": "batch", "linger_seconds": "linger", "every_seconds": "every"}


def lag_parts(summary: pl.DataFrame, looks: Mapping[str, Look]) -> Figure:
    """Draw the mean lag of each projection as a bar of its parts, the shortest first."""
    found = projections(summary)
    if not found:
        return blank("No change became visible.")
    whole = {name: sum(row["mean_seconds"] for row in rows) for name, rows in found.items()}
    ordered = sorted(found, key=lambda name: whole[name])
    shown = [part for part in PARTS if any(row["mean_seconds"] for row in _of(found, part))]
    labels = [look_of(looks, name).label for name in ordered]
    with drawing():
        figure, (axes,) = sheet(1.0 + 0.36 * len(ordered), margin_inches(labels), 2.3, top_inches=0.42)
        for place, name in enumerate(ordered):
            left = 0.0
            for row in found[name]:
                if row["mean_seconds"]:
                    axes.barh(place, row["mean_seconds"], left=left, height=0.62, **_style(row["part"]))
                    left += row["mean_seconds"]
            text = f"{duration(whole[name])} · {_most(found[name])}"
            axes.annotate(text, (left, place), xytext=(4, 0), textcoords="offset points", fontsize=7.5, va="center")
        axes.set_yticks(range(len(labels)), labels)
        axes.set_ylim(len(labels) - 0.4, -0.6)
        axes.set_xlim(0, max(whole.values()) * 1.02 or 1.0)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_xlabel("mean lag (seconds)")
        handles = [axes.barh([0], [0], label=PARTS[part][0], **_style(part)) for part in shown]
        axes.legend(handles=handles, ncols=len(shown), frameon=False, loc="lower left", bbox_to_anchor=(0, 1.0))
    return figure


def _style(part: str) -> dict[str, Any]:
    _, colour, hatch = PARTS[part]
    return {"color": colour, "hatch": hatch, "edgecolor": INK, "linewidth": 0.4}


def projections(summary: pl.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of `lag_parts_summary` by projection, in their order."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in summary.to_dicts():
        found.setdefault(row["projection"], []).append(row)
    return found


def _of(found: Mapping[str, Sequence[dict[str, Any]]], part: str) -> list[dict[str, Any]]:
    return [row for rows in found.values() for row in rows if row["part"] == part]


def _most(rows: Sequence[Mapping[str, Any]]) -> str:
    """Name the largest part with its share."""
    row = max(rows, key=lambda row: row["mean_seconds"])
    return f"{PARTS[row['part']][0]} {share(row['share'])}" if row["share"] is not None else "no lag"


def table_rows(summary: pl.DataFrame) -> list[dict[str, Any]]:
    """Return a row of texts for each projection: mean, share of each part (at the median, in the slowest 1 %)."""
    told = []
    for name, rows in projections(summary).items():
        cells = {}
        for row in rows:
            cells[row["part"]] = {
                "mean": duration(row["mean_seconds"]) if row["mean_seconds"] else "–",
                "shares": [share(row[f"{group}share"]) for group in ("", "median_", "slowest_")],
            }
        told.append({"name": name, "mean": duration(sum(row["mean_seconds"] for row in rows)), "cells": cells})
        told[-1] |= {"settings": settings(rows[0]), "guard": rows[0]["guard"]}
    return told


def settings(row: Mapping[str, Any]) -> str:
    """Return the settings in words: `batch 1,000, linger 50 ms, every 1 s`."""
    said = [f"batch {count(row['batch'])}"]
    for column in ("linger_seconds", "every_seconds"):
        if row[column] is not None:
            said.append(f"{_SETTINGS[column]} {configured(row[column])}")
    return ", ".join(said)


def lines(summary: pl.DataFrame) -> list[str]:
    """Return a line for each projection: its mean lag, and its parts, the largest first."""
    told = []
    for name, rows in projections(summary).items():
        largest = sorted((row for row in rows if (row["share"] or 0) >= 0.005), key=lambda row: -row["mean_seconds"])
        parts = ", ".join(f"{PARTS[row['part']][0]} {share(row['share'])}" for row in largest) or "no lag"
        told.append(f"{name}: mean {duration(sum(row['mean_seconds'] for row in rows))}: {parts} ({settings(rows[0])})")
    return told


def differing(summary: pl.DataFrame, found: Sequence[Overview]) -> str:
    """Say which settings differ among the projections that are ranked; empty if none does."""
    ranked = {each.name for each in found if each.ranked}
    rows = {name: rows[0] for name, rows in projections(summary).items() if name in ranked}
    told = []
    for column, word in _SETTINGS.items():
        values: dict[Any, list[str]] = {}
        for name, row in rows.items():
            if row[column] is not None:
                values.setdefault(row[column], []).append(name)
        if len(values) > 1:
            said = count if column == "batch" else configured
            told.append(f"{word} ({', '.join(f'{said(value)}: {listed(names)}' for value, names in values.items())})")
    if not told:
        return ""
    return f"Settings are not equal: {listed(told)}. An order by lag is first of all that of these settings."


def on_lag_parts(summary: pl.DataFrame, found: Sequence[Overview]) -> str:
    """Say what each ranked projection's lag is mostly spent on, and which settings differ."""
    rows = projections(summary)
    most: dict[str, list[str]] = {}
    for each in found:
        if each.ranked and each.name in rows:
            largest = max(rows[each.name], key=lambda row: row["mean_seconds"])
            most.setdefault(PARTS[largest["part"]][0], []).append(f"{each.name} ({share(largest['share'])})")
    told = [f"{part} in {listed(names)}" for part, names in most.items()]
    said = f"The largest part of the lag is {listed(told)}." if told else "No projection passes, so none is named."
    return " ".join(filter(None, (said, differing(summary, found))))

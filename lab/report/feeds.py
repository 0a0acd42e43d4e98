"""Draw feeds side by side: how soon each shows a change, and what it costs the source of truth; and say it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl
from matplotlib.figure import Figure

from lab.formatting import count, duration, listed, share, size, tick
from lab.report.panels import Panel, side_by_side
from lab.report.style import Look, elided, look_of

_NAME_CHARACTERS = 24
# A command that takes so much longer beside a feed is named.
_DEARER = 1.1

Row = dict[str, Any]


def feeds(table: pl.DataFrame, looks: Mapping[str, Look]) -> Figure:
    """Draw a row for each projection, and a panel for its lag, its reads, commands beside it, and bytes in the log."""
    rows = table.with_columns(command_seconds=pl.col("command_p50_us") / 1e6).to_dicts()
    names = [_named(row) for row in rows]
    colours = [look_of(looks, row["projection"]).colour for row in rows]
    lags = [
        _panel(rows, "lag, p50", "(µs to s)", "lag_p50_seconds", duration, scale="lag"),
        _panel(rows, "lag, p99", "(µs to s)", "lag_p99_seconds", duration, scale="lag"),
    ]
    costs = [
        _panel(rows, "reads", "for each change", "reads_per_change", lambda value: f"{value:.2g}"),
        _panel(rows, "a command, p50", "(µs to s)", "command_seconds", duration),
        _panel(rows, "server's log", "bytes a command", "wal_bytes_per_command", size),
    ]
    return side_by_side(names, colours, [lags, costs])


def _panel(rows: list[Row], title: str, unit: str, column: str, said: Any, scale: str = "") -> Panel:
    values = [row[column] for row in rows]
    texts = ["not told" if value is None else said(value) for value in values]
    return Panel(title, unit, values, texts, duration if said is duration else tick, scale=scale)


def _named(row: Row) -> tuple[str, str]:
    """A row's name, and below it its feed unless that is its name."""
    name, every = elided(row["projection"], _NAME_CHARACTERS), duration(row["every_seconds"])
    feed = row["feed"]
    return name, every if feed == name else f"{feed}, {every}"


def on_feeds(table: pl.DataFrame, slots: pl.DataFrame) -> str:
    """Name the quickest feed and those beside which commands take longer; say what slots kept of the log."""
    rows = [row for row in table.to_dicts() if row["lag_p50_seconds"] is not None]
    told = ""
    if rows:
        first = min(rows, key=lambda row: row["lag_p50_seconds"])
        told = (
            f"Half of its changes are visible soonest in {first['projection']}: {duration(first['lag_p50_seconds'])}."
        )
    dear = {row["feed"]: row["command_ratio"] for row in rows if row["command_ratio"] >= _DEARER}
    if dear:
        told += (
            f" Commands take longer beside {listed([f'{feed} ({share(ratio - 1)})' for feed, ratio in dear.items()])}."
        )
    for name, some in slots.group_by("projection", maintain_order=True):
        most, lost = max(some["retained_bytes"].to_list()), (some["status"] == "lost").any()
        if set(some["status"]) <= {"kept", "purged"}:
            told += f" The reader {name[0]} had {size(most)} of the log before it at most; the server keeps its log by "
            told += "rules of its own, whoever reads."
            continue
        bound = "bounded by max_slot_wal_keep_size" if some["safe_bytes"].is_not_null().any() else "bounded by nothing"
        told += f" The slot of {name[0]} kept back {size(most)} of the log at most, {bound}"
        told += ", and was lost." if lost else "."
    return f"{told} Costs are of {count(table['commands'][0])} commands of one writer, measured after the run."

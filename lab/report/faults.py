"""Draw gap strategies, readers' sessions, and rebuilds while changes keep coming."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl
from matplotlib.figure import Figure

from lab.formatting import NOTHING, count, duration, share, short_count, size, tick
from lab.report.fault_texts import first_reads
from lab.report.panels import Panel, side_by_side
from lab.report.style import Look, blank, elided, look_of

_NAME_CHARACTERS = 24
_VIOLATED = ("unread", "backward")
# The end of the axis if nothing was found.
_SMALL = 0.01
# What a session waits for, in words.
TOKENS = {
    "checkpoint": "waits for the checkpoint",
    "revision": "waits for the revision",
    "highest": "waits for the highest",
    "none": "waits for nothing",
}

Row = dict[str, Any]


def gaps(gaps: pl.DataFrame, looks: Mapping[str, Look]) -> Figure:
    """Draw loss, stall and throughput: a row for each projection and gap strategy, a panel for each cost."""
    rows = gaps.to_dicts()
    if not rows:
        return blank("No feed had gaps.")
    names = [_strategy(row) for row in rows]
    lost = Panel(
        "changes lost",
        "changes (count)",
        [row["lost"] for row in rows],
        [_lost(row) for row in rows],
        tick,
        bad=[bool(row["lost"]) for row in rows],
    )
    stall = Panel(
        "stall, p99",
        "beyond the poll (µs to s)",
        [row["stall_p99_seconds"] for row in rows],
        [duration(row["stall_p99_seconds"]) for row in rows],
        _seconds,
    )
    wrote = Panel(
        "write throughput",
        "of writers without a strategy (%)",
        [row["throughput"] for row in rows],
        [share(row["throughput"]) for row in rows],
        _per_cent,
        top=1.0,
    )
    colours = [look_of(looks, row["projection"]).colour for row in rows]
    return side_by_side(names, colours, [[lost, stall, wrote]])


def _strategy(row: Row) -> tuple[str, str]:
    """Return the row's name, and its strategy unless that is its name."""
    strategy = f"{row['strategy']} (threads)" if row["writers"] == "threads" else str(row["strategy"])
    name = elided(row["projection"], _NAME_CHARACTERS)
    return name, "" if strategy == name else strategy


def _lost(row: Row) -> str:
    told = count(row["lost"])
    return f"{told} ({count(row['given_up'])} given up)" if row["given_up"] else told


def _seconds(value: float) -> str:
    return duration(value, digits=1)


def _per_cent(value: float) -> str:
    return f"{value * 100:.3g} %"


def _part(part: float | None, whole: float | None) -> float | None:
    return None if part is None or not whole else part / whole


def _counted(part: float | None, whole: float | None) -> str:
    """Format a share with its count; 0 if the count is 0."""
    if part is None or not whole:
        return NOTHING
    return "0" if part == 0 else f"{share(part / whole)} ({short_count(part)})"


def readers(readers: pl.DataFrame, looks: Mapping[str, Look]) -> Figure:
    """Draw what sessions saw: answered or told "stale", answered without their own write, an older revision later.

    The first read of a session is answered or stale, so these two add up to all sessions.
    """
    rows = readers.to_dicts()
    if not rows:
        return blank("No session read anything.")
    names = [
        (elided(row["projection"], _NAME_CHARACTERS), TOKENS.get(row["token"], elided(row["token"], _NAME_CHARACTERS)))
        for row in rows
    ]
    parts = [
        ("answered", "answered", "of first reads (%)"),
        ("stale", 'said "stale"', "of first reads (%)"),
        ("unread", "own write unread", "of first reads (%)"),
        ("backward", "went backward", "of all reads (%)"),
    ]
    panels = []
    for column, title, unit in parts:
        shares = [_part(row[column], row["reads"] if column == "backward" else first_reads(row)) for row in rows]
        panels.append(
            Panel(
                title,
                unit,
                shares,
                [share(value) for value in shares],
                _per_cent,
                bad=[column in _VIOLATED and bool(row[column]) for row in rows],
                top=1.0 if column == "answered" else _SMALL,
                scale="" if column == "answered" else "violations",
            )
        )
    return side_by_side(names, [look_of(looks, row["projection"]).colour for row in rows], [panels])


def rebuilds(rebuilds: pl.DataFrame, looks: Mapping[str, Look]) -> Figure:
    """Draw the rebuilds while changes kept coming: what readers saw above, the cost below."""
    rows = rebuilds.to_dicts()
    if not rows:
        return blank("Nothing was rebuilt under fire.")
    names = [(elided(row["projection"], _NAME_CHARACTERS), str(row["mode"])) for row in rows]
    parts = {
        column: [_part(row[column], row["reads"]) for row in rows] for column in ("partial_reads", "backward_reads")
    }
    seen = [
        Panel(
            title,
            "of reads meanwhile (%)",
            parts[column],
            [_counted(row[column], row["reads"]) for row in rows],
            _per_cent,
            bad=[bool(row[column]) for row in rows],
            top=_SMALL,
            scale="reads",
        )
        for column, title in (("partial_reads", "partial reads"), ("backward_reads", "backward reads"))
    ]
    behind = [row["behind_max_seconds"] for row in rows]
    took = [row["seconds"] for row in rows]
    peak = [row["peak_bytes"] for row in rows]
    rest = [row["resting_bytes"] for row in rows]
    cost = [
        Panel("time", "seconds, simulated", took, [duration(value) for value in took], _seconds),
        Panel("disk at the peak", "bytes", peak, [size(value) for value in peak], _bytes, scale="disk"),
        Panel("disk at rest", "bytes", rest, [size(value) for value in rest], _bytes, scale="disk"),
    ]
    stale = Panel("furthest behind", "seconds, simulated", behind, [duration(value) for value in behind], _seconds)
    colours = [look_of(looks, row["projection"]).colour for row in rows]
    return side_by_side(names, colours, [[*seen, stale], cost])


def _bytes(value: float) -> str:
    text, _, unit = size(value).partition(" ")
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} {unit}"

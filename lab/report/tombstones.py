"""Draw and describe tombstones that expire: what comes back for want of them, against what they take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl
from matplotlib.figure import Figure

from lab.formatting import configured, count, listed, plural, size, tick
from lab.report.panels import Panel, side_by_side
from lab.report.style import Look, elided, look_of

_NAME_CHARACTERS = 24


def retention(row: Mapping[str, Any]) -> str:
    """Return for how long a projection keeps tombstones, in words."""
    limits = [] if row["retention_seconds"] is None else [configured(row["retention_seconds"])]
    limits += [] if row["retention_rows"] is None else [plural(row["retention_rows"], "row")]
    return listed(limits) if limits else "for ever"


def tombstones(table: pl.DataFrame, looks: Mapping[str, Look]) -> Figure:
    """Draw what came back, and what the tombstones take that are kept at the most."""
    rows = table.to_dicts()
    names = [(elided(row["projection"], _NAME_CHARACTERS), retention(row)) for row in rows]
    back = [row["resurrected"] for row in rows]
    panels = [
        Panel("came back", "records (count)", back, [count(value) for value in back], tick, bad=list(map(bool, back))),
        Panel("kept", "at the most (count)", *_told([row["kept"] for row in rows]), tick),
        Panel("disk", "of these (bytes)", [row["kept_bytes"] for row in rows],
              [size(row["kept_bytes"]) for row in rows], size),
    ]  # fmt: skip
    return side_by_side(names, [look_of(looks, row["projection"]).colour for row in rows], [panels])


def _told(values: list[int]) -> tuple[list[int], list[str]]:
    return values, [count(value) for value in values]


def on_tombstones(table: pl.DataFrame) -> str:
    """Say of each retention what came back, and what its tombstones take."""
    said = [
        f"{row['projection']} ({retention(row)}): {count(row['resurrected'])} came back, and "
        f"{plural(row['kept'], 'tombstone')} took {size(row['kept_bytes'])} at the most"
        for row in table.iter_rows(named=True)
    ]
    return f"A message that is later than a tombstone is kept brings back what was deleted. {'; '.join(said)}."

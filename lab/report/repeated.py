"""The figures of a run of several repetitions, as rows of text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lab.base import TRUTH
from lab.formatting import NOTHING, duration, share, short_count, size
from lab.measure.figures import figures
from lab.runs import Run

_TOLD: dict[str, Callable[[float], str]] = {
    "s": duration,
    "share": share,
    "bytes": size,
    "1/s": lambda value: f"{short_count(value)}/s",
}


def figure_rows(run: Run) -> list[dict[str, Any]]:
    """Return a row of texts for each figure: name, owner, median, interval, range, why there is no interval.

    A run of one repetition has none: its figures are in their own sections.
    """
    if run.repetitions == 1:
        return []
    return [_row(row) for row in figures(run).to_dicts()]


def _row(row: dict[str, Any]) -> dict[str, Any]:
    told = _TOLD[row["unit"]]
    known = sorted(value for value in row["values"] if value is not None)
    name = " ".join(filter(None, (row["quantity"].replace("_", " "), row["query"], row["temperature"])))
    median = NOTHING if row["value"] is None else "never" if row["value"] == float("inf") else told(row["value"])
    there = row["low"] is not None and row["high"] is not None
    return {
        "name": name,
        "owner": row["projection"] or TRUTH,
        "median": median,
        "interval": f"{told(row['low'])} to {told(row['high'])}" if there else NOTHING,
        "least": told(known[0]) if known else NOTHING,
        "most": ("never" if known[-1] == float("inf") else told(known[-1])) if known else NOTHING,
        "reason": "; ".join(filter(None, (row["reason"], row["note"]))),
    }

"""Say how projections recovered from outages, crashes and slow periods: rows of texts for page and terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from lab.formatting import NOTHING, configured, count, duration, plural, share, short_count

_LINES_MAX = 12


def rows(recovery: pl.DataFrame) -> list[dict[str, str]]:
    """Return a row of texts for each row of the table `recovery`."""
    return [
        {
            "projection": row["projection"],
            "fault": _fault(row),
            "when": f"{configured(row['at_seconds'])}, for {configured(row['until_seconds'] - row['at_seconds'])}",
            "band": duration(row["band_seconds"]),
            "debt": count(row["debt_peak"]),
            "drained": NOTHING if row["drained_per_second"] is None else f"{short_count(row['drained_per_second'])}/s",
            "back": _back(row),
            "head_room": share(row["head_room"]),
            "needed": share(row["head_room_needed"]),
        }
        for row in recovery.to_dicts()
    ]


def _fault(row: Mapping[str, Any]) -> str:
    return f"{row['fault']} ({row['faults']})" if row["faults"] > 1 else str(row["fault"])


def _back(row: Mapping[str, Any]) -> str:
    if row["back_after_seconds"] is None:
        return "not back" if row["band_seconds"] is not None else NOTHING
    return duration(row["back_after_seconds"]) if row["back_after_seconds"] > 0 else "at once"


def lines(recovery: pl.DataFrame) -> list[str]:
    """Return a line for each of the first rows, for the terminal."""
    told = []
    for row in rows(recovery.head(_LINES_MAX)):
        back = f"back after {row['back']}" if row["back"][0].isdigit() else row["back"]
        line = f"{row['projection']}, {row['fault']} at {row['when']}: debt {row['debt']}, {back}"
        if row["drained"] != NOTHING:
            line += f" (drained {row['drained']}, head room {row['head_room']})"
        told.append(line)
    more = recovery.height - _LINES_MAX
    return [*told, f"... {plural(more, 'more row')} in recovery.parquet"] if more > 0 else told


def on_recovery(recovery: pl.DataFrame) -> str:
    """Say which recovery took longest, and which did not end."""
    stuck = [row for row in recovery.to_dicts() if _back(row) == "not back"]
    ended = recovery.drop_nulls("back_after_seconds").sort("back_after_seconds", descending=True)
    told = []
    if ended.height:
        row = ended.row(0, named=True)
        told.append(
            f"The longest recovery was that of {row['projection']} from the {row['fault']} at"
            f" {configured(row['at_seconds'])}: {_back(row)} after its end, with a debt of"
            f" {plural(row['debt_peak'], 'change')} at the peak."
        )
    for row in stuck:
        told.append(f"{row['projection']} was not back by the end of the run.")
    return " ".join(dict.fromkeys(told))

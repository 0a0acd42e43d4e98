"""Rows of texts about other settings, and about how busy each projection is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from lab.formatting import NOTHING, duration, share
from lab.statistics.steady import NOT_STABLE

_ANSWERED = pl.col("reason").is_null() | (pl.col("reason") == NOT_STABLE) | pl.col("p50_seconds").is_not_null()
# From this share of the time on, a projection is close to its limit.
_BUSY = 0.8


def rows(table: pl.DataFrame) -> list[dict[str, str]]:
    """Return a row of texts for each row of the table `what_if` that has an answer; that a lag grows is one."""
    return [
        {
            "projection": row["projection"],
            "what": row["what"],
            "p50": "not stable" if row["reason"] == NOT_STABLE else duration(row["p50_seconds"]),
            "p99": "not stable" if row["reason"] == NOT_STABLE else duration(row["p99_seconds"]),
            "p50_change": _change(row, "p50"),
            "p99_change": _change(row, "p99"),
        }
        for row in table.filter(_ANSWERED).to_dicts()
    ]


def unanswered(table: pl.DataFrame) -> str:
    """Say of which projections, or of which of their settings, there is no answer, and why."""
    told = []
    for row in table.filter(~_ANSWERED).to_dicts():
        setting = "" if row["what"] == "as it is" else f", {row['what']}"
        told.append(f"{row['projection']}{setting}: {row['reason']}")
    return "; ".join(told)


def _change(row: Mapping[str, Any], quantile: str) -> str:
    """Format a paired difference with its interval."""
    column = f"{quantile}_difference"
    if row[f"{column}_seconds"] is None:
        return NOTHING
    said = _signed(row[f"{column}_seconds"])
    low, high = row[f"{column}_low_seconds"], row[f"{column}_high_seconds"]
    return said if low is None or high is None else f"{said} ({_signed(low)} to {_signed(high)})"


def _signed(seconds: float) -> str:
    return "0 s" if seconds == 0 else f"{'+' if seconds > 0 else '−'}{duration(abs(seconds))}"


def busy_rows(table: pl.DataFrame) -> list[dict[str, str]]:
    """Return a row of texts for each row of the table `utilisation`."""
    return [
        {
            "projection": row["projection"],
            "now": share(row["busy_share"]),
            "more": _at_more(row["busy_share_foretold"]),
            "per_batch": duration(row["per_batch_seconds"]),
            "per_row": duration(row["per_row_seconds"]),
        }
        for row in table.to_dicts()
    ]


def _at_more(part: float | None) -> str:
    return f"{share(part)}: can't keep up" if part is not None and part >= 1 else share(part)


def lines(table: pl.DataFrame) -> list[str]:
    """Return a line for each projection that is close to its limit, now or with 25 % more changes."""
    return [
        f"{row['projection']}: busy {share(row['busy_share'])} of the time, {_at_more(row['busy_share_foretold'])}"
        " with 25 % more changes"
        for row in table.to_dicts()
        if max(row["busy_share"] or 0.0, row["busy_share_foretold"] or 0.0) >= _BUSY
    ]

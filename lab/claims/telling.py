"""Say in a sentence what a claim's two sides came to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lab.claims.expression import Statement, dimension, named
from lab.claims.quantities import BYTES, NUMBER, PER_SECOND, SECONDS
from lab.formatting import duration, number, plural, share, size

UNIT_NAMES = {SECONDS: "s", BYTES: "bytes", PER_SECOND: "1/s", NUMBER: ""}


def unit_of(statement: Statement) -> str:
    """Return the unit of a claim's sides: `s`, `bytes`, `1/s`, `share`, or nothing for plain numbers."""
    unit = dimension(statement.left) or dimension(statement.right) or NUMBER
    if unit == NUMBER:
        return "share" if all(call.quantity.shown == "share" for call in statement.calls) else ""
    return UNIT_NAMES.get(unit) or named(unit)


def sides(row: Mapping[str, Any]) -> str:
    """Return what was found for a row of the table `claims`: both sides, and what is between them with its interval."""
    if row["left"] is None or row["right"] is None:
        return ""
    told = f"{_shown(row['left'], row['unit'])} against {_shown(row['right'], row['unit'])}"
    if row["value"] is None or (row["low"] == row["high"] == row["value"] and row["compared"] == "difference"):
        return told
    between = _between(row)
    return f"{told}; {between}" + (f"; {plural(row['repetitions'], 'repetition')}" if row["repetitions"] > 1 else "")


def _between(row: Mapping[str, Any]) -> str:
    ratio = row["compared"] == "ratio"
    text = f"{_times(row['value'])} times as much" if ratio else f"{_shown(row['value'], row['unit'])} more"
    if row["low"] is None or row["high"] is None:
        return text
    low, high = (_times(row[end]) if ratio else _shown(row[end], row["unit"]) for end in ("low", "high"))
    return f"{text} (95 %: {low} to {high})"


def _times(value: float) -> str:
    return "infinitely many" if math.isinf(value) else number(value)


def _shown(value: float, unit: str) -> str:
    if math.isinf(value):
        return "never" if unit == "s" and value > 0 else "without end"
    match unit:
        case "s":
            return duration(value)
        case "bytes":
            return f"−{size(-value)}" if value < 0 else size(value)
        case "share":
            return f"−{share(-value)}" if value < 0 else share(value)
        case "1/s":
            return f"{number(value)}/s"
    return f"{number(value)} {unit}".rstrip() if abs(value) < 1e15 else f"{value:.3g} {unit}".rstrip()

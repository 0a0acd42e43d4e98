"""Say in a sentence what a claim's two sides came to."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from lab.claims.expression import Constant, Expression, Statement, dimension, is_share, named
from lab.claims.quantities import BYTES, NUMBER, PER_SECOND, SECONDS
from lab.formatting import count, duration, number, plural, share, size

UNIT_NAMES = {SECONDS: "s", BYTES: "bytes", PER_SECOND: "1/s", NUMBER: ""}
# Larger numbers are shown by their power of ten.
_LONG = 1e15


def unit_of(statement: Statement) -> str:
    """Return the unit of a claim's sides: `s`, `bytes`, `1/s`, `share`, or nothing for plain numbers."""
    unit = dimension(statement.left) or dimension(statement.right) or NUMBER
    if unit == NUMBER:
        return "share" if all(map(_may_be_share, (statement.left, statement.right))) else ""
    return UNIT_NAMES.get(unit) or named(unit)


def _may_be_share(side: Expression) -> bool:
    return side.value <= 1 if isinstance(side, Constant) else is_share(side)


def sides(row: Mapping[str, Any]) -> str:
    """Return what was found for a row of the table `claims`: both sides, and what is between them with its interval."""
    if row["left"] is None or row["right"] is None:
        return ""
    told, many = f"{shown(row['left'], row['unit'])} against {shown(row['right'], row['unit'])}", row["repetitions"]
    between = _between(row)
    several = f"; {plural(many, 'repetition')}" if many > 1 and row["value"] is not None else ""
    return told + (f"; {between}" if between else "") + several


def _between(row: Mapping[str, Any]) -> str:
    """What is between the sides, and its interval; nothing where there is none, since then the two sides say all."""
    if row["value"] is None or row["low"] is None or row["high"] is None:
        return ""
    if row["compared"] == "ratio":
        times: Callable[[float], str] = number if row["high"] < _LONG else "{:.3g}".format
        value, low, high = (times(row[name]) for name in ("value", "low", "high"))
        value += " times as much"
    else:
        value, low, high = (_apart(row[name], row["unit"]) for name in ("value", "low", "high"))
    return value if low == high else f"{value} (95 %: {low} to {high})"


def _apart(difference: float, unit: str) -> str:
    """By how much left exceeds right, or falls below it: `5.00 s more`, `3 percentage points less`."""
    if difference == 0:
        return "no difference"
    if math.isinf(difference):
        much = "infinitely much"
    else:
        much = shown(abs(difference), unit)
        if unit == "share":
            much = much.replace(" %", " percentage point" if much == "1 %" else " percentage points")
    return f"{much} {'more' if difference > 0 else 'less'}"


def shown(value: float, unit: str) -> str:
    """Return a side's value with its unit: `3.20 ms`, `812 B`, `12.5 %`, `1,204/s`, `−3`."""
    if value < 0:
        return f"−{shown(-value, unit)}" if math.isfinite(value) else "−∞"
    if math.isinf(value):
        return "never" if unit == "s" else "∞"
    match unit:
        case "s":
            return duration(value)
        case "bytes":
            return size(value)
        case "share":
            return share(value)
        case "1/s":
            return f"{_plain(value)}/s"
    return f"{_plain(value)} {unit}".rstrip()


def _plain(value: float) -> str:
    if value >= _LONG or 0 < value < 1 / _LONG:
        return f"{value:.3g}"
    return count(value) if value == round(value) else number(value)

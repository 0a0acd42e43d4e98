"""Format numbers with their units, lists of words, and values of a scenario, for terminal, page and notebook."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

# Stands for a value that is unknown or infinite.
NOTHING = "–"

# Not printable by Unicode, and yet harmless: joiners are part of words in some scripts.
_JOINERS = "\u200c\u200d"

# The longest list that is shown value by value.
LISTED_MAX = 20

# Characters of an exception's text that are shown.
_ERROR_MAX = 500


def printable(text: str) -> str:
    """Escape what must not reach a terminal raw: `\\x1b`, `\\n`, `\\u202e`. Other text is returned as it is.

    Data, names, file names and messages of engines go through here before they are printed. A line end is escaped too,
    so a name can't begin a line of its own.
    """
    if text.isprintable():
        return text
    return "".join(map(_shown, text))


def _shown(sign: str) -> str:
    # Control and format characters, halves of surrogate pairs, line separators and unassigned ones are not printable.
    if sign.isprintable() or sign in _JOINERS or unicodedata.category(sign) == "Zs":
        return sign
    return sign.encode("ascii", "backslashreplace").decode() if ord(sign) > 0x7F else repr(sign)[1:-1]


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's text; the name of its type if it has no text that can be shown."""
    try:
        lines = str(error).strip().splitlines()
    except Exception:
        lines = []
    return lines[0] if lines else type(error).__name__


def one_line(error: BaseException) -> str:
    """Return the type and the text of an exception in one line, escaped, and cut if it is long."""
    try:
        text = " ".join(str(error).split())
    except Exception as inner:
        text = f"(its text can't be shown: {type(inner).__name__})"
    if len(text) > _ERROR_MAX:
        text = f"{text[:_ERROR_MAX]}..."
    return printable(f"{type(error).__name__}: {text}" if text else type(error).__name__)


def number(value: float, digits: int = 3) -> str:
    """Format a number with about three digits, never in scientific notation."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else NOTHING
    # Rounded first: 0.9999 is one digit longer than it looks.
    value = float(f"{value:.{digits}g}") if abs(value) < 10**digits else value
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text and digits == 1 else text


def duration(seconds: float | None, digits: int = 3) -> str:
    """Format a duration: `12.3 ms`, `4.05 s`, `3 min 20 s`; a dash if it is unknown or infinite."""
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    if seconds < 0:
        return f"−{duration(-seconds, digits)}"
    if seconds >= 120:
        minutes, rest = divmod(round(seconds), 60)
        hours, minutes = divmod(minutes, 60)
        parts = [(hours, "h"), (minutes, "min"), (0 if hours else rest, "s")]
        return " ".join(f"{value} {unit}" for value, unit in parts if value)
    for unit, scale in (("µs", 1e6), ("ms", 1e3)):
        if seconds * scale < 999.5:
            return "0 s" if seconds == 0 else f"{number(seconds * scale, digits)} {unit}"
    return f"{number(seconds, digits)} s"


def configured(seconds: float) -> str:
    """Format a configured duration, without trailing zeros that would suggest precision."""
    text, _, unit = duration(seconds).partition(" ")
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} {unit}"


def moments(seconds: list[float]) -> list[str]:
    """Format points in time with as many decimals as distinguish all of them: `1.250 s`, `1.250014 s`."""
    decimals = next(
        (digits for digits in (3, 6) if len({f"{at:.{digits}f}" for at in seconds}) == len(set(seconds))), 9
    )
    return [f"{at:.{decimals}f} s" if math.isfinite(at) else NOTHING for at in seconds]


def microseconds(value: float | None) -> str:
    """Format a duration that is given in microseconds."""
    return duration(None if value is None else value / 1e6)


def size(size_bytes: float | None) -> str:
    """Format a size in decimal units: `812 B`, `4.10 MB`."""
    if size_bytes is None or not math.isfinite(size_bytes):
        return NOTHING
    for unit in ("B", "kB", "MB", "GB"):
        if size_bytes < 999.5:
            return f"{size_bytes:.0f} B" if unit == "B" else f"{number(size_bytes)} {unit}"
        size_bytes /= 1000
    return f"{number(size_bytes)} TB"


def count(value: float | None) -> str:
    """Format a whole number with thousands separators."""
    return NOTHING if value is None or not math.isfinite(value) else f"{value:,.0f}"


def short_count(value: float | None) -> str:
    """Format a large number briefly: `83.4 k`, `1.20 M`."""
    if value is None or not math.isfinite(value):
        return NOTHING
    for unit in ("", " k", " M"):
        if abs(value) < 999.5:
            return f"{value:.0f}" if unit == "" else f"{number(value)}{unit}"
        value /= 1000
    return f"{number(value)} G"


def tick(value: float) -> str:
    """Format a round number for an axis: `0.5`, `250`, `2.5 k`."""
    for unit in ("", " k", " M"):
        if abs(value) < 1000:
            return f"{value:.4g}{unit}"
        value /= 1000
    return f"{value:.4g} G"


def share(part: float | None) -> str:
    """Format a share in per cent; a share between 0 and 1 is never rounded to either."""
    if part is None or not math.isfinite(part):
        return NOTHING
    if 0 < part < 0.0001:
        return "under 0.01 %"
    if 0.9999 < part < 1:
        return "over 99.99 %"
    decimals = 2 if 0 < part < 0.01 or 0.99 < part < 1 else 1
    return f"{part * 100:.{decimals}f}".rstrip("0").rstrip(".") + " %"


def listed(words: list[str]) -> str:
    """Join words: `a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def ratio(larger: float, smaller: float) -> str:
    """Format how many times larger one value is than another, with the precision of a single measurement."""
    times = larger / smaller
    return f"{times:.1f} times" if times < 10 else f"{times:,.0f} times"


def setting(value: object) -> str:
    """Format a configured value: `kind lognormal, mean 0.02`, `at 10, lasts 3; at 20, lasts 1`."""
    if isinstance(value, dict):
        nested = {name: setting(item) for name, item in value.items()}
        return ", ".join(f"{name} ({text})" if ", " in text else f"{name} {text}" for name, text in nested.items())
    if isinstance(value, list | tuple) and len(value) > LISTED_MAX:
        return f"{len(value)} values"
    if isinstance(value, list | tuple):
        return "; ".join(map(setting, value)) or "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else str(value)


def plural(value: int, one: str, many: str = "") -> str:
    """Format a count with its noun: `1 change`, `2 changes`."""
    return f"{count(value)} {one if value == 1 else many or one + 's'}"


def toml(value: Any) -> str:
    """Format a value as TOML: as JSON, except for tables and one escape."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{toml_key(name)} = {toml(item)}" for name, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def toml_key(name: str) -> str:
    """Format a key of a table, in quotation marks if it needs them."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else toml(name)

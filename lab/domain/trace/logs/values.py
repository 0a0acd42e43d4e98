"""JSON with exact numbers, and times as text."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from lab.base import Kind


class Malformed(Exception):
    """A message that can't be read; the text says why."""


EPOCH = datetime(1970, 1, 1)
NANOSECONDS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
KINDS: dict[type, Kind] = {bool: "bool", int: "int", float: "float", Decimal: "float"}
WIDEST = 40
# A year that no time since 1970 in seconds, of any connector, comes near.
LATEST = 10**11
INSTANT = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9})\d*)?)?\s*(Z|UTC|[+-]\d\d(?::?\d\d(?::?\d\d)?)?)?"
)


def _constant(word: str) -> float | None:
    return None if word == "NaN" else float(word)


_DECODER = json.JSONDecoder(parse_float=Decimal, parse_constant=_constant)


def decode(text: str) -> Any:
    """Parse JSON: whole numbers as int, others as Decimal, NaN as None. Raises ValueError."""
    return _DECODER.decode(text)


class Verbatim(str):
    """A number as it stands in JSON: `1.50`, `1E5`."""


_VERBATIM = json.JSONDecoder(parse_float=Verbatim, parse_int=Verbatim, parse_constant=_constant)


def decode_verbatim(text: str) -> Any:
    """Parse JSON with its numbers as they stand there, NaN as None. Raises ValueError."""
    return _VERBATIM.decode(text)


def decode_first(text: str, start: int = 0) -> tuple[Any, int]:
    """Parse the JSON that begins at `start`; also return where it ends. Raises ValueError."""
    return _DECODER.raw_decode(text, start)


def encode(value: Any) -> str:
    """Return JSON without spaces; numbers keep their digits."""
    if isinstance(value, dict):
        each = (f"{json.dumps(key, ensure_ascii=False)}:{encode(one)}" for key, one in value.items())
        return "{" + ",".join(each) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(encode, value)) + "]"
    if isinstance(value, Decimal):
        return _digits(value)
    if isinstance(value, Verbatim):
        return str(value)
    return json.dumps(value, ensure_ascii=False)


def as_text(value: Any) -> str | None:
    """Return a value as the text of a column; nested values as JSON."""
    if value is None or type(value) is str:
        return value
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, Decimal):
        return _digits(value)
    return encode(value) if isinstance(value, dict | list) else str(value)


def _digits(value: Decimal) -> str:
    """Return all digits of a number; only one that is very large or small has an exponent."""
    return format(value, "f") if value.is_finite() and abs(value.adjusted()) < WIDEST else str(value)


def instant(text: Any) -> int | None:
    """Return a time in ISO 8601, or as PostgreSQL writes it, in nanoseconds since 1970; UTC without a zone."""
    found = INSTANT.fullmatch(text.strip()) if isinstance(text, str) else None
    if found is None:
        return None
    year, month, day, hour, minute, second, part, zone = found.groups()
    try:
        at = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second or 0), tzinfo=UTC)
    except ValueError:
        return None
    digits = re.sub(r"\D", "", zone or "").ljust(6, "0")
    offset = (int(digits[:2]) * 60 + int(digits[2:4])) * 60 + int(digits[4:6])
    seconds = (at - EPOCH.replace(tzinfo=UTC)) // timedelta(seconds=1) - (-offset if "-" in (zone or "") else offset)
    return seconds * 10**9 + int((part or "0").ljust(9, "0"))


def since_1970(value: Any, unit: str) -> int | None:
    """Return a number of seconds (`s`, `ms`, `us`, `ns`) since 1970 in nanoseconds; None for none, and for 0."""
    if isinstance(value, str) and re.fullmatch(r"\d{1,19}", value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | Decimal) or not value:
        return None
    at = int(value * NANOSECONDS[unit])
    if abs(at) > LATEST * 10**9:
        raise Malformed(f"the time {value} is no number of {unit} since 1970")
    return at


def date_text(days: int) -> str:
    """Return the date so many days after 1970-01-01."""
    try:
        return (EPOCH + timedelta(days=days)).date().isoformat()
    except OverflowError:
        raise Malformed(f"day {days} since 1970 is no date between the years 1 and 9999") from None


def time_text(nanoseconds: int) -> str:
    """Return a time of day, with as many digits of a second as there are."""
    seconds, part = divmod(nanoseconds, 10**9)
    minutes, second = divmod(seconds, 60)
    text = f"{minutes // 60:02d}:{minutes % 60:02d}:{second:02d}"
    return text + ("." + f"{part:09d}".rstrip("0") if part else "")


def timestamp_text(nanoseconds: int) -> str:
    """Return date and time in ISO 8601 without a zone, with as many digits of a second as there are."""
    days, rest = divmod(nanoseconds, 86_400 * 10**9)
    return f"{date_text(days)}T{time_text(rest)}"

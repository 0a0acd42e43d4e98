"""Values in requests and answers: which ones every engine can take, read from a text or from JSON."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from lab.base import INT_MAX, INT_MIN
from lab.decimals import fixed, scale_of, units
from lab.queries.answers import Row
from lab.queries.kinds import KINDS
from lab.queries.model import AnswerColumn, Query

# No engine's key is longer; one of LMDB's has 511 bytes at the most, and a NUL in it takes two.
KEY_BYTES_MAX = 400
TEXT_MAX = 10_000
# How a value of an engine becomes one of its column's kind, where engines differ.
CASTS: dict[str, Callable[[Any], Any]] = {"int": int, "float": float, "bool": bool}


def value(text: str, kind: str, key: bool = False) -> Any:
    """A parameter's text as a value of its kind. Raises ValueError with what is wrong."""
    if kind == "str" or scale_of(kind) is not None:
        return checked(text, kind, key)
    if kind == "bool":
        if text not in ("true", "false"):
            raise ValueError("is true or false")
        return text == "true"
    try:
        # Digits alone: `int` and `float` also read underscores, spaces and words.
        if len(text) > 40 or not set(text) <= set("+-0123456789" + ("" if kind == "int" else ".eE")):
            raise ValueError
        number: Any = int(text) if kind == "int" else float(text)
    except ValueError:
        raise ValueError("is a whole number" if kind == "int" else "is a number") from None
    return checked(number, kind, key)


def checked(found: Any, kind: str, key: bool = False) -> Any:
    """A value of its kind that every engine can take. Raises ValueError with what is wrong."""
    if (scale := scale_of(kind)) is not None:
        return _checked_decimal(found, scale)
    match kind:
        case "int":
            if isinstance(found, bool) or not isinstance(found, int):
                raise ValueError("is a whole number")
            if not INT_MIN <= found <= INT_MAX:
                raise ValueError("has 64 bits at the most")
        case "float":
            if isinstance(found, bool) or not isinstance(found, int | float):
                raise ValueError("is a number")
            if not math.isfinite(found) or abs(found) > 1e300:
                raise ValueError("is a finite number")
        case "bool":
            if not isinstance(found, bool):
                raise ValueError("is true or false")
        case "str":
            _checked_text(found, key)
    return found


def _checked_decimal(found: Any, scale: int) -> int:
    """Whole units of a number that stands in a text, so that no floating-point number rounds it on the way."""
    made = units(found, scale) if isinstance(found, str) else None
    if made is None:
        raise ValueError(f"is a decimal, in JSON a text: at most {scale} digits after the point, 64 bits without it")
    return made


def _checked_text(found: Any, key: bool) -> None:
    if not isinstance(found, str):
        raise ValueError("is a text")
    try:
        size = len(found.encode())
    except UnicodeEncodeError:
        raise ValueError("is no text: half of a surrogate pair") from None
    if "\0" in found:
        raise ValueError("is no text: it has a NUL")
    if len(found) > TEXT_MAX:
        raise ValueError(f"has {TEXT_MAX} characters at the most")
    if key and (size > KEY_BYTES_MAX or any(unicodedata.category(character) == "Cc" for character in found)):
        raise ValueError(f"is a key: {KEY_BYTES_MAX} bytes at the most, and no control characters")


def schema_of(kind: str | None, key: bool = False, nullable: bool = False, wide: bool = False) -> dict[str, Any]:
    """The JSON schema of a kind's values; of any value where only an engine knows the kind.

    A `wide` whole number is a sum, which has no bounds. Decimals are text: clients would round numbers of JSON.
    """
    if (scale := scale_of(kind)) is not None:
        kind, digits = "decimal", rf"(\.[0-9]{{1,{scale}}})?" if scale else ""
    match kind:
        case "int" if wide:
            found: dict[str, Any] = {"type": "integer"}
        case "int":
            found = {"type": "integer", "minimum": INT_MIN, "maximum": INT_MAX}
        case "decimal":
            found = {"type": "string", "pattern": f"^-?[0-9]+{digits}$"}
        case "float":
            found = {"type": "number"}
        case "bool":
            found = {"type": "boolean"}
        case "str":
            found = {"type": "string", "maxLength": KEY_BYTES_MAX if key else TEXT_MAX}
        case _:
            return {}
    return found | ({"type": [found["type"], "null"]} if nullable else {})


@lru_cache(maxsize=4096)
def _columns(query: Query) -> tuple[AnswerColumn, ...] | None:
    return KINDS[query.kind].columns(query)


def _cast(kind: str | None) -> Callable[[Any], Any] | None:
    scale = scale_of(kind)
    return CASTS.get(kind or "") if scale is None else lambda value: str(fixed(int(value), scale))


def named(query: Query, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Name the values of each row, and convert them to their columns' kinds: SQLite, for one, has no bool.

    A statement that doesn't name all of its columns has `column_1` and so on.
    """
    known = _columns(query)
    if rows and (known is None or len(known) != len(rows[0])):
        known = tuple(AnswerColumn(f"column_{number}", None) for number in range(1, len(rows[0]) + 1))
    casts = [(column.name, _cast(column.kind)) for column in known or ()]
    return [
        {
            name: item if cast is None or item is None else cast(item)
            for (name, cast), item in zip(casts, row, strict=True)
        }
        for row in rows
    ]

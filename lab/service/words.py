"""What a query is called by over HTTP: its parameters by name, and the names of its answer's columns."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

from lab.base import nearest
from lab.queries.answers import Row
from lab.queries.kinds import KINDS
from lab.queries.kinds.base import RESERVED
from lab.queries.model import Column, Parameter, Query
from lab.service.problems import Refused

# No engine's key is longer; one of LMDB's has 511 bytes at the most, and a NUL in it takes two.
KEY_BYTES_MAX = 400
TEXT_MAX = 10_000
INT_MAX = 2**63 - 1
ROWS_MAX, ROWS = 10_000, 1_000
# Seconds that a reader may wait.
WAIT_MAX, WAIT = 60.0, 5.0
# What every query takes beside its own.
COMMON = RESERVED
# How a value of an engine becomes one of its column's kind, where engines differ.
CASTS: dict[str, Callable[[Any], Any]] = {"int": int, "float": float, "bool": bool}


def parameters(query: Query) -> tuple[Parameter, ...]:
    """The query's parameters, in the order in which a store takes their values."""
    return KINDS[query.kind].parameters(query)


def columns(query: Query) -> tuple[str, ...] | None:
    """The names of an answer's columns; None for a statement that doesn't name all of them."""
    found = KINDS[query.kind].columns(query)
    return None if found is None else tuple(column.name for column in found)


def named(query: Query, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Name the values of each row, and convert them to their columns' kinds: SQLite, for one, has no bool."""
    known = KINDS[query.kind].columns(query)
    if rows and (known is None or len(known) != len(rows[0])):
        known = tuple(Column(f"column_{number}", None) for number in range(1, len(rows[0]) + 1))
    casts = [(column.name, CASTS.get(column.kind or "")) for column in known or ()]
    return [
        {
            name: value if cast is None or value is None else cast(value)
            for (name, cast), value in zip(casts, row, strict=True)
        }
        for row in rows
    ]


def values(query: Query, given: Sequence[tuple[str, str]]) -> list[Any]:
    """The values of the query's own parameters, of their kinds, in its order; all that is wrong is told at once."""
    wanted = parameters(query)
    wrong: list[str] = []
    found: list[Any] = []
    for parameter in wanted:
        texts = [text for name, text in given if name == parameter.name]
        if not 1 <= len(texts) <= parameter.most:
            often = "once" if parameter.most == 1 else f"1 to {parameter.most} times"
            wrong.append(f"`{parameter.name}` is needed {often}, and is there {len(texts)} times")
            continue
        for text in texts:
            try:
                found.append(value(text, parameter.kind, parameter.key))
            except ValueError as error:
                wrong.append(f"`{parameter.name}` {error}")
    wrong += unknown([name for name, _ in given], [*(parameter.name for parameter in wanted), *COMMON])
    if wrong:
        raise Refused(400, "; ".join(wrong))
    return list(KINDS[query.kind].given(query, found))


def unknown(given: Sequence[str], known: Sequence[str]) -> list[str]:
    """What is wrong with parameters that there are none of."""
    return [
        f"no parameter `{name[:50]}` ({nearest(name[:50], known)})"
        for name in dict.fromkeys(given)
        if name not in known
    ]


def value(text: str, kind: str, key: bool = False) -> Any:
    """A parameter's text as a value of its kind. Raises ValueError with what is wrong."""
    if kind == "str":
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
    match kind:
        case "int":
            if isinstance(found, bool) or not isinstance(found, int):
                raise ValueError("is a whole number")
            if not -INT_MAX - 1 <= found <= INT_MAX:
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

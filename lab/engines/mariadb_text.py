"""Statements of MariaDB with their values in them: its driver binds none on the server."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from pymysql.converters import escape_string

from lab.base import CannotTake

_PARTS = re.compile(r""""(?:[^"]|"")*"|'(?:[^'\\]|''|\\.)*'|`[^`]*`|/\*.*?\*/|--[^\n]*|\?""", re.DOTALL)


def literal(value: Any) -> str:
    """A value as it is written in SQL. Raises CannotTake for a number that the server has none of."""
    match value:
        case None:
            return "NULL"
        case bool():
            return "1" if value else "0"
        case int():
            return str(value)
        case float():
            if not math.isfinite(value):
                raise CannotTake(f"{value}: {NOT_FINITE}")
            return repr(value) if "e" in repr(value) else f"{value!r}e0"
        case str():
            if any("\ud800" <= one <= "\udfff" for one in value):
                raise CannotTake("a text with half of a surrogate pair")
            return f"'{escape_string(value)}'"
        case bytes():
            return f"x'{value.hex()}'"
        case _:
            return f"'{escape_string(str(value))}'"


NOT_FINITE = "MariaDB and MySQL hold no number that is infinite or not a number"


@lru_cache(maxsize=4_096)
def pieces(statement: str) -> tuple[str, ...]:
    """The parts of a statement around each `?` that stands outside of quotes and comments."""
    found, last = list[str](), 0
    for mark in _PARTS.finditer(statement):
        if mark[0] == "?":
            found.append(statement[last : mark.start()])
            last = mark.end()
    return (*found, statement[last:])


def written(statement: str, arguments: Sequence[Any]) -> str:
    """A statement with its arguments in it."""
    parts = pieces(statement)
    if len(parts) == 1:
        return statement
    return "".join([part + literal(one) for part, one in zip(parts, arguments, strict=False)]) + parts[-1]

"""What a query is called by over HTTP: its parameters by name, and the names of its answer's columns."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from lab.base import nearest
from lab.queries.answers import Row
from lab.queries.model import Query
from lab.queries.text import plain
from lab.queries.user_sql import parsed
from lab.service.problems import Refused

# How an operator is said in a parameter's name.
SUFFIX = {"=": "", ">=": "_at_least", "<": "_less_than"}
# No engine's key is longer; one of LMDB's has 511 bytes at the most, and a NUL in it takes two.
KEY_BYTES_MAX = 400
TEXT_MAX = 10_000
WORDS_MAX = 20
INT_MAX = 2**63 - 1
ROWS_MAX, ROWS = 10_000, 1_000
# Seconds that a reader may wait.
WAIT_MAX, WAIT = 60.0, 5.0
# What every query takes beside its own.
COMMON = ("at_least", "timeout", "limit")


@dataclass(frozen=True)
class Parameter:
    """One parameter: what it is called, its kind, whether it is a record's key, and how often it may be given."""

    name: str
    kind: str
    key: bool = False
    most: int = 1


def parameters(query: Query) -> tuple[Parameter, ...]:
    """The query's parameters, in the order in which a store wants their values."""
    entity = query.entity
    key = Parameter("key", entity.key, key=True)
    match query.kind:
        case "traverse" if query.walk == "path":
            return key, Parameter("other", entity.key, key=True)
        case "get" | "traverse" | "history":
            return (key,)
        case "get_many":
            return (Parameter("key", entity.key, key=True, most=query.count),)
        case "as_of":
            return key, Parameter("at", "float")
        case "search":
            return (Parameter("words", "str"),)
        case "sql":
            kinds = {one.name: one for one in (entity, *query.uses)}
            return _apart([(column, kinds[name].kind(column)) for name, column in query.parameters])
    drawn = [condition for condition in query.where if condition.drawn]
    return _apart([(one.column + SUFFIX[one.operator], entity.kind(one.column)) for one in drawn])


def _apart(named: Sequence[tuple[str, str]]) -> tuple[Parameter, ...]:
    """One name each: a second of the same name, or one that is called like a common parameter, is numbered."""
    found: dict[str, Parameter] = {}
    for name, kind in named:
        free, number = name, 2
        while free in found or free in COMMON:
            free, number = f"{name}_{number}", number + 1
        found[free] = Parameter(free, kind, key=name == "key")
    return tuple(found.values())


def columns(query: Query) -> tuple[str, ...] | None:
    """The names of an answer's columns; None for a statement that doesn't say all of them."""
    entity = query.entity
    match query.kind:
        case "aggregate":
            return (*query.group_by, *query.totals.measures)
        case "join":
            return (*entity.row, *(f"{query.on}_{column}" for column in query.take))
        case "traverse":
            return ("step", "key") if query.walk == "path" else ("key", "depth")
        case "search":
            return ("key",)
        case "history":
            return ("key", "revision", "deleted", "committed_at", *entity.columns)
        case "sql":
            names = list(parsed(query.statement).named_selects)
            return None if "*" in names or len(set(names)) < len(names) or not all(names) else tuple(names)
    return entity.row


def named(query: Query, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows with their columns' names."""
    names = columns(query)
    if rows and (names is None or len(names) != len(rows[0])):
        names = tuple(f"column_{number}" for number in range(1, len(rows[0]) + 1))
    return [dict(zip(names or (), row, strict=True)) for row in rows]


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
    if query.kind == "get_many":
        # A store expects as many keys as the query says; one that is asked for twice is found once.
        found += found[-1:] * (query.count - len(found))
    if query.kind == "search":
        found = [" ".join(pl.DataFrame({"text": found}).select(plain(("text",))).item().split()[:WORDS_MAX])]
    return found


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

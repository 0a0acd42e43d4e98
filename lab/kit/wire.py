"""The protocol of `lab check --exec`: lines of JSON between the lab and a consumer that is a process of its own.

docs/checking-in-any-language.md describes it for authors of consumers, `protocol.schema.json` for programs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from lab.base import BadInput, Problem
from lab.formatting import printable
from lab.kit.history import Row, Shape

PROTOCOL = 1
SCHEMA = Path(__file__).with_name("protocol.schema.json")
# Bytes of one line: more than any consumer of a small history has to say.
LINE_MAX = 16_000_000


def encode(message: Mapping[str, Any]) -> bytes:
    """Return a message as one line. It is ASCII, which consumers read rightly whatever encoding they expect.

    An integer is written in all its digits, a float in the fewest that give it back, a decimal and a date as text.
    Raises ValueError for what JSON has no word for: infinity, and what is not a number.
    """
    return json.dumps(message, allow_nan=False, separators=(",", ":"), default=_text).encode("ascii") + b"\n"


def _text(value: Any) -> str:
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, date | datetime):
        return value.isoformat()
    raise TypeError(f"a {type(value).__name__} has no form in JSON")


def decode(line: bytes) -> dict[str, Any]:
    """Return what a line says. Raises ValueError, with the reason, unless it is a JSON object in UTF-8."""
    try:
        found = json.loads(line.decode("utf-8"), parse_constant=_no_number)
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    except json.JSONDecodeError:
        raise ValueError("it is not JSON") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError("it is JSON, and not an object")
    return found


def _no_number(name: str) -> Any:
    raise ValueError(f"JSON has no {name}: give null, or text")


def restored(rows: list[Row], shape: Shape) -> list[Row]:
    """Return rows with their columns in the order of the history, and whole floats as floats again.

    JavaScript, for one, writes 7.0 as 7, and Go sorts columns by name: a witness reads the same in every language.
    """
    kinds = dict(shape.columns)
    found = []
    for row in rows:
        ordered = {name: row[name] for name in ("key", *kinds) if name in row} | row
        for name, value in ordered.items():
            if type(value) is int and kinds.get(name) == "float":
                ordered[name] = float(value)
        found.append(ordered)
    return found


def checked_rows(rows: Any) -> list[Row]:
    """Return the rows of an answer. Raises BadInput unless they are a list of objects with keys."""
    where = "the answer to `rows`"
    if not isinstance(rows, list) or any(not isinstance(row, dict) for row in rows):
        raise BadInput([Problem(where, "it has no list of objects", 'give "rows": [{"key": ...}, ...]')])
    if any("key" not in row for row in rows):
        names = printable(", ".join(next(row for row in rows if "key" not in row)))
        raise BadInput([Problem(where, f"a row has no `key`, only {names}", "give each row its `key`")])
    for row in rows:
        if type(row["key"]) not in (int, float, str):
            shown = printable(json.dumps(row["key"]))
            shown = shown if len(shown) <= 80 else f"{shown[:80]}..."
            raise BadInput([Problem(where, f"a key is {shown}", "give a number or a text")])
    return rows

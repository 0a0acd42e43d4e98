"""What `rows()` gives, in one form: a list of dicts with a key each, whatever holds them.

A list, a generator, a dict by key, frames of pandas and Polars, rows of SQLAlchemy and `sqlite3`, named tuples and
dataclasses are taken. Where keys or numbers come back as text, as from Redis or a JSON file, they are read, and a note
says so.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

from lab.base import BadInput, Kind, Problem
from lab.kit.history import Row, Shape

AS_TEXT = "keys come back as text: they are read as whole numbers"
AS_BYTES = "rows() gives bytes: they are read as UTF-8"
AS_JSON = "rows() gives a text for each key: it is read as JSON"


def listed(rows: Any, shape: Shape, notes: set[str]) -> list[Row]:
    """Return the rows as new dicts. Raises BadInput unless they are such rows, and each has its key."""
    found = [_row(item) for item in _items(rows, notes)]
    if shape.parts:
        found = [_with_key(row, shape) for row in found]
    if any("key" not in row for row in found):
        only = ", ".join(map(str, next(row for row in found if "key" not in row)))
        raise BadInput([Problem("rows()", f"a row has no `key`, only {only}", "call the column of the key `key`")])
    if len({len(row) for row in found}) > 1:
        # What some rows have is missing in the others: they have nothing there.
        names = dict.fromkeys(name for row in found for name in row)
        found = [dict.fromkeys(names) | row for row in found]
    numbers = [(name, kind) for name, kind in shape.columns if kind != "str"]
    if shape.by:
        numbers.append(("count", "int"))
    for row in found:
        key = row["key"]
        if type(key) in (bytes, list) or (type(key) is str and shape.key == "int" and not shape.by):
            row["key"] = _key(key, shape, notes)
        for name, kind in numbers:
            if type(row.get(name)) is str:
                row[name] = _number(row[name], name, kind, notes)
    return found


def _items(rows: Any, notes: set[str]) -> list[Any]:
    """The rows one by one. A dict has them by key."""
    if isinstance(rows, list):
        return rows
    if hasattr(rows, "to_dicts"):
        return list(rows.to_dicts())
    if hasattr(rows, "to_dict") and hasattr(rows, "columns"):
        return list(rows.to_dict("records"))
    if isinstance(rows, dict):
        return [{"key": key} | _content(value, notes) for key, value in rows.items()]
    if isinstance(rows, tuple | Iterator):
        return list(rows)
    kind = type(rows).__name__
    raise BadInput([Problem("rows()", f"gives a {kind}", "give a list with a dict for each live record")])


def _content(value: Any, notes: set[str]) -> dict[str, Any]:
    """What a dict by key has for a key: another dict, which may be bytes, or JSON."""
    if isinstance(value, bytes):
        notes.add(AS_BYTES)
        value = value.decode()
    if isinstance(value, str):
        notes.add(AS_JSON)
        value = json.loads(value)
    row = _row(value)
    if any(isinstance(part, bytes) for pair in row.items() for part in pair):
        notes.add(AS_BYTES)
        row = {_text(name): _text(part) for name, part in row.items()}
    return row


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def _row(item: Any) -> Row:
    """One row as a new dict."""
    if isinstance(item, dict):
        return dict(item)
    if hasattr(item, "_mapping"):
        return dict(item._mapping)
    if hasattr(item, "_asdict"):
        return dict(item._asdict())
    if dataclasses.is_dataclass(item) and not isinstance(item, type):
        return dataclasses.asdict(item)
    if hasattr(item, "keys") and hasattr(item, "__getitem__"):
        return {name: item[name] for name in item.keys()}  # noqa: SIM118 (a row of sqlite3 is no dict)
    kind = type(item).__name__
    raise BadInput([Problem("rows()", f"gives a list of {kind}", "give a list with a dict for each live record")])


def _with_key(row: Row, shape: Shape) -> Row:
    """A row whose key has several parts, under `key` or in columns of their own."""
    if "key" not in row and all(name in row for name, _ in shape.parts):
        return {"key": tuple(row[name] for name, _ in shape.parts)} | row
    return row


def _key(key: Any, shape: Shape, notes: set[str]) -> Any:
    if isinstance(key, list):
        return tuple(key)
    if isinstance(key, bytes):
        notes.add(AS_BYTES)
        key = key.decode()
    if shape.key == "int" and not shape.by:
        try:
            number = int(key)
        except ValueError:
            return key
        notes.add(AS_TEXT)
        return number
    return key


def _number(text: str, name: str, kind: Kind, notes: set[str]) -> Any:
    """A number or truth value that came back as text; the text itself if it is none."""
    if text.lower() in ("", "none", "null", "nan"):
        found: Any = None
    elif kind == "bool" and text.lower() in ("true", "false", "1", "0"):
        found = text.lower() in ("true", "1")
    else:
        try:
            found = int(text) if kind == "int" else float(text)
        except ValueError:
            return text
    notes.add(f"`{name}` comes back as text: it is read as {kind}")
    return found

"""One JSON object around the records, as services and data frames write it: refused, with the way to take them out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lab.base import NotReadable
from lab.domain.trace.logs import unsupported_value

TOLD_MAX = 1 << 28  # A larger file is not read again to say what is in it.
DEPTH = 3  # Objects within objects that are looked at.
PANDAS = "by pandas: to_json(..., orient='records', lines=True)"


def refuse_document(path: Path) -> None:
    """Raise NotReadable for a file that is one JSON object around the records, rather than a record on each line."""
    if path.stat().st_size > TOLD_MAX:
        return
    try:
        whole = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError:
        return
    if not isinstance(whole, dict):
        return
    what, way_out = _around(whole, path.name) or ("", "")
    if what:
        raise NotReadable(str(path), what, way_out)


def _around(whole: dict[str, Any], name: str) -> tuple[str, str] | None:
    """Return what an object is, and how its records are taken out; None for one that may be a record."""
    found = _records(whole, DEPTH)
    if found:
        place, records = found
        if known := unsupported_value(records[0]):
            return f"{known[0]}, which the lab doesn't read", known[1]
        what = f"one JSON object, and the records seem to stand in its `{place[1:]}`"
        return what, f"write that array into a file: jq '{place}' {name} > records.json"
    if isinstance(whole.get("columns"), list) and isinstance(whole.get("data"), list):
        return "one JSON object with the columns' names and the rows apart", f"write a record on each line, {PANDAS}"
    values = list(whole.values())
    if len(values) > 1 and all(isinstance(one, list) for one in values) and len({len(one) for one in values}) == 1:
        return "one JSON object with an array for each column", "write a record on each line"
    if len(values) > 1 and all(isinstance(one, dict) and one.keys() == values[0].keys() for one in values):
        if all(key.isdigit() for key in values[0]):
            return "one JSON object with an object for each column", f"write a record on each line, {PANDAS}"
        what = "one JSON object, and each of its values seems to be a record"
        return what, f"write them on lines: jq -c 'to_entries[] | {{key}} + .value' {name} > records.ndjson"
    return None


def _records(value: dict[str, Any], depth: int) -> tuple[str, list[Any]] | None:
    """Return the path and the elements of the nearest array of objects."""
    for name, one in value.items():
        if isinstance(one, list) and one and all(isinstance(each, dict) for each in one):
            return f".{name}", one
    for name, one in value.items():
        if depth > 1 and isinstance(one, dict) and (found := _records(one, depth - 1)):
            return f".{name}{found[0]}", found[1]
    return None

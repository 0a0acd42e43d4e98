"""MongoDB's documents in Debezium's log, which are text in MongoDB's extended JSON.

The fields of a document are columns; nested documents stay JSON. A change may also tell only what was altered.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from lab.domain.trace.logs.values import Malformed, decode, instant, timestamp_text

Document = dict[str, Any]


def is_document(value: Any) -> bool:
    """Return whether a value is text that a document may be."""
    return isinstance(value, str) and value.lstrip().startswith("{")


def document(text: Any) -> Document:
    """Return the fields of a document. Raises Malformed."""
    if isinstance(text, dict):
        return {name: plain(value) for name, value in text.items()}
    try:
        found = decode(text)
    except (TypeError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise Malformed("a document that is not JSON")
    return {name: plain(value) for name, value in found.items()}


def plain(value: Any) -> Any:
    """Return a value of extended JSON as a number, as text, or as what it is."""
    if isinstance(value, list):
        return [plain(one) for one in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((kind, inner),) = value.items()
        try:
            return _special(kind, inner, value)
        except (TypeError, ValueError, InvalidOperation, AttributeError):
            raise Malformed(f"`{kind}` with a value that is none") from None
    if value.keys() == {"$binary", "$type"}:
        return base64.b64decode(value["$binary"]).hex()
    return {name: plain(one) for name, one in value.items()}


def _special(kind: str, inner: Any, value: Document) -> Any:
    if kind in ("$oid", "$symbol", "$uuid"):
        return str(inner)
    if kind in ("$numberInt", "$numberLong"):
        return int(inner)
    if kind in ("$numberDouble", "$numberDecimal"):
        number = Decimal(str(inner))
        return None if number.is_nan() else number
    if kind == "$date":
        return _date(inner)
    if kind == "$binary" and isinstance(inner, dict):
        return base64.b64decode(inner["base64"]).hex()
    if kind == "$undefined":
        return None
    return {kind: plain(inner)} if not kind.startswith("$") else value


def _date(inner: Any) -> str:
    """Return a date as ISO 8601 in UTC; it is a number of milliseconds, or text."""
    if isinstance(inner, dict):
        inner = int(inner["$numberLong"])
    if isinstance(inner, str):
        if (at := instant(inner)) is None:
            raise ValueError(inner)
        return timestamp_text(at) + "Z"
    return (
        datetime.fromtimestamp(inner // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        + (f".{inner % 1000:03d}".rstrip("0") if inner % 1000 else "")
        + "Z"
    )


def identifier(key: Any) -> Document:
    """Return the `_id` that a message's key names; empty if there is none."""
    if not isinstance(key, Mapping):
        return {}
    found = key.get("id", key.get("_id"))
    if found is None:
        return {}
    if isinstance(found, str):
        with suppress(ValueError):
            found = decode(found)
    return {"_id": plain(found)}


def altered(change: Mapping[str, Any]) -> Document | None:
    """Return the fields that an update altered, if it tells no document; a field that it removed is None.

    Raises Malformed for an update of a part of a field: the rest of the field isn't known.
    """
    told = change.get("updateDescription")
    if isinstance(told, dict):
        found = document(told["updatedFields"]) if told.get("updatedFields") else {}
        removed = told.get("removedFields") or []
        parts = [*found, *removed, *(told.get("truncatedArrays") or [])]
        found |= dict.fromkeys(removed)
    elif is_document(change.get("patch")):
        patch = document(change["patch"])
        if not any(name.startswith("$") for name in patch):
            return None
        found = dict(patch.get("$set") or {}) | dict.fromkeys(patch.get("$unset") or {})
        parts = [*found, *(name for name in patch if name.startswith("$") and name not in ("$set", "$unset", "$v"))]
    else:
        return None
    for part in parts:
        if not isinstance(part, str) or "." in part or part.startswith("$"):
            what = "an update of a part of a field, without the document"
            raise Malformed(f"{what}: let the connector tell whole documents (capture.mode=change_streams_update_full)")
    return found

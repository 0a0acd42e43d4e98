"""Avro's own JSON, as kafka-avro-console-consumer writes it: a value of a union stands in an object with its type."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from lab.domain.trace.logs.values import Malformed

OF_UNIONS = "values that were in Avro's unions"
# What stands in a union of these types.
TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,), "long": (int,), "int": (int,), "boolean": (bool,), "float": (int, Decimal), "bytes": (str,),
    "double": (int, Decimal),
}  # fmt: skip
PRIMITIVE = frozenset(("string", "long", "int", "boolean", "float", "double", "bytes", "array", "map"))


def is_union(value: Any) -> bool:
    """Return whether a value is an object with a type of Avro as its only key."""
    if type(value) is not dict or len(value) != 1:
        return False
    ((name, inner),) = value.items()
    return name in PRIMITIVE or ("." in name and isinstance(inner, dict | str | int))


def united(row: dict[str, Any]) -> list[str]:
    """Return the fields of a row whose value stands in a union with its type."""
    return [
        name
        for name, value in row.items()
        if type(value) is dict
        and len(value) == 1
        and all(kind in TYPES and type(inner) in TYPES[kind] for kind, inner in value.items())
    ]


def in_unions(envelope: dict[str, Any]) -> bool:
    """Return whether a change's envelope has unions: its state in the name of its type, or its time in `long`."""
    for name in ("after", "before"):
        state = envelope.get(name)
        if isinstance(state, dict) and is_union(state):
            ((kind, inner),) = state.items()
            if "." in kind and isinstance(inner, dict):
                return True
    at = envelope.get("ts_ms")
    return isinstance(at, dict) and at.keys() == {"long"}


def without_unions(value: Any) -> Any:
    """Take every value out of its union. Bytes, whose characters stand for them, become hexadecimal digits."""
    if type(value) is dict:
        if is_union(value):
            ((name, inner),) = value.items()
            if name == "bytes" and isinstance(inner, str):
                try:
                    return inner.encode("latin-1").hex()
                except UnicodeEncodeError:
                    raise Malformed("Avro's bytes with a character beyond ÿ") from None
            return without_unions(inner)
        return {key: without_unions(one) for key, one in value.items()}
    return [without_unions(one) for one in value] if type(value) is list else value

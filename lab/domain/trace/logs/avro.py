"""Avro's own JSON, as kafka-avro-console-consumer writes it: a value of a union stands in an object with its type."""

from __future__ import annotations

from typing import Any

from lab.domain.trace.logs.values import Malformed

PRIMITIVE = frozenset(("string", "long", "int", "boolean", "float", "double", "bytes", "array", "map"))


def is_union(value: Any) -> bool:
    """Return whether a value is an object with a type of Avro as its only key."""
    if type(value) is not dict or len(value) != 1:
        return False
    ((name, inner),) = value.items()
    return name in PRIMITIVE or ("." in name and isinstance(inner, dict | str | int))


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

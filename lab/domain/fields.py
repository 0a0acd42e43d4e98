"""Check the fields of a command against the entity's columns, before any rule of the domain."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from lab.base import nearest

KINDS: dict[str, tuple[type, ...]] = {"int": (int,), "float": (float, int), "str": (str,)}


def wrong(fields: Mapping[str, Any], wanted: Mapping[str, str], nullable: Collection[str] = ()) -> tuple[str, ...]:
    """Return what is missing, unknown or not of its column's kind; `nullable` fields may be left out or null."""
    reasons = [f"no field `{name}` ({nearest(name, wanted)})" for name in fields if name not in wanted]
    for name, kind in wanted.items():
        value = fields.get(name)
        if value is None and name not in nullable:
            reasons.append(f"`{name}` is needed")
        elif value is not None and (isinstance(value, bool) or not isinstance(value, KINDS[kind])):
            reasons.append(f"`{name}` is {kind}, and {value!r} is not")
    return tuple(reasons)

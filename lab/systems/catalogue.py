"""What `lab stores` says of each system: its row, with the version that answers now, and its queries."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from lab.base import LabError
from lab.ports import Endpoint
from lab.queries.kinds import KINDS
from lab.servers import SERVERS, server
from lab.stores import STORES
from lab.systems import SYSTEMS, System


def systems() -> list[dict[str, Any]]:
    """A row for each system. Each server that one runs on is asked for its version once."""
    asked = cache(reached)
    return [row(one) | {"version": asked(one.runs) if one.runs else ""} for one in SYSTEMS.values()]


def row(one: System) -> dict[str, Any]:
    """What is known of a system without asking any server."""
    return {
        "system": one.name,
        "family": one.family,
        "roles": list(one.roles),
        "level": one.level,
        "on": one.on,
        "proof": list(one.proof),
        "why": one.why,
        "used_as": list(one.used_as),
        "stands": list(one.stands),
        "answers": answered(one.stores or one.stands),
        "consistency": one.consistency,
        "enumeration": one.enumeration,
        "limits": one.limits,
    }


def answered(stores: Iterable[str]) -> list[str]:
    """The classes of query that some of these stores answer; of one that can't be loaded, none."""
    found: set[str] = set()
    for name in stores:
        try:
            found |= STORES[name].load().answers
        except LabError:
            continue
    return [kind for kind in KINDS if kind in found]


def reached(runs: str) -> str:
    """The version of a server that answers now, or of a package that is installed; "" for none."""
    try:
        if runs in SERVERS:
            found = server(runs).find()
            return found.version if isinstance(found, Endpoint) else ""
        return version(runs)
    except (LabError, PackageNotFoundError):
        return ""

"""What stores there are, for `lab stores`: looked up without opening any."""

from __future__ import annotations

import sqlite3
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from lab.base import MissingDriver
from lab.queries.kinds import KINDS
from lab.stores import EXTRAS, STORES, store_class


def catalogue() -> list[dict[str, Any]]:
    """A row for each registered store; for one that is not installed, how to get it."""
    return [_row(name) for name in STORES]


def _row(name: str) -> dict[str, Any]:
    engine = name.partition(".")[0]
    row: dict[str, Any] = {"store": name, "family": "", "shape": "", "engine": _engine(engine), "answers": []}
    row |= {"gaps": {}, "holds": []}
    row |= {"durability": "", "installed": True, "install": ""}
    try:
        found = store_class(name)
    except MissingDriver:
        return row | {"installed": False, "install": f"pip install 'polyglot-lab[{EXTRAS.get(name, '')}]'"}
    return row | {
        "family": found.family,
        "shape": found.shape,
        "answers": [kind for kind in KINDS if kind in found.answers],
        "gaps": dict(found.gaps),
        "holds": list(found.holds),
        "durability": found.durability,
    }


def _engine(name: str) -> str:
    if name == "sqlite":
        return f"SQLite {sqlite3.sqlite_version}"
    if name in ("memory", "null"):
        return "Python"
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return name

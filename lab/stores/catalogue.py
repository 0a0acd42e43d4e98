"""What stores there are, for `lab stores`: looked up without opening any."""

from __future__ import annotations

from typing import Any

from lab.base import BadInput, MissingDriver
from lab.queries.kinds import KINDS
from lab.stores import STORES, StoreSpec


def catalogue() -> list[dict[str, Any]]:
    """A row for each registered store; for one that is not installed, how to get it."""
    return [_row(spec) for spec in STORES.values()]


def _row(spec: StoreSpec) -> dict[str, Any]:
    row: dict[str, Any] = {
        "store": spec.name,
        "family": spec.family,
        "shape": spec.shape,
        "engine": spec.engine,
        "server": spec.server,
        "package": STORES.package(spec.name),
        "answers": [],
        "gaps": {},
        "holds": [],
        "durability": "",
        "refresh_seconds": None,
        "installed": True,
        "install": "",
        "broken": "",
    }
    try:
        found = spec.load()
    except MissingDriver:
        return row | {"installed": False, "install": spec.install}
    except BadInput as error:
        return row | {"installed": False, "broken": str(error)}
    return row | {
        "answers": [kind for kind in KINDS if kind in found.answers],
        "gaps": dict(found.gaps),
        "holds": list(found.holds),
        "durability": found.durability,
        "refresh_seconds": found.capabilities.refresh,
    }

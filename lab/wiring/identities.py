"""The settings that a source of truth can't change after it was created.

Rates, durability, the channel and the projections may differ from one start to the next.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from lab.domain.model import Domain
from lab.identity import Trait
from lab.scenario import Scenario

WORKLOAD = ("commands", "arrivals", "skew", "deletes", "invalid")


def truth_traits(scenario: Scenario, business: Domain) -> dict[str, Trait]:
    """Return the seed, and what else the commands are drawn from or the history is made of.

    Requests of a load are known by their number, so a folder goes on with the workload that it began with. A domain
    whose history comes from files may have `fingerprints`, a digest for each of them.
    """
    table, found = scenario.domain, dict[str, Any](seed=scenario.seed)
    found |= {f"domain.{name}": getattr(table, name) for name in ("records", "days", "time_scale", "change_at")}
    if table.change_at is not None:
        found["domain.change_takes"] = table.change_takes
    if not business.has_trace:
        found |= {f"workload.{name}": getattr(scenario.workload, name) for name in WORKLOAD}
    for item in table.entity:
        where = f"domain.entity.{item.name}"
        found |= {f"{where}.{name}": getattr(item, name) for name in ("key", "time", "deleted", "revision")}
        found[f"{where}.skip_bad_rows"] = item.skip_bad_rows
    found |= {
        f"the content of {name}": f"SHA-256 {digest[:16]}"
        for name, digest in getattr(business, "fingerprints", {}).items()
    }
    return {name: _trait(value) for name, value in found.items() if value is not None}


def digest(traits: Mapping[str, Trait]) -> str:
    """Return sixteen hexadecimal digits of the traits' SHA-256."""
    return hashlib.sha256(json.dumps(dict(traits), sort_keys=True).encode()).hexdigest()[:16]


def _trait(value: Any) -> Trait:
    if isinstance(value, tuple):
        return tuple(map(str, value))
    return value if isinstance(value, int | str) and not isinstance(value, bool) else str(value).lower()

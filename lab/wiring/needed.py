"""Which servers a scenario needs, before anything of it begins."""

from __future__ import annotations

from lab.stores import STORES
from lab.wiring.plan import Plan


def servers(plan: Plan) -> list[tuple[str, str]]:
    """Return the servers that its stores need, each after the key that asks for it: see `lab.servers.require`."""
    asked = [(f"{plan.source.path.name}: projection.{item.name}.store", item.table.store) for item in plan.projections]
    return [(where, STORES[store].server) for where, store in asked if STORES[store].server]

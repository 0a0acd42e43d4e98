"""Which servers a scenario needs, before anything of it begins."""

from __future__ import annotations

from lab.servers import server_of
from lab.stores import STORES
from lab.truth import truth_class
from lab.wiring.plan import Plan


def servers(plan: Plan) -> list[tuple[str, str]]:
    """Return the servers that its source of truth, its stores and its channel need: see `lab.servers.require`.

    Each stands after the key that asks for it.
    """
    table, file = plan.scenario.truth, plan.source.path.name
    asked = [(f"{file}: truth.engine", truth_class(table.engine, table.model).server)]
    asked += [(f"{file}: projection.{item.name}.store", STORES[item.table.store].server) for item in plan.projections]
    channel = plan.scenario.channel
    if channel is not None and channel.broker is not None:
        asked.append((f"{file}: channel.broker", server_of(channel.broker)))
    return [(where, server) for where, server in asked if server]

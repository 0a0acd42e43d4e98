"""What only a live run does, or only a simulated one: refused by all that serve a scenario, before a process starts."""

from __future__ import annotations

from lab.base import Problem
from lab.wiring import Plan


def of_live_runs(plan: Plan) -> list[Problem]:
    """Refuse a broker, partitions and `atomic`: a service has one process a projection, and sends it its messages."""
    channel, file = plan.scenario.channel, plan.source.path.name
    what, way_out = "a service keeps each projection in one process", "leave partitions out, or use lab run --live"
    found = [
        Problem(f"{file}: projection.{item.name}.partitions", what, way_out)
        for item in plan.projections
        if item.layout.partitions
    ]
    what, way_out = "a service reads changes, and not which of them were committed together", "leave it out"
    found += [
        Problem(f"{file}: projection.{item.name}.atomic", what, way_out)
        for item in plan.projections
        if item.table.atomic == "transaction"
    ]
    what = "tombstones expire in a simulated run only"
    found += [
        Problem(f"{file}: projection.{item.name}.tombstones", what, "leave it out")
        for item in plan.projections
        if item.table.tombstones is not None
    ]
    found += refreshing(plan)
    if channel is not None and channel.broker is not None:
        what, way_out = "a service sends its messages itself", "leave it out, or use lab run --live"
        found.append(Problem(f"{file}: channel.broker", what, way_out))
    return found


def refreshing(plan: Plan) -> list[Problem]:
    """Refuse refreshes on the wall clock, where a reader would be told of a change before it is refreshed."""
    file = plan.source.path.name
    what, way_out = "refreshes are made on the simulated clock only", "refresh = 0: each batch is refreshed"
    return [
        Problem(f"{file}: projection.{item.name}.refresh", what, way_out)
        for item in plan.projections
        if item.layout.refresh
    ]

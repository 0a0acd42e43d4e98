"""What can be shared by several processes, each with partitions of its own; and what can't, with the way out."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from lab.base import Entity, LabError, Problem
from lab.channel.groups import GROUPS
from lab.feed.sliced import slices
from lab.scenario import ProjectionTable, Scenario
from lab.stores import STORES, store_class
from lab.truth.outlets import STREAMS

_ALONE = "leave partitions out"
_ONE = "one process keeps the projection"


def problems(
    table: ProjectionTable, keeps: str, feed: str, entities: Collection[Entity], scenario: Scenario, where: str
) -> list[Problem]:
    """Refuse partitions that a projection can't have. `where` is the projection's place in the scenario."""
    if table.partitions is None:
        asked = [name for name in ("members", "kills", "freezes") if getattr(table, name)]
        return [Problem(f"{where}.{name}", _ONE, "add partitions = 4") for name in asked]
    place, found = f"{where}.partitions", list[tuple[str, str, str]]()
    if scenario.time.mode != "live":
        what = "partitions are shared by processes, and on the simulated clock there is one for all projections"
        found.append((place, what, f"run it with --live, or {_ALONE}"))
    found += [(place, *one) for one in (_brokers(scenario), _stores(table), _sources(scenario, entities)) if one]
    found += [(f"{where}.{key}", what, way_out) for key, what, way_out in _alone(table, keeps, feed)]
    if table.members is not None and table.members > table.partitions:
        what = f"{table.partitions} partitions can't be shared by {table.members} members: some would have none"
        found.append((f"{where}.members", what, f"members = {table.partitions}, or raise partitions"))
    if any(other.partitions not in (None, table.partitions) for other in scenario.projection):
        what = "writers spread messages once, for all projections that have partitions"
        found.append((place, what, "give each of them the same number"))
    return [Problem(*one) for one in found]


def causes(found: Sequence[Problem]) -> list[Problem]:
    """Return the problems that follow from no other: partitions whose number is wrong are not missing."""
    given = {one.where for one in found}
    return [one for one in found if one.what != _ONE or f"{one.where.rpartition('.')[0]}.partitions" not in given]


def _brokers(scenario: Scenario) -> tuple[str, str] | None:
    broker = scenario.channel.broker if scenario.channel else None
    way_out = f'channel.broker = "redis", "nats" or "kafka", or {_ALONE}'
    if broker is None:
        return "a broker says which process has which partition, and the scenario has none", way_out
    if broker in GROUPS:
        return None
    reasons = {
        "rabbitmq": "has nothing that expires when its owner is silent, and can only be written where there is none",
        "kinesis": "deals shards out among members, and the lab has no groups on it yet",
    }
    return f"`{broker}` {reasons.get(broker, 'has no groups that the lab knows')}", way_out


def _stores(table: ProjectionTable) -> tuple[str, str] | None:
    try:
        found = store_class(table.store)
    except (LabError, KeyError):
        # Reported as such.
        return None
    if found.capabilities.fences:
        return None
    able = [name for name, spec in STORES.items() if spec.server in ("postgres", "mariadb")]
    what = f"`{table.store}` has one writer at a time, and can't refuse one that was replaced"
    return what, f"take one of {', '.join(able)}, or {_ALONE}"


def _sources(scenario: Scenario, entities: Collection[Entity]) -> tuple[str, str] | None:
    table = scenario.truth
    try:
        if slices(table.engine, table.model, entities):
            return None
    except (LabError, KeyError):
        return None
    what = f"`{table.engine}` can't hash a key that is a text, by which a page would be cut"
    return what, f'truth.engine = "postgres" or "mariadb", or {_ALONE}'


def _alone(table: ProjectionTable, keeps: str, feed: str) -> list[tuple[str, str, str]]:
    """Settings that need one process for all records."""
    found = []
    if keeps == "totals":
        what = "a group is the sum of records of all partitions, and would be written by several processes"
        found.append(("keeps", what, f'keeps = "records", or {_ALONE}'))
    if keeps == "revisions":
        what = "what its guard remembers is told apart by positions of all records"
        found.append(("keeps", what, f'keeps = "records", or {_ALONE}'))
    elif table.guard in ("dedupe", "ordered"):
        what = f"`{table.guard}` goes by positions or gaps that it keeps for all records"
        found.append(("guard", what, f'guard = "revision", or {_ALONE}'))
    if table.subscribe == "channel":
        what = "a partition is taken over at its checkpoint, and messages alone have none"
        found.append(("subscribe", what, 'subscribe = "both" or "catch-up"'))
    if feed in STREAMS:
        what = f"`{feed}` brings the changes of all records to one reader"
        found.append(("feed", what, f'feed = "poll" or "notify", or {_ALONE}'))
    if table.checkpoint != "with-data":
        what = "the fence is in the transaction of data and checkpoint, and this order has two"
        found.append(("checkpoint", what, f'checkpoint = "with-data", or {_ALONE}'))
    return found

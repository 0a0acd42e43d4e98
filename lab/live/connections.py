"""How many connections a live run needs on the servers of SQL, and whether they have room for them: asked before it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lab.base import Problem
from lab.servers import server
from lab.stores import STORES
from lab.truth.outlets import LOG, NOTIFY, OUTBOX
from lab.wiring import Plan

# Servers that limit their connections to so few that a run could meet the limit, and what they call it.
_LIMITED, _LIMIT = ("postgres", "mariadb"), "max_connections"
# What a projection has beside the connection by which it reads, by the engine of its source and its feed: one to ask
# for marks, or to hear notifications; the log itself, where that counts; and one by which MariaDB's names columns.
_FEEDS = {
    ("mariadb", OUTBOX): 1,
    ("mariadb", LOG): 3,
    ("postgres", NOTIFY): 1,
    ("postgres", OUTBOX): 1,
    ("postgres", LOG): 1,
}
# What the run itself has beside writers and projections: the ledger's, that which makes the tables, and one that looks.
_BESIDE = 4


def needed(plan: Plan) -> dict[str, int]:
    """Return by server how many connections the processes of a live run have at once, at most."""
    found = dict.fromkeys(_LIMITED, 0)
    for name in _each(plan):
        if name in found:
            found[name] += 1
    return {name: count + _BESIDE for name, count in found.items() if count}


def _each(plan: Plan) -> Iterator[str]:
    """The server of each connection."""
    scenario = plan.scenario
    yield from [scenario.truth.engine] * (scenario.writers.count if scenario.writers else 1)
    for item in plan.projections:
        lanes = max(1, item.layout.partitions)
        # One by which each lane writes, and one by which it reads; and one more while a partition is handed over.
        yield from [STORES[item.table.store].server] * (lanes + len(item.processes))
        yield from [scenario.truth.engine] * (lanes if item.pace.polls else 0)
        yield from [scenario.truth.engine] * _FEEDS.get((scenario.truth.engine, item.feed), 0)


def too_few(plan: Plan) -> list[Problem]:
    """Refuse a run for which a server has too few connections left. Raises Unavailable."""
    found, file = list[Problem](), plan.source.path.name
    for name, count in needed(plan).items():
        asked: Any = server(name)
        most, reserved, used = asked.connections()
        if count > most - reserved - used:
            others = f", {reserved} of them reserved" if reserved else ""
            has = f"{most} ({_LIMIT}){others}, {used} in use"
            what = f"the run needs {count} connections to {asked.called}, which has {has}"
            way_out = f"fewer partitions, members or writers, or raise {_LIMIT} on the server"
            found.append(Problem(f"{file}: {name}", what, way_out))
    return found

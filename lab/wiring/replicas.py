"""Which projections are replicas of each other, and what is refused."""

from __future__ import annotations

from lab.base import Problem, nearest
from lab.scenario import Scenario


def replica_names(scenario: Scenario) -> tuple[str, ...]:
    """The projections that are read as replicas: those of `[replicas]`, by default all."""
    chosen = scenario.replicas.projections if scenario.replicas else None
    return chosen or tuple(table.name for table in scenario.projection)


def problems(scenario: Scenario, file: str) -> list[Problem]:
    """Refuse unknown replicas, quorums larger than their number, and replicas that don't keep the same of one feed."""
    if scenario.replicas is None:
        return []
    names, tables = replica_names(scenario), {table.name: table for table in scenario.projection}
    where = f"{file}: replicas"
    found = [
        Problem(f"{where}.projections", f"no projection is called `{name}`", nearest(name, tables))
        for name in names
        if name not in tables
    ]
    if found:
        return found
    for key, quorum in (("read", scenario.replicas.read), ("write", scenario.replicas.write)):
        if quorum > len(names):
            what = f"a quorum of {quorum} needs as many replicas, and there are {len(names)}"
            found.append(Problem(f"{where}.{key}", what, f"at most {len(names)}, or more projections"))
    if not scenario.readers.sessions:
        found.append(Problem(where, "replicas are read by sessions, and there are none", "readers.sessions above 0"))
    first = tables[names[0]]
    for key in ("keeps", "totals", "entities", "gaps"):
        for name in names[1:]:
            if getattr(tables[name], key) != getattr(first, key):
                what = f"`{name}` and `{first.name}` are no replicas of each other: they differ in `{key}`"
                found.append(Problem(f"{where}.projections", what, "the same in both, or leave one out"))
    if any(tables[name].rebuild for name in names):
        what = "a projection with a `rebuild` can't be a replica: it is incomplete while it is rebuilt"
        found.append(Problem(f"{where}.projections", what, "leave it out, or its `rebuild`"))
    return found

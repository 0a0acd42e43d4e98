"""Which projections are replicas of each other, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lab.base import Problem, nearest
from lab.scenario import Scenario

if TYPE_CHECKING:
    from lab.wiring.plan import ProjectionPlan


def replica_names(scenario: Scenario) -> tuple[str, ...]:
    """The projections that are read as replicas: those of `[replicas]`, by default all."""
    chosen = scenario.replicas.projections if scenario.replicas else None
    return chosen or tuple(table.name for table in scenario.projection)


def problems(scenario: Scenario, plans: Mapping[str, ProjectionPlan], file: str) -> list[Problem]:
    """Refuse unknown replicas, quorums larger than their number, and replicas that don't keep the same of one feed.

    `plans` are the projections that can be made, by name: what is compared is what they are, and not how it is written.
    """
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
    kept = {name: _kept(plans[name]) for name in names if name in plans}
    first = next(iter(kept), "")
    for key in kept[first] if kept else ():
        for name in kept:
            if (one := kept[name][key]) != (other := kept[first][key]):
                what = f"`{name}` and `{first}` are no replicas of each other: they differ in `{key}`"
                way_out = f"`{name}` has {one}, `{first}` {other}: the same in both, or leave one out"
                found.append(Problem(f"{where}.projections", what, way_out))
    if any(tables[name].rebuild for name in names):
        what = "a projection with a `rebuild` can't be a replica: it is incomplete while it is rebuilt"
        found.append(Problem(f"{where}.projections", what, "leave it out, or its `rebuild`"))
    return found


def _kept(plan: ProjectionPlan) -> dict[str, str]:
    """Return what replicas have in common, by key, in words: what they keep, of which entities, behind which gaps."""
    layout, totals = plan.layout, plan.layout.totals
    added = f"{totals.entity} by {', '.join(totals.group_by)}: {', '.join(totals.measures)}" if totals else "none"
    return {
        "keeps": layout.keeps,
        "totals": added,
        "entities": ", ".join(sorted(layout.entities)),
        "gaps": plan.gaps,
        "gap_limit": f"{plan.gap_limit:g} s" if plan.gaps == "hold" else "none",
    }

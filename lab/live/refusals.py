"""What a scenario may say on the simulated clock only: refused before a process is started."""

from __future__ import annotations

from lab.base import Problem
from lab.service.liveonly import refreshing
from lab.truth import truth_class
from lab.truth.outlets import LOG, WAL2JSON
from lab.wiring import Plan

# A longer run would take more than a day of real time.
SECONDS_MAX = 86_400.0


def too_long(plan: Plan, seconds: float) -> list[Problem]:
    """Refuse commands or a history that last so many seconds, which a live run waits for."""
    if seconds <= SECONDS_MAX:
        return []
    where = "domain.time_scale" if plan.domain.has_trace else "workload.rate"
    what = f"live, it would take {seconds / 86_400:,.1f} days of real time"
    return [Problem(f"{plan.source.path.name}: {where}", what, "raise it, or run it on the simulated clock")]


def too_late(plan: Plan, seconds: float) -> list[Problem]:
    """Refuse kills and freezes after the last command, due at so many seconds: they would strike nobody at work."""
    found, file = list[Problem](), plan.source.path.name
    for item in plan.projections:
        for key in ("kills", "freezes"):
            late = [at for at in getattr(item.table, key) if at >= seconds]
            what = f"the last command is due at {seconds:.1f} s, and {{}} s is after that"
            found += [
                Problem(f"{file}: projection.{item.name}.{key}", what.format(f"{at:g}"), "earlier, or more commands")
                for at in late
            ]
    return found


def unfit_server(plan: Plan) -> list[Problem]:
    """Refuse feeds that the server of the source of truth can't give as it is set up. Raises Unavailable."""
    fed = [item for item in plan.projections if item.feed == LOG]
    if not fed:
        return []
    found, key = _no_log(plan, any(item.decoder == WAL2JSON for item in fed))
    named = [item for item in fed if key == "feed" or item.decoder == WAL2JSON]
    return [] if found is None else [Problem(f"{plan.source.path.name}: projection.{named[0].name}.{key}", *found)]


def _no_log(plan: Plan, wal2json: bool) -> tuple[tuple[str, str] | None, str]:
    """Why the server's log can't be read, with the way out, and the key that asks for it."""
    # Imported here: the driver of the server is there, since the scenario was planned.
    if plan.scenario.truth.engine == "mariadb":
        from lab.truth import binlog

        return binlog.refusal(), "feed"
    from lab.truth import slots

    found = slots.refusal()
    if found is not None or not wal2json:
        return found, "feed"
    return slots.no_plugin(slots.needs_exact(plan.domain.entities.values())), "decoder"


def refused(plan: Plan) -> list[Problem]:
    """Every reason why a scenario can't run live, with its place and a way out."""
    scenario, file = plan.scenario, plan.source.path.name
    problems: list[Problem] = []
    table = scenario.truth
    if not truth_class(table.engine, table.model).shared:
        what = f"a file of `{table.engine}` has one process at a time, and live each writer and projection is one"
        problems.append(Problem(f"{file}: truth.engine", what, 'engine = "sqlite"'))
    if plan.domain.has_trace and scenario.writers is not None:
        what = f"`{plan.domain.name}` replays a history, whose order one writer keeps"
        problems.append(Problem(f"{file}: writers", what, "leave the table out"))
    if scenario.time.service == "modelled":
        what = "a model's times belong to the simulated clock: live, work takes as long as it takes"
        problems.append(Problem(f"{file}: time.service", what, 'service = "measured"'))
    if scenario.replicas is not None:
        what = "replicas are read by the sessions of the simulated clock"
        problems.append(Problem(f"{file}: replicas", what, "leave the table out"))
    if {item.gaps for item in plan.projections} > {"serialise"}:
        what = "writers take turns for all projections or for none, and some of these have another strategy"
        problems.append(Problem(f"{file}: catch_up.gaps", what, 'set gaps = "serialise" in [catch_up] alone'))
    problems += refreshing(plan)
    for item in plan.projections:
        where = f"{file}: projection.{item.name}"
        if item.faults.any:
            what = "faults of a store are planted on the simulated clock only"
            problems.append(Problem(f"{where}.faults", what, "leave them out: live, a process can really be killed"))
        if item.table.rebuild is not None:
            what = "a rebuild at a set time belongs to the simulated clock"
            problems.append(Problem(f"{where}.rebuild", what, "leave it out; each projection is rebuilt at the end"))
        if item.table.store == "memory":
            what = "`memory` is gone with the projection's process, before it can be judged"
            problems.append(Problem(f"{where}.store", what, "take a store on disk"))
    return problems

"""Plan for a scenario: its demand, the evidence that there is, and what both come to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.base import BadInput, Problem
from lab.planning.evidence import GrowthEvidence, MeasuredProjection, first_run, gathered, settings_of
from lab.planning.laws import QueueLaw
from lab.planning.needs import DAY, Demand, PlannedNeeds, PlannedStore, planned
from lab.planning.queue import QueueSettings
from lab.scenario import Source
from lab.statistics.powers import FURTHEST
from lab.sweeps.folder import HOME
from lab.sweeps.growth import levels_of
from lab.wiring import Plan, plan


@dataclass(frozen=True)
class PlanRequest:
    """What is asked for; what is None is as in the scenario, or as it was measured.

    rate: changes a second; change_bytes: bytes of a change as columns; days: for how long changes are kept; stores:
    those that are planned for, all if there are none; busiest: the largest share of the time that a server is at work;
    partitions: plan for so many.
    """

    rate: float | None = None
    change_bytes: float | None = None
    days: float | None = None
    stores: tuple[str, ...] = ()
    busiest: float = 0.7
    partitions: int | None = None


@dataclass(frozen=True)
class FoundPlan:
    """A plan with the evidence that it comes from; `unmeasured` are projections of the scenario without any.

    `name` is the scenario's name, `scenario` what it was asked for by, `first` the command that measures it.
    """

    name: str
    scenario: str
    needs: PlannedNeeds
    evidence: tuple[GrowthEvidence, ...]
    unmeasured: tuple[str, ...]
    change_bytes: float | None
    first: str


def plan_for(
    scenario: str, source: Source, request: PlanRequest, folders: Sequence[Path] = (), root: Path = HOME
) -> FoundPlan:
    """Return the plan. Raises BadInput with what to run first where nothing was measured."""
    made = plan(source)
    found = gathered(made.scenario.name, scenario, folders, root)
    stores, unmeasured = _stores(made, found, request.stores)
    if not stores:
        what = f"no projection of it in {', '.join(request.stores) or 'any store'} has been measured"
        raise BadInput([Problem(scenario, what, first_run(scenario))])
    main = found[0]
    demand = _demand(made, main, request, levels_of(source))
    truth = main.truth, main.folder, main.truth_server, main.changes_per_command, main.runs
    needs = planned(demand, truth, stores, main.change_bytes)
    return FoundPlan(
        made.scenario.name, scenario, needs, tuple(found), unmeasured, main.change_bytes, first_run(scenario)
    )


def _demand(made: Plan, main: GrowthEvidence, request: PlanRequest, levels: dict[str, float]) -> Demand:
    each = main.changes_per_command
    rate = request.rate if request.rate is not None else made.scenario.workload.rate * each
    changes = rate * DAY * request.days if request.days is not None else made.scenario.workload.commands * each
    wider = _wider(main, request.change_bytes)
    return Demand(rate, max(changes, 1.0), request.busiest, wider, levels, request.partitions)


def _wider(main: GrowthEvidence, change_bytes: float | None) -> float:
    if change_bytes is None:
        return 1.0
    if main.change_bytes is None:
        what = "the bytes of a change are unknown of a history that is read from files"
        raise BadInput([Problem("--bytes", what, "leave it out: sizes are those of that history")])
    found = change_bytes / main.change_bytes
    if not 1 / FURTHEST <= found <= FURTHEST:
        what = f"changes of {change_bytes:g} bytes are too far from those measured, of {main.change_bytes:.0f}"
        raise BadInput([Problem("--bytes", what, f"at the most {FURTHEST:g} times as many or as few")])
    return found


def _stores(
    made: Plan, found: Sequence[GrowthEvidence], wanted: Sequence[str]
) -> tuple[list[PlannedStore], tuple[str, ...]]:
    """The projections that are planned for, and the names of those of the scenario that weren't measured."""
    mine = {(item.name, item.table.store): settings_of(made, item, outages=False) for item in made.projections}
    chosen = []
    for evidence in found:
        for each in evidence.projections:
            if not wanted or each.store in wanted:
                chosen.append(_planned_store(evidence, each, mine))
    there = {(each.name, each.store) for each in chosen}
    return chosen, tuple(name for name, store in mine if (name, store) not in there and (not wanted or store in wanted))


def _planned_store(
    evidence: GrowthEvidence, each: MeasuredProjection, mine: dict[tuple[str, str], QueueSettings]
) -> PlannedStore:
    law = QueueLaw(each.runs, each.settings, evidence.seed)
    settings = mine.get((each.name, each.store), each.settings)
    return PlannedStore(each.name, each.store, evidence.folder, each.server, each.runs, law, settings, each.verdict)

"""The first step of a run: the stores of its projections are tried on awkward values and on crashes of a process."""

from __future__ import annotations

from pathlib import Path

from lab.conformance.job import Conformance, ConformanceJob
from lab.conformance.trying import job_of, tried
from lab.experiment.progress import Progress
from lab.stores import store_class
from lab.wiring import Plan


def try_stores(plan: Plan, work: Path, progress: Progress) -> dict[str, Conformance]:
    """Try the store of each projection, by the projection's name; what lies below `work` is not needed afterwards."""
    if not plan.scenario.measure.trials:
        return {item.name: Conformance.unknown("not tried: measure.trials is false") for item in plan.projections}
    progress.step("trying the stores", 1)
    found: dict[str, Conformance] = {}
    jobs: dict[str, ConformanceJob] = {}
    for item in plan.projections:
        made = job_of(
            store_class(item.table.store),
            item.layout,
            item.table.guard,
            item.table.hold,
            item.queries,
            plan.scenario.seed,
        )
        if isinstance(made, str):
            found[item.name] = Conformance.unknown(made)
        else:
            jobs[item.name] = made
    found |= zip(jobs, tried(list(jobs.values()), work), strict=True)
    progress.done(1)
    return found

"""Check the names in a scenario's claims against what its run will have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lab.base import TRUTH, Problem
from lab.claims import SUITE, Names
from lab.claims import problems as problems_with
from lab.domain.model import Domain
from lab.queries.model import Query
from lab.scenario import Scenario

# Quantities and checks that need a rebuild, and checks that need a trial of the stores.
_REBUILT = ("rebuild", "disk", "rebuild_equals_live")
_TRIED = ("values_preserved", "survives_crash")
_SET = "set it to true, or leave the claim out"


def problems(
    scenario: Scenario, business: Domain, queries: Sequence[Query], asked: Mapping[str, Sequence[Query]], file: str
) -> list[Problem]:
    """Return what is wrong with the claims.

    `asked` has the queries of each projection that could be planned; of others none is refused.
    """
    every = [query.name for query in queries]
    named = {
        table.name: [query.name for query in asked[table.name]] if table.name in asked else every
        for table in scenario.projection
    }
    named[TRUTH] = every
    found = problems_with(
        scenario.claim, Names(named, _missing(scenario, business), [page.name for page in scenario.page]), file
    )
    for table in scenario.projection:
        if scenario.claim and table.name.lower() == SUITE:
            what = f"`{SUITE}` is what the claims are called as a suite of tests, in JUnit XML"
            found.append(Problem(f"{file}: projection.{table.name}.name", what, "call the projection something else"))
    return found


def repeated(scenario: Scenario) -> Scenario:
    """Return the scenario with as many repetitions as its claims ask for, if it doesn't say how many itself."""
    asked = max((claim.repeat or 1 for claim in scenario.claim), default=1)
    return scenario if "repeat" in scenario.model_fields_set else scenario.model_copy(update={"repeat": asked})


def _missing(scenario: Scenario, business: Domain) -> dict[str, tuple[str, str]]:
    """Return what the run won't have, with the reasons and the ways out: see `Names.missing`."""
    measured = scenario.measure
    found = dict[str, tuple[str, str]]()
    if not measured.rebuild:
        why = "nothing is rebuilt, with measure.rebuild = false", _SET
        found |= dict.fromkeys(_REBUILT, why)
    if not measured.trials:
        why = "no store is tried, with measure.trials = false", _SET
        found |= dict.fromkeys(_TRIED, why)
    if not measured.blocks:
        found["hot"] = "nothing is asked hot, with measure.blocks = 0", "set it to 4, or claim the time that is `cold`"
    if scenario.truth.model == "events":
        what = "a source of truth of events is not asked: no row of it is a record"
        found[TRUTH] = what, 'set truth.model to "history" or "snapshot", or name a projection'
    elif not measured.truth:
        found[TRUTH] = "the source of truth is not asked, with measure.truth = false", _SET
    if business.has_trace:
        why = f"`{business.name}` replays a history, so no command is timed", "leave the claim out"
        found |= dict.fromkeys(("rate", "write_p50", "write_p99"), why)
    if scenario.replicas is None:
        why = "there are no replicas", "it needs a table [replicas]"
        found |= dict.fromkeys(("consistent_at_once", "fresh_p99", "fresh_p999"), why)
    if not scenario.page:
        why = "there are no pages", "it needs a table [[page]]"
        found |= dict.fromkeys(("mixed_cuts", "dangling_ids"), why)
    return found

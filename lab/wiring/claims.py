"""Check the names in a scenario's claims against what its run will have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lab.base import TRUTH, Problem
from lab.claims import Names
from lab.claims import problems as problems_with
from lab.domain.model import Domain
from lab.queries.model import Query
from lab.scenario import Scenario


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
    if scenario.measure.truth and scenario.truth.model != "events":
        named[TRUTH] = every
    return problems_with(scenario.claim, Names(named, _missing(scenario, business)), file)


def repeated(scenario: Scenario) -> Scenario:
    """Return the scenario with as many repetitions as its claims ask for, if it doesn't say how many itself."""
    asked = max((claim.repeat or 1 for claim in scenario.claim), default=1)
    return scenario if "repeat" in scenario.model_fields_set else scenario.model_copy(update={"repeat": asked})


def _missing(scenario: Scenario, business: Domain) -> dict[str, str]:
    """Return the quantities that the run won't have, with the reasons."""
    found = dict[str, str]()
    if not scenario.measure.rebuild:
        found |= dict.fromkeys(("rebuild", "disk"), "nothing is rebuilt, with measure.rebuild = false")
    if business.has_trace:
        why = f"`{business.name}` replays a history, so no command is timed"
        found |= dict.fromkeys(("write_p50", "write_p99"), why)
    if scenario.replicas is None:
        why = "there are no replicas: it needs a table [replicas]"
        found |= dict.fromkeys(("consistent_at_once", "fresh_p99", "fresh_p999"), why)
    return found

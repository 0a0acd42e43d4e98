"""Check pages that are made of several projections, and count their queries as often as the pages are visited."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from lab.base import Problem, nearest
from lab.queries.model import Query
from lab.scenario import Scenario
from lab.scenario.limits import READS_MAX

if TYPE_CHECKING:
    from lab.wiring.plan import ProjectionPlan

# So often a page is read again at the most.
_TRIES_MAX = 10_000


def looks_up(query: Query, entity: str) -> bool:
    """Return whether a query looks records of an entity up by their keys."""
    return query.kind in ("get", "get_many") and query.entity.name == entity


def weighted(scenario: Scenario, queries: Sequence[Query]) -> tuple[Query, ...]:
    """Return the queries with the weights of `[weights]`, and with those of the pages that ask them added."""
    more = dict[str, float]()
    for page in scenario.page:
        for step in page.step:
            more[step.query] = more.get(step.query, 0.0) + page.weight
    own = scenario.weights
    return tuple(
        replace(query, weight=own.get(query.name, query.weight) + more.get(query.name, 0.0)) for query in queries
    )


def problems(scenario: Scenario, plans: Mapping[str, ProjectionPlan], file: str) -> list[Problem]:
    """Refuse steps whose projection or query doesn't exist or isn't asked, and pages that would be read too often.

    `plans` are the projections that can be made, by name.
    """
    found, known = list[Problem](), {table.name for table in scenario.projection}
    for page in scenario.page:
        where = f"{file}: page.{page.name}"
        for number, step in enumerate(page.step, 1):
            place = f"{where}.step.#{number}"
            if step.projection not in known:
                what = f"no projection is called `{step.projection}`"
                found.append(Problem(f"{place}.projection", what, nearest(step.projection, known)))
            elif step.projection in plans:
                asked = [query.name for query in plans[step.projection].queries]
                if step.query not in asked:
                    what = f"`{step.projection}` is not asked `{step.query}`"
                    found.append(Problem(f"{place}.query", what, nearest(step.query, asked)))
        if (reads := page.visits * len(page.step) * page.ids) > READS_MAX:
            what = f"{reads:,} records looked up"
            way_out = f"at most {READS_MAX:,}: visits times steps times ids"
            found.append(Problem(f"{where}.visits", what, way_out))
        if page.wait / page.retry > _TRIES_MAX:
            what = f"a visit would be tried {page.wait / page.retry:,.0f} times"
            found.append(Problem(f"{where}.retry", what, f"at most {_TRIES_MAX:,} times within `wait`"))
    return found

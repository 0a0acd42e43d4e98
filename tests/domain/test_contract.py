"""The contract of every domain, as it is shipped for the domains of other packages."""

from __future__ import annotations

from typing import Any

import pytest

from lab.domain import DOMAINS, OWN_DATA, domain
from lab.domain.employees import EMPLOYEES
from lab.testing.domains import PROMISED, Promised

EACH = [name for name in DOMAINS if name != OWN_DATA]


@pytest.mark.parametrize("name", EACH)
@pytest.mark.parametrize("check", PROMISED, ids=lambda check: check.__name__)
def test_every_domain_keeps_the_contract(name: str, check: Promised) -> None:
    check(domain(name))


class Forgetful:
    """The employees, with one thing changed."""

    def __init__(self, **changed: Any) -> None:
        self._changed = changed

    def __getattr__(self, name: str) -> Any:
        return self._changed.get(name, getattr(EMPLOYEES, name))


def test_a_domain_that_is_broken_on_purpose_breaks_the_promise() -> None:
    state = {"name": "A"}
    nobody = {"name": "x", "kind": "get", "entity": "nobody"}
    broken = {
        "names_are_told_apart": Forgetful(events={"employee": {}}),
        "totals_and_queries_name_published_columns": Forgetful(queries=[nobody]),
        "the_same_seed_is_the_same_workload": Forgetful(workload=lambda options, rng: iter([])),
        "decisions_are_pure_and_states_have_every_column": Forgetful(evolve=lambda former, event: state),
        "a_records_first_event_sets_every_column": Forgetful(
            events={"employee": dict(reversed(EMPLOYEES.events["employee"].items()))}
        ),
    }
    for check in PROMISED:
        if check.__name__ in broken:
            with pytest.raises((AssertionError, KeyError)):
                check(broken.pop(check.__name__))
    assert not broken

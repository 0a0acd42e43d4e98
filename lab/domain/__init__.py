"""The businesses that the lab brings along. One line each; the module is read when it is first needed."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from lab.base import BadInput, Problem, nearest
from lab.domain.model import Domain
from lab.scenario import DomainTable

DOMAINS: dict[str, str] = {
    "employees": "lab.domain.employees:EMPLOYEES",
    "flights": "lab.domain.flights:FLIGHTS",
    "marketing": "lab.domain.marketing:MARKETING",
    "trace": "lab.domain.trace:Traced",
}
# Made of a scenario's [[domain.entity]]; the others are as they are.
OWN_DATA = "trace"


def domain(name: str, table: DomainTable | None = None, scenario: Path | None = None) -> Domain:
    """The domain of that name; of the user's own data, what the [domain] table of this scenario file says.

    Raises BadInput for an unknown one, for data that is not there, and for data where none belongs.
    """
    if name not in DOMAINS:
        raise BadInput([Problem("domain.name", f"no domain is called `{name}`", nearest(name, DOMAINS))])
    module, _, attribute = DOMAINS[name].partition(":")
    found = getattr(import_module(module), attribute)
    where = f"{scenario.name}: domain.entity" if scenario else "domain.entity"
    if name == OWN_DATA:
        if table is None or not table.entity:
            raise BadInput(
                [Problem(where, "`trace` is made of files, and there is none", "`lab new mine --from FILE`")]
            )
        made: Domain = found(table, scenario or Path())
        return made
    if table is not None and table.entity:
        raise BadInput([Problem(where, f"`{name}` has entities of its own", 'files are for domain.name = "trace"')])
    business: Domain = found
    return business

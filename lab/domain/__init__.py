"""The registry of domains: a line each, with the module imported when it is first used.

Other packages add domains of their own through the entry point group `lab.domains`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lab.base import BadInput, Problem
from lab.domain.model import Domain
from lab.registry import Registry
from lab.scenario import DomainTable

SHIPPED = {
    "bank": "lab.domain.bank:BANK",
    "employees": "lab.domain.employees:EMPLOYEES",
    "flights": "lab.domain.flights:FLIGHTS",
    "marketing": "lab.domain.marketing:MARKETING",
    "trace": "lab.domain.trace:Traced",
}
# Made of a scenario's [[domain.entity]]; the others are as they are.
OWN_DATA = "trace"


def _problem(name: str, found: Any) -> str:
    missing = [member for member in vars(Domain) if not member.startswith("_") and not hasattr(found, member)]
    if missing:
        return f"is no domain: it has no {', '.join(missing)}"
    return "" if found.name == name else f"is called `{found.name}` and registered as `{name}`"


DOMAINS: Registry[Any] = Registry("lab.domains", SHIPPED, _problem)


def domain(name: str, table: DomainTable | None = None, scenario: Path | None = None) -> Domain:
    """Return the domain of a name; for the user's own data, the one that the scenario's [domain] table describes.

    Raises BadInput for an unknown name, for missing files, and for files given to a domain that takes none.
    """
    if name not in DOMAINS:
        raise BadInput([DOMAINS.unknown(name, "domain.name")])
    found = DOMAINS[name]
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

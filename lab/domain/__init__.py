"""The businesses that the lab brings along. One line each; the module is read when it is first needed."""

from __future__ import annotations

from importlib import import_module

from lab.base import BadInput, Problem, nearest
from lab.domain.model import Domain

DOMAINS: dict[str, str] = {
    "employees": "lab.domain.employees:EMPLOYEES",
    "flights": "lab.domain.flights:FLIGHTS",
    "marketing": "lab.domain.marketing:MARKETING",
}


def domain(name: str) -> Domain:
    """The domain of that name. Raises BadInput for an unknown one."""
    if name not in DOMAINS:
        raise BadInput([Problem("domain.name", f"no domain is called `{name}`", nearest(name, DOMAINS))])
    module, _, attribute = DOMAINS[name].partition(":")
    found: Domain = getattr(import_module(module), attribute)
    return found

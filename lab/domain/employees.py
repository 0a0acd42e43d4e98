"""`employees`: the example of the talk. People are hired, renamed, moved, given raises, and dismissed.

A dismissal is a tombstone, after which the employee accepts no commands. Each employee but the first has a manager, and
the managers must not form a cycle.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from lab.base import Embed, Entity, Kind, Totals, nearest
from lab.domain import model
from lab.domain.employees_workload import DEPARTMENTS, EmployeesWorkload
from lab.domain.fields import wrong
from lab.domain.model import Command, Contract, Event, EventType, Options, Record, Rejection, Trace, View

# The fields of each command.
TAKES: Mapping[str, Mapping[str, Kind]] = {
    "hire": {"name": "str", "manager": "int", "department": "str", "salary": "int"},
    "rename": {"name": "str"},
    "move": {"manager": "int", "department": "str"},
    "give_raise": {"salary": "int"},
    "dismiss": {},
}


class Employees:
    """The decider, its queries and its workload."""

    name = "employees"
    has_trace = False
    entities: Mapping[str, Entity] = {
        "employee": Entity(
            name="employee",
            key="int",
            columns={"name": "str", "manager": "int", "department": "str", "salary": "int"},
            indexes=(("department", "salary"),),
            parent="manager",
            texts=("name", "department"),
            embeds=(Embed("manager", "employee", ("name",)),),
        )
    }
    contracts: Mapping[str, Contract] = MappingProxyType({})
    events: Mapping[str, Mapping[str, EventType]] = {
        "employee": {
            "hired": EventType(("name", "manager", "department", "salary")),
            "renamed": EventType(("name",)),
            "moved": EventType(("manager", "department")),
            "raise_given": EventType(("salary",)),
            "dismissed": EventType((), deletes=True),
        }
    }
    totals: Mapping[str, Totals] = {"payroll": Totals("employee", ("department",), ("salary",))}
    queries: tuple[dict[str, Any], ...] = (
        {"name": "employee", "kind": "get", "entity": "employee", "weight": 5.0},
        {"name": "team_sheet", "kind": "get_many", "entity": "employee", "count": 20},
        {
            "name": "best_paid_of_department", "kind": "filter", "entity": "employee", "weight": 3.0,
            "where": {"department": "?"}, "order_by": "salary", "descending": True, "limit": 50,
        },
        {
            "name": "payroll", "kind": "aggregate", "entity": "employee",
            "group_by": ["department"], "sum": ["salary"],
        },
        {
            "name": "with_manager", "kind": "join", "entity": "employee", "on": "manager", "to": "employee",
            "take": ["name"], "where": {"department": "?"}, "limit": 50,
        },
        {"name": "everyone_below", "kind": "traverse", "entity": "employee"},
        {"name": "close_colleagues", "kind": "traverse", "entity": "employee", "walk": "near", "depth": 2},
        {"name": "line_between", "kind": "traverse", "entity": "employee", "walk": "path"},
        {"name": "named", "kind": "search", "entity": "employee", "words": 2, "limit": 10},
        {"name": "employee_as_of", "kind": "as_of", "entity": "employee"},
        {"name": "career", "kind": "history", "entity": "employee"},
    )  # fmt: skip

    def decide(self, view: View, command: Command) -> tuple[Event, ...] | Rejection:
        """Return the event of a valid command, or every reason against an invalid one."""
        record = view.get("employee", command.key)
        if command.name not in TAKES:
            return Rejection((f"no such command: {command.name} ({nearest(command.name, TAKES)})",))
        if reasons := wrong(command.fields, TAKES[command.name], ("manager",)):
            return Rejection(reasons)
        # The field may be left out if there is no manager.
        fields = {"manager": None, **command.fields} if "manager" in TAKES[command.name] else command.fields
        if command.name == "hire":
            against = ["there is already an employee with this number"] if record else []
            against += _wrong(fields) + _wrong_manager(view, command.key, fields)
            return Rejection(tuple(against)) if against else (Event("hired", dict(fields)),)
        if record is None:
            return Rejection(("there is no employee with this number",))
        if record.deleted:
            return Rejection(("the employee has been dismissed",))
        against = _wrong(fields)
        match command.name:
            case "rename":
                event = Event("renamed", {"name": fields["name"]})
            case "move":
                against += _wrong_manager(view, command.key, fields)
                event = Event("moved", {"manager": fields["manager"], "department": fields["department"]})
            case "give_raise":
                if fields["salary"] <= record.state["salary"]:
                    against.append("a raise raises")
                event = Event("raise_given", {"salary": fields["salary"]})
            case _:
                if record.state["manager"] is None:
                    against.append("the head of the company can't be dismissed")
                event = Event("dismissed")
        return Rejection(tuple(against)) if against else (event,)

    evolve = staticmethod(model.evolve)

    def workload(self, options: Options, rng: np.random.Generator) -> Iterator[Command]:
        """Draw the commands: all are hired first, in random order; then commands select records by a Zipf law."""
        return EmployeesWorkload(options, rng).commands()

    def trace(self, options: Options) -> Trace:
        """Raise NotImplementedError: the history of employees is made by commands."""
        raise NotImplementedError


def _wrong(fields: Mapping[str, Any]) -> list[str]:
    reasons = []
    if "department" in fields and fields["department"] not in DEPARTMENTS:
        reasons.append(f"there is no department {fields['department']!r}")
    if "name" in fields and not str(fields["name"]).strip():
        reasons.append("a name is needed")
    if "salary" in fields and fields["salary"] <= 0:
        reasons.append("a salary is a positive amount")
    return reasons


def _wrong_manager(view: View, key: Any, fields: Mapping[str, Any]) -> list[str]:
    manager = fields["manager"]
    if manager is None:
        return []
    found: Record | None = view.get("employee", manager)
    if found is None:
        return [f"there is no employee {manager} to be the manager"]
    if found.deleted:
        return [f"the manager {manager} has been dismissed"]
    # Follow the managers upwards: an employee found above themselves would close a cycle.
    above: Any = manager
    while above is not None:
        if above == key:
            return [f"{manager} works below {key}: the line of managers would be a cycle"]
        record = view.get("employee", above)
        above = record.state["manager"] if record else None
    return []


EMPLOYEES = Employees()

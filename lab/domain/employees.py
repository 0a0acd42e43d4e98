"""`employees`: the talk's own example. People are hired, renamed, moved, given raises, and dismissed.

A dismissal is a tombstone; a dismissed employee takes no more commands. Each employee but the first has a
manager, and no one may end up above themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from lab.base import Embed, Entity, Totals
from lab.domain import model
from lab.domain.model import Command, Event, EventType, Options, Record, Rejection, State, Trace, View

DEPARTMENTS = (
    "Accounting", "Design", "Engineering", "Legal", "Marketing",
    "Operations", "People", "Research", "Sales", "Support",
)  # fmt: skip
FIRST = (
    "Ada",
    "Barbara",
    "Claude",
    "Donald",
    "Edsger",
    "Frances",
    "Grace",
    "Hedy",
    "Ivan",
    "Jean",
    "Karen",
    "Leslie",
)
LAST = (
    "Allen",
    "Backus",
    "Codd",
    "Dijkstra",
    "Engelbart",
    "Floyd",
    "Gray",
    "Hopper",
    "Iverson",
    "Jones",
    "Knuth",
)

# The shares of valid commands on a record that is there, beside the deletes that the scenario asks for.
MIX = {"give_raise": 0.5, "move": 0.3, "rename": 0.2}
BURST = 20  # A bursty workload sends this many commands at once, on the average.


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
            embeds=(Embed("manager", "employee", ("name",)),),
        )
    }
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
            "name": "best_paid_of_department",
            "kind": "filter",
            "entity": "employee",
            "where": {"department": "?"},
            "order_by": "salary",
            "descending": True,
            "limit": 50,
            "weight": 3.0,
        },
        {
            "name": "payroll",
            "kind": "aggregate",
            "entity": "employee",
            "group_by": ["department"],
            "sum": ["salary"],
        },
        {
            "name": "with_manager",
            "kind": "join",
            "entity": "employee",
            "on": "manager",
            "to": "employee",
            "take": ["name"],
            "where": {"department": "?"},
            "limit": 50,
        },
        {"name": "everyone_below", "kind": "traverse", "entity": "employee"},
        {"name": "employee_as_of", "kind": "as_of", "entity": "employee"},
        {"name": "career", "kind": "history", "entity": "employee"},
    )

    def decide(self, view: View, command: Command) -> tuple[Event, ...] | Rejection:
        """One event for a command that can be carried out; every reason against one that can't."""
        record = view.get("employee", command.key)
        fields = command.fields
        if command.name == "hire":
            reasons = ["there is already an employee with this number"] if record else []
            reasons += _wrong(fields) + _wrong_manager(view, command.key, fields)
            return Rejection(tuple(reasons)) if reasons else (Event("hired", dict(fields)),)
        if record is None:
            return Rejection(("there is no employee with this number",))
        if record.deleted:
            return Rejection(("the employee has been dismissed",))
        reasons = _wrong(fields)
        match command.name:
            case "rename":
                event = Event("renamed", {"name": fields["name"]})
            case "move":
                reasons += _wrong_manager(view, command.key, fields)
                event = Event("moved", {"manager": fields["manager"], "department": fields["department"]})
            case "give_raise":
                if fields["salary"] <= record.state["salary"]:
                    reasons.append("a raise raises")
                event = Event("raise_given", {"salary": fields["salary"]})
            case "dismiss":
                if record.state["manager"] is None:
                    reasons.append("the head of the company can't be dismissed")
                event = Event("dismissed")
            case other:
                return Rejection((f"no such command: {other}",))
        return Rejection(tuple(reasons)) if reasons else (event,)

    def evolve(self, state: State | None, event: Event) -> State:
        """An event sets the columns that it names."""
        return model.evolve(state, event)

    def workload(self, options: Options, rng: np.random.Generator) -> Iterator[Command]:
        """Everyone is hired first, in a random order; then commands fall on the records by a Zipf law."""
        return _Workload(options, rng).commands()

    def trace(self, options: Options) -> Trace:
        """There is none: the history of employees is made by commands."""
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
    # Up the line of managers: whoever is found above themselves would close a cycle.
    above: Any = manager
    while above is not None:
        if above == key:
            return [f"{manager} works below {key}: the line of managers would be a cycle"]
        record = view.get("employee", above)
        above = record.state["manager"] if record else None
    return []


class _Workload:
    """Commands one after the other; it remembers just enough to know which would be valid."""

    def __init__(self, options: Options, rng: np.random.Generator) -> None:
        self.options, self.rng = options, rng
        self.count = options.commands
        self.slots = min(options.records or max(1, options.commands // 10), options.commands)
        # A slot is a desk: when its employee is dismissed, the next one hired there gets a new number.
        self.at_desk = list(range(1, self.slots + 1))
        self.next_key = self.slots + 1
        self.salary: dict[int, int] = {}
        self.manager: dict[int, int | None] = {}
        self.dismissed: list[int] = []

    def commands(self) -> Iterator[Command]:
        """All commands, in the order of their arrival."""
        rng, count = self.rng, self.count
        times = _arrivals(self.options, rng)
        ranks = rng.permutation(self.slots)
        weight = 1.0 / np.arange(1, self.slots + 1) ** self.options.skew
        desks = ranks[np.searchsorted(np.cumsum(weight) / weight.sum(), rng.random(count)).clip(0, self.slots - 1)]
        hires = np.concatenate([[0], 1 + rng.permutation(self.slots - 1)]) if self.slots > 1 else np.zeros(1, int)
        desks[: self.slots] = hires
        invalid = rng.random(count) < self.options.invalid
        deletes = rng.random(count) < self.options.deletes
        which = rng.choice(list(MIX), p=list(MIX.values()), size=count)
        draws = rng.random((count, 3))
        # Plain lists: quicker one by one; and NumPy forgets a signal that comes while it makes a string of an element.
        rows = zip(*(array.tolist() for array in (desks, which, deletes, invalid, draws, times)), strict=True)
        for index, (desk, kind, delete, bad, draw, at) in enumerate(rows):
            name, key, fields = self._command(desk, kind, delete, bad and index >= self.slots, draw)
            yield Command("employee", name, key, fields, at=at)

    def _command(
        self, desk: int, which: str, delete: bool, bad: bool, draw: Sequence[float]
    ) -> tuple[str, int, dict[str, Any]]:
        key = self.at_desk[desk]
        if bad:
            return self._bad(key, draw)
        if key not in self.salary:
            return "hire", key, self._hire(key, draw)
        if delete and self.manager[key] is not None:
            self.dismissed.append(key)
            self.at_desk[desk] = self.next_key
            self.next_key += 1
            return "dismiss", key, {}
        if which == "rename":
            return "rename", key, {"name": _name(draw)}
        if which == "move":
            manager = None if self.manager[key] is None else self._manager_for(key, draw[0])
            self.manager[key] = manager
            return "move", key, {"manager": manager, "department": _department(draw[1])}
        self.salary[key] += 1 + int(draw[0] * 500)
        return "give_raise", key, {"salary": self.salary[key]}

    def _hire(self, key: int, draw: Sequence[float]) -> dict[str, Any]:
        self.salary[key] = 3_000 + int(draw[2] * 5_000)
        self.manager[key] = self._manager_for(key, draw[0])
        return {
            "name": _name(draw),
            "manager": self.manager[key],
            "department": _department(draw[1]),
            "salary": self.salary[key],
        }

    def _manager_for(self, key: int, draw: float) -> int | None:
        """Somebody with a desk of a lower number, who is there: so no valid command closes a cycle."""
        desks = min(key - 1, self.slots - 1)
        for desk in range(int(draw * draw * desks), -1, -1):
            manager = self.at_desk[desk]
            if manager < key and manager in self.salary:
                return manager
        return None

    def _bad(self, key: int, draw: Sequence[float]) -> tuple[str, int, dict[str, Any]]:
        """An unknown manager, a cycle, a dismissed employee, or a salary that falls: each as likely."""
        kind = int(draw[0] * 4)
        department = _department(draw[1])
        if kind == 0 or key not in self.salary:
            return "move", key, {"manager": self.next_key + 1_000_000, "department": department}
        above = self.manager[key]
        if kind == 1 and above is not None:
            return "move", above, {"manager": key, "department": department}
        if kind == 2 and self.dismissed:
            gone = self.dismissed[int(draw[2] * len(self.dismissed))]
            return "rename", gone, {"name": _name(draw)}
        return "give_raise", key, {"salary": max(1, self.salary[key] - 1)}


def _arrivals(options: Options, rng: np.random.Generator) -> np.ndarray:
    """Arrival times in seconds, `rate` a second on the average, in order."""
    count, gap = options.commands, 1.0 / options.rate
    if options.arrivals == "uniform":
        times: np.ndarray = gap * np.arange(1, count + 1)
    elif options.arrivals == "poisson":
        times = np.cumsum(rng.exponential(gap, count))
    else:
        # Bursts arrive by a Poisson law; within a burst, commands follow each other a hundred times as fast.
        starts = rng.random(count) < 1.0 / BURST
        pauses = np.where(starts, rng.exponential(0.99 * BURST * gap, count), 0.0)
        times = np.cumsum(pauses + rng.exponential(gap / 100, count))
    return times


def _name(draw: Sequence[float]) -> str:
    return f"{FIRST[int(draw[1] * len(FIRST))]} {LAST[int(draw[2] * len(LAST))]}"


def _department(draw: float) -> str:
    # Squared, so that departments differ in size.
    return DEPARTMENTS[int(draw * draw * len(DEPARTMENTS))]


EMPLOYEES = Employees()

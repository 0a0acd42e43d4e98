"""Draw the commands of the domain `employees` from the seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lab.domain.arrivals import arrivals
from lab.domain.model import Command, Options

DEPARTMENTS = (
    "Accounting", "Design", "Engineering", "Legal", "Marketing",
    "Operations", "People", "Research", "Sales", "Support",
)  # fmt: skip
FIRST = (
    "Ada", "Barbara", "Claude", "Donald", "Edsger", "Frances",
    "Grace", "Hedy", "Ivan", "Jean", "Karen", "Leslie",
)  # fmt: skip
LAST = (
    "Allen", "Backus", "Codd", "Dijkstra", "Engelbart", "Floyd",
    "Gray", "Hopper", "Iverson", "Jones", "Knuth",
)  # fmt: skip

# The shares of valid commands on an existing record, apart from the deletes that the scenario asks for.
MIX = {"give_raise": 0.5, "move": 0.3, "rename": 0.2}


class EmployeesWorkload:
    """Draws commands one after the other, remembering only what it needs to know which are valid."""

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
        """Yield all commands in the order of their arrival."""
        rng, count = self.rng, self.count
        times = arrivals(self.options, rng)
        ranks = rng.permutation(self.slots)
        weight = 1.0 / np.arange(1, self.slots + 1) ** self.options.skew
        desks = ranks[np.searchsorted(np.cumsum(weight) / weight.sum(), rng.random(count)).clip(0, self.slots - 1)]
        hires = np.concatenate([[0], 1 + rng.permutation(self.slots - 1)]) if self.slots > 1 else np.zeros(1, int)
        desks[: self.slots] = hires
        invalid = rng.random(count) < self.options.invalid
        deletes = rng.random(count) < self.options.deletes
        which = rng.choice(list(MIX), p=list(MIX.values()), size=count)
        draws = rng.random((count, 3))
        # Plain lists are quicker element by element, and NumPy loses a signal that arrives while it makes a string.
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
        """Return an employee at a desk with a lower number, so that no valid command closes a cycle."""
        desks = min(key - 1, self.slots - 1)
        for desk in range(int(draw * draw * desks), -1, -1):
            manager = self.at_desk[desk]
            if manager < key and manager in self.salary:
                return manager
        return None

    def _bad(self, key: int, draw: Sequence[float]) -> tuple[str, int, dict[str, Any]]:
        """Return an invalid command: an unknown manager, a cycle, a dismissed employee or a lower salary."""
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


def _name(draw: Sequence[float]) -> str:
    return f"{FIRST[int(draw[1] * len(FIRST))]} {LAST[int(draw[2] * len(LAST))]}"


def _department(draw: float) -> str:
    # Squared, so that departments have different sizes.
    return DEPARTMENTS[int(draw * draw * len(DEPARTMENTS))]

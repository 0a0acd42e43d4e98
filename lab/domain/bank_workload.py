"""Draw the commands of the domain `bank` from the seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lab.domain.arrivals import arrivals
from lab.domain.employees_workload import FIRST, LAST
from lab.domain.model import Command, Options

BRANCHES = ("Airport", "Castle", "Harbour", "Market", "Mill", "Station")
CURRENCY = "EUR"
# The number of the bank's own account.
OWN = 0
# What is paid in at first, and moved by a transfer, at the most.
DEPOSIT, AMOUNT = 5_000, 200


class BankWorkload:
    """Draws commands one after the other, remembering only what it needs to know which are valid."""

    def __init__(self, options: Options, rng: np.random.Generator) -> None:
        self.options, self.rng = options, rng
        self.count = options.commands
        # The bank's own account is no slot: it is opened before the others.
        wanted = max(2, options.records or options.commands // 10) - 1
        self.slots = max(1, min(wanted, options.commands - 1))
        # A slot is a safe: when its account is closed, the next one opened there gets a new number.
        self.at_slot = list(range(1, self.slots + 1))
        self.next_key = self.slots + 1
        self.balance: dict[int, int] = {}
        self.closed: list[int] = []
        # Slots whose customers are about to leave: their accounts have been emptied.
        self.leaving: set[int] = set()

    def commands(self) -> Iterator[Command]:
        """Yield all commands in the order of their arrival."""
        rng, count, slots = self.rng, self.count, self.slots
        times = arrivals(self.options, rng).tolist()
        if not count:
            return
        fields = {"owner": "The bank", "branch": BRANCHES[0], "deposit": 0}
        yield Command("account", "open", OWN, fields, at=times[0])
        ranks = rng.permutation(slots)
        weight = 1.0 / np.arange(1, slots + 1) ** self.options.skew
        share = np.cumsum(weight) / weight.sum()
        drawn = ranks[np.searchsorted(share, rng.random((count, 2))).clip(0, slots - 1)]
        drawn[1 : slots + 1, 0] = rng.permutation(slots)[: count - 1]
        invalid = rng.random(count) < self.options.invalid
        deletes = rng.random(count) < self.options.deletes
        draws = rng.random((count, 3))
        rows = zip(*(array[1:].tolist() for array in (drawn, deletes, invalid, draws)), times[1:], strict=True)
        for index, ((slot, other), delete, bad, draw, at) in enumerate(rows):
            name, key, fields = self._command(slot, other, delete, bad and index >= slots, draw)
            yield Command("account", name, key, fields, at=at)

    def _command(
        self, slot: int, other: int, delete: bool, bad: bool, draw: Sequence[float]
    ) -> tuple[str, int, dict[str, Any]]:
        key, target = self.at_slot[slot], self.at_slot[other]
        if bad:
            return self._bad(key, draw)
        if key not in self.balance:
            self.balance[key] = int(draw[2] * DEPOSIT)
            return "open", key, {"owner": _name(draw), "branch": _branch(draw[0]), "deposit": self.balance[key]}
        if slot in self.leaving and not self.balance[key]:
            self.leaving.remove(slot)
            self.closed.append(key)
            self.at_slot[slot] = self.next_key
            self.next_key += 1
            del self.balance[key]
            return "close", key, {}
        if delete and self.balance[key]:
            self.leaving.add(slot)
            return self._moved(key, OWN, self.balance[key])
        amount = min(self.balance[key], 1 + int(draw[0] * AMOUNT))
        if not amount:
            # Who has nothing pays in.
            return self._moved(OWN, key, 1 + int(draw[2] * DEPOSIT))
        return self._moved(key, OWN if target == key or target not in self.balance else target, amount)

    def _moved(self, key: int, to: int, amount: int) -> tuple[str, int, dict[str, Any]]:
        for one, by in ((key, -amount), (to, amount)):
            if one != OWN:
                self.balance[one] += by
        return "transfer", key, {"to": to, "amount": amount}

    def _bad(self, key: int, draw: Sequence[float]) -> tuple[str, int, dict[str, Any]]:
        """Return an invalid command: too much, to nobody, of an account that was closed, or to close one with money."""
        kind, balance = int(draw[0] * 4), self.balance.get(key, 0)
        if kind == 0:
            return "transfer", key, {"to": self.next_key + 1_000_000, "amount": 1}
        if kind == 1 and balance:
            return "close", key, {}
        if kind == 2 and self.closed:
            return "transfer", self.closed[int(draw[2] * len(self.closed))], {"to": OWN, "amount": 1}
        return "transfer", key, {"to": OWN, "amount": balance + 1}


def _name(draw: Sequence[float]) -> str:
    return f"{FIRST[int(draw[1] * len(FIRST))]} {LAST[int(draw[2] * len(LAST))]}"


def _branch(draw: float) -> str:
    # Squared, so that branches have different sizes.
    return BRANCHES[int(draw * draw * len(BRANCHES))]

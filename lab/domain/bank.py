"""`bank`: accounts whose balances always add up to 0. A transfer changes two of them in one transaction.

What customers pay in and out is booked against an account of the bank's own, the first one to be opened, which alone
may be overdrawn. A closed account is a tombstone, and accepts no commands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from lab.base import Entity, Kind, Totals, nearest
from lab.domain import model
from lab.domain.bank_workload import BRANCHES, CURRENCY, OWN, BankWorkload
from lab.domain.fields import wrong
from lab.domain.model import Command, Contract, Event, EventType, Named, Options, Rejection, State, Trace, View

# The fields of each command; `open` and `transfer` change another account, too.
TAKES: Mapping[str, Mapping[str, Kind]] = {
    "open": {"owner": "str", "branch": "str", "deposit": "int"},
    "transfer": {"to": "int", "amount": "int"},
    "close": {},
}


class Bank:
    """The decider, its queries and its workload."""

    name = "bank"
    has_trace = False
    entities: Mapping[str, Entity] = {
        "account": Entity(
            name="account",
            key="int",
            columns={"owner": "str", "branch": "str", "currency": "str", "balance": "int"},
            indexes=(("branch", "balance"),),
            texts=("owner",),
        )
    }
    contracts: Mapping[str, Contract] = MappingProxyType({})
    events: Mapping[str, Mapping[str, EventType]] = {
        "account": {
            "opened": EventType(("owner", "branch", "currency", "balance")),
            "debited": EventType(("balance",)),
            "credited": EventType(("balance",)),
            "closed": EventType((), deletes=True),
        }
    }
    totals: Mapping[str, Totals] = {
        "balance_sheet": Totals("account", ("currency",), ("balance",)),
        "branches": Totals("account", ("branch",), ("balance",)),
    }
    queries: tuple[dict[str, Any], ...] = (
        {"name": "account", "kind": "get", "entity": "account", "weight": 5.0},
        {"name": "accounts_by_number", "kind": "get_many", "entity": "account", "count": 10},
        {
            "name": "richest_of_branch", "kind": "filter", "entity": "account", "weight": 3.0,
            "where": {"branch": "?"}, "order_by": "balance", "descending": True, "limit": 50,
        },
        {
            "name": "balance_sheet", "kind": "aggregate", "entity": "account",
            "group_by": ["currency"], "sum": ["balance"],
        },
        {
            "name": "branches", "kind": "aggregate", "entity": "account",
            "group_by": ["branch"], "sum": ["balance"],
        },
        {"name": "owned_by", "kind": "search", "entity": "account", "words": 2, "limit": 10},
        {"name": "account_as_of", "kind": "as_of", "entity": "account"},
        {"name": "statement", "kind": "history", "entity": "account"},
    )  # fmt: skip

    def decide(self, view: View, command: Command) -> tuple[Event, ...] | Rejection:
        """Return the events of a valid command, which leave the sum of all balances at 0, or the reasons against it."""
        if command.name not in TAKES:
            return Rejection((f"no such command: {command.name} ({nearest(command.name, TAKES)})",))
        if reasons := wrong(command.fields, TAKES[command.name]):
            return Rejection(reasons)
        match command.name:
            case "open":
                return _open(view, command)
            case "transfer":
                return _transfer(view, command)
            case _:
                return _close(view, command)

    def changes_too(self, command: Command) -> tuple[Named, ...]:
        """Return the other account of a transfer; and that of the bank, if a new account begins with a deposit."""
        if command.name == "open" and command.fields.get("deposit") and command.key != OWN:
            return (("account", OWN),)
        other = command.fields.get("to") if command.name == "transfer" else None
        return (("account", other),) if isinstance(other, int) and other != command.key else ()

    evolve = staticmethod(model.evolve)

    def workload(self, options: Options, rng: np.random.Generator) -> Iterator[Command]:
        """Draw the commands: accounts are opened first, in random order; then transfers select them by a Zipf law."""
        return BankWorkload(options, rng).commands()

    def trace(self, options: Options) -> Trace:
        """Raise NotImplementedError: the history of the bank is made by commands."""
        raise NotImplementedError


def _account(view: View, key: Any, what: str) -> State | str:
    """Return the state of an open account, or the reason why it is none."""
    record = view.get("account", key)
    if record is None:
        return f"there is no account {key}{what}"
    return f"the account {key} has been closed" if record.deleted else record.state


def _open(view: View, command: Command) -> tuple[Event, ...] | Rejection:
    deposit, own = command.fields["deposit"], _account(view, OWN, ", which is the bank's own")
    against = ["there is already an account with this number"] if view.get("account", command.key) else []
    if command.fields["branch"] not in BRANCHES:
        against.append(f"there is no branch {command.fields['branch']!r}")
    if not command.fields["owner"].strip():
        against.append("an owner is needed")
    if deposit < 0:
        against.append("a deposit is no negative amount")
    if command.key == OWN and deposit:
        against.append("the bank's own account begins with 0")
    if command.key != OWN and isinstance(own, str):
        against.append(own)
    if against:
        return Rejection(tuple(against))
    who = {"owner": command.fields["owner"], "branch": command.fields["branch"], "currency": CURRENCY}
    opened = Event("opened", {**who, "balance": deposit})
    if not deposit or isinstance(own, str):
        return (opened,)
    return opened, Event("debited", {"balance": own["balance"] - deposit}, ("account", OWN))


def _transfer(view: View, command: Command) -> tuple[Event, ...] | Rejection:
    other, amount = command.fields["to"], command.fields["amount"]
    source, target = _account(view, command.key, ""), _account(view, other, " to transfer to")
    against = [found for found in (source, target) if isinstance(found, str)]
    if other == command.key:
        against.append("a transfer needs two accounts")
    if amount <= 0:
        against.append("a transfer is a positive amount")
    if isinstance(source, dict) and command.key != OWN and source["balance"] < amount:
        against.append(f"the account has {source['balance']}, and {amount} is asked for")
    if against or isinstance(source, str) or isinstance(target, str):
        return Rejection(tuple(against))
    return (
        Event("debited", {"balance": source["balance"] - amount}),
        Event("credited", {"balance": target["balance"] + amount}, ("account", other)),
    )


def _close(view: View, command: Command) -> tuple[Event, ...] | Rejection:
    account = _account(view, command.key, "")
    if isinstance(account, str):
        return Rejection((account,))
    if command.key == OWN:
        return Rejection(("the bank's own account can't be closed",))
    if account["balance"]:
        return Rejection((f"there are {account['balance']} left on the account",))
    return (Event("closed"),)


BANK = Bank()

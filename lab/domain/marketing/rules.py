"""The commands of the domain: for each its fields, its rule and its event."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from lab.base import nearest
from lab.domain.fields import wrong
from lab.domain.marketing import agents, campaigns
from lab.domain.marketing.cases import GONE, CommandCase, Found, a, as_given
from lab.domain.marketing.entities import ENTITIES
from lab.domain.model import Command, Event, Rejection, View


@dataclass(frozen=True)
class Rule:
    """One command: its event, its fields (`nullable`: may be left out), and its rule.

    `new` is true of the command that makes a record; all others need one that is there and not deleted.
    """

    event: str
    takes: tuple[str, ...] = ()
    nullable: Collection[str] = field(default=())
    rule: Callable[[CommandCase], Found] = as_given
    new: bool = False


def decide(view: View, command: Command) -> tuple[Event, ...] | Rejection:
    """Return the event of a valid command, or every reason against an invalid one."""
    entity, key = command.entity, command.key
    if entity not in ENTITIES:
        return Rejection((f"no such entity: {entity} ({nearest(entity, ENTITIES)})",))
    rule = RULES[entity].get(command.name)
    if rule is None:
        return Rejection((f"no such command: {command.name} ({nearest(command.name, RULES[entity])})",))
    wanted = {name: ENTITIES[entity].columns[name] for name in rule.takes}
    if reasons := wrong(command.fields, wanted, rule.nullable):
        return Rejection(reasons)
    record = view.get(entity, key)
    if rule.new and record is not None and not _more(entity, command.name):
        return Rejection((f"there is already {a(entity)} {key}",))
    if not rule.new and record is None:
        return Rejection((f"there is no {entity} {key}",))
    if record is not None and record.deleted:
        return Rejection((f"{entity} {key} has been {GONE[entity]}",))
    against, fields = rule.rule(CommandCase(view, key, record.state if record else {}, command.fields))
    if against:
        return Rejection(tuple(against))
    event = "added" if record is not None and _more(entity, command.name) else rule.event
    return (Event(event, fields),)


def _more(entity: str, name: str) -> bool:
    """Return whether the command, on an existing record, adds to it: a further booking of a day."""
    return (entity, name) == ("spend", "book")


NAMES = ("name", "first_name", "last_name")
RULES: dict[str, dict[str, Rule]] = {
    "product": {
        "launch": Rule("launched", ("name", "category", "price"), rule=campaigns.launch, new=True),
        "reprice": Rule("repriced", ("price",), rule=campaigns.reprice),
        "discontinue": Rule("discontinued"),
    },
    "strategy": {
        "adopt": Rule("adopted", ("name", "channel", "audience"), rule=campaigns.adopt, new=True),
        "refocus": Rule("refocused", ("audience",), rule=campaigns.refocus),
        "drop": Rule("dropped"),
    },
    "creative": {
        "write": Rule("written", ("product", "headline", "body"), rule=campaigns.write, new=True),
        "revise": Rule("revised", ("headline", "body"), rule=campaigns.revise),
        "withdraw": Rule("withdrawn"),
    },
    "campaign": {
        "start": Rule(
            "started", ("name", "description", "product", "strategy", "daily_budget"), rule=campaigns.start, new=True
        ),
        "describe": Rule("described", ("name", "description"), rule=campaigns.describe),
        "set_budget": Rule("budget_set", ("daily_budget",), rule=campaigns.set_budget),
        "pause": Rule("paused", rule=campaigns.pause),
        "resume": Rule("resumed", rule=campaigns.resume),
        "close": Rule("closed", rule=campaigns.close),
    },
    "agent": {
        "recruit": Rule("recruited", (*NAMES, "recruiter", "region"), (*NAMES, "recruiter"), agents.recruit, new=True),
        "rename": Rule("renamed", NAMES, NAMES, agents.rename),
        "split_name": Rule("name_split", rule=agents.split_name),
        "hand_over": Rule("handed_over", ("recruiter",), ("recruiter",), agents.hand_over),
        "dismiss": Rule("dismissed"),
    },
    "lead": {
        "capture": Rule("captured", ("campaign", "value"), rule=agents.capture, new=True),
        "assign": Rule("assigned", ("agent",), rule=agents.assign),
        "contact": Rule("contacted", rule=agents.contact),
        "win": Rule("won", ("value",), rule=agents.win),
        "lose": Rule("lost", rule=agents.lose),
        "discard": Rule("discarded", rule=agents.discard),
    },
    "spend": {
        "book": Rule("booked", ("campaign", "day", "amount", "revenue"), rule=campaigns.book, new=True),
        "void": Rule("voided"),
    },
}

"""The rules of the business: for each command what it must say, when it is refused and why, and what happens."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from lab.base import Key, nearest
from lab.domain.fields import wrong
from lab.domain.marketing.entities import (
    AGENT,
    CATEGORIES,
    CHANNELS,
    ENTITIES,
    REGIONS,
    spend_key,
    split,
)
from lab.domain.model import Command, Event, Rejection, State, View

Fields = Mapping[str, Any]
# Reasons against it, and the fields of the event.
Found = tuple[list[str], dict[str, Any]]


@dataclass(frozen=True)
class Case:
    """What a rule looks at: the view, the record's key and state (empty for a new one), and the command's fields."""

    view: View
    key: Key
    state: State
    fields: Fields


def _as_given(case: Case) -> Found:
    return [], dict(case.fields)


@dataclass(frozen=True)
class Rule:
    """One command: the event that follows, the fields that it takes (`nullable`: may be left out), and the rule.

    `new` is true of the command that makes a record; all others need one that is there and not deleted.
    """

    event: str
    takes: tuple[str, ...] = ()
    nullable: Collection[str] = field(default=())
    rule: Callable[[Case], Found] = _as_given
    new: bool = False


def decide(view: View, command: Command) -> tuple[Event, ...] | Rejection:
    """One event for a command that can be carried out; every reason against one that can't."""
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
        return Rejection((f"there is already {_a(entity)} {key}",))
    if not rule.new and record is None:
        return Rejection((f"there is no {entity} {key}",))
    if record is not None and record.deleted:
        return Rejection((f"{entity} {key} has been {GONE[entity]}",))
    against, fields = rule.rule(Case(view, key, record.state if record else {}, command.fields))
    if against:
        return Rejection(tuple(against))
    event = "added" if record is not None and _more(entity, command.name) else rule.event
    return (Event(event, fields),)


def _more(entity: str, name: str) -> bool:
    """Booking makes a day's record, or adds to it."""
    return (entity, name) == ("spend", "book")


def _a(entity: str) -> str:
    return f"an {entity}" if entity == "agent" else f"a {entity}"


def _live(view: View, entity: str, key: Any) -> list[str]:
    record = view.get(entity, key)
    if record is None:
        return [f"there is no {entity} {key}"]
    return [f"{entity} {key} has been {GONE[entity]}"] if record.deleted else []


def _words(fields: Fields, *names: str) -> list[str]:
    """Texts must say something."""
    return [f"a {name.replace('_', ' ')} is needed" for name in names if not fields[name].strip()]


def _among(fields: Fields, name: str, valid: Collection[str]) -> list[str]:
    return [] if fields[name] in valid else [f"no {name} is called {fields[name]} ({nearest(fields[name], valid)})"]


def _positive(fields: Fields, *names: str) -> list[str]:
    return [f"a {name.replace('_', ' ')} is a positive amount" for name in names if fields[name] <= 0]


# Products, strategies, creatives


def _launch(case: Case) -> Found:
    fields = case.fields
    return _words(fields, "name") + _among(fields, "category", CATEGORIES) + _positive(fields, "price"), dict(fields)


def _reprice(case: Case) -> Found:
    return _positive(case.fields, "price"), dict(case.fields)


def _adopt(case: Case) -> Found:
    return _words(case.fields, "name", "audience") + _among(case.fields, "channel", CHANNELS), dict(case.fields)


def _refocus(case: Case) -> Found:
    return _words(case.fields, "audience"), dict(case.fields)


def _write(case: Case) -> Found:
    reasons = _words(case.fields, "headline", "body") + _live(case.view, "product", case.fields["product"])
    return reasons, dict(case.fields)


def _revise(case: Case) -> Found:
    return _words(case.fields, "headline", "body"), dict(case.fields)


# Campaigns


def _start(case: Case) -> Found:
    fields = case.fields
    reasons = _words(fields, "name", "description") + _positive(fields, "daily_budget")
    reasons += _live(case.view, "product", fields["product"]) + _live(case.view, "strategy", fields["strategy"])
    return reasons, {**fields, "status": "running"}


def _describe(case: Case) -> Found:
    return _words(case.fields, "name", "description"), dict(case.fields)


def _set_budget(case: Case) -> Found:
    return _positive(case.fields, "daily_budget"), dict(case.fields)


def _pause(case: Case) -> Found:
    return _running(case.key, case.state), {"status": "paused"}


def _resume(case: Case) -> Found:
    reasons = [] if case.state["status"] == "paused" else [f"campaign {case.key} is running already"]
    return reasons + _live(case.view, "product", case.state["product"]), {"status": "running"}


def _close(_: Case) -> Found:
    return [], {"status": "closed"}


def _running(key: Any, state: State) -> list[str]:
    return [] if state["status"] == "running" else [f"campaign {key} is {state['status']}"]


def _of_running(view: View, key: Any) -> tuple[list[str], State]:
    """Why nothing can come of this campaign now, and its state."""
    record = view.get("campaign", key)
    if record is None or record.deleted:
        return _live(view, "campaign", key), {}
    return _running(key, record.state), record.state


# Agents


def _recruit(case: Case) -> Found:
    reasons, names = _names(case.fields, split_already=False)
    reasons += _among(case.fields, "region", REGIONS) + _line(case, case.fields.get("recruiter"))
    return reasons, dict.fromkeys(AGENT.columns) | dict(case.fields) | names


def _rename(case: Case) -> Found:
    return _names(case.fields, split_already=case.state["name"] is None)


def _hand_over(case: Case) -> Found:
    recruiter = case.fields.get("recruiter")
    return _line(case, recruiter), {"recruiter": recruiter}


def _split_name(case: Case) -> Found:
    name = case.state["name"]
    if name is None:
        return [f"the name of agent {case.key} has been split"], {}
    first, last = split(name)
    return [], {"name": None, "first_name": first, "last_name": last}


def _names(fields: Fields, split_already: bool) -> Found:
    """A name in one piece, or in two; once it has been split, in two. While the old way goes, both are right."""
    whole, first, last = (fields.get(name) for name in ("name", "first_name", "last_name"))
    given = {"name": whole, "first_name": first, "last_name": last}
    if (whole is None) == (first is None):
        return ["either `name` or `first_name` is needed"], given
    if whole is not None and last is not None:
        return ["`last_name` goes with `first_name`, not with `name`"], given
    if whole is not None and split_already:
        return ["the name has been split: give `first_name` and `last_name`"], given
    untidy = [text for text in given.values() if text is not None and (not text or text != text.strip())]
    return [f"a name neither is empty nor begins or ends with a space: {text!r}" for text in untidy], given


def _line(case: Case, recruiter: Any) -> list[str]:
    """Why this agent can't be the recruiter: there is none, or it stands below the agent itself."""
    if recruiter is None:
        return []
    if recruiter == case.key:
        return ["nobody recruits themselves"]
    if reasons := _live(case.view, "agent", recruiter):
        return reasons
    above = recruiter
    while above is not None:
        if above == case.key:
            return [f"agent {recruiter} was recruited below {case.key}: the line would be a cycle"]
        record = case.view.get("agent", above)
        above = record.state["recruiter"] if record else None
    return []


# Leads


def _capture(case: Case) -> Found:
    reasons, _ = _of_running(case.view, case.fields["campaign"])
    return reasons + _positive(case.fields, "value"), {**case.fields, "agent": None, "status": "new"}


def _assign(case: Case) -> Found:
    reasons = _open(case) + _live(case.view, "agent", case.fields["agent"])
    return reasons, {"agent": case.fields["agent"], "status": "assigned"}


def _contact(case: Case) -> Found:
    if case.state["status"] == "new":
        return [f"lead {case.key} has no agent yet"], {}
    return _open(case) or _live(case.view, "agent", case.state["agent"]), {"status": "contacted"}


def _win(case: Case) -> Found:
    return _decided(case) + _positive(case.fields, "value"), {"status": "won", "value": case.fields["value"]}


def _lose(case: Case) -> Found:
    return _decided(case), {"status": "lost"}


def _discard(case: Case) -> Found:
    return [f"lead {case.key} has been won"] if case.state["status"] == "won" else [], {}


def _open(case: Case) -> list[str]:
    status = case.state["status"]
    return [f"lead {case.key} has been {status}"] if status in ("won", "lost") else []


def _decided(case: Case) -> list[str]:
    """A lead is won or lost once, by a live agent who has been in contact."""
    if reasons := _open(case):
        return reasons
    if case.state["status"] != "contacted":
        return [f"lead {case.key} is {case.state['status']}: nobody has been in contact"]
    return _live(case.view, "agent", case.state["agent"])


# Spend


def _book(case: Case) -> Found:
    fields = case.fields
    campaign, day = fields["campaign"], fields["day"]
    reasons, state = _of_running(case.view, campaign)
    if case.key != spend_key(campaign, day):
        reasons.append(f"the key of this spend is {spend_key(campaign, day)}, not {case.key}")
    if day < 0:
        reasons.append("days are counted from 0")
    reasons += _positive(fields, "amount")
    if fields["revenue"] < 0:
        reasons.append("a revenue is no negative amount")
    amount = case.state.get("amount", 0) + fields["amount"]
    revenue = case.state.get("revenue", 0) + fields["revenue"]
    if state and amount > state["daily_budget"]:
        reasons.append(f"{amount} is more than the daily budget of campaign {campaign}, {state['daily_budget']}")
    sums = {"amount": amount, "revenue": revenue, "profit": revenue - amount}
    return reasons, sums if case.state else {"campaign": campaign, "day": day} | sums


GONE = {
    "product": "discontinued",
    "strategy": "dropped",
    "creative": "withdrawn",
    "campaign": "closed",
    "agent": "dismissed",
    "lead": "discarded",
    "spend": "voided",
}
NAMES = ("name", "first_name", "last_name")
RULES: dict[str, dict[str, Rule]] = {
    "product": {
        "launch": Rule("launched", ("name", "category", "price"), rule=_launch, new=True),
        "reprice": Rule("repriced", ("price",), rule=_reprice),
        "discontinue": Rule("discontinued"),
    },
    "strategy": {
        "adopt": Rule("adopted", ("name", "channel", "audience"), rule=_adopt, new=True),
        "refocus": Rule("refocused", ("audience",), rule=_refocus),
        "drop": Rule("dropped"),
    },
    "creative": {
        "write": Rule("written", ("product", "headline", "body"), rule=_write, new=True),
        "revise": Rule("revised", ("headline", "body"), rule=_revise),
        "withdraw": Rule("withdrawn"),
    },
    "campaign": {
        "start": Rule("started", ("name", "description", "product", "strategy", "daily_budget"), rule=_start, new=True),
        "describe": Rule("described", ("name", "description"), rule=_describe),
        "set_budget": Rule("budget_set", ("daily_budget",), rule=_set_budget),
        "pause": Rule("paused", rule=_pause),
        "resume": Rule("resumed", rule=_resume),
        "close": Rule("closed", rule=_close),
    },
    "agent": {
        "recruit": Rule("recruited", (*NAMES, "recruiter", "region"), (*NAMES, "recruiter"), _recruit, new=True),
        "rename": Rule("renamed", NAMES, NAMES, _rename),
        "split_name": Rule("name_split", rule=_split_name),
        "hand_over": Rule("handed_over", ("recruiter",), ("recruiter",), _hand_over),
        "dismiss": Rule("dismissed"),
    },
    "lead": {
        "capture": Rule("captured", ("campaign", "value"), rule=_capture, new=True),
        "assign": Rule("assigned", ("agent",), rule=_assign),
        "contact": Rule("contacted", rule=_contact),
        "win": Rule("won", ("value",), rule=_win),
        "lose": Rule("lost", rule=_lose),
        "discard": Rule("discarded", rule=_discard),
    },
    "spend": {
        "book": Rule("booked", ("campaign", "day", "amount", "revenue"), rule=_book, new=True),
        "void": Rule("voided"),
    },
}

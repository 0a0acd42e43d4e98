"""Rules for agents, their names and recruiters, and for the leads that they work on."""

from __future__ import annotations

from typing import Any

from lab.domain.marketing.cases import CommandCase, Fields, Found, among, live, of_running, positive
from lab.domain.marketing.entities import AGENT, REGIONS, split

# Agents


def recruit(case: CommandCase) -> Found:
    """Recruit an agent with a name, a region, and optionally a live recruiter."""
    reasons, names = _names(case.fields, split_already=False)
    reasons += among(case.fields, "region", REGIONS) + _line(case, case.fields.get("recruiter"))
    return reasons, dict.fromkeys(AGENT.columns) | dict(case.fields) | names


def rename(case: CommandCase) -> Found:
    """Rename an agent, in the format in which the name is kept or in the new one."""
    return _names(case.fields, split_already=case.state["name"] is None)


def hand_over(case: CommandCase) -> Found:
    """Give an agent another recruiter, who must not be below the agent, or none."""
    recruiter = case.fields.get("recruiter")
    return _line(case, recruiter), {"recruiter": recruiter}


def split_name(case: CommandCase) -> Found:
    """Split the name into first and last name, once, without changing it."""
    name = case.state["name"]
    if name is None:
        return [f"the name of agent {case.key} has been split"], {}
    first, last = split(name)
    return [], {"name": None, "first_name": first, "last_name": last}


def _names(fields: Fields, split_already: bool) -> Found:
    """Check a name in one or two parts; only in two once it has been split. During the migration both are valid."""
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


def _line(case: CommandCase, recruiter: Any) -> list[str]:
    """Return why this agent can't be the recruiter: it doesn't exist, or it is below the agent itself."""
    if recruiter is None:
        return []
    if recruiter == case.key:
        return ["nobody recruits themselves"]
    if reasons := live(case.view, "agent", recruiter):
        return reasons
    above = recruiter
    while above is not None:
        if above == case.key:
            return [f"agent {recruiter} was recruited below {case.key}: the line would be a cycle"]
        record = case.view.get("agent", above)
        above = record.state["recruiter"] if record else None
    return []


# Leads


def capture(case: CommandCase) -> Found:
    """Capture a lead of a running campaign."""
    reasons, _ = of_running(case.view, case.fields["campaign"])
    return reasons + positive(case.fields, "value"), {**case.fields, "agent": None, "status": "new"}


def assign(case: CommandCase) -> Found:
    """Assign an open lead to a live agent."""
    reasons = _open(case) + live(case.view, "agent", case.fields["agent"])
    return reasons, {"agent": case.fields["agent"], "status": "assigned"}


def contact(case: CommandCase) -> Found:
    """Record a contact by the agent that the lead was assigned to."""
    if case.state["status"] == "new":
        return [f"lead {case.key} has no agent yet"], {}
    return _open(case) or live(case.view, "agent", case.state["agent"]), {"status": "contacted"}


def win(case: CommandCase) -> Found:
    """Win a lead, once, with its value."""
    return _decided(case) + positive(case.fields, "value"), {"status": "won", "value": case.fields["value"]}


def lose(case: CommandCase) -> Found:
    """Lose a lead, once."""
    return _decided(case), {"status": "lost"}


def discard(case: CommandCase) -> Found:
    """Discard a lead that has not been won."""
    return [f"lead {case.key} has been won"] if case.state["status"] == "won" else [], {}


def _open(case: CommandCase) -> list[str]:
    status = case.state["status"]
    return [f"lead {case.key} has been {status}"] if status in ("won", "lost") else []


def _decided(case: CommandCase) -> list[str]:
    """Return why a lead can't be won or lost: only once, and by a live agent who has been in contact."""
    if reasons := _open(case):
        return reasons
    if case.state["status"] != "contacted":
        return [f"lead {case.key} is {case.state['status']}: nobody has been in contact"]
    return live(case.view, "agent", case.state["agent"])
